package dlq_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/internal/watchdog"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// desk is a running Writer.
type desk struct {
	*dlq.Writer
	board *hold.Board
	stop  func() // and wait

	mu   sync.Mutex
	done map[*consumer.Record][]bool // what became of the letters that were handed over by write
}

func (d *desk) write(rec *consumer.Record, reason dlq.Reason) {
	d.DeadLetter(rec, reason, func(written bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if written && !rec.Settled() {
			panic("the letter is written, and its record is not settled")
		}
		d.done[rec] = append(d.done[rec], written)
	})
}

func (d *desk) ended(rec *consumer.Record) []bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done[rec]
}

func open(t *testing.T, b *kafkatest.Broker, topic string) *desk {
	t.Helper()
	return openWith(t, b, nil, topic, func(string) string { return topic })
}

func openWith(t *testing.T, b *kafkatest.Broker, dog *watchdog.Dog, topic string, of func(string) string) *desk {
	t.Helper()
	board := hold.NewBoard(zerolog.Nop())
	w := dlq.NewWriter(dlq.Config{Connection: broker.Connection{Brokers: b.Addrs, ClientID: "test"}, Group: "tasksink",
		Topic: of, Topics: []string{topic}, Watch: dog, Board: board, Log: zerolog.New(zerolog.NewTestWriter(t))})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	d := &desk{Writer: w, board: board, done: map[*consumer.Record][]bool{}, stop: func() { cancel(); running.Wait() }}
	t.Cleanup(d.stop)
	return d
}

