package consumer_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// TestStuckRecord: a record that is never settled keeps its partition's part of the room, and no more.
func TestStuckRecord(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 2, nil)
		const n = 6100
		put(t, b, topic, 0, n, "stuck")
		put(t, b, topic, 1, n, "free")
		s := newSink(t, time.Millisecond)
		s.never = func(rec *consumer.Record) bool { return rec.Partition == 0 && rec.Offset == 0 }
		m := join(t, b, topic, "a", s, func(c *consumer.Config) { c.DrainTimeout = time.Second })
		until(t, "the free partition flows", namedWithin, func() bool { return s.settledOf(topic, 1) == n })
		if got := s.settledOf(topic, 0); got < 100 {
			t.Errorf("%d records behind the stuck one were settled", got)
		}
		m.stop()
		if err := <-m.done; err == nil {
			t.Error("it ended cleanly, with a record out")
		}
	})
}

// TestLargeBesideBacklog: a record that takes half of the room comes through beside another leader's backlog.
func TestLargeBesideBacklog(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t, kfake.NumBrokers(2))
	topic := b.Topic(t, 2, nil)
	if err := b.Fake.MoveTopicPartition(topic, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Fake.MoveTopicPartition(topic, 1, 1); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		var msgs []kafka.Message
		for j := range 100 {
			msgs = append(msgs, kafka.Message{Value: append(fmt.Appendf(nil, "backlog-%d-%d ", i, j),
				bytes.Repeat([]byte("x"), 8<<10)...)})
		}
		b.ProduceTo(t, topic, 0, msgs...)
	}
	s := newSink(t, 100*time.Millisecond)
	m := join(t, b, topic, "a", s, func(c *consumer.Config) { c.MaxPendingBytes = 2 << 20 })
	until(t, "the backlog flows", namedWithin, func() bool { return s.count() > 200 })
	b.ProduceTo(t, topic, 1, kafka.Message{Value: append([]byte("large "), bytes.Repeat([]byte("x"), 900<<10)...)})
	until(t, "the large record comes through", healthyWithin, func() bool { return s.settledOf(topic, 1) == 1 })
	if s.count() == 5001 {
		t.Error("the backlog is gone: nothing was shown")
	}
	var most sync.Once
	until(t, "all is settled", time.Minute, func() bool {
		if pending := m.Status().PendingBytes; pending > 3<<20 {
			most.Do(func() { t.Errorf("%d bytes pending, of 2 MiB and a large record", pending) })
		}
		return s.count() == 5001
	})
	if !strings.Contains(s.seenValues()[:20], "backlog-0-0") {
		t.Error("the backlog does not begin at its beginning")
	}
	once(t, s)
	m.stops(t, 3*time.Second)
}

// TestReserveHoldsFetching: while all memory is used for something else records come through one by one, and when it is
// given back they flow.
func TestReserveHoldsFetching(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, nil)
	s := newSink(t, 50*time.Millisecond)
	m := join(t, b, topic, "a", s, func(c *consumer.Config) { c.MaxPendingBytes = 2 << 20 })
	m.Reserve(1 << 30)
	const n = 3000
	put(t, b, topic, 0, n, "record")
	until(t, "some records come through", namedWithin, func() bool {
		if pending := m.Status().Pending; pending > 1 {
			t.Fatalf("%d records are pending, and there is no room", pending)
		}
		return s.count() > 5
	})
	m.Reserve(-1 << 30)
	until(t, "the records flow", healthyWithin, func() bool { return s.count() == n })
	until(t, "no memory is used", healthyWithin, func() bool { return m.Status().PendingBytes == 0 })
	once(t, s)
	m.stops(t, 3*time.Second)
}
