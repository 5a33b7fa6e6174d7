package worker

import (
	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/tracing"
	"github.com/tasksink/tasksink/upsert/pace"
)

// What the parts want to know of the settings.

func consumerConfig(cfg config.Config, conn broker.Connection, share *pace.Pace, telemetry *tracing.Telemetry,
	board *hold.Board, log zerolog.Logger) consumer.Config {
	return consumer.Config{Connection: conn, Topics: cfg.KafkaTopics, Group: cfg.KafkaGroup, MaxPending: cfg.MaxPending,
		MaxPendingBytes: int64(cfg.MaxPendingBytes), DrainTimeout: cfg.DrainTimeout, Share: share.Share, Note: share.Note,
		Telemetry: telemetry, Board: board, Log: log}
}

func lettersConfig(cfg config.Config, conn broker.Connection, telemetry *tracing.Telemetry, board *hold.Board,
	log zerolog.Logger) dlq.Config {
	return dlq.Config{Connection: conn, Group: cfg.KafkaGroup, Telemetry: telemetry, Board: board, Log: log,
		Topic: cfg.DeadLetters}
}

func paceConfig(cfg config.Config, load func() (lag, arrived int64), board *hold.Board) pace.Config {
	zone, _ := cfg.Zone() // Check has refused what is none
	return pace.Config{Rate: cfg.HubspotRate.N, Auto: cfg.HubspotRate.Auto, Board: board, Day: pace.DayConfig{
		Auto: cfg.HubspotDaily.Auto, Calls: cfg.HubspotDaily.N, Zone: zone, Wait: cfg.BatchWait, Load: load,
		Fill: cfg.BatchSize}}
}
