package worker

import (
	"context"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/cmd/tasksink/worker/page"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/watchdog"
	"github.com/tasksink/tasksink/tracing"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/hubspot"
	"github.com/tasksink/tasksink/upsert/pace"
)

// wiring is what the parts have in common. Its methods say what each part wants to know of the settings.
type wiring struct {
	cfg       config.Config
	conn      broker.Connection
	telemetry *tracing.Telemetry
	board     *hold.Board
	dog       *watchdog.Dog
	log       zerolog.Logger
}

// newWiring begins the telemetry, which the caller must stop.
func newWiring(ctx context.Context, cfg config.Config, log zerolog.Logger) (wiring, error) {
	telemetry, err := tracing.Start(ctx, config.ReadBuild().Version, log)
	if err != nil {
		return wiring{}, err
	}
	conn, err := cfg.Connection()
	if err != nil {
		telemetry.Stop()
		return wiring{}, err
	}
	log = log.Hook(tracing.LogHook{})
	dog := watchdog.New(bound(cfg))
	dog.OnPanic(endPanicked)
	return wiring{cfg: cfg, conn: conn, telemetry: telemetry, board: hold.NewBoard(log), dog: dog, log: log}, nil
}

// start runs a part of the worker that parts waits for.
func (w wiring) start(parts *sync.WaitGroup, name string, part func()) {
	parts.Go(func() {
		defer w.dog.Loop(name).End()
		part()
	})
}

func (w wiring) consumerConfig(pacer *pace.Pace) consumer.Config {
	return consumer.Config{Connection: w.conn, Topics: w.cfg.KafkaTopics, Group: w.cfg.KafkaGroup,
		MaxPending: w.cfg.MaxPending, MaxPendingBytes: int64(w.cfg.MaxPendingBytes), DrainTimeout: w.cfg.DrainTimeout,
		Ours: pace.IsNote, Share: pacer.Share, Note: pacer.Note, Telemetry: w.telemetry, Watch: w.dog, Board: w.board,
		Log: w.log}
}

func (w wiring) paceConfig(load func() (lag, arrived int64)) pace.Config {
	zone, _ := w.cfg.Zone() // Check has refused what is none
	return pace.Config{Rate: w.cfg.HubspotRate.N, Auto: w.cfg.HubspotRate.Auto, Board: w.board, Log: w.log,
		Day: pace.DayConfig{Auto: w.cfg.HubspotDaily.Auto, Calls: w.cfg.HubspotDaily.N, Zone: zone,
			Wait: w.cfg.BatchWait, Load: load, Fill: w.cfg.BatchSize}}
}

// queueConfig takes a function that returns the sender, as there is none yet.
func (w wiring) queueConfig(sender func() *upsert.Sender) batcher.Config[*upsert.Task] {
	return batcher.Config[*upsert.Task]{Size: w.cfg.BatchSize, Bytes: int(w.cfg.BatchBytes), Wait: w.cfg.BatchWait,
		Leave: func(t *upsert.Task) { t.Record.Leave() },
		Return: func(t *upsert.Task) (gone bool) {
			t.Record.Return()
			return t.Record.Gone() || t.Record.Settled()
		},
		Held:  func(t *upsert.Task) bool { return sender().Held(t) },
		Aside: func(sealed *batcher.Sealed[*upsert.Task]) { sender().Aside(sealed) }}
}

func (w wiring) lettersConfig() dlq.Config {
	return dlq.Config{Connection: w.conn, Group: w.cfg.KafkaGroup, Telemetry: w.telemetry, Watch: w.dog, Board: w.board,
		Log: w.log, Topic: w.cfg.DeadLetters, Topics: w.cfg.DeadLetterTopics()}
}

func (w wiring) senderConfig(queue *batcher.Batcher[*upsert.Task], client *hubspot.Client, pacer *pace.Pace,
	group *consumer.Consumer, letters *dlq.Writer) upsert.SenderConfig {
	return upsert.SenderConfig{Queue: queue, Client: client, Pace: pacer, Prove: group.Prove, Proven: group.Proven,
		DeadLetter: letters.DeadLetter, DropLetters: letters.Drop, BatchSize: w.cfg.BatchSize,
		BatchBytes: int(w.cfg.BatchBytes), MaxInFlight: w.cfg.MaxInFlight,
		IDProperty: w.cfg.HubspotIDProperty, LetFlood: w.cfg.OnFlood == "dead-letter",
		Group: w.cfg.KafkaGroup, Telemetry: w.telemetry, Watch: w.dog, Board: w.board, Log: w.log}
}

func (w wiring) deadLetterFile(sender *upsert.Sender) *deadLetterFile {
	return &deadLetterFile{path: w.cfg.DeadLetterFile, topics: w.cfg.KafkaTopics, handOver: sender.DeadLetterListed,
		log: w.log}
}

// needsZone tells whether the account's time zone counts, and no setting names it.
func (w wiring) needsZone() bool {
	return w.cfg.HubspotTimezone == "auto" && (w.cfg.HubspotDaily.Auto || w.cfg.HubspotDaily.N > 0)
}

// show opens what stands beside the way of a record: metrics, the page with its history, the other answers of the
// admin server, and profiles. What it returns serves all that, and the log's summary, until its context ends.
func (w wiring) show(ctx context.Context, source *statusPage) (serve func(context.Context), err error) {
	profiles, err := listenPprof(ctx, w.cfg.Pprof, w.log)
	if err != nil {
		return nil, err
	}
	if err := source.observe(w.telemetry.Meter()); err != nil {
		return nil, fmt.Errorf("set up the metrics: %w", err)
	}
	history := page.NewHistory(source.sample)
	admin, err := listenAdmin(ctx, w.cfg.Listen, source, history, w.telemetry.Page(), w.log)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) {
		var parts sync.WaitGroup
		w.start(&parts, "admin server", func() { admin.serve(ctx) })
		w.start(&parts, "history", func() { history.Run(ctx) })
		w.start(&parts, "summary", func() { source.summarise(ctx, w.log, w.cfg.BatchSize) })
		if profiles != nil {
			w.start(&parts, "profiles", func() { profiles.serve(ctx) })
		}
		parts.Wait()
	}, nil
}