func until(t *testing.T, what string, limit time.Duration, met func() bool) {
	t.Helper()
	for start := time.Now(); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

func settled(t *testing.T, recs ...*consumer.Record) {
	t.Helper()
	until(t, "all letters are written", 30*time.Second, func() bool {
		return !slices.ContainsFunc(recs, func(r *consumer.Record) bool { return !r.Settled() })
	})
}

var reason = dlq.Reason{Stage: dlq.StageUpsert, Category: "VALIDATION_ERROR", Code: "INVALID_OPTION",
	Property: "hs_task_status",
	Message:  "NONSENSE was not one of the allowed options", CorrelationID: "c0ffee", Attempts: 2}

// headers renders a letter's headers, one a line.
func headers(m kafka.Message) string {
	var b strings.Builder
	for _, h := range m.Headers {
		value := string(h.Value)
		if h.Key == "tasksink.dlq.failed_at" {
			if _, err := time.Parse(time.RFC3339Nano, value); err == nil {
				value = "(a time)"
			}
		}
		fmt.Fprintf(&b, "%s=%q\n", h.Key, value)
	}
	return b.String()
}

// TestLetter: key, value and headers byte for byte, and what an operator needs in headers of our own.
func TestLetter(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, nil)
		d := open(t, b, topic)
		at := time.UnixMilli(1_700_000_000_123)
		whole := &consumer.Record{Topic: "tasks", Partition: 3, Offset: 42, Time: at, Key: []byte("\x00key\xff"),
			Value: []byte("{\"a\": 1}\n\xfe"),
			Headers: []kafka.Header{{Key: "traceparent", Value: []byte("00-1-1-01")}, {Key: "twice", Value: []byte{0}},
				{Key: "twice", Value: nil}, {Key: "", Value: []byte("x")}}}
		bare := &consumer.Record{Topic: "tasks", Partition: 3, Offset: 43, Time: at}
		again := &consumer.Record{Topic: "tasks", Partition: 3, Offset: 44, Time: at, Key: []byte{}, Value: []byte{},
			Headers: []kafka.Header{{Key: "tasksink.dlq.redrive_count", Value: []byte("7")},
				{Key: "tasksink.dlq.category", Value: []byte("OLD")},
				{Key: "tasksink.dlq.truncated", Value: []byte("too-large")}, {Key: "own", Value: []byte("stays")}}}
		d.write(whole, reason)
		d.write(bare, dlq.Reason{Stage: dlq.StageDecode, Category: "TOMBSTONE", Message: strings.Repeat("é", 600)})
		d.write(again, reason)
		many := &consumer.Record{Topic: "tasks", Partition: 3, Offset: 45, Time: at, Key: []byte("k"), Value: []byte("v"),
			HeaderCount: consumer.MaxHeaders + 1}
		d.write(many, dlq.Reason{Stage: dlq.StageDecode, Category: "TOO_MANY_HEADERS", Message: "1001 headers"})
		settled(t, whole, bare, again, many)
		letters := b.ReadAll(t, topic)
		if len(letters) != 4 {
			t.Fatalf("%d letters", len(letters))
		}
		for i, want := range []struct {
			key, value []byte
			headers    string
		}{
			{whole.Key, whole.Value, `traceparent="00-1-1-01"
twice="\x00"
twice=""
="x"
tasksink.dlq.schema="1"
tasksink.dlq.topic="tasks"
tasksink.dlq.partition="3"
tasksink.dlq.offset="42"
tasksink.dlq.timestamp="1700000000123"
tasksink.dlq.group="tasksink"
tasksink.dlq.stage="upsert"
tasksink.dlq.category="VALIDATION_ERROR"
tasksink.dlq.code="INVALID_OPTION"
tasksink.dlq.message="NONSENSE was not one of the allowed options"
tasksink.dlq.correlation_id="c0ffee"
tasksink.dlq.attempts="2"
tasksink.dlq.failed_at="(a time)"
tasksink.dlq.redrive_count="0"
`},
			{nil, nil, `tasksink.dlq.schema="1"
tasksink.dlq.topic="tasks"
tasksink.dlq.partition="3"
tasksink.dlq.offset="43"
tasksink.dlq.timestamp="1700000000123"
tasksink.dlq.group="tasksink"
tasksink.dlq.stage="decode"
tasksink.dlq.category="TOMBSTONE"
tasksink.dlq.code=""
tasksink.dlq.message="` + strings.Repeat("é", 512) + `"
tasksink.dlq.correlation_id=""
tasksink.dlq.attempts="0"
tasksink.dlq.failed_at="(a time)"
tasksink.dlq.redrive_count="0"
`},
			{[]byte{}, []byte{}, `own="stays"
tasksink.dlq.schema="1"
tasksink.dlq.topic="tasks"
tasksink.dlq.partition="3"
tasksink.dlq.offset="44"
tasksink.dlq.timestamp="1700000000123"
tasksink.dlq.group="tasksink"
tasksink.dlq.stage="upsert"
tasksink.dlq.category="VALIDATION_ERROR"
tasksink.dlq.code="INVALID_OPTION"
tasksink.dlq.message="NONSENSE was not one of the allowed options"
tasksink.dlq.correlation_id="c0ffee"
tasksink.dlq.attempts="2"
tasksink.dlq.failed_at="(a time)"
tasksink.dlq.redrive_count="7"
`},
			{many.Key, many.Value, `tasksink.dlq.schema="1"
tasksink.dlq.topic="tasks"
tasksink.dlq.partition="3"
tasksink.dlq.offset="45"
tasksink.dlq.timestamp="1700000000123"
tasksink.dlq.group="tasksink"
tasksink.dlq.stage="decode"
tasksink.dlq.category="TOO_MANY_HEADERS"
tasksink.dlq.code=""
tasksink.dlq.message="1001 headers"
tasksink.dlq.correlation_id=""
tasksink.dlq.attempts="0"
tasksink.dlq.failed_at="(a time)"
tasksink.dlq.redrive_count="0"
tasksink.dlq.truncated="too-many-headers"
`},
		} {
			m := letters[i]
			if !bytes.Equal(m.Key, want.key) || (m.Key == nil) != (want.key == nil) {
				t.Errorf("letter %d: key %#v, want %#v", i, m.Key, want.key)
			}
			if !bytes.Equal(m.Value, want.value) || (m.Value == nil) != (want.value == nil) {
				t.Errorf("letter %d: value %#v, want %#v", i, m.Value, want.value)
			}
			if got := headers(m); got != want.headers {
				t.Errorf("letter %d: headers\n%swant\n%s", i, got, want.headers)
			}
			if time.Since(m.Time) > time.Minute {
				t.Errorf("letter %d: its time is %v, and retention would delete it at birth", i, m.Time)
			}
		}
	})
}

