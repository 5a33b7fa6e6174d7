package dlq_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"pgregory.net/rapid"

	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// dead is a dead letter as a Writer writes it. more are headers, by their short names, that are other ones.
func dead(topic string, partition, offset int, key string, more ...string) kafka.Message {
	own := map[string]string{"schema": "1", "topic": topic, "partition": strconv.Itoa(partition),
		"offset": strconv.Itoa(offset), "timestamp": "1758300000123", "group": "tasksink", "stage": "upsert", "category": "VALIDATION_ERROR", "attempts": "1",
		"failed_at": "2025-09-20T12:00:00Z", "redrive_count": "0"}
	for i := 0; i < len(more); i += 2 {
		own[more[i]] = more[i+1]
	}
	m := kafka.Message{Value: fmt.Append(nil, partition, "/", offset)}
	if key != "" {
		m.Key = []byte(key)
	}
	for name, value := range own {
		m.Headers = append(m.Headers, kafka.Header{Key: dlq.Prefix + name, Value: []byte(value)})
	}
	slices.SortFunc(m.Headers, func(a, b kafka.Header) int { return strings.Compare(a.Key, b.Key) })
	return m
}

// run redrives the letters of topic.dlq that spans leave, and returns the plan and what became of it.
type run struct {
	force bool
	group string
	limit int
	take  func(*dlq.Letter) bool
	spans func([]dlq.Span) []dlq.Span // of what there is, those that are chosen
}

