package kafkatest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tasksink/tasksink/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// TestBrokers: each broker that tests can get takes records and gives them back.
func TestBrokers(t *testing.T) {
	kafkatest.Each(t, tryOut)
	t.Run("kafka "+kafkatest.Old, func(t *testing.T) { tryOut(t, kafkatest.Kafka39(t)) })
}

func tryOut(t *testing.T, b *kafkatest.Broker) {
	topic := b.Topic(t, 3, nil)
	b.Produce(t, topic, kafka.Message{Key: []byte("a"), Value: []byte("1")},
		kafka.Message{Key: []byte("b"), Value: []byte("2")})
	if got := b.ReadAll(t, topic); len(got) != 2 {
		t.Errorf("%d records came back, want 2", len(got))
	}
	b.AddPartitions(t, topic, 5)
	b.DeleteTopic(t, topic)
}

// until waits for a condition that the cluster reaches by itself.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s: %s", what)
		}
	}
}

// numbered are n messages, one key each.
func numbered(n int) (all []kafka.Message) {
	for i := range n {
		all = append(all, kafka.Message{Key: fmt.Append(nil, i), Value: fmt.Appendf(nil, "value %d", i)})
	}
	return all
}

// member is a client that reads topics from their start, as the program under test reaches them: through the proxies.
func member(t *testing.T, b *kafkatest.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Addrs...), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.FetchMaxWait(200*time.Millisecond), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseAllowingRebalance)
	return c
}

// read is how many records come within a time.
func read(c *kgo.Client, want int, within time.Duration) (n int, errs []error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for ctx.Err() == nil && n < want {
		fetched := c.PollFetches(ctx)
		n += fetched.NumRecords()
		for _, e := range fetched.Errors() {
			if !errors.Is(e.Err, context.DeadlineExceeded) {
				errs = append(errs, e.Err)
			}
		}
	}
	return n, errs
}
