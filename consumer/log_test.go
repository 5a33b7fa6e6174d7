package consumer_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

func messages(name string, n int) (msgs []kafka.Message, values []string) {
	for i := range n {
		value := fmt.Sprintf("%s-%d", name, i)
		msgs = append(msgs, kafka.Message{Key: []byte(value), Value: []byte(value)})
		values = append(values, value)
	}
	return msgs, values
}

// delivered waits until so many records were delivered and none is left in the topic, and returns their values.
func (s *sink) delivered(b *kafkatest.Broker, topic string, n int) []string {
	s.t.Helper()
	until(s.t, fmt.Sprintf("%d records delivered and committed", n), 30*time.Second, func() bool {
		s.mu.Lock()
		have := len(s.values)
		s.mu.Unlock()
		return have >= n && b.Lag(s.t, topic, topic) == 0
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.values)
}

// TestRecord: a record arrives byte for byte, and what is empty is not what is absent.
func TestRecord(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, map[string]string{"retention.ms": "-1"}) // the records are old
		at := time.UnixMilli(1_700_000_000_123)
		want := []kafka.Message{
			{Key: []byte("\x00k\xff"), Value: []byte("v"), Headers: []kafka.Header{{Key: "h", Value: []byte{0}}, {Key: "h", Value: []byte("2")}, {Key: "", Value: nil}}, Time: at},
			{Time: at},
			{Key: []byte{}, Value: []byte{}, Time: at},
		}
		b.Produce(t, topic, want...)
		got := make(chan *consumer.Record, len(want))
		s := newSink(t, time.Millisecond)
		s.seen = func(r *consumer.Record) { got <- r }
		m := join(t, b, topic, "a", s, nil)
		for i, w := range want {
			r := <-got
			if !bytes.Equal(r.Key, w.Key) || (r.Key == nil) != (w.Key == nil) || !bytes.Equal(r.Value, w.Value) ||
				(r.Value == nil) != (w.Value == nil) {
				t.Errorf("record %d: key %#v value %#v, want %#v and %#v", i, r.Key, r.Value, w.Key, w.Value)
			}
			if !r.Time.Equal(at) || r.Topic != topic || r.Partition != 0 || r.Offset != int64(i) ||
				r.TraceID() != fmt.Sprintf("%s-0-%d", topic, i) {
				t.Errorf("record %d is %s of %v", i, r.TraceID(), r.Time)
			}
			if fmt.Sprintf("%q", r.Headers) != fmt.Sprintf("%q", w.Headers) {
				t.Errorf("record %d: headers %q, want %q", i, r.Headers, w.Headers)
			}
		}
		if err := m.leave(t); err != nil {
			t.Error(err)
		}
	})
}

// TestTransactions: what was aborted is left out, and neither that nor the markers keep a commit from the log's end.
func TestTransactions(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, nil)
		var want []string
		put := func(name string, n int, how func(...kafka.Message), kept bool) {
			msgs, values := messages(name, n)
			how(msgs...)
			if kept {
				want = append(want, values...)
			}
		}
		plain := func(msgs ...kafka.Message) { b.Produce(t, topic, msgs...) }
		committed := func(msgs ...kafka.Message) { b.Transact(t, topic, true, msgs...) }
		aborted := func(msgs ...kafka.Message) { b.Transact(t, topic, false, msgs...) }
		put("plain", 10, plain, true)
		put("aborted", 5, aborted, false)
		put("committed", 5, committed, true)
		put("between", 5, plain, true)
		put("aborted again", 3, aborted, false)
		put("committed again", 1, committed, true)
		put("aborted at the end", 2, aborted, false)
		s := newSink(t, time.Millisecond)
		m := join(t, b, topic, "a", s, nil)
		if got := s.delivered(b, topic, len(want)); !slices.Equal(got, want) {
			t.Errorf("delivered %v, want %v", got, want)
		}
		if err := m.leave(t); err != nil {
			t.Error(err)
		}
	})
}

