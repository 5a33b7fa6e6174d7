package consumer

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// eachWire runs a test against the embedded broker and both releases of Apache Kafka.
func eachWire(t *testing.T, run func(t *testing.T, b *kafkatest.Broker)) {
	t.Helper()
	kafkatest.Each(t, run)
	t.Run("kafka39", func(t *testing.T) { run(t, kafkatest.Kafka39(t)) })
}

func wireTo(t *testing.T, b *kafkatest.Broker) *wire {
	t.Helper()
	via := &kafka.Transport{ClientID: "tasksink", MetadataTTL: time.Second}
	t.Cleanup(via.CloseIdleConnections)
	return newWire(via, kafka.TCP(b.Addrs...), "tasksink")
}

// topic asks for one topic.
func (w *wire) topic(t *testing.T, name string) metadataTopic {
	t.Helper()
	_, topics, err := w.metadata(t.Context(), []string{name})
	if err != nil || len(topics) != 1 || topics[0].name != name {
		t.Fatalf("metadata of %s: %+v, %v", name, topics, err)
	}
	slices.SortFunc(topics[0].partitions, func(x, y metadataPartition) int { return int(x.id - y.id) }) // 3.9 has no order
	return topics[0]
}

// one fetches one partition.
func (w *wire) one(t *testing.T, topic metadataTopic, p fetchPartition) (fetchAnswer, fetchedPartition) {
	t.Helper()
	p.maxBytes = 1 << 20
	q := &fetchQuery{minBytes: 1, maxBytes: 1 << 20,
		topics: []fetchTopic{{topic.name, topic.id, []fetchPartition{p}}}}
	answer, err := w.fetch(t.Context(), int(topic.partitions[p.id].leader), q, nil)
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	if len(answer.topics) != 1 || answer.topics[0].name != topic.name || len(answer.topics[0].partitions) != 1 ||
		answer.topics[0].partitions[0].id != p.id {
		t.Fatalf("fetch: %+v", answer.topics)
	}
	return answer, answer.topics[0].partitions[0]
}

func letters(n int) (msgs []kafka.Message) {
	for i := range n {
		msgs = append(msgs, kafka.Message{Value: fmt.Appendf(nil, "record %d", i)})
	}
	return msgs
}

// TestWireTopicID: a topic has an id, and another one after it was deleted and created again. A fetch by id sees the
// difference, a fetch by name does not.
func TestWireTopicID(t *testing.T) {
	t.Parallel()
	eachWire(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		w, name := wireTo(t, b), b.Topic(t, 2, nil)
		b.ProduceTo(t, name, 1, letters(100)...)
		before := w.topic(t, name)
		if !before.id.known() || before.err != nil || before.internal || len(before.partitions) != 2 {
			t.Fatalf("metadata: %+v", before)
		}
		for i, p := range before.partitions {
			if p.err != nil || int(p.id) != i || p.leader < 0 || p.epoch < 0 {
				t.Errorf("partition %d: %+v", i, p)
			}
		}
		byID, gotByID := w.one(t, before, fetchPartition{id: 1, leaderEpoch: before.partitions[1].epoch, lastEpoch: -1})
		nameless := before
		nameless.id = topicID{}
		byName, gotByName := w.one(t, nameless, fetchPartition{id: 1, leaderEpoch: before.partitions[1].epoch, lastEpoch: -1})
		if byID.version != 13 || byName.version != 12 {
			t.Errorf("the versions are %d by id, %d by name", byID.version, byName.version)
		}
		if gotByID.err != nil || gotByName.err != nil || len(gotByID.records) == 0 ||
			!bytes.Equal(gotByID.records, gotByName.records) || gotByID.highWatermark != 100 || gotByID.lastStable != 100 ||
			gotByID.logStart != 0 {
			t.Errorf("by id %+v, by name %+v", gotByID, gotByName)
		}
		b.DeleteTopic(t, name)
		if gone := w.topic(t, name); !errors.Is(gone.err, kafka.UnknownTopicOrPartition) {
			t.Errorf("metadata of a deleted topic: %+v", gone)
		}
		stale := func(when string) {
			t.Helper()
			_, p := w.one(t, before, fetchPartition{id: 1, leaderEpoch: -1, lastEpoch: -1})
			if !errors.Is(p.err, kafka.UnknownTopicID) && !errors.Is(p.err, kafka.InconsistentTopicID) {
				t.Errorf("fetch by the old id, %s: %+v", when, p)
			}
			t.Logf("fetch by the old id, %s: %v", when, p.err)
		}
		stale("the topic deleted")
		b.CreateTopic(t, name, 2, nil)
		b.ProduceTo(t, name, 1, letters(150)...)
		after := w.topic(t, name)
		if !after.id.known() || after.id == before.id {
			t.Errorf("the id was %s, and is %s", before.id, after.id)
		}
		stale("the topic created again")
		nameless.partitions = after.partitions
		if _, p := w.one(t, nameless, fetchPartition{id: 1, offset: 100, leaderEpoch: -1, lastEpoch: -1}); p.err != nil ||
			p.highWatermark != 150 {
			t.Errorf("fetch by name at the old position: %+v", p)
		}
	})
}