// TestMissingTopic: nothing is created, nothing is given up; when the topic is there, the letters leave.
func TestMissingTopic(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		if b.Fake != nil {
			b = kafkatest.Fake(t, kfake.AllowAutoTopicCreation())
		}
		topic := b.Topic(t, 1, nil) + ".dlq"
		d := open(t, b, topic)
		rec := &consumer.Record{Topic: "tasks", Value: []byte("x")}
		d.write(rec, reason)
		until(t, "the hold stands", 20*time.Second, func() bool { return d.board.Stands("dlq", hold.All) })
		if remedy := d.board.List()[0].Remedy; !strings.Contains(remedy, "create") {
			t.Errorf("the remedy is %q", remedy)
		}
		if rec.Settled() {
			t.Error("the record is settled")
		}
		b.CreateTopic(t, topic, 1, nil)
		settled(t, rec)
		until(t, "the hold ends", 5*time.Second, func() bool { return !d.board.Stands("dlq", hold.All) })
		if n := len(b.ReadAll(t, topic)); n != 1 {
			t.Errorf("%d letters", n)
		}
	})
}

// TestDrop: letters that wait are given up with their partition, and the others are written in their order, each once.
func TestDrop(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, nil) + ".dlq"
	d := open(t, b, topic)
	var recs []*consumer.Record
	for i := range 1000 { // more than one write takes
		recs = append(recs, &consumer.Record{Topic: "tasks", Partition: i % 2, Offset: int64(i)})
		d.write(recs[i], reason)
	}
	until(t, "the hold stands", 20*time.Second, func() bool { return d.board.Stands("dlq", hold.All) })
	until(t, "the letters of one partition are given up", 20*time.Second, func() bool {
		d.Drop(func(r *consumer.Record) bool { return r.Partition == 1 }) // what is being written comes back first
		return len(d.ended(recs[1])) > 0 && d.Status().Queued == 500
	})
	b.CreateTopic(t, topic, 1, nil)
	until(t, "the others are written", 30*time.Second, func() bool {
		return d.Status().Queued == 0 && recs[998].Settled()
	})
	d.stop()
	for i, rec := range recs {
		if got := d.ended(rec); !slices.Equal(got, []bool{i%2 == 0}) || rec.Settled() != (i%2 == 0) {
			t.Fatalf("record %d: settled %v, done was called with %v", i, rec.Settled(), got)
		}
	}
	letters := b.ReadAll(t, topic)
	if len(letters) != 500 {
		t.Fatalf("%d letters", len(letters))
	}
	for i, m := range letters {
		if at := string(m.Headers[3].Value); at != fmt.Sprint(2*i) {
			t.Fatalf("letter %d is that of offset %s", i, at)
		}
	}
}

// TestTooLarge: what the topic cannot take goes as a pointer to the record; its neighbours go whole, and none twice.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, map[string]string{"max.message.bytes": "20000"})
		d := open(t, b, topic)
		long := bytes.Repeat([]byte("0123456789abcdef"), 2000) // 32,000 bytes
		recs := []*consumer.Record{
			{Topic: "tasks", Offset: 0, Value: []byte("small")},
			{Topic: "tasks", Offset: 1, Value: long, Headers: []kafka.Header{{Key: "own", Value: []byte("h")}}},
			{Topic: "tasks", Offset: 2, Value: []byte("small")},
			{Topic: "tasks", Offset: 3, Value: []byte("v"), Headers: []kafka.Header{{Key: "own", Value: long}}},
			{Topic: "tasks", Offset: 4, Key: long, Value: []byte("v")},
			{Topic: "tasks", Offset: 5, Value: []byte("small")},
		}
		for _, r := range recs {
			d.write(r, reason)
		}
		settled(t, recs...)
		got := map[string]string{}
		for _, m := range b.ReadAll(t, topic) {
			offset, form := "", fmt.Sprintf("key %d value %q", len(m.Key), m.Value)
			for _, h := range m.Headers {
				switch h.Key {
				case "tasksink.dlq.offset":
					offset = string(h.Value)
				case "tasksink.dlq.truncated", "own":
					form += fmt.Sprintf(" %s=%s", h.Key, h.Value)
				}
			}
			if got[offset] != "" {
				t.Errorf("offset %s has two letters", offset)
			}
			got[offset] = form
		}
		for offset, want := range map[string]string{
			"0": `key 0 value "small"`,
			"1": `key 0 value "" own=h tasksink.dlq.truncated=too-large`,
			"2": `key 0 value "small"`,
			"3": `key 0 value "" tasksink.dlq.truncated=too-large`,
			"4": `key 0 value "" tasksink.dlq.truncated=too-large`,
			"5": `key 0 value "small"`,
		} {
			if got[offset] != want {
				t.Errorf("offset %s: %s, want %s", offset, got[offset], want)
			}
		}
		if st := d.Status(); st.Truncated != 3 || st.Written["VALIDATION_ERROR"] != 6 || st.Queued != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

