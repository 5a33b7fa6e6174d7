package consumer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// once fails the test if a record was settled by more than one of the sinks, or twice by one.
func once(t *testing.T, sinks ...*sink) {
	t.Helper()
	times := map[string]int{}
	for _, s := range sinks {
		s.mu.Lock()
		for id, n := range s.settled {
			times[id] += n
		}
		s.mu.Unlock()
	}
	for id, n := range times {
		if n > 1 {
			t.Errorf("%s was settled %d times", id, n)
		}
	}
}

func TestMoreMembersThanPartitions(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 2, nil)
		produce(t, b, topic, 1000)
		sinks := []*sink{newSink(t, time.Millisecond), newSink(t, time.Millisecond), newSink(t, time.Millisecond)}
		var members []*member
		for i, s := range sinks {
			members = append(members, join(t, b, topic, string(rune('a'+i)), s, nil))
		}
		until(t, "all", 30*time.Second, func() bool { return b.Lag(t, topic, topic) == 0 })
		until(t, "all have joined", 30*time.Second, func() bool {
			shares := map[string]int{}
			for _, m := range members {
				last, _ := m.share()
				shares[last]++
			}
			return shares["1/2"] == 2 && shares["0/2"] == 1
		})
		once(t, sinks...)
		for _, m := range members {
			if err := m.leave(t); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestDrainLongerThanTheSession: a member whose request takes longer than the session stays alive by its commits, and
// nobody does its work again.
func TestDrainLongerThanTheSession(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 2, nil)
		produce(t, b, topic, 400)
		slow, quick := newSink(t, 9*time.Second), newSink(t, time.Millisecond)
		change := func(c *consumer.Config) { c.DrainTimeout = 12 * time.Second }
		a := join(t, b, topic, "slow", slow, change)
		until(t, "the slow one works", 20*time.Second, func() bool {
			slow.mu.Lock()
			defer slow.mu.Unlock()
			return len(slow.values) > 0 && len(slow.waiting) < len(slow.values)
		})
		second := join(t, b, topic, "quick", quick, change)
		until(t, "the slow one drains", 5*time.Second, func() bool { return a.Status().Draining })
		slow.mu.Lock()
		slow.delay = time.Millisecond // from the next request on
		slow.mu.Unlock()
		until(t, "the rest is done", time.Minute, func() bool { return slow.count()+quick.count() == 400 })
		if quick.count() == 0 {
			t.Error("the quick one got nothing")
		}
		until(t, "all is committed", 20*time.Second, func() bool { return b.Lag(t, topic, topic) == 0 })
		once(t, slow, quick)
		for _, m := range []*member{a, second} {
			if err := m.leave(t); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestLeaveWhileJoining: members that are stopped while they wait to join, as when many replicas are stopped at once,
// are gone, and not awaited: the session of 40 s is longer than all that happens here.
func TestLeaveWhileJoining(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 4, nil)
		change := func(c *consumer.Config) { c.DrainTimeout, c.SessionTimeout = 20*time.Second, 40*time.Second }
		slow, quick, idle := newSink(t, time.Millisecond), newSink(t, time.Millisecond), newSink(t, time.Millisecond)
		a := join(t, b, topic, "slow", slow, change)
		second := join(t, b, topic, "quick", quick, change)
		until(t, "both have partitions", 20*time.Second,
			func() bool { return len(a.Status().Partitions) == 2 && len(second.Status().Partitions) == 2 })
		slow.mu.Lock()
		slow.delay = 6 * time.Second
		slow.mu.Unlock()
		produce(t, b, topic, 40)
		until(t, "the slow one works", 20*time.Second, func() bool {
			slow.mu.Lock()
			defer slow.mu.Unlock()
			return len(slow.values) > 0
		})
		third := join(t, b, topic, "third", idle, change)
		until(t, "the slow one drains, the quick one joins again", 10*time.Second, func() bool {
			return a.Status().Draining && len(second.Status().Partitions) == 0
		})
		slow.mu.Lock()
		slow.delay = time.Millisecond // from the next request on
		slow.mu.Unlock()
		for _, m := range []*member{second, third} {
			m.stop()
		}
		for _, m := range []*member{second, third} {
			if err := m.leave(t); err != nil {
				t.Error(err)
			}
		}
		until(t, "the slow one has all partitions", 20*time.Second, func() bool { return len(a.Status().Partitions) == 4 })
		until(t, "all is committed", 20*time.Second, func() bool { return b.Lag(t, topic, topic) == 0 })
		once(t, slow, quick, idle)
		if err := a.leave(t); err != nil {
			t.Error(err)
		}
	})
}

// TestBrokersChange: coordinator and leaders move about while records flow.
func TestBrokersChange(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t, kfake.NumBrokers(3))
	topic := b.Topic(t, 6, nil)
	produce(t, b, topic, 10_000)
	s := newSink(t, 5*time.Millisecond)
	m := join(t, b, topic, "a", s, nil)
	for round := range 8 {
		until(t, "records flow", 20*time.Second, func() bool { return s.count() > (round+1)*1000 })
		b.Fake.RehashCoordinators()
		b.Fake.ShufflePartitionLeaders()
	}
	until(t, "all", 30*time.Second, func() bool { return s.count() == 10_000 && b.Lag(t, topic, topic) == 0 })
	once(t, s)
	if err := m.leave(t); err != nil {
		t.Error(err)
	}
}

