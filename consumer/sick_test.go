package consumer_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
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

// What one sick thing may cost the healthy ones, and how soon it must be named.
const (
	healthyWithin     = 5 * time.Second
	coordinatorWithin = 15 * time.Second
	namedWithin       = 30 * time.Second
)

// put writes n records to one partition.
func put(t *testing.T, b *kafkatest.Broker, topic string, partition, n int, name string) {
	t.Helper()
	var msgs []kafka.Message
	for i := range n {
		msgs = append(msgs, kafka.Message{Key: []byte(name), Value: fmt.Appendf(nil, "%s-%d", name, i)})
	}
	b.ProduceTo(t, topic, partition, msgs...)
}

// settledOf counts the settled records of one partition.
func (s *sink) settledOf(topic string, partition int) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.settled {
		if strings.HasPrefix(id, fmt.Sprintf("%s-%d-", topic, partition)) {
			n++
		}
	}
	return n
}

// sick waits until the status names what is wrong with a partition, and the board has a hold of that scope; neither
// stops the whole.
func (m *member) sick(t *testing.T, topic string, partition int, cause string) consumer.Problem {
	t.Helper()
	var seen consumer.Problem
	until(t, fmt.Sprintf("%s/%d is called %s", topic, partition, cause), namedWithin, func() bool {
		for _, p := range m.Status().Partitions {
			if p.Topic == topic && p.Partition == partition && p.Problem != nil && p.Problem.Cause == cause {
				seen = *p.Problem
				return m.board.Stands("partition", fmt.Sprintf("%s/%d", topic, partition))
			}
		}
		return false
	})
	if seen.Remedy == "" || seen.Detail == "" || seen.Since.IsZero() {
		t.Errorf("the problem says too little: %+v", seen)
	}
	for _, h := range m.board.List() {
		if h.Scope == hold.All {
			t.Errorf("a hold of everything: %+v", h)
		}
	}
	return seen
}

// healed waits until nothing is wrong with any partition.
func (m *member) healed(t *testing.T) {
	t.Helper()
	until(t, "all partitions are healthy, and no hold stands", namedWithin, func() bool {
		for _, p := range m.Status().Partitions {
			if p.Problem != nil {
				return false
			}
		}
		return len(m.board.List()) == 0
	})
}

// TestLeaderless: one of two brokers dies, and a partition has no leader any more. The other one flows.
func TestLeaderless(t *testing.T) {
	t.Parallel()
	b := kafkatest.Two(t)
	const topic = "leaderless"
	b.CreateTopicOn(t, topic, nil, []int{1}, []int{2})
	b.MoveLeader(t, "__consumer_offsets", 0, 1) // TestCoordinatorDies has the other case
	put(t, b.Broker, topic, 0, 100, "first")
	put(t, b.Broker, topic, 1, 100, "first")
	s := newSink(t, time.Millisecond)
	m := join(t, b.Broker, topic, "a", s, nil)
	until(t, "all is settled", namedWithin, func() bool { return s.count() == 200 })
	b.Two.Kill()
	for i := range 5 { // while the controller notices, and afterwards
		put(t, b.Broker, topic, 0, 20, fmt.Sprint("second-", i))
		until(t, "the healthy partition flows", healthyWithin, func() bool { return s.settledOf(topic, 0) == 100+20*(i+1) })
		time.Sleep(time.Second)
	}
	m.sick(t, topic, 1, "no-leader")
	put(t, b.Broker, topic, 0, 20, "third")
	until(t, "the healthy partition flows", healthyWithin, func() bool { return s.settledOf(topic, 0) == 220 })
	b.Two.Restart(t)
	put(t, b.Broker, topic, 1, 100, "back")
	until(t, "the sick partition flows again", namedWithin, func() bool { return s.settledOf(topic, 1) == 200 })
	m.healed(t)
	once(t, s)
	m.stops(t, 3*time.Second)
}