// TestCompaction: gaps in the offsets, and batches that were emptied, hold nothing up and count as no loss.
func TestCompaction(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, map[string]string{"cleanup.policy": "compact", "segment.ms": "50",
			"min.cleanable.dirty.ratio": "0.001",
			"min.compaction.lag.ms":     "0", "max.compaction.lag.ms": "50"})
		before := 0
		// each round writes the same keys, each in a batch of its own
		until(t, "the log is compacted", time.Minute, func() bool {
			for range 3 {
				for _, key := range []string{"a", "b", "c"} {
					b.Produce(t, topic, kafka.Message{Key: []byte(key), Value: []byte(key + "-" + strconv.Itoa(before))})
					before++
				}
			}
			if b.Fake != nil {
				b.Fake.Compact()
			}
			time.Sleep(100 * time.Millisecond)
			return len(b.ReadAll(t, topic)) < before/2
		})
		want := len(b.ReadAll(t, topic))
		s := newSink(t, time.Millisecond)
		m := join(t, b, topic, "a", s, nil)
		got := s.delivered(b, topic, 3)
		if len(got) > want || len(got) < 3 {
			t.Errorf("%d of %d records were delivered, and %d were in the log", len(got), before, want)
		}
		if lost := m.Status().Lost; lost != 0 {
			t.Errorf("%d records count as lost", lost)
		}
		if err := m.leave(t); err != nil {
			t.Error(err)
		}
	})
}

// TestCompactedTail: the last half of a batch was compacted away, and the batch fills an answer. The consumer steps
// over what is missing at once.
func TestCompactedTail(t *testing.T) {
	t.Parallel()
	b := kafkatest.Kafka(t) // kfake also cuts the offsets of the tail off the batch
	topic := b.Topic(t, 1, map[string]string{"cleanup.policy": "compact", "segment.ms": "50",
		"min.cleanable.dirty.ratio": "0.001", "min.compaction.lag.ms": "0", "max.compaction.lag.ms": "50"})
	const half = 500
	first, _ := messages("first", 2*half) // 600 KiB, in one batch
	for i := range first {
		first[i].Value = append(first[i].Value, bytes.Repeat([]byte("x"), 600)...)
	}
	second, _ := messages("first", 2*half)
	b.ProduceTo(t, topic, 0, first...)
	time.Sleep(100 * time.Millisecond)
	b.ProduceTo(t, topic, 0, second[half:]...)
	ends := 3 * half
	until(t, "the log is compacted", time.Minute, func() bool {
		time.Sleep(100 * time.Millisecond)
		b.ProduceTo(t, topic, 0, kafka.Message{Key: []byte("tick")}) // a new segment begins
		ends++
		return !slices.ContainsFunc(b.ReadAll(t, topic),
			func(m kafka.Message) bool { return m.Offset >= half && m.Offset < 2*half })
	})
	var read atomic.Int64
	s := newSink(t, time.Millisecond)
	m := join(t, b, topic, "a", s, func(c *consumer.Config) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return countedConn{conn, &read}, err
		}
	})
	until(t, "all records are committed", time.Minute,
		func() bool { return b.Committed(t, topic, topic)[topic][0] == int64(ends) })
	if n := s.delivers("first"); n != 2*half {
		t.Errorf("%d records were delivered, want %d", n, 2*half)
	}
	t.Logf("the broker sent %d KiB", read.Load()>>10)
	if read.Load() > 2<<20 {
		t.Errorf("the broker sent %d KiB for a log of about 400", read.Load()>>10)
	}
	m.stops(t, 3*time.Second)
}

// countedConn counts the bytes that are read.
type countedConn struct {
	net.Conn
	read *atomic.Int64
}

