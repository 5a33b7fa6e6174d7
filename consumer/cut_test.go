package consumer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"

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
// it has grown past the old position when the consumer sees it, or the consumer did not run meanwhile.
func TestTruncated(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		n       int // new records; 50 were lost
		stopped bool
	}{"shorter": {10, false}, "one record short": {49, false}, "grown past the position": {80, false},
		"shorter, stopped": {10, true}, "grown past the position, stopped": {80, true}} {
		n := tc.n
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
			if tc.stopped {
				m.stops(t, 5*time.Second)
			}
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
			if tc.stopped {
				m = join(t, b.Broker, topic, "b", s, nil)
			}
			until(t, "all new records flow", namedWithin, func() bool { return s.delivers("new") == n })
			until(t, "they are committed", namedWithin, func() bool {
				return b.Committed(t, topic, topic)[topic][0] == int64(50+n)
			})
			if again := len(strings.Split(s.seenValues(), "first-0 ")); again != 2 {
				t.Errorf("the first record was delivered %d times", again-1)
			}
			if st := m.Status(); st.Truncated != 1 || st.Lost != 0 {
				t.Errorf("%d logs count as truncated and %d records as lost, want 1 and 0", st.Truncated, st.Lost)
			}
			m.stops(t, 5*time.Second)
		})
	}
}

// TestNoRoomAfterElection: the room is full in the middle of the first batch that a new leader wrote. That is no
// truncation, though the batch before it ends where the old leader's epoch does.
func TestNoRoomAfterElection(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t, kfake.NumBrokers(2))
	topic := b.Topic(t, 1, nil)
	if err := b.Fake.MoveTopicPartition(topic, 0, 0); err != nil {
		t.Fatal(err)
	}
	put(t, b, topic, 0, 50, "before")
	if err := b.Fake.MoveTopicPartition(topic, 0, 1); err != nil {
		t.Fatal(err)
	}
	put(t, b, topic, 0, 200, "after")
	s := newSink(t, 1500*time.Millisecond) // longer than an answer waits for room
	m := join(t, b, topic, "a", s, func(c *consumer.Config) { c.MaxPending = 100 })
	until(t, "all records flow", namedWithin, func() bool { return s.count() == 250 })
	if n := m.Status().Truncated; n != 0 {
		t.Errorf("%d logs count as truncated", n)
	}
	once(t, s)
	m.stops(t, 5*time.Second)
}

// TestUncleanElection: Kafka elects a leader that lacks the last records. Each partition that lost some goes on at the
// point of truncation, whether its new log ends below the old position, at it or beyond it, and is reported. A clean
// election afterwards is no truncation.
func TestUncleanElection(t *testing.T) {
	t.Parallel()
	partitions := []struct{ lost, fresh int }{{50, 10}, {50, 49}, {50, 50}, {50, 80}, {0, 10}}
	b := kafkatest.Three(t)
	const topic = "unclean"
	var replicas [][]int
	for range partitions {
		replicas = append(replicas, []int{2, 3})
	}
	b.CreateTopicOn(t, topic, map[string]string{"unclean.leader.election.enable": "true"}, replicas...)
	b.MoveLeader(t, "__consumer_offsets", 0, 1)
	putAll := func(name string, n func(i int) int) {
		for i := range partitions {
			put(t, b.Broker, topic, i, n(i), fmt.Sprint(name, i))
		}
	}
	var said lines
	s := newSink(t, time.Millisecond)
	m := join(t, b.Broker, topic, "a", s, func(c *consumer.Config) { c.Log = zerolog.New(&said) })
	// flows waits until n records of each partition have come, and the partition is committed to its end.
	flows := func(name string, n, end func(i int) int) {
		t.Helper()
		for i := range partitions {
			until(t, fmt.Sprintf("%s records of partition %d flow", name, i), namedWithin, func() bool {
				return s.delivers(fmt.Sprint(name, i)) == n(i) && b.Committed(t, topic, topic)[topic][i] == int64(end(i))
			})
		}
	}
	fifty := func(int) int { return 50 }
	lost := func(i int) int { return partitions[i].lost }
	fresh := func(i int) int { return partitions[i].fresh }
	putAll("first", fifty)
	flows("first", fifty, fifty)
	b.Three.Kill()
	putAll("lost", lost)
	flows("lost", lost, func(i int) int { return 50 + lost(i) })
	b.Two.Kill()
	b.Three.Proxy.Refuse(true) // the consumer sees nothing before the logs have grown
	b.Three.Restart(t)
	until(t, "node 3 leads", namedWithin, func() bool { return b.LeaderOf(t, topic, 0) == 3 })
	putAll("new", fresh)
	s.forget()
	b.Three.Proxy.Refuse(false)
	flows("new", fresh, func(i int) int { return 50 + fresh(i) })
	for i := range partitions {
		report := fmt.Sprintf(`"partition":%d,"position":100,"at":50,"records":50`, i)
		if strings.Contains(said.String(), report) != (lost(i) > 0) {
			t.Errorf("partition %d lost %d records; the log says\n%s", i, lost(i), said.String())
		}
	}

	b.Two.Restart(t)
	for i := range partitions {
		b.MoveLeader(t, topic, i, 2)
	}
	putAll("last", fifty)
	flows("last", fifty, func(i int) int { return 100 + fresh(i) })
	if st := m.Status(); st.Truncated != 4 || st.Restarted != 0 || st.Lost != 0 {
		t.Errorf("%d truncated and %d restarted partitions, %d lost records, want 4, 0 and 0", st.Truncated, st.Restarted,
			st.Lost)
	}
	for i := range partitions {
		if n := strings.Count(s.seenValues(), fmt.Sprintf("first%d-0 ", i)); n != 1 {
			t.Errorf("the first record of partition %d was delivered %d times", i, n)
		}
	}
	m.stops(t, 5*time.Second)
}