// TestBrokerSilent: one of two brokers accepts connections and answers nothing any more. What the other one leads
// flows.
func TestBrokerSilent(t *testing.T) {
	t.Parallel()
	for name, sick := range map[string]func(*kafkatest.Node) (mend func()){
		"frozen":          func(n *kafkatest.Node) func() { n.Freeze(); return n.Thaw },
		"network is gone": func(n *kafkatest.Node) func() { n.Proxy.Freeze(); return n.Proxy.Thaw },
		"half-open":       func(n *kafkatest.Node) func() { n.Proxy.FreezeExisting(); return func() {} },
		"hangs up": func(n *kafkatest.Node) func() {
			n.Proxy.Refuse(true)
			n.Proxy.Cut()
			return func() { n.Proxy.Refuse(false) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := kafkatest.Two(t)
			const topic = "silent"
			b.CreateTopicOn(t, topic, nil, []int{1}, []int{2})
			b.MoveLeader(t, "__consumer_offsets", 0, 1)
			put(t, b.Broker, topic, 0, 100, "first")
			put(t, b.Broker, topic, 1, 100, "first")
			s := newSink(t, time.Millisecond)
			m := join(t, b.Broker, topic, "a", s, func(c *consumer.Config) { c.SessionTimeout = 15 * time.Second })
			until(t, "all is settled", namedWithin, func() bool { return s.count() == 200 })
			mend := sick(b.Two)
			for i := range 10 {
				put(t, b.Broker, topic, 0, 20, fmt.Sprint("second-", i))
				began := time.Now()
				until(t, "the healthy partition flows", healthyWithin, func() bool { return s.settledOf(topic, 0) == 100+20*(i+1) })
				if took := time.Since(began); took > time.Second {
					t.Logf("the healthy partition waited %v", took)
				}
				time.Sleep(500 * time.Millisecond)
			}
			mend()
			until(t, "the partition has its leader again", namedWithin, func() bool { return b.LeaderOf(t, topic, 1) == 2 })
			put(t, b.Broker, topic, 1, 100, "back")
			until(t, "the sick partition flows again", namedWithin, func() bool { return s.settledOf(topic, 1) == 200 })
			m.healed(t)
			once(t, s)
			m.stops(t, 5*time.Second)
		})
	}
}

// TestLeadersMove: partitions move to another leader and back while records flow.
func TestLeadersMove(t *testing.T) {
	t.Parallel()
	b := kafkatest.Two(t)
	const topic = "moving"
	b.CreateTopicOn(t, topic, nil, []int{1, 2}, []int{2, 1})
	s := newSink(t, time.Millisecond)
	m := join(t, b.Broker, topic, "a", s, nil)
	for round := range 4 {
		b.MoveLeader(t, topic, 0, 1+round%2)
		b.MoveLeader(t, topic, 1, 2-round%2)
		put(t, b.Broker, topic, 0, 50, fmt.Sprint("round-", round))
		put(t, b.Broker, topic, 1, 50, fmt.Sprint("round-", round))
		until(t, "records flow", healthyWithin, func() bool { return s.count() == 100*(round+1) })
	}
	once(t, s)
	m.stops(t, 3*time.Second)
}

// TestCoordinatorDies: the broker that coordinates the group dies, and records flow again.
func TestCoordinatorDies(t *testing.T) {
	t.Parallel()
	b := kafkatest.Two(t)
	const topic = "coordinated"
	b.CreateTopicOn(t, topic, nil, []int{1})
	b.MoveLeader(t, "__consumer_offsets", 0, 2)
	put(t, b.Broker, topic, 0, 100, "first")
	s := newSink(t, time.Millisecond)
	m := join(t, b.Broker, topic, "a", s, func(c *consumer.Config) { c.SessionTimeout = 15 * time.Second })
	until(t, "all is settled", namedWithin, func() bool { return s.count() == 100 })
	b.Two.Kill()
	put(t, b.Broker, topic, 0, 100, "second")
	until(t, "records flow with another coordinator", coordinatorWithin, func() bool { return s.count() == 200 })
	until(t, "all is committed", coordinatorWithin, func() bool { return b.Lag(t, topic, topic) == 0 })
	once(t, s)
	m.stops(t, 5*time.Second)
}