// TestReasons: what was written is counted by kind of reason, the one met last first; HubSpot, which makes up the
// words, can neither make them long nor many.
func TestReasons(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	d := open(t, b, b.Topic(t, 1, nil))
	write := func(r dlq.Reason) {
		rec := &consumer.Record{Topic: "tasks", Value: []byte("x")}
		d.write(rec, r)
		settled(t, rec)
	}
	if got := d.Status().Reasons; got == nil || len(got) != 0 {
		t.Errorf("before the first letter: %v", got)
	}
	write(dlq.Reason{Stage: "upsert", Category: "VALIDATION_ERROR", Code: "INVALID_DATE", Property: "first",
		Message: "secret", CorrelationID: "secret"})
	write(dlq.Reason{Stage: "upsert", Category: "VALIDATION_ERROR"})
	write(dlq.Reason{Stage: "decode", Category: "VALIDATION_ERROR", Code: "INVALID_DATE"})
	write(dlq.Reason{Stage: "upsert", Category: "VALIDATION_ERROR", Code: "INVALID_DATE", Property: "last"})
	var got []string
	for _, c := range d.Status().Reasons {
		if time.Since(c.Last) > time.Minute {
			t.Errorf("the last one was at %v", c.Last)
		}
		got = append(got, fmt.Sprintf("%s %s %s %s %d", c.Stage, c.Category, c.Code, c.Property, c.Letters))
	}
	if want := []string{"upsert VALIDATION_ERROR INVALID_DATE last 2", "decode VALIDATION_ERROR INVALID_DATE  1",
		"upsert VALIDATION_ERROR   1"}; !slices.Equal(got, want) {
		t.Errorf("counted are %q, want %q", got, want)
	}
	write(dlq.Reason{Stage: "upsert", Category: strings.Repeat("é", 200) + "\xff", Code: "<b>"})
	for i := range 600 {
		write(dlq.Reason{Stage: "upsert", Category: "MANY", Code: fmt.Sprintf("CODE_%d", i),
			Property: strings.Repeat("p", 200)})
	}
	all := d.Status().Reasons
	if last := all[0]; len(all) != 4 || last.Category != "OTHER" || last.Code != "OTHER" || last.Letters != 601 ||
		len(last.Property) != 80 {
		t.Errorf("%d kinds, the last of them %+v; want 4, all words that are not known as OTHER", len(all), last)
	}
}

// TestNobodyWaits: while Kafka is away Write does not block, and a stop leaves the records unsettled.
func TestNobodyWaits(t *testing.T) {
	b := kafkatest.Fake(t)
	leaks := goleak.IgnoreCurrent()
	away := &kafkatest.Broker{Addrs: []string{"127.0.0.1:1"}}
	d := open(t, away, "letters")
	var recs []*consumer.Record
	for i := range 10_000 {
		rec := &consumer.Record{Topic: "tasks", Offset: int64(i)}
		recs = append(recs, rec)
		d.write(rec, reason)
	}
	until(t, "the hold stands", 20*time.Second, func() bool { return d.board.Stands("dlq", hold.All) })
	start := time.Now()
	d.stop()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it stopped after %v", took)
	}
	if i := slices.IndexFunc(recs, (*consumer.Record).Settled); i >= 0 {
		t.Errorf("record %d is settled", i)
	}
	goleak.VerifyNone(t, leaks)

	// The same records, with Kafka there: each has one letter, in order.
	topic := b.Topic(t, 1, nil)
	d = open(t, b, topic)
	for _, rec := range recs {
		d.write(rec, reason)
	}
	settled(t, recs...)
	for i, m := range b.ReadAll(t, topic) {
		if at := string(m.Headers[3].Value); at != fmt.Sprint(i) {
			t.Fatalf("letter %d is that of offset %s", i, at)
		}
	}
}
