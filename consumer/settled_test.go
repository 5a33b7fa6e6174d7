package consumer_test

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/consumer/offsetmap"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// open tells of offsets whether they come back without a verdict.
func open(offsets ...int64) func(*consumer.Record) bool {
	return func(rec *consumer.Record) bool { return slices.Contains(offsets, rec.Offset) }
}

// leaves lets a member settle a partition of 300 records but for some, and leave. The stop waits for nothing.
func leaves(t *testing.T, b *kafkatest.Broker, topic string, stay ...int64) {
	t.Helper()
	s := newSink(t, time.Millisecond)
	s.back = open(stay...)
	m := join(t, b, topic, "first", s, nil)
	until(t, "all others are settled", namedWithin, func() bool { return s.count() == 300-len(stay) })
	m.stops(t, 3*time.Second)
	if at := b.Committed(t, topic, topic)[topic][0]; at != stay[0] {
		t.Fatalf("offset %d is committed, want %d", at, stay[0])
	}
}

// TestRemembered: what was settled beyond the committed offset is not delivered to the next owner.
func TestRemembered(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, nil)
		put(t, b, topic, 0, 300, "some")
		leaves(t, b, topic, 5, 6, 150)
		again := newSink(t, time.Millisecond)
		again.back = open(150)
		m := join(t, b, topic, "again", again, nil)
		until(t, "what was open is settled", namedWithin, func() bool { return again.count() == 2 })
		until(t, "it is committed", namedWithin, func() bool { return m.Status().Partitions[0].SettledBeyond == 149 })
		st := m.Status()
		if p := st.Partitions[0]; st.Skipped != 292 || p.Open != 1 || p.Committed != 150 || *p.Lag != 1 {
			t.Errorf("status %+v", st)
		}
		m.stops(t, 3*time.Second)
		last := newSink(t, time.Millisecond)
		m = join(t, b, topic, "last", last, nil)
		put(t, b, topic, 0, 10, "new")
		until(t, "all is committed", namedWithin, func() bool { return b.Lag(t, topic, topic) == 0 })
		if got := len(last.values); got != 11 {
			t.Errorf("%d records were delivered, want the open one and 10 new ones", got)
		}
		m.stops(t, 3*time.Second)
	})
}

// TestRememberedElsewhere: metadata that does not belong to the offset beside it is not believed.
func TestRememberedElsewhere(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	for name, c := range map[string]struct {
		change func(place *offsetmap.Place, m *offsetmap.Map)
		from   int64 // what is delivered from here on
	}{
		"as it was":       {nil, -1},
		"another cluster": {func(at *offsetmap.Place, _ *offsetmap.Map) { at.Cluster = "mirror" }, 5},
		"another group":   {func(at *offsetmap.Place, _ *offsetmap.Map) { at.Group = "other" }, 5},
		"another topic":   {func(at *offsetmap.Place, _ *offsetmap.Map) { at.Topic[3]++ }, 0},
		"another offset":  {func(_ *offsetmap.Place, m *offsetmap.Map) { m.Committed, m.Settled = 3, m.Settled[1:] }, 5},
		"an older epoch":  {func(_ *offsetmap.Place, m *offsetmap.Map) { m.Epoch = -1 }, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := b.Topic(t, 1, nil)
			put(t, b, topic, 0, 300, "some")
			leaves(t, b, topic, 5, 150)
			stored, err := offsetmap.Decode(b.Metadata(t, topic, topic, 0))
			if err != nil {
				t.Fatal(err)
			}
			want := 2
			if c.change != nil {
				place := offsetmap.Place{Cluster: b.Cluster(t), Group: topic, Topic: stored.Topic}
				c.change(&place, &stored.Map)
				metadata, _ := new(offsetmap.Encoder).Encode(place, stored.Map, 4096)
				b.Commit(t, topic, topic, 0, 5, metadata)
				want = int(300 - c.from)
			}
			s := newSink(t, time.Millisecond)
			m := join(t, b, topic, "again", s, nil)
			until(t, "all is committed", namedWithin, func() bool { return b.Committed(t, topic, topic)[topic][0] == 300 })
			if got := len(s.values); got != want {
				t.Errorf("%d records were delivered, want %d", got, want)
			}
			if restarted := m.Status().Restarted; (restarted == 1) != (c.from == 0) {
				t.Errorf("%d partitions were restarted", restarted)
			}
			m.stops(t, 3*time.Second)
		})
	}
}

// TestMetadataRewritten: an operator's tool writes an offset without our metadata, or with words of its own.
func TestMetadataRewritten(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	for name, metadata := range map[string]string{"empty": "", "foreign": "checkpoint of nightly-job"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := b.Topic(t, 1, nil)
			put(t, b, topic, 0, 300, "some")
			leaves(t, b, topic, 5, 150)
			b.Commit(t, topic, topic, 0, 100, metadata)
			s := newSink(t, time.Millisecond)
			m := join(t, b, topic, "again", s, nil)
			until(t, "all is committed", namedWithin, func() bool { return b.Lag(t, topic, topic) == 0 })
			if got := len(s.values); got != 200 {
				t.Errorf("%d records were delivered, want 200", got)
			}
			m.stops(t, 3*time.Second)
		})
	}
}

// TestLongRun: a long run of settled offsets is not fetched.
func TestLongRun(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		const n = 20_000
		topic := b.Topic(t, 1, nil)
		put(t, b, topic, 0, n, "some")
		s := newSink(t, time.Millisecond)
		s.back = open(0)
		m := join(t, b, topic, "first", s, nil)
		until(t, "all others are settled", time.Minute, func() bool { return s.count() == n-1 })
		m.stops(t, 3*time.Second)
		again := newSink(t, time.Millisecond)
		again.back = open(0)
		m = join(t, b, topic, "again", again, nil)
		until(t, "the run is passed", namedWithin, func() bool { return m.Status().Skipped == n-1 })
		put(t, b, topic, 0, 1, "new")
		until(t, "a new record comes", namedWithin, func() bool { return again.count() == 1 })
		m.stops(t, 3*time.Second)
	})
}

// TestMetadataTooLarge: brokers that allow less metadata are given less. Nothing stands still for it.
func TestMetadataTooLarge(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, nil)
	commits(b, func(req *kmsg.OffsetCommitRequest) *kerr.Error {
		if m := req.Topics[0].Partitions[0].Metadata; m != nil && len(*m) > 100 {
			return kerr.OffsetMetadataTooLarge
		}
		return nil
	})
	put(t, b, topic, 0, 300, "some")
	var stay []int64
	for offset := int64(1); offset < 300; offset += 3 {
		stay = append(stay, offset)
	}
	leaves(t, b, topic, stay...)
	s := newSink(t, time.Millisecond)
	m := join(t, b, topic, "again", s, nil)
	until(t, "all is committed", namedWithin, func() bool { return b.Lag(t, topic, topic) == 0 })
	if got := len(s.values); got < len(stay) || got >= 299 {
		t.Errorf("%d records were delivered, %d were open of 300", got, len(stay))
	}
	m.stops(t, 3*time.Second)
}