func (r run) redrive(t testing.TB, b *kafkatest.Broker, topic string) (*dlq.Plan, dlq.Ledger, []dlq.Stale) {
	t.Helper()
	reader := dlq.NewReader(broker.Connection{Brokers: b.Addrs, ClientID: "test"}, topic, topic+".dlq")
	defer reader.Close()
	all, err := reader.Spans(t.Context(), topic+".dlq")
	if err != nil {
		t.Fatal(err)
	}
	chosen, take := all, r.take
	if r.spans != nil {
		chosen = r.spans(all)
	}
	if take == nil {
		take = func(*dlq.Letter) bool { return true }
	}
	var stale []dlq.Stale
	redriver := &dlq.Redriver{Reader: reader, Group: r.group, MaxRedrives: 3, Rate: 1_000_000,
		Stale: func(s dlq.Stale) { stale = append(stale, s) }}
	if err := redriver.Know(t.Context(), []string{topic}); err != nil {
		t.Fatal(err)
	}
	if r.force {
		all = nil
	}
	plan, err := redriver.Collect(t.Context(), all, chosen, take, func() {})
	if err == nil && !r.force {
		err = redriver.Check(t.Context(), plan, func(_, _ int64) {})
	}
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := redriver.Send(t.Context(), plan, r.limit, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return plan, ledger, stale
}

// TestRedriveOrder: letters go back in the order of their events, in each source partition, wherever they stand. A run
// that ends early says where to go on: then nothing is left out, and what is sent twice is sent in order, too. If the
// dead-letter partitions have the letters in the order of the events, nothing is sent twice.
func TestRedriveOrder(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	rapid.Check(t, func(rt *rapid.T) {
		topic := b.Topic(t, 3, nil)
		b.CreateTopic(t, topic+".dlq", 3, nil)
		n := rapid.IntRange(1, 40).Draw(rt, "letters")
		offsets := make([]int, n)
		for i := range offsets {
			offsets[i] = i
		}
		orderly := rapid.Bool().Draw(rt, "orderly")
		if !orderly {
			offsets = rapid.Permutation(offsets).Draw(rt, "offsets")
		}
		where := map[int][]kafka.Message{}
		for _, offset := range offsets {
			to := rapid.IntRange(0, 2).Draw(rt, "to")
			where[to] = append(where[to], dead(topic, rapid.IntRange(0, 2).Draw(rt, "from"), offset, "k"))
		}
		for to, letters := range where {
			b.ProduceTo(t, topic+".dlq", to, letters...)
		}
		var left []dlq.Span
		for _, limit := range append(rapid.SliceOfN(rapid.IntRange(1, n), 0, 4).Draw(rt, "limits"), 0) {
			r := run{force: true, limit: limit}
			if left != nil {
				r.spans = func([]dlq.Span) []dlq.Span { return left }
			}
			_, ledger, _ := r.redrive(t, b, topic)
			left = ledger.Left
		}
		seen := map[string]int{}
		last := map[int]int{}
		sent := b.ReadAll(t, topic)
		for _, m := range sent {
			seen[string(m.Value)]++
		}
		for i, m := range sent { // the last time that each is sent
			if slices.ContainsFunc(sent[i+1:], func(later kafka.Message) bool { return bytes.Equal(later.Value, m.Value) }) {
				continue
			}
			offset, err := strconv.Atoi(header(m, "offset"))
			if err != nil {
				rt.Fatal(err)
			}
			if before, ok := last[m.Partition]; ok && before > offset {
				rt.Errorf("partition %d: event %d is sent behind %d", m.Partition, offset, before)
			}
			last[m.Partition] = offset
		}
		if len(seen) != n || orderly && len(sent) != n {
			rt.Errorf("%d of %d letters were sent, %d times in all", len(seen), n, len(sent))
		}
	})
}

// TestStale: a letter that a newer event of its key has overtaken is refused. Records that died themselves are no newer
// states, nor are those that a redrive sent back, as their events are older.
func TestStale(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	type record struct {
		partition int
		key       string
		headers   []string // of a record that a redrive sent back
	}
	good := func(key string) record { return record{key: key} }
	again := func(key string, origin int, more ...string) record {
		return record{0, key, append([]string{"offset", strconv.Itoa(origin), "redrive_count", "1"}, more...)}
	}
	for _, tc := range []struct {
		name    string
		source  []record // by offset, in partition 0 unless it says another
		letters []kafka.Message
		run     run
		sent    string // the offsets of the letters, in order
		stale   string // letter<newer
	}{
		{"nothing newer", []record{good("a"), good("b")}, []kafka.Message{dead("T", 0, 0, "a")}, run{}, "0", ""},
		{"a newer event", []record{good("a"), good("b"), good("a")}, []kafka.Message{dead("T", 0, 0, "a")}, run{}, "", "0<2"},
		{"a newer event, by force", []record{good("a"), good("a")}, []kafka.Message{dead("T", 0, 0, "a")}, run{force: true}, "0", ""},
		{"an older event", []record{good("a"), good("a")}, []kafka.Message{dead("T", 0, 1, "a")}, run{}, "1", ""},
		{"of another partition", []record{good("a"), {1, "x", nil}, {1, "a", nil}}, []kafka.Message{dead("T", 0, 0, "a")}, run{}, "0", ""},
		{"newer ones that died, too", []record{good("a"), good("a"), good("a")},
			[]kafka.Message{dead("T", 0, 2, "a"), dead("T", 0, 0, "a"), dead("T", 0, 1, "a")}, run{}, "0 1 2", ""},
		{"newer ones that died, and are not selected", []record{good("a"), good("a"), good("a")},
			[]kafka.Message{dead("T", 0, 2, "a"), dead("T", 0, 0, "a"), dead("T", 0, 1, "a")},
			run{take: func(l *dlq.Letter) bool { return l.Source.Offset == 0 }}, "0", ""},
		{"a good one between dead ones", []record{good("a"), good("a"), good("a")},
			[]kafka.Message{dead("T", 0, 0, "a"), dead("T", 0, 2, "a")}, run{}, "2", "0<1"},
		{"dead for another group only", []record{good("a"), good("a")},
			[]kafka.Message{dead("T", 0, 0, "a"), dead("T", 0, 1, "a", "group", "other")}, run{group: "tasksink"}, "", "0<1"},
		{"of any group", []record{good("a"), good("b"), good("a")},
			[]kafka.Message{dead("T", 0, 1, "b", "group", "other"), dead("T", 0, 0, "a"),
				dead("T", 0, 2, "a", "group", "other")},
			run{}, "1 2", "0<2"},
		{"of our group", []record{good("a"), good("b")},
			[]kafka.Message{dead("T", 0, 0, "a", "group", "other"), dead("T", 0, 1, "b")}, run{group: "tasksink"}, "1", ""},
		{"a run that was interrupted", []record{good("a"), good("a"), good("a"), again("a", 0)},
			[]kafka.Message{dead("T", 0, 0, "a"), dead("T", 0, 1, "a"), dead("T", 0, 2, "a")}, run{}, "0 1 2", ""},
		{"the newest was sent back alone", []record{good("a"), good("a"), again("a", 1)},
			[]kafka.Message{dead("T", 0, 0, "a"), dead("T", 0, 1, "a")}, run{}, "1", "0<1"},
		{"it died again, and a newer one did not", []record{good("a"), good("a"), again("a", 0), again("a", 1)},
			[]kafka.Message{dead("T", 0, 2, "a", "redrive_count", "1", "origin_offset", "0")}, run{}, "", "2<1"},
		{"all died again, and go in the order of their events", []record{good("a"), good("a"), again("a", 1), again("a", 0)},
			[]kafka.Message{dead("T", 0, 2, "a", "redrive_count", "1", "origin_offset", "1"),
				dead("T", 0, 3, "a", "redrive_count", "1", "origin_offset", "0")}, run{}, "3 2", ""},
		{"sent back twice", []record{good("a"), good("a"), good("b"), again("a", 2, "origin_offset", "0", "redrive_count", "2")},
			[]kafka.Message{dead("T", 0, 1, "a")}, run{}, "1", ""},
		{"without a key", []record{good(""), good("")}, []kafka.Message{dead("T", 0, 0, "")}, run{}, "0", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			topic := b.Topic(t, 2, nil)
			b.CreateTopic(t, topic+".dlq", 1, nil)
			place := func(m kafka.Message) kafka.Message {
				for i, h := range m.Headers {
					if h.Key == dlq.Prefix+"topic" {
						m.Headers[i].Value = []byte(topic)
					}
				}
				return m
			}
			n := 0
			for _, r := range tc.source {
				m := kafka.Message{Value: []byte("v")}
				if r.headers != nil {
					m = place(dead(topic, 0, 0, "", r.headers...))
				}
				if r.key != "" {
					m.Key = []byte(r.key)
				}
				b.ProduceTo(t, topic, r.partition, m)
				if r.partition == 0 {
					n++
				}
			}
			for _, m := range tc.letters {
				b.ProduceTo(t, topic+".dlq", 0, place(m))
			}
			plan, ledger, stale := tc.run.redrive(t, b, topic)
			var sent, refused []string
			for _, m := range b.ReadAll(t, topic) {
				if m.Partition == 0 && int(m.Offset) >= n {
					sent = append(sent, header(m, "offset"))
				}
			}
			for _, s := range stale {
				refused = append(refused, fmt.Sprintf("%d<%d", s.Record.Offset, s.Newer.Offset))
			}
			if got := strings.Join(sent, " "); got != tc.sent || len(sent) != ledger.Sent {
				t.Errorf("sent are %q and counted %d, want %q", got, ledger.Sent, tc.sent)
			}
			if got := strings.Join(refused, " "); got != tc.stale || len(refused) != ledger.Refused[dlq.RefusedStale] {
				t.Errorf("stale are %q and counted %d, want %q", got, ledger.Refused[dlq.RefusedStale], tc.stale)
			}
			if want := strings.Count(tc.name, "without a key"); plan.Keyless != want {
				t.Errorf("%d letters without a key, want %d", plan.Keyless, want)
			}
		})
	}
}

