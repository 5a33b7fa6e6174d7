// Package worker is tasksink's worker: Run wires the parts together, and reads as the way of one record. The program
// and the demo run the same worker.
package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/cmd/tasksink/worker/page"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/tracing"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/pace"
)

// Run is the way of a record, from Kafka to HubSpot and back to a committed offset. It works until ctx ends, then
// drains, leaves the group, and returns nil if all that was sent was also settled and committed.
func Run(ctx context.Context, cfg config.Config, log zerolog.Logger) error {
	telemetry, err := tracing.Start(ctx, config.ReadBuild().Version, log)
	if err != nil {
		return err
	}
	defer telemetry.Stop()
	log = log.Hook(tracing.LogHook{})
	board := hold.NewBoard(log)
	conn, err := cfg.Connection()
	if err != nil {
		return err
	}

	// Kafka in. A record's offset is committed when the record is settled, and all before it in its partition. This
	// member's part of the partitions is its part of HubSpot's rate limit.
	var group *consumer.Consumer
	pace := pace.New(paceConfig(cfg, func() (lag, arrived int64) { return group.Load() }, board))
	group, err = consumer.New(consumerConfig(cfg, conn, pace, telemetry, board, log))
	if err != nil {
		return fmt.Errorf("join the consumer group: %w", err)
	}

	// Dead letters out. Their acknowledgement settles the record.
	letters := dlq.NewWriter(lettersConfig(cfg, conn, telemetry, board, log))

	// Records of one object queue in order; a batch is sealed only when its request may leave.
	queue := batcher.New(batcher.Config[*upsert.Task]{Size: cfg.BatchSize, Bytes: int(cfg.BatchBytes), Wait: cfg.BatchWait,
		Sent: func(t *upsert.Task) { t.Record.Sent() },
		Gone: func(t *upsert.Task) bool { return t.Record.Lost() }})

	// HubSpot out. Its confirmation settles the record; what it refuses goes to the dead letters.
	client, err := cfg.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	sender := upsert.NewSender(upsert.SenderConfig{Queue: queue, Client: client, Pace: pace, Prove: group.Prove, Proven: group.Proven, Write: letters.Write,
		BatchSize: cfg.BatchSize, MaxInFlight: cfg.MaxInFlight, IDProperty: cfg.HubspotIDProperty, LetFlood: cfg.OnFlood == "dead-letter",
		Group: cfg.KafkaGroup, Telemetry: telemetry, Board: board, Log: log})

	profiles, err := listenPprof(ctx, cfg.Pprof, log)
	if err != nil {
		return err
	}
	source := &statusPage{cfg: cfg, host: conn.ClientID, started: time.Now(), group: group, letters: letters, sender: sender, pace: pace, board: board}
	if err := source.observe(telemetry.Meter(), cfg); err != nil {
		return fmt.Errorf("set up the metrics: %w", err)
	}
	history := page.NewHistory(source.sample)
	admin, err := listenAdmin(ctx, cfg.Listen, source, history, telemetry.Page(), log)
	if err != nil {
		return err
	}

	// What is downstream of the consumer works until the consumer has drained.
	downstream, stop := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	parts.Go(func() { admin.serve(downstream) })
	parts.Go(func() { history.Run(downstream) })
	if profiles != nil {
		parts.Go(func() { profiles.serve(downstream) })
	}
	parts.Go(func() { letters.Run(downstream) })
	parts.Go(func() { sender.Run(downstream) })
	parts.Go(func() { client.KeepToken(downstream, log) })
	parts.Go(func() { source.summarise(downstream, log, cfg.BatchSize) })
	if cfg.HubspotTimezone == "auto" && (cfg.HubspotDaily.Auto || cfg.HubspotDaily.N > 0) {
		parts.Go(func() { client.FindZone(downstream, pace.SetZone, log) })
	}

	decoder := upsert.Decoder{IDProperty: cfg.HubspotIDProperty}
	deliver := func(rec *consumer.Record) {
		if rec.Value == nil && cfg.Tombstones == "skip" {
			source.skipped.Add(1)
			rec.Settle()
			return
		}
		task, refused := decoder.Decode(rec)
		if refused != nil {
			rec.WhenDue(func() { sender.Bury(rec, *refused) })
			return
		}
		// A backlog, or what was dead once, does not hold up what is fresh.
		queue.Add(task.IDProperty, task.ID, task, upsert.InputSize(task), rec.Late || dlq.Redriven(rec))
	}
	log.Info().Strs("topics", cfg.KafkaTopics).Str("group", cfg.KafkaGroup).Msg("tasksink starts")
	started := time.Now()
	err = group.Run(ctx, deliver, sender.Drop)
	stop()
	parts.Wait()
	log.Info().Float64("ran_seconds", time.Since(started).Seconds()).Err(err).Msg("tasksink stopped")
	return err
}
