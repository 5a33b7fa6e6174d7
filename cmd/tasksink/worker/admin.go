package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/upsert"
)

// Status is the JSON of /status.
type Status struct {
	State       string                     `json:"state"` // starting, running, held or draining
	Holds       []hold.Hold                `json:"holds"`
	Breaker     string                     `json:"breaker"` // closed, open or half-open
	Partitions  []consumer.PartitionStatus `json:"partitions"`
	Rate        upsert.PaceStatus          `json:"rate"`
	Daily       *upsert.DailyStatus        `json:"daily"` // null: no daily limit is known
	Records     Records                    `json:"records"`
	Sender      upsert.Status              `json:"sender"`
	DeadLetters dlq.Status                 `json:"dead_letters"`
	Build       Build                      `json:"build"`
}

// Records counts records since the start, and those in memory.
type Records struct {
	Upserted     uint64 `json:"upserted"` // merged ones included
	DeadLettered int    `json:"dead_lettered"`
	Skipped      uint64 `json:"skipped"`
	Lost         int64  `json:"lost"` // deleted by retention before they were read
	Pending      int    `json:"pending"`
	PendingBytes int64  `json:"pending_bytes"`
}

// statusPage gathers what the parts show of themselves.
type statusPage struct {
	group   *consumer.Consumer
	letters *dlq.Writer
	sender  *upsert.Sender
	pace    *upsert.Pace
	board   *hold.Board
	skipped atomic.Uint64
}

func (p *statusPage) status() Status {
	group, sender, letters := p.group.Status(), p.sender.Status(), p.letters.Status()
	st := Status{State: "running", Holds: p.board.List(), Breaker: sender.Breaker, Partitions: group.Partitions, Rate: p.pace.Status(), Daily: p.pace.Daily(),
		Sender: sender, DeadLetters: letters, Build: ReadBuild(),
		Records: Records{Upserted: sender.Upserted, Skipped: p.skipped.Load(), Lost: group.Lost, Pending: group.Pending, PendingBytes: group.PendingBytes}}
	for _, n := range letters.Written {
		st.Records.DeadLettered += n
	}
	switch {
	case group.Draining:
		st.State = "draining"
	case len(st.Holds) > 0:
		st.State = "held"
	case !group.Joined:
		st.State = "starting"
	}
	return st
}

// ready tells whether this is a member of the group that takes records. A hold or an open breaker is no reason to
// be unready: it would stop the rollout of its own cure.
func (p *statusPage) ready() bool {
	st := p.group.Status()
	return st.Joined && !st.Draining
}

// admin is the server of /livez, /readyz, /metrics and /status.
type admin struct {
	listener net.Listener
	server   *http.Server
	log      zerolog.Logger
}

// listenAdmin opens the address, so that a mistake in it shows before anything starts.
func listenAdmin(ctx context.Context, address string, page *statusPage, metrics http.Handler, log zerolog.Logger) (*admin, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--listen=%s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, true) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, page.ready()) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(page.status()) // a client that went away is no concern of ours
	})
	mux.Handle("GET /metrics", metrics)
	return &admin{listener: listener, log: log, server: &http.Server{Handler: http.MaxBytesHandler(mux, 1<<10),
		ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}}, nil
}

func answer(w http.ResponseWriter, ok bool) {
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, "not ready")
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// serve answers until ctx ends.
func (a *admin) serve(ctx context.Context) {
	a.log.Info().Stringer("address", a.listener.Addr()).Msg("admin server listens")
	stop := context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = a.server.Shutdown(last)
	})
	defer stop()
	if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
		a.log.Error().Err(err).Msg("admin server")
	}
}
