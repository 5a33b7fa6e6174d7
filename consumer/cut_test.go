package consumer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// TestRecreated: a topic is deleted and created again while it is consumed. None of its records is skipped, whether the
// new log ends below the old position or beyond it.
func TestRecreated(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		for name, n := range map[string]int{"shorter": 40, "longer": 150} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				topic := b.Topic(t, 1, nil)
				put(t, b, topic, 0, 100, "old")
				s := newSink(t, time.Millisecond)
				m := join(t, b, topic, "a", s, nil)
				until(t, "the old records flow", namedWithin, func() bool {
					return s.count() == 100 &&
						b.Lag(t, topic, topic) == 0
				})
				s.forget()
				b.DeleteTopic(t, topic)
				b.CreateTopic(t, topic, 1, nil)
				put(t, b, topic, 0, n, "new")
				until(t, "all new records flow", namedWithin, func() bool { return s.delivers("new") == n })
				until(t, "they are committed", namedWithin, func() bool {
					return b.Committed(t, topic,
						topic)[topic][0] == int64(n)
				})
				m.stops(t, 5*time.Second)
			})
		}
	})
}

// delivers counts the different values that were delivered and begin with a name.
func (s *sink) delivers(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	different := map[string]bool{}
	for _, v := range s.values {
		if strings.HasPrefix(v, name) {
			different[v] = true
		}
	}
	return len(different)
}

// TestRecreatedInAnOutage: a topic is deleted and created again while nothing is settled and the room is full.
func TestRecreatedInAnOutage(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, nil)
		put(t, b, topic, 0, 100, "old")
		s := newSink(t, 6*time.Second)
		s.unordered = true // the old record that is out comes back when the new ones flow
		m := join(t, b, topic, "a", s, func(c *consumer.Config) { c.MaxPending = 50 })
		until(t, "the room is full", namedWithin, func() bool { return m.Status().Pending == 50 })
		b.DeleteTopic(t, topic)
		b.CreateTopic(t, topic, 1, nil)
		put(t, b, topic, 0, 100, "new")
		s.mu.Lock()
		s.delay = time.Millisecond // from the next request on
		s.mu.Unlock()
		until(t, "all new records flow", namedWithin, func() bool { return s.delivers("new") == 100 })
		until(t, "they are committed", namedWithin, func() bool { return b.Committed(t, topic, topic)[topic][0] == 100 })
		m.stops(t, 8*time.Second)
	})
}

// TestTruncated: a broker comes back with an older copy of a log. The partition goes on where the log ends now, though
// it has grown past the old position when the consumer sees it.
func TestTruncated(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]int{"shorter": 10, "one record short": 49, "grown past the position": 80} {
		t.Run(name, func(t *testing.T) {
			b := kafkatest.Two(t)
			const topic = "restored"
			b.CreateTopicOn(t, topic, nil, []int{2})
			b.MoveLeader(t, "__consumer_offsets", 0, 1)
			put(t, b.Broker, topic, 0, 50, "first")
			s := newSink(t, time.Millisecond)
			m := join(t, b.Broker, topic, "a", s, nil)
			until(t, "the first records flow", namedWithin, func() bool { return s.count() == 50 })
			dir, saved := filepath.Join(b.Two.LogDir(), topic+"-0"), t.TempDir()
			b.Two.Kill()
			if err := os.CopyFS(saved, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			b.Two.Restart(t)
			put(t, b.Broker, topic, 0, 50, "lost")
			until(t, "the records that will be lost flow", namedWithin, func() bool { return s.count() == 100 })
			until(t, "they are committed", namedWithin, func() bool { return b.Committed(t, topic, topic)[topic][0] == 100 })
			b.Two.Kill()
			b.Two.Proxy.Refuse(true) // we see nothing before the log has grown
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(dir, os.DirFS(saved)); err != nil {
				t.Fatal(err)
			}
			b.Two.Restart(t)
			put(t, b.Broker, topic, 0, n, "new")
			s.forget()
			b.Two.Proxy.Refuse(false)
			until(t, "all new records flow", namedWithin, func() bool { return s.delivers("new") == n })
			until(t, "they are committed", namedWithin, func() bool {
				return b.Committed(t, topic, topic)[topic][0] == int64(50+n)
			})
			if again := len(strings.Split(s.seenValues(), "first-0 ")); again != 2 {
				t.Errorf("the first record was delivered %d times", again-1)
			}
			m.stops(t, 5*time.Second)
		})
	}
}
