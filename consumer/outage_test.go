package consumer_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// stops fails the test if the member does not end within limit, or not cleanly.
func (m *member) stops(t *testing.T, limit time.Duration) {
	t.Helper()
	start := time.Now()
	if err := m.leave(t); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(start); took > limit {
		t.Errorf("Run returned after %v, want at most %v", took, limit)
	}
}

// TestNoKafka: brokers that refuse, and one that accepts and never answers, are waited for and called a hold; a stop
// in the meantime is a clean one.
func TestNoKafka(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for _, tc := range []struct {
		name, addr string
		sasl       sasl.Mechanism
	}{
		{"refuses", closed.Addr().String(), nil},
		{"is silent", silent.Addr().String(), nil},
		{"is silent, with SASL", silent.Addr().String(), plain.Mechanism{Username: "u", Password: "p"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := &kafkatest.Broker{Addrs: []string{tc.addr}}
			m := join(t, b, "tasks", "a", newSink(t, time.Millisecond), func(c *consumer.Config) { c.SASL = tc.sasl })
			until(t, "the hold stands", 40*time.Second, func() bool { return m.board.Stands("kafka", hold.All) })
			m.stops(t, 6*time.Second)
		})
	}
}

// TestSilentHandshake: a broker that accepts the consumer group's connection and never answers its SASL handshake is
// given up after a while, and the next connection serves.
func TestSilentHandshake(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	const topic = "tasks"
	secured := kafkatest.Fake(t, kfake.EnableSASL(), kfake.User("PLAIN", "u", "p"), kfake.SeedTopics(1, topic))
	var asked, silenced atomic.Int32
	secured.Fake.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		secured.Fake.KeepControl()
		asked.Add(1)
		return nil, nil, false
	})
	s := newSink(t, time.Millisecond)
	m := join(t, secured, topic, "a", s, func(c *consumer.Config) {
		c.SASL = plain.Mechanism{Username: "u", Password: "p"}
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if asked.Load() > 0 && silenced.Add(1) == 1 { // the group's
				addr = silent.Addr().String()
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
	})
	until(t, "the group joins", time.Minute, func() bool { return m.Status().Joined })
	if silenced.Load() == 0 {
		t.Error("no handshake was silenced")
	}
	m.stops(t, 3*time.Second)
}

// TestMissingTopic: it is waited for, not created.
func TestMissingTopic(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t, kfake.AllowAutoTopicCreation())
	const topic = "comes-late"
	s := newSink(t, time.Millisecond)
	m := join(t, b, topic, "a", s, nil)
	until(t, "the hold stands", 20*time.Second, func() bool { return m.board.Stands("kafka", hold.All) })
	if b.Fake.TopicInfo(topic) != nil {
		t.Fatal("the topic was created")
	}
	b.CreateTopic(t, topic, 2, nil)
	produce(t, b, topic, 100)
	until(t, "records flow", 10*time.Second, func() bool { return s.count() == 100 })
	if m.board.Stands("kafka", hold.All) {
		t.Error("the hold still stands")
	}
	m.stops(t, 2*time.Second)
}

// TestJoinIsInterrupted: a stop waits for a first join that the broker holds back for another member, so as to leave no
// ghost in the group (see leave), but no longer than a drain may take.
func TestJoinIsInterrupted(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 2, nil)
		produce(t, b, topic, 200)
		slow := newSink(t, time.Hour)
		a := join(t, b, topic, "slow", slow, func(c *consumer.Config) { c.DrainTimeout = 25 * time.Second })
		until(t, "the slow one works", 20*time.Second, func() bool { return a.Status().Pending == 200 })
		waits := join(t, b, topic, "waits", newSink(t, time.Millisecond),
			func(c *consumer.Config) { c.DrainTimeout = 2 * time.Second })
		until(t, "the slow one drains", 10*time.Second, func() bool { return a.Status().Draining })
		waits.stops(t, 8*time.Second)
		a.stop()
		a.end()
		if err := <-a.done; err == nil {
			t.Error("it ended cleanly, with 200 records that nobody settled")
		}
	})
}