// commits lets a function answer the group's commits; nil lets Kafka do so.
func commits(b *kafkatest.Broker, code func(req *kmsg.OffsetCommitRequest) *kerr.Error) {
	b.Fake.ControlKey(int16(kmsg.OffsetCommit), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		req := kreq.(*kmsg.OffsetCommitRequest)
		failure := code(req)
		if failure == nil {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, rt := range req.Topics {
			t := kmsg.NewOffsetCommitResponseTopic()
			t.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				p := kmsg.NewOffsetCommitResponseTopicPartition()
				p.Partition, p.ErrorCode = rp.Partition, failure.Code
				t.Partitions = append(t.Partitions, p)
			}
			res.Topics = append(res.Topics, t)
		}
		return res, nil, true
	})
}

// TestEvicted: a member that learns by a commit that its partitions are gone commits nothing of that generation any
// more, settles nothing of it, and joins anew.
func TestEvicted(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 2, nil)
	var evicted, after atomic.Int32
	commits(b, func(req *kmsg.OffsetCommitRequest) *kerr.Error {
		switch {
		case req.Generation < 0 || req.Generation > 1:
			return nil
		case evicted.Load() == 0 && req.Topics[0].Partitions[0].Offset > 0:
			evicted.Store(1)
		case evicted.Load() > 0:
			after.Add(1)
		default:
			return nil
		}
		return kerr.IllegalGeneration
	})
	produce(t, b, topic, 2000)
	s := newSink(t, 20*time.Millisecond)
	m := join(t, b, topic, "a", s, func(c *consumer.Config) { c.MaxPending = 500 })
	s.forget() // what the lost generation sent comes again
	until(t, "the member is evicted", 10*time.Second, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if evicted.Load() > 0 {
			clear(s.last)
		}
		return evicted.Load() > 0
	})
	until(t, "all", 30*time.Second, func() bool {
		s.forget()
		return b.Lag(t, topic, topic) == 0
	})
	if n := after.Load(); n > 0 {
		t.Errorf("%d commits of the lost generation", n)
	}
	if _, all := m.share(); all != "2/2 0/2 2/2" {
		t.Errorf("it was told of the shares %s, want 2/2 0/2 2/2", all)
	}
	if n := m.Status().Rebalances; n < 2 {
		t.Errorf("%d generations, want a second", n)
	}
	if n := m.Status().Pending; n != 0 {
		t.Errorf("%d records still have a place", n)
	}
	if err := m.leave(t); err != nil {
		t.Error(err)
	}
}

// TestCommitsRefused: without an accepted commit nobody knows whether the partitions are still ours. Nothing more is
// sent, a hold says why, and the flow resumes when commits are accepted again.
func TestCommitsRefused(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 2, nil)
	var refuse atomic.Bool
	commits(b, func(*kmsg.OffsetCommitRequest) *kerr.Error {
		if refuse.Load() {
			return kerr.GroupAuthorizationFailed
		}
		return nil
	})
	produce(t, b, topic, 1000)
	s := newSink(t, 10*time.Millisecond)
	m := join(t, b, topic, "a", s, nil)
	until(t, "records flow", 10*time.Second, func() bool { return s.count() >= 1000 })
	refuse.Store(true)
	produce(t, b, topic, 100)
	until(t, "the hold stands", 10*time.Second, func() bool { return m.board.Stands("commit", hold.All) })
	proof, cancel := context.WithTimeout(t.Context(), 5*time.Second) // longer than half a session
	defer cancel()
	for proof.Err() == nil {
		if m.Prove(proof) == nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
	}
	late, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if m.Prove(late) == nil {
		t.Error("membership is proven without a commit")
	}
	refuse.Store(false)
	until(t, "the hold ends", 10*time.Second, func() bool {
		return !m.board.Stands("commit", hold.All) &&
			b.Lag(t, topic, topic) == 0
	})
	if err := m.Prove(t.Context()); err != nil {
		t.Error(err)
	}
	if err := m.leave(t); err != nil {
		t.Error(err)
	}
}

// TestOldRelease: the last release before 4.0 serves as well.
func TestOldRelease(t *testing.T) {
	t.Parallel()
	b := kafkatest.Kafka39(t)
	topic := b.Topic(t, 3, nil)
	produce(t, b, topic, 2000)
	msgs, _ := messages("aborted", 10)
	b.Transact(t, topic, false, msgs...)
	s := newSink(t, time.Millisecond)
	m := join(t, b, topic, "a", s, nil)
	until(t, "all", 30*time.Second, func() bool { return s.count() == 2000 && b.Lag(t, topic, topic) == 0 })
	b.Produce(t, topic, kafka.Message{Key: []byte("k"), Value: []byte("v"),
		Headers: []kafka.Header{{Key: "h", Value: []byte("x")}}})
	until(t, "one more", 10*time.Second, func() bool { return s.count() == 2001 })
	if err := m.leave(t); err != nil {
		t.Error(err)
	}
}