func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// TestRetention: what was deleted before it was read is counted, and the rest flows.
func TestRetention(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, nil)
		first, _ := messages("first", 100)
		b.Produce(t, topic, first...)
		s := newSink(t, time.Millisecond)
		m := join(t, b, topic, "a", s, nil)
		s.delivered(b, topic, 100)
		if err := m.leave(t); err != nil {
			t.Fatal(err)
		}
		second, values := messages("second", 100)
		b.Produce(t, topic, second...)
		b.DeleteRecords(t, topic, 0, 150)
		s = newSink(t, time.Millisecond)
		m = join(t, b, topic, "b", s, nil)
		if got := s.delivered(b, topic, 50); !slices.Equal(got, values[50:]) {
			t.Errorf("delivered %v", got)
		}
		if lost := m.Status().Lost; lost != 50 {
			t.Errorf("%d records count as lost, want 50", lost)
		}
		if err := m.leave(t); err != nil {
			t.Error(err)
		}
	})
}

// TestTopicCreatedAnew: the offsets begin again, and all records of the new topic are delivered.
func TestTopicCreatedAnew(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, nil)
		old, _ := messages("old", 100)
		b.Produce(t, topic, old...)
		s := newSink(t, time.Millisecond)
		m := join(t, b, topic, "a", s, nil)
		s.delivered(b, topic, 100)
		b.DeleteTopic(t, topic)
		b.CreateTopic(t, topic, 1, nil)
		s.forget()
		fresh, values := messages("new", 10)
		b.Produce(t, topic, fresh...)
		got := s.delivered(b, topic, 110)
		if !slices.Equal(got[100:], values) {
			t.Errorf("delivered %v", got[100:])
		}
		if err := m.leave(t); err != nil {
			t.Error(err)
		}
		if at := b.Committed(t, topic, topic)[topic][0]; at != 10 {
			t.Errorf("committed %d, want 10", at)
		}
		if st := m.Status(); st.Restarted != 1 || st.Truncated != 0 {
			t.Errorf("%d restarted and %d truncated partitions, want 1 and 0", st.Restarted, st.Truncated)
		}
	})
}

// TestPartitionsAdded: the group divides anew by itself.
func TestPartitionsAdded(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, nil)
		msgs, _ := messages("first", 100)
		b.Produce(t, topic, msgs...)
		s := newSink(t, time.Millisecond)
		m := join(t, b, topic, "a", s, nil)
		s.delivered(b, topic, 100)
		b.AddPartitions(t, topic, 4)
		until(t, "the share grows", 30*time.Second, func() bool { last, _ := m.share(); return last == "4/4" })
		msgs, _ = messages("second", 100)
		b.Produce(t, topic, msgs...)
		s.delivered(b, topic, 200)
		if err := m.leave(t); err != nil {
			t.Error(err)
		}
	})
}

// TestLate: what is fetched far behind the end of its partition is late. Load says what waits, and what came.
func TestLate(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, nil)
		produce(t, b, topic, 1500)
		s := newSink(t, time.Millisecond)
		late := map[int64]bool{}
		s.seen = func(rec *consumer.Record) {
			s.mu.Lock()
			defer s.mu.Unlock()
			late[rec.Offset] = rec.Late
		}
		m := join(t, b, topic, "a", s, nil)
		until(t, "all is settled", 30*time.Second, func() bool { lag, _ := m.Load(); return s.count() == 1500 && lag == 0 })
		_, before := m.Load()
		produce(t, b, topic, 10)
		until(t, "those that came later, too", 30*time.Second, func() bool { return s.count() == 1510 })
		if _, arrived := m.Load(); arrived != before+10 {
			t.Errorf("%d records arrived, want 10", arrived-before)
		}
		s.mu.Lock()
		for offset := range int64(400) {
			if !late[offset] {
				t.Fatalf("offset %d, far behind, is not late", offset)
			}
		}
		for offset := int64(1500); offset < 1510; offset++ {
			if late[offset] {
				t.Errorf("offset %d, at the end, is late", offset)
			}
		}
		s.mu.Unlock()
		if err := m.leave(t); err != nil {
			t.Error(err)
		}
	})
}