// TestUnseen: letters whose newer events retention may have deleted are counted, and sent.
func TestUnseen(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, nil)
	b.CreateTopic(t, topic+".dlq", 1, nil)
	for range 5 {
		b.ProduceTo(t, topic, 0, kafka.Message{Key: []byte("other")})
	}
	b.DeleteRecords(t, topic, 0, 3)
	b.ProduceTo(t, topic+".dlq", 0, dead(topic, 0, 0, "a"), dead(topic, 0, 1, "b"), dead(topic, 0, 2, "c"),
		dead(topic, 0, 4, "d"))
	plan, ledger, _ := run{}.redrive(t, b, topic)
	if plan.Unseen != 2 || ledger.Sent != 4 {
		t.Errorf("%d unseen, %d sent; want 2 and 4", plan.Unseen, ledger.Sent)
	}
}

// TestOrigin: the letter of a record that was sent back keeps the offset of the event that died first.
func TestOrigin(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, nil)
	d := open(t, b, topic)
	for i, tc := range []struct {
		headers []string
		want    string
	}{
		{nil, ""},
		{[]string{"offset", "7", "redrive_count", "1"}, "7"},
		{[]string{"offset", "40", "redrive_count", "2", "origin_offset", "7"}, "7"},
		{[]string{"offset", "7"}, ""}, // nobody sent it back
		{[]string{"offset", "7", "redrive_count", "1", "partition", "4"}, ""},
		{[]string{"offset", "700", "redrive_count", "1"}, ""},
		{[]string{"offset", "x", "redrive_count", "1", "origin_offset", "-7"}, ""},
	} {
		rec := record("tasks", 3, int64(100+i))
		if tc.headers != nil {
			rec.Headers = dead("tasks", 3, 0, "", tc.headers...).Headers
		}
		d.write(rec, reason)
		settled(t, rec)
		letters := b.ReadAll(t, topic)
		if got := header(letters[len(letters)-1], "origin_offset"); got != tc.want {
			t.Errorf("%q: origin_offset is %q, want %q", tc.headers, got, tc.want)
		}
	}
}
