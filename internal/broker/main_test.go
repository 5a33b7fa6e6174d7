package broker_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

func produce(t *testing.T, b *kafkatest.Broker, topic string, n int) {
	t.Helper()
	var msgs []kafka.Message
	for i := range n {
		msgs = append(msgs, kafka.Message{Key: []byte(strconv.Itoa(i)), Value: fmt.Appendf(nil, `{"id":"task-%d"}`, i)})
	}
	b.Produce(t, topic, msgs...)
}

// until waits for a condition, for at most limit.
func until(t *testing.T, what string, limit time.Duration, met func() bool) {
	t.Helper()
	for start := time.Now(); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}
