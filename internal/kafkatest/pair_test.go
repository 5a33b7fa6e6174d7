package kafkatest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tasksink/tasksink/internal/kafkatest"
)

// TestPair: each fault that a test can make of two brokers does what it says, and the test's own tools work meanwhile.
func TestPair(t *testing.T) {
	began := time.Now()
	p := kafkatest.Two(t)
	t.Logf("two brokers were up after %v", time.Since(began))
	const offsets = "__consumer_offsets"

	t.Run("leaders", func(t *testing.T) {
		p.CreateTopicOn(t, "leaders", map[string]string{"retention.ms": "-1"}, []int{1}, []int{2})
		if one, two := p.LeaderOf(t, "leaders", 0), p.LeaderOf(t, "leaders", 1); one != 1 || two != 2 {
			t.Errorf("the leaders are nodes %d and %d, want 1 and 2", one, two)
		}
		p.Produce(t, "leaders", numbered(20)...)
		p.MoveLeader(t, "leaders", 0, 2)
		p.MoveLeader(t, offsets, 0, 1)
		p.MoveLeader(t, offsets, 0, 2)
		if leader, coordinator := p.LeaderOf(t, "leaders", 0), p.Coordinator(t, "g"); leader != 2 || coordinator != 2 {
			t.Errorf("leader is node %d, coordinator is node %d, want 2 and 2", leader, coordinator)
		}
		if got := len(p.ReadAll(t, "leaders")); got != 20 {
			t.Errorf("%d records came back, want 20", got)
		}
	})
	t.Run("corrupt", func(t *testing.T) {
		p.CreateTopicOn(t, "corrupt", nil, []int{2, 1})
		corrupt(t, p.Broker, "corrupt")
		p.MoveLeader(t, "corrupt", 0, 1)
		if got := len(p.ReadAll(t, "corrupt")); got != 10 {
			t.Errorf("%d records came back from the other replica, want 10", got)
		}
	})
	t.Run("a frozen network", func(t *testing.T) {
		p.CreateTopicOn(t, "net", nil, []int{1}, []int{2})
		c := member(t, p.Broker, kgo.ConsumeTopics("net"))
		p.Produce(t, "net", numbered(20)...)
		if n, errs := read(c, 20, 10*time.Second); n != 20 {
			t.Fatalf("%d of 20 records came: %v", n, errs)
		}
		for _, n := range []*kafkatest.Node{p.One, p.Two} {
			n.Proxy.Freeze()
		}
		p.Produce(t, "net", numbered(20)...)
		if n, _ := read(c, 20, time.Second); n != 0 {
			t.Errorf("%d records came over a frozen network", n)
		}
		for _, n := range []*kafkatest.Node{p.One, p.Two} {
			n.Proxy.Thaw()
		}
		if n, errs := read(c, 20, 10*time.Second); n != 20 {
			t.Errorf("%d of 20 records came after the thaw: %v", n, errs)
		}
	})
	t.Run("a frozen node", func(t *testing.T) {
		p.CreateTopicOn(t, "frozen", nil, []int{2, 1})
		p.Produce(t, "frozen", numbered(5)...)
		p.Two.Freeze()
		until(t, "node 1 leads", func() bool { return p.LeaderOf(t, "frozen", 0) == 1 })
		p.Produce(t, "frozen", numbered(5)...)
		p.Two.Thaw()
		p.MoveLeader(t, "frozen", 0, 2)
		if got := len(p.ReadAll(t, "frozen")); got != 10 {
			t.Errorf("%d records came back, want 10", got)
		}
	})
	t.Run("a killed node", func(t *testing.T) {
		p.MoveLeader(t, offsets, 0, 2)
		p.CreateTopicOn(t, "killed", nil, []int{2, 1}, []int{1, 2})
		p.CreateTopicOn(t, "alone", nil, []int{2})
		stop := p.Foreign(t, "g", []string{"killed"}, "foreign")
		p.Produce(t, "killed", numbered(10)...)
		until(t, "10 are committed", func() bool { return p.Lag(t, "g", "killed") == 0 })
		began := time.Now()
		p.Two.Kill()
		p.Produce(t, "killed", numbered(10)...)
		t.Logf("20 records were written %v after the kill", time.Since(began))
		until(t, "the coordinator moves", func() bool { return p.Coordinator(t, "g") == 1 })
		until(t, "20 are committed", func() bool { return p.Lag(t, "g", "killed") == 0 })
		t.Logf("the foreign member had committed all %v after the kill", time.Since(began))
		if leader := p.LeaderOf(t, "alone", 0); leader != -1 {
			t.Errorf("the partition whose only replica is on the dead node is led by %d", leader)
		}
		p.Topic(t, 2, nil)
		p.Lag(t, "g", "alone")
		began = time.Now()
		p.Two.Restart(t)
		t.Logf("the restart took %v", time.Since(began))
		p.Produce(t, "alone", numbered(1)...)
		stop()
		if got := len(p.ReadAll(t, "killed")); got != 20 {
			t.Errorf("%d records came back, want 20", got)
		}
	})
	t.Run("a killed controller", func(t *testing.T) {
		p.One.Kill()
		p.Produce(t, "alone", numbered(1)...)
		p.One.Restart(t)
		if got := len(p.ReadAll(t, "alone")); got != 2 {
			t.Errorf("%d records came back, want 2", got)
		}
	})
}

// corrupt writes 10 records to a topic of one partition, corrupts them, and sees that a reader notices.
func corrupt(t *testing.T, b *kafkatest.Broker, topic string) {
	t.Helper()
	b.Produce(t, topic, numbered(10)...)
	b.Corrupt(t, topic, 0)
	n, errs := read(member(t, b, kgo.ConsumeTopics(topic)), 10, 2*time.Second)
	if n != 0 || !slices.ContainsFunc(errs, func(err error) bool { return strings.Contains(err.Error(), "crc") }) {
		t.Errorf("%d records and the errors %v came from a corrupt batch, want none and one of the checksum", n, errs)
	}
}

// TestCorrupt: the shared broker's disk is within reach.
func TestCorrupt(t *testing.T) {
	b := kafkatest.Kafka(t)
	corrupt(t, b, b.Topic(t, 1, nil))
}