// TestWireMissingTopic: a missing topic is one topic's error. It is not created.
func TestWireMissingTopic(t *testing.T) {
	t.Parallel()
	eachWire(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		w, there := wireTo(t, b), b.Topic(t, 1, nil)
		for range 2 {
			_, topics, err := w.metadata(t.Context(), []string{"is-not-there", there})
			slices.SortFunc(topics, func(x, y metadataTopic) int { return len(x.name) - len(y.name) })
			if err != nil || len(topics) != 2 || !errors.Is(topics[0].err, kafka.UnknownTopicOrPartition) ||
				topics[1].err != nil {
				t.Errorf("%+v, %v", topics, err)
			}
		}
		if _, topics, err := w.metadata(t.Context(), nil); err != nil || len(topics) != 0 {
			t.Errorf("no topic asked for, and %+v, %v answered", topics, err)
		}
	})
}

// TestWireEpochs: a broker knows where an epoch ends, and refuses a leader epoch that is not its own.
func TestWireEpochs(t *testing.T) {
	t.Parallel()
	eachWire(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		w, name := wireTo(t, b), b.Topic(t, 2, nil)
		b.ProduceTo(t, name, 1, letters(42)...)
		topic := w.topic(t, name)
		now := topic.partitions[1].epoch
		ends, err := w.epochEnds(t.Context(), int(topic.partitions[1].leader), []epochQuery{
			{name, 1, now, now}, {name, 1, -1, now}, {name, 0, -1, now},
			{name, 1, now + 1, now}, {"is-not-there", 0, -1, 0}})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, e := range ends {
			got[fmt.Sprintf("%v %d: %d ends at %d, %v", e.topic == name, e.partition, e.epoch, e.end, e.err)] = true
		}
		for _, want := range []string{
			fmt.Sprintf("true 1: %d ends at 42, <nil>", now), fmt.Sprintf("true 0: %d ends at 0, <nil>", now),
			fmt.Sprintf("true 1: -1 ends at -1, %v", kafka.UnknownLeaderEpoch),
			fmt.Sprintf("false 0: -1 ends at -1, %v", kafka.UnknownTopicOrPartition)} {
			if !got[want] {
				t.Errorf("%q is not among %v", want, got)
			}
		}
		if _, p := w.one(t, topic, fetchPartition{id: 1, leaderEpoch: now + 1, lastEpoch: -1}); !errors.Is(p.err,
			kafka.UnknownLeaderEpoch) {
			t.Errorf("fetch with a newer leader epoch: %+v", p)
		}
	})
}

