package kafkatest_test

import (
	"testing"

	"github.com/segmentio/kafka-go"

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
