package dlq_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// TestDrain: whoever gives up partitions waits for letters while they can be written, and for none while they cannot.
func TestDrain(t *testing.T) {
	t.Parallel()
	for _, works := range []bool{true, false} {
		t.Run(fmt.Sprintf("works=%v", works), func(t *testing.T) {
			t.Parallel()
			const n = 2000
			b := kafkatest.Fake(t)
			source := b.Topic(t, 1, nil)
			var msgs []kafka.Message
			for i := range n {
				msgs = append(msgs, kafka.Message{Value: fmt.Append(nil, i)})
			}
			b.Produce(t, source, msgs[:n/2]...)
			topic := source + ".dlq"
			if works {
				b.CreateTopic(t, topic, 1, nil)
			}
			d := open(t, b, topic)
			c, err := consumer.New(consumer.Config{Connection: broker.Connection{Brokers: b.Addrs, ClientID: "test"},
				Topics: []string{source}, Group: source, MaxPending: 2 * n, MaxPendingBytes: 64 << 20,
				DrainTimeout: 20 * time.Second, Board: hold.NewBoard(zerolog.Nop()), Log: zerolog.Nop()})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var got atomic.Int64
			var recs []*consumer.Record
			ended := make(chan error, 1)
			go func() {
				ended <- c.Run(ctx, func(rec *consumer.Record) {
					recs = append(recs, rec)
					d.write(rec, reason)
					if got.Add(1) == n && works {
						stop()
					}
				}, d.Drop)
			}()
			if !works {
				until(t, "the hold stands", 30*time.Second, func() bool { return d.board.Stands("dlq", hold.All) })
			}
			b.Produce(t, source, msgs[n/2:]...)
			if !works {
				until(t, "everything is delivered", 30*time.Second, func() bool { return got.Load() == n })
				stop()
			}
			select {
			case err = <-ended:
			case <-time.After(10 * time.Second):
				t.Fatal("the drain waits")
			}
			if err != nil {
				t.Fatal(err)
			}
			until(t, "each letter is written or given up", 10*time.Second, func() bool { return d.Status().Queued == 0 })
			for i, rec := range recs {
				until(t, "the letter ends", 10*time.Second, func() bool { return len(d.ended(rec)) > 0 })
				if got := d.ended(rec); len(got) != 1 || got[0] != works || rec.Settled() != works {
					t.Fatalf("record %d: settled %v, done was called with %v", i, rec.Settled(), got)
				}
			}
		})
	}
}