// TestErrorInAnswer: a broker refuses one partition of an answer, and goes on doing so. Those behind it do not starve.
func TestErrorInAnswer(t *testing.T) {
	t.Parallel()
	for cause, err := range map[string]*kerr.Error{"no-leader": kerr.NotLeaderForPartition,
		"storage":      kerr.KafkaStorageError,
		"unauthorized": kerr.TopicAuthorizationFailed, "missing": kerr.UnknownTopicOrPartition, "error": kerr.UnknownServerError} {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			b := kafkatest.Fake(t)
			topic := b.Topic(t, 4, nil)
			b.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Partitions: []int32{1}, Err: err, Count: -1})
			s := newSink(t, time.Millisecond)
			m := join(t, b, topic, "a", s, nil)
			until(t, "it has its partitions", namedWithin, func() bool { return len(m.Status().Partitions) == 4 })
			for partition := range 4 {
				put(t, b, topic, partition, 100, "some")
			}
			until(t, "the healthy partitions flow", healthyWithin, func() bool { return s.count() == 300 })
			if seen := m.sick(t, topic, 1, cause); seen.Offset != 0 {
				t.Errorf("it is sick at offset %d, want 0", seen.Offset)
			}
			put(t, b, topic, 3, 100, "more")
			until(t, "the healthy partitions flow", healthyWithin, func() bool { return s.count() == 400 })
			m.stops(t, 3*time.Second)
		})
	}
}

// TestErrorElsewhere: one partition fails in another request than the fetch: where the group left off, where the log
// begins, who leads it, or its commit. The others flow, and are committed.
func TestErrorElsewhere(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct {
		key   kmsg.Key
		err   *kerr.Error
		cause string
	}{
		"the committed offset": {kmsg.OffsetFetch, kerr.UnstableOffsetCommit, "error"},
		"the first offset":     {kmsg.ListOffsets, kerr.LeaderNotAvailable, "no-leader"},
		"the leader":           {kmsg.Metadata, kerr.LeaderNotAvailable, "no-leader"},
		"the commit":           {kmsg.OffsetCommit, kerr.TopicAuthorizationFailed, "unauthorized"},
		"its commit's size":    {kmsg.OffsetCommit, kerr.OffsetMetadataTooLarge, "error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := kafkatest.Fake(t)
			topic := b.Topic(t, 4, nil)
			for partition := range 4 {
				put(t, b, topic, partition, 100, "some")
			}
			faults := b.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{f.key}, Topic: topic, Partitions: []int32{1}, Err: f.err,
				Count: -1})
			s := newSink(t, time.Millisecond)
			m := join(t, b, topic, "a", s, nil)
			until(t, "it has its partitions", namedWithin, func() bool { return len(m.Status().Partitions) == 4 })
			until(t, "the healthy partitions flow", healthyWithin, func() bool {
				return s.settledOf(topic, 0)+s.settledOf(topic, 2)+s.settledOf(topic, 3) == 300
			})
			until(t, "the healthy partitions are committed", healthyWithin, func() bool {
				committed := b.Committed(t, topic, topic)[topic]
				return committed[0] == 100 && committed[2] == 100 && committed[3] == 100
			})
			m.sick(t, topic, 1, f.cause)
			faults.Remove()
			until(t, "the sick one flows, too", namedWithin,
				func() bool { return s.count() == 400 && b.Lag(t, topic, topic) == 0 })
			m.healed(t)
			once(t, s)
			m.stops(t, 3*time.Second)
		})
	}
}

