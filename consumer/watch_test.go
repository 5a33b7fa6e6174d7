package consumer_test

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/internal/watchdog"
)

// TestFetchWedged: a fetch loop that does not come back from a delivery is named until it goes on.
func TestFetchWedged(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, nil)
	dog, release := watchdog.New(4*time.Second), make(chan struct{}) // longer than a poll
	go dog.Run(t.Context())
	goOn := sync.OnceFunc(func() { close(release) })
	t.Cleanup(goOn)
	s := newSink(t, time.Millisecond)
	s.seen = func(*consumer.Record) { <-release }
	m := join(t, b, topic, "a", s, func(c *consumer.Config) { c.Watch = dog })
	until(t, "the member has the partition", 20*time.Second, func() bool { return len(m.Status().Partitions) == 1 })
	for range 6 { // nothing to fetch is no fault
		time.Sleep(time.Second)
		if names := dog.Wedged(); names != nil {
			t.Fatalf("wedged: %q", names)
		}
	}
	produce(t, b, topic, 1)
	until(t, "the loop is named", 10*time.Second, func() bool {
		names := dog.Wedged()
		return len(names) == 1 && strings.HasPrefix(names[0], "fetch from broker ")
	})
	goOn()
	until(t, "the record is settled", 10*time.Second, func() bool { return s.count() == 1 })
	until(t, "the loop is not named any more", 10*time.Second, func() bool { return dog.Wedged() == nil })
	if err := m.leave(t); err != nil {
		t.Error(err)
	}
}

// TestCommitWedged: a commit loop that does not come back from the eviction that it met is named until it goes on.
func TestCommitWedged(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, nil)
	s := newSink(t, time.Millisecond)
	s.unordered = true // what the evicted generation sent comes again
	var evicted atomic.Bool
	commits(b, func(req *kmsg.OffsetCommitRequest) *kerr.Error {
		if req.Generation == 1 && evicted.CompareAndSwap(false, true) {
			s.mu.Lock() // drop waits for it
			return kerr.IllegalGeneration
		}
		return nil
	})
	goOn := sync.OnceFunc(func() {
		if evicted.Load() {
			clear(s.last) // what the evicted generation sent comes again
			s.mu.Unlock()
		}
	})
	t.Cleanup(goOn)
	dog := watchdog.New(time.Second)
	go dog.Run(t.Context())
	m := join(t, b, topic, "a", s, func(c *consumer.Config) { c.Watch = dog })
	produce(t, b, topic, 1)
	until(t, "the loop is named", 20*time.Second, func() bool { return slices.Equal(dog.Wedged(), []string{"commit"}) })
	goOn()
	until(t, "the loop is not named any more", 10*time.Second, func() bool { return dog.Wedged() == nil })
	until(t, "the record is committed", 20*time.Second, func() bool { return b.Lag(t, topic, topic) == 0 })
	if err := m.leave(t); err != nil {
		t.Error(err)
	}
}