// TestWireLeaderMoves: each election counts the epoch up. The old epoch ends where the new leader began, and is fenced.
func TestWireLeaderMoves(t *testing.T) {
	t.Parallel()
	moves := func(t *testing.T, b *kafkatest.Broker, name string, move func()) {
		t.Helper()
		w := wireTo(t, b)
		b.Produce(t, name, letters(30)...)
		before := w.topic(t, name).partitions[0]
		move()
		b.Produce(t, name, letters(20)...)
		var topic metadataTopic
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			topic = w.topic(t, name)
			if topic.partitions[0].epoch > before.epoch && topic.partitions[0].leader != before.leader {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the leader was %+v, and is %+v", before, topic.partitions[0])
			}
		}
		after := topic.partitions[0]
		ends, err := w.epochEnds(t.Context(), int(after.leader), []epochQuery{
			{name, 0, after.epoch, before.epoch}, {name, 0, after.epoch, after.epoch}, {name, 0, before.epoch, before.epoch}})
		if err != nil || len(ends) != 3 {
			t.Fatalf("%+v, %v", ends, err)
		}
		if e := ends[0]; e.err != nil || e.epoch != before.epoch || e.end != 30 {
			t.Errorf("the old epoch: %+v", e)
		}
		if e := ends[1]; e.err != nil || e.epoch != after.epoch || e.end != 50 {
			t.Errorf("the new epoch: %+v", e)
		}
		if e := ends[2]; !errors.Is(e.err, kafka.FencedLeaderEpoch) {
			t.Errorf("with the old leader's epoch: %+v", e)
		}
		if _, p := w.one(t, topic, fetchPartition{leaderEpoch: before.epoch, lastEpoch: -1}); !errors.Is(p.err,
			kafka.FencedLeaderEpoch) {
			t.Errorf("fetch with the old leader's epoch: %+v", p)
		}
		if b.Kind == "kfake" {
			return // it does not compare logs
		}
		for _, tc := range []struct {
			offset int64
			last   int32
			want   divergence
		}{
			{30, before.epoch, divergence{}},
			{50, after.epoch, divergence{}},
			{40, before.epoch, divergence{true, before.epoch, 30}},
			{60, after.epoch, divergence{true, after.epoch, 50}},
		} {
			_, p := w.one(t, topic, fetchPartition{offset: tc.offset, leaderEpoch: after.epoch, lastEpoch: tc.last})
			if p.err != nil || p.diverging != tc.want {
				t.Errorf("fetch at %d behind a record of epoch %d: %+v", tc.offset, tc.last, p)
			}
		}
	}
	t.Run("kfake", func(t *testing.T) {
		t.Parallel()
		const name = "tasks"
		b := kafkatest.Fake(t, kfake.NumBrokers(2), kfake.SeedTopics(1, name))
		moves(t, b, name, func() {
			other := int32(1 - b.LeaderOf(t, name, 0))
			if err := b.Fake.MoveTopicPartition(name, 0, other); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		p := kafkatest.Two(t)
		const name = "tasks"
		p.CreateTopicOn(t, name, nil, []int{1, 2})
		moves(t, p.Broker, name, func() { p.MoveLeader(t, name, 0, 2) })
	})
}

// TestWireTransactions: only what is committed is served; aborted transactions are named.
func TestWireTransactions(t *testing.T) {
	t.Parallel()
	eachWire(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		w, name := wireTo(t, b), b.Topic(t, 1, nil)
		b.Produce(t, name, letters(3)...)
		b.Transact(t, name, false, letters(2)...)
		commit, _ := b.BeginTransaction(t, name, 0, 4)
		topic := w.topic(t, name)
		_, p := w.one(t, topic, fetchPartition{leaderEpoch: -1, lastEpoch: -1})
		if p.err != nil || p.lastStable != 6 || p.highWatermark != 10 || len(p.aborted) != 1 || p.aborted[0].first != 3 {
			t.Errorf("%+v", p)
		}
		_, p = w.one(t, topic, fetchPartition{offset: 6, leaderEpoch: -1, lastEpoch: -1})
		if p.err != nil || len(p.records) != 0 {
			t.Errorf("an open transaction: %+v", p)
		}
		commit()
	})
}