// TestCorrupt: a byte of a partition's log has flipped. The other partitions flow, and what lies before the broken
// batch is delivered, too.
func TestCorrupt(t *testing.T) {
	t.Parallel()
	b := kafkatest.Kafka(t)
	topic := b.Topic(t, 3, nil)
	for partition := range 3 {
		put(t, b, topic, partition, 50, "some")
		put(t, b, topic, partition, 50, "more") // another batch
	}
	b.Corrupt(t, topic, 1)
	s := newSink(t, time.Millisecond)
	m := join(t, b, topic, "a", s, nil)
	until(t, "it has its partitions", namedWithin, func() bool { return len(m.Status().Partitions) == 3 })
	until(t, "the healthy partitions flow", healthyWithin, func() bool {
		return s.settledOf(topic, 0) == 100 && s.settledOf(topic, 2) == 100
	})
	seen := m.sick(t, topic, 1, "corrupt")
	if n := int64(s.settledOf(topic, 1)); n < 50 || seen.Offset != n {
		t.Errorf("it is sick at offset %d, and %d records before it were delivered, want at least 50", seen.Offset, n)
	}
	put(t, b, topic, 2, 100, "later")
	until(t, "the healthy partitions flow", healthyWithin, func() bool { return s.settledOf(topic, 2) == 200 })
	once(t, s)
	m.stops(t, 3*time.Second)
}

// TestCorruptAnywhere: whichever field of a batch a flipped byte hits, its partition is named, and the others flow.
func TestCorruptAnywhere(t *testing.T) {
	t.Parallel()
	b := kafkatest.Kafka(t)
	places := map[int]string{0: "base offset, high", 7: "base offset, low", 8: "length, high", 11: "length, low",
		16: "magic", 17: "checksum",
		22: "attributes", 26: "last offset delta", 60: "number of records", 61: "length of the first record",
		-1: "the last byte"}
	topic := b.Topic(t, len(places)+1, nil)
	for partition := range len(places) + 1 {
		put(t, b, topic, partition, 50, "some")
		put(t, b, topic, partition, 50, "more")
	}
	at := slices.Sorted(maps.Keys(places))
	for i, place := range at {
		b.CorruptAt(t, topic, i+1, place)
	}
	s := newSink(t, time.Millisecond)
	m := join(t, b, topic, "a", s, nil)
	until(t, "it has its partitions", namedWithin, func() bool { return len(m.Status().Partitions) == len(places)+1 })
	for i := range 5 {
		put(t, b, topic, 0, 20, fmt.Sprint("later-", i))
		until(t, "the healthy partition flows", healthyWithin, func() bool { return s.settledOf(topic, 0) == 100+20*(i+1) })
		time.Sleep(2 * time.Second)
	}
	said := map[int]consumer.PartitionStatus{}
	until(t, "each corrupt partition is named", namedWithin, func() bool {
		for _, p := range m.Status().Partitions {
			if said[p.Partition] = p; p.Partition > 0 && p.Problem == nil {
				return false
			}
		}
		return true
	})
	for i, place := range at {
		n, p := s.settledOf(topic, i+1), said[i+1].Problem
		if n != 50 || p.Offset != 50 || p.Cause != "corrupt" && p.Cause != "error" {
			t.Errorf("%s: %d records were delivered; %+v", places[place], n, p)
		}
	}
	once(t, s)
	m.stops(t, 3*time.Second)
}

