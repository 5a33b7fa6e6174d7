// Package worker is tasksink's worker: Run wires the parts together, and reads as the way of one record. The program
// and the demo run the same worker.
package worker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/pace"
)

// Run is the way of a record, from Kafka to HubSpot and back to a committed offset. It works until ctx ends, then
// drains, leaves the group, and returns nil if all that was sent was also settled and committed.
func Run(ctx context.Context, cfg config.Config, log zerolog.Logger) error {
	w, err := newWiring(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer w.telemetry.Stop()

	// Kafka in. A record's offset is committed when the record is settled, and all before it in its partition. This
	// member's part of the partitions is its part of HubSpot's rate limit.
	var group *consumer.Consumer
	pacer := pace.New(w.paceConfig(func() (lag, arrived int64) { return group.Load() }))
	if group, err = consumer.New(w.consumerConfig(pacer)); err != nil {
		return fmt.Errorf("join the consumer group: %w", err)
	}

	// Decoded, a record queues behind the earlier ones of its object. If it is no task event it is a dead letter, when
	// its turn has come there.
	var sender *upsert.Sender
	var skipped atomic.Uint64
	queue := batcher.New(w.queueConfig(func() *upsert.Sender { return sender }))
	decoder := upsert.Decoder{IDProperty: cfg.HubspotIDProperty, IDProperties: cfg.HubspotIDProperties, Log: w.log}
	decode := func(rec *consumer.Record) {
		if rec.Value == nil && cfg.Tombstones == "skip" {
			skipped.Add(1)
			rec.Settle(time.Now())
			return
		}
		task, refused := decoder.Decode(rec)
		if refused != nil {
			sender.Refuse(task, refused)
			return
		}
		// A backlog, or what was dead once, does not hold up what is fresh.
		queue.Add(task.IDProperty, task.ID, task, upsert.InputSize(task), rec.Late || dlq.Redriven(rec))
	}

	// HubSpot out. A batch is sealed only when its request may leave. HubSpot's confirmation settles the record; what
	// it refuses is a dead letter, whose acknowledgement by Kafka settles the record.
	letters := dlq.NewWriter(w.lettersConfig())
	client, err := cfg.Client(group.Reserve)
	if err != nil {
		return err
	}
	defer client.Close()
	sender = upsert.NewSender(w.senderConfig(queue, client, pacer, group, letters))

	show, err := w.show(ctx, &statusPage{cfg: cfg, host: w.conn.ClientID, started: time.Now(), group: group,
		letters: letters, sender: sender, pace: pacer, board: w.board, dog: w.dog, skipped: &skipped})
	if err != nil {
		return err
	}

	// What is downstream of the consumer works until the consumer has drained.
	downstream, stop := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	w.start(&parts, "watchdog", func() { watch(downstream, w.dog, w.log) })
	w.start(&parts, "show", func() { show(downstream) })
	w.start(&parts, "letters", func() { letters.Run(downstream) })
	w.start(&parts, "sender", func() { sender.Run(downstream) })
	w.start(&parts, "token", func() { client.KeepToken(downstream, w.log) })
	w.start(&parts, "secrets", func() { cfg.WatchSecrets(downstream, w.log) })
	if cfg.DeadLetterFile != "" {
		w.start(&parts, "dead-letter file", func() { w.deadLetterFile(sender).run(downstream) })
	}
	if w.needsZone() {
		w.start(&parts, "time zone", func() { client.FindZone(downstream, pacer.SetZone, w.log) })
	}
	w.log.Info().Strs("topics", cfg.KafkaTopics).Str("group", cfg.KafkaGroup).Msg("tasksink starts")
	started := time.Now()
	err = group.Run(ctx, decode, sender.Drop)
	stop()
	parts.Wait()
	w.log.Info().Float64("ran_seconds", time.Since(started).Seconds()).Err(err).Msg("tasksink stopped")
	return err
}