// TestWireSeveral: one request for several topics and partitions, in a buffer that is used again.
func TestWireSeveral(t *testing.T) {
	t.Parallel()
	eachWire(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		w := wireTo(t, b)
		q := &fetchQuery{minBytes: 1, maxBytes: 1 << 20}
		leader := 0
		for range 2 {
			name := b.Topic(t, 2, nil)
			b.ProduceTo(t, name, 0, letters(5)...)
			b.ProduceTo(t, name, 1, letters(7)...)
			topic := w.topic(t, name)
			leader = int(topic.partitions[0].leader)
			q.topics = append(q.topics, fetchTopic{name, topic.id, []fetchPartition{
				{id: 0, leaderEpoch: -1, lastEpoch: -1, maxBytes: 1 << 20}, {id: 1, leaderEpoch: -1, lastEpoch: -1, maxBytes: 1 << 20}}})
		}
		buffer := make([]byte, 1<<16)
		for range 3 {
			answer, err := w.fetch(t.Context(), leader, q, buffer)
			if err != nil {
				t.Fatal(err)
			}
			if &answer.buffer[0] != &buffer[0] {
				t.Error("the buffer was not used")
			}
			seen := map[string]int64{}
			for _, topic := range answer.topics {
				for _, p := range topic.partitions {
					seen[fmt.Sprint(topic.name, "/", p.id)] = p.highWatermark
					if p.err != nil || len(p.records) == 0 {
						t.Errorf("%s/%d: %+v", topic.name, p.id, p)
					}
				}
			}
			for _, topic := range q.topics {
				if seen[topic.name+"/0"] != 5 || seen[topic.name+"/1"] != 7 {
					t.Errorf("the logs end at %v", seen)
				}
			}
		}
		if _, err := w.fetch(t.Context(), 99, q, nil); !errors.Is(err, kafka.BrokerNotAvailable) {
			t.Errorf("a broker that is not there: %v", err)
		}
	})
}

// TestWireOldBrokers: an older broker is asked in its own version: without topic ids, and without epochs if need be.
func TestWireOldBrokers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		speaks *kversion.Versions
		fetch  int16
		ids    bool
		epochs bool
	}{
		{"1.0", kversion.V1_0_0(), 6, false, false},
		{"2.0", kversion.V2_0_0(), 8, false, false},
		{"2.3", kversion.V2_3_0(), 11, false, true},
		{"2.7", kversion.V2_7_0(), 12, false, true},
		{"2.8", kversion.V2_8_0(), 12, true, true},
		{"3.1", kversion.V3_1_0(), 13, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			const name = "tasks"
			b := kafkatest.Fake(t, kfake.MaxVersions(tc.speaks), kfake.SeedTopics(1, name))
			b.Produce(t, name, letters(9)...)
			w := wireTo(t, b)
			topic := w.topic(t, name)
			if topic.id.known() != tc.ids || topic.partitions[0].err != nil || topic.partitions[0].epoch >= 0 != tc.epochs {
				t.Errorf("metadata: %+v", topic)
			}
			answer, p := w.one(t, topic, fetchPartition{leaderEpoch: topic.partitions[0].epoch, lastEpoch: -1})
			if answer.version != tc.fetch || p.err != nil || p.highWatermark != 9 || len(p.records) == 0 {
				t.Errorf("fetch in version %d: %+v", answer.version, p)
			}
			ends, err := w.epochEnds(t.Context(), int(topic.partitions[0].leader), []epochQuery{{name, 0, -1, 0}})
			if tc.epochs && (err != nil || len(ends) != 1 || ends[0].err != nil) ||
				!tc.epochs && !errors.Is(err, kafka.UnsupportedVersion) {
				t.Errorf("ends of epochs: %+v, %v", ends, err)
			}
		})
	}
}

// TestWireLook: the layout has each topic's id and each leader's epoch, and what is missing is a topic's own error.
func TestWireLook(t *testing.T) {
	t.Parallel()
	eachWire(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		name := b.Topic(t, 2, nil)
		topic := wireTo(t, b).topic(t, name)
		c, err := New(Config{Connection: broker.Connection{Brokers: b.Addrs, ClientID: "tasksink"},
			Topics: []string{name, "is-not-there"}, Group: name, MaxPending: 1, MaxPendingBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer c.transport.CloseIdleConnections()
		found, err := c.look(t.Context(), c.cfg.Topics)
		if err != nil {
			t.Fatal(err)
		}
		if found[name].id != topic.id || !topic.id.known() || len(found) != 2 || len(found[name].leaders) != 2 {
			t.Errorf("%+v, and the topic is %+v", found, topic)
		}
		for _, p := range topic.partitions {
			want := leading{broker: int(p.leader), epoch: p.epoch}
			if at := found.leader(name, int(p.id)); at != want {
				t.Errorf("partition %d is led by %+v, want %+v", p.id, at, want)
			}
		}
		if err := found["is-not-there"].err; !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Errorf("the topic that is not there: %v", err)
		}
	})
}