// TestTopicDeleted: of two topics one is deleted. The other one flows, a stop is clean, nothing creates the topic
// again, though the broker would, and it is consumed when it is there again.
func TestTopicDeleted(t *testing.T) {
	t.Parallel()
	kafka := func(t *testing.T) *kafkatest.Broker { return kafkatest.Two(t, "auto.create.topics.enable=true").Broker }
	kfake := func(t *testing.T) *kafkatest.Broker { return kafkatest.Fake(t, kfake.AllowAutoTopicCreation()) }
	for kind, start := range map[string]func(*testing.T) *kafkatest.Broker{"kfake": kfake, "kafka": kafka} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b := start(t)
			one, two := b.Topic(t, 2, nil), "going-"+fmt.Sprint(time.Now().UnixNano())
			b.CreateTopic(t, two, 2, nil)
			both := func(c *consumer.Config) { c.Topics = []string{one, two} }
			sa, sb := newSink(t, time.Millisecond), newSink(t, time.Millisecond)
			m := join(t, b, one, "a", sa, both)
			put(t, b, one, 0, 100, "first")
			put(t, b, two, 0, 100, "first")
			until(t, "both flow", namedWithin, func() bool { return sa.count() == 200 })
			b.DeleteTopic(t, two)
			put(t, b, one, 0, 100, "second")
			until(t, "the other topic flows", healthyWithin, func() bool { return sa.settledOf(one, 0) == 200 })
			until(t, "the missing topic is named", namedWithin, func() bool { return m.board.Stands("topic", two) })
			second := join(t, b, one, "b", sb, both) // a rebalance
			until(t, "the second member has a share", namedWithin, func() bool { return len(second.Status().Partitions) == 1 })
			put(t, b, one, 0, 100, "third")
			put(t, b, one, 1, 100, "third")
			until(t, "the other topic flows", healthyWithin, func() bool { return sa.count()+sb.count() == 500 })
			if n := len(b.Partitions(t, two)); n != 0 {
				t.Errorf("the deleted topic was created again with %d partitions", n)
			}
			second.stops(t, 5*time.Second)
			b.CreateTopic(t, two, 1, nil)
			sa.forget()
			put(t, b, two, 0, 50, "again")
			until(t, "the topic flows again", namedWithin, func() bool { return strings.Contains(sa.seenValues(), "again-49") })
			m.healed(t)
			m.stops(t, 5*time.Second)
		})
	}
}

func (s *sink) seenValues() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.values, " ")
}

// TestTopicDeletedWhileFetching: the stop is clean though a topic was deleted a moment before.
func TestStopAfterDeletion(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		one, two := b.Topic(t, 1, nil), b.Topic(t, 1, nil)
		s := newSink(t, 200*time.Millisecond)
		m := join(t, b, one, "a", s, func(c *consumer.Config) { c.Topics = []string{one, two} })
		put(t, b, one, 0, 100, "one")
		put(t, b, two, 0, 100, "two")
		until(t, "records flow", namedWithin, func() bool { return s.count() > 0 })
		b.DeleteTopic(t, two)
		m.stops(t, 8*time.Second)
	})
}

// TestProveWithoutPartitions: a member that has no partitions has nothing to prove, and listens to its context.
func TestProveWithoutPartitions(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, nil)
		a, c := join(t, b, topic, "a", newSink(t, 0), nil), join(t, b, topic, "b", newSink(t, 0), nil)
		until(t, "both have joined", namedWithin, func() bool {
			x, _ := a.share()
			y, _ := c.share()
			return x+y == "1/10/1" || x+y == "0/11/1"
		})
		if x, _ := c.share(); x == "0/1" {
			a = c
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		asked, back := 0, make(chan struct{})
		go func() {
			defer close(back)
			for ; ctx.Err() == nil && asked < 1000; asked++ {
				if a.Prove(ctx) == nil {
					time.Sleep(time.Millisecond)
				}
			}
		}()
		select {
		case <-back:
		case <-time.After(5 * time.Second):
			t.Fatal("Prove has not returned 3 s after its context ended")
		}
	})
}

// TestRemoved: an administrator removes a member. Within two heartbeats it proves nothing any more, so that it starts
// no request beside those of the next owner.
func TestRemoved(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, nil)
		put(t, b, topic, 0, 100, "some")
		slow := newSink(t, time.Millisecond)
		defaults := func(c *consumer.Config) { c.SessionTimeout, c.HeartbeatInterval = 0, 0 }
		a := join(t, b, topic, "removed", slow, defaults)
		until(t, "records flow", namedWithin, func() bool { return slow.count() == 100 && b.Lag(t, topic, topic) == 0 })
		slow.mu.Lock()
		slow.delay = 30 * time.Second // what it has now is out when it is removed
		slow.mu.Unlock()
		put(t, b, topic, 0, 100, "more")
		until(t, "a request is out", namedWithin, func() bool { return strings.Contains(slow.seenValues(), "more-99") })
		b.RemoveMembers(t, topic, "removed")
		removed := time.Now()
		next := join(t, b, topic, "next", newSink(t, time.Millisecond), defaults)
		last := removed
		for time.Since(removed) < 6*time.Second {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if a.Proven() || a.Prove(ctx) == nil {
				last = time.Now()
			}
			cancel()
			if a.Status().Rebalances > 1 { // it has joined again
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if after := last.Sub(removed); after > 2*time.Second {
			t.Errorf("it proved its membership for %v after it was removed", after)
		}
		for _, m := range []*member{a, next} {
			m.end()
			m.stop()
			if err := <-m.done; err != nil {
				t.Log("it ended with a request out:", err)
			}
			m.worker.Wait()
		}
	})
}

// TestPartitionsAddedBehindOldMetadata: partitions were added, but the broker that the group's leader asks does not
// know them yet, so that the group is divided without them. They are assigned within ten seconds.
func TestPartitionsAddedBehindOldMetadata(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, nil)
	b.AddPartitions(t, topic, 4)
	var old atomic.Bool // while the group divides the partitions for the first time
	divided := false
	b.Fake.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		old.Store(!divided)
		return nil, nil, false
	})
	b.Fake.ControlKey(int16(kmsg.SyncGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		old.Store(false)
		divided = true
		return nil, nil, false
	})
	b.Fake.ControlKey(int16(kmsg.Metadata), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		if !old.Load() {
			return nil, nil, false
		}
		req := kreq.(*kmsg.MetadataRequest)
		res := req.ResponseKind().(*kmsg.MetadataResponse)
		res.Brokers = append(res.Brokers, oldBroker(b))
		for range req.Topics {
			rt := kmsg.NewMetadataResponseTopic()
			rt.Topic = &topic
			rt.Partitions = append(rt.Partitions, kmsg.NewMetadataResponseTopicPartition())
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
	m := join(t, b, topic, "a", newSink(t, time.Millisecond), nil)
	until(t, "the group is divided by old metadata", namedWithin, func() bool {
		_, all := m.share()
		return strings.HasPrefix(all, "1/4")
	})
	until(t, "the added partitions are assigned", 10*time.Second, func() bool { return len(m.Status().Partitions) == 4 })
	m.stops(t, 5*time.Second)
}

func oldBroker(b *kafkatest.Broker) kmsg.MetadataResponseBroker {
	host, port, _ := net.SplitHostPort(b.Addrs[0])
	broker := kmsg.NewMetadataResponseBroker()
	broker.Host = host
	_, _ = fmt.Sscan(port, &broker.Port)
	return broker
}

// TestHalfOpen: the connections that are open when the stop comes pass nothing any more. The drain and the last commit
// are clean, and nothing is done twice.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 2, nil)
		proxy := kafkatest.NewProxy(t, b.Addrs[0])
		through := func(c *consumer.Config) {
			c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, proxy.Addr())
			}
			c.SessionTimeout = 15 * time.Second
		}
		put(t, b, topic, 0, 100, "some")
		s := newSink(t, time.Millisecond)
		m := join(t, b, topic, "a", s, through)
		until(t, "records flow", namedWithin, func() bool { return s.count() == 100 && b.Lag(t, topic, topic) == 0 })
		s.mu.Lock()
		s.delay = 2 * time.Second
		s.mu.Unlock()
		put(t, b, topic, 1, 100, "more")
		until(t, "a request is out", namedWithin, func() bool { return strings.Contains(s.seenValues(), "more-99") })
		proxy.FreezeExisting()
		m.stops(t, 15*time.Second)
		if lag := b.Lag(t, topic, topic); lag != int64(200-s.count()) {
			t.Errorf("%d records are settled, and %d are not committed", s.count(), lag)
		}
	})
}

// TestForeignMember: another program in the group is named, gets no partitions from us, and stops nothing of ours; one
// whose metadata nobody can read, too.
func TestForeignMember(t *testing.T) {
	t.Parallel()
	ours := func(note []byte) bool { return strings.HasPrefix(string(note), "from ") }
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		for name, intrude := range map[string]func(*kafkatest.Broker, string) func(){
			"a consumer": func(b *kafkatest.Broker, topic string) func() {
				return b.Foreign(t, topic, []string{topic}, "intruder")
			},
			"unreadable":        func(b *kafkatest.Broker, topic string) func() { return b.Unreadable(t, topic, topic, "intruder") },
			"a consumer, first": nil,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				topic := b.Topic(t, 4, nil)
				stop := func() {}
				if intrude == nil {
					stop = b.Foreign(t, topic, []string{topic}, "intruder")
					until(t, "the other program consumes", namedWithin, func() bool { return b.Coordinator(t, topic) >= 0 })
					time.Sleep(time.Second)
				}
				s := newSink(t, time.Millisecond)
				m := join(t, b, topic, "a", s, func(c *consumer.Config) { c.Ours = ours })
				until(t, "it joins", namedWithin, func() bool { return m.Status().Joined })
				if intrude != nil {
					until(t, "it has the partitions", namedWithin, func() bool { return len(m.Status().Partitions) == 4 })
					stop = intrude(b, topic)
				}
				until(t, "the other program is named", namedWithin, func() bool {
					return slices.ContainsFunc(m.board.List(), func(h hold.Hold) bool {
						return h.Reason == "group" && h.Scope == topic && strings.Contains(h.Detail, "intruder") &&
							strings.Contains(h.Remedy, "group of its own")
					})
				})
				if intrude != nil { // we lead, and it gets nothing
					produce(t, b, topic, 400)
					until(t, "all records come to us", namedWithin, func() bool { return s.count() == 400 })
				}
				stop()
				until(t, "the hold ends", namedWithin, func() bool { return !m.board.Stands("group", topic) })
				produce(t, b, topic, 100)
				until(t, "records come to us", namedWithin, func() bool { return b.Lag(t, topic, topic) == 0 })
				m.stops(t, 5*time.Second)
			})
		}
	})
}

// TestOpenTransaction: a transaction that stays open is named, with the offset; what lies behind it waits in its
// partition only.
func TestOpenTransaction(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 2, nil)
		put(t, b, topic, 0, 50, "before")
		commit, _ := b.BeginTransaction(t, topic, 0, 1)
		put(t, b, topic, 0, 100, "behind")
		s := newSink(t, time.Millisecond)
		m := join(t, b, topic, "a", s, nil)
		seen := m.sick(t, topic, 0, "open-transaction")
		if seen.Offset != 50 || !strings.Contains(seen.Detail, "an open transaction holds "+topic+"/0 at offset 50") ||
			!strings.Contains(seen.Remedy, "find-hanging") {
			t.Errorf("it says %+v", seen)
		}
		put(t, b, topic, 1, 100, "beside")
		until(t, "the other partition flows", healthyWithin, func() bool { return s.settledOf(topic, 1) == 100 })
		commit()
		until(t, "what was held back flows", namedWithin, func() bool { return s.settledOf(topic, 0) == 151 })
		m.healed(t)
		m.stops(t, 5*time.Second)
	})
}

// TestSpread: topics of one partition each are spread over the members.
func TestSpread(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		var topics []string
		for range 6 {
			topics = append(topics, b.Topic(t, 1, nil))
		}
		var members []*member
		for _, name := range []string{"a", "b", "c"} {
			members = append(members, join(t, b, topics[0], name, newSink(t, time.Millisecond),
				func(c *consumer.Config) { c.Topics = topics }))
		}
		until(t, "each has two", namedWithin, func() bool {
			for _, m := range members {
				if len(m.Status().Partitions) != 2 {
					return false
				}
			}
			return true
		})
		for _, m := range members {
			m.stops(t, 10*time.Second)
		}
	})
}
