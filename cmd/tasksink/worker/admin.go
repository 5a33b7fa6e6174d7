package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/cmd/tasksink/worker/page"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/watchdog"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/pace"
)

// Status is the JSON of /status.
type Status struct {
	Time        time.Time                  `json:"time"`     // of this answer, by the process's clock
	Instance    string                     `json:"instance"` // the host's name
	Group       string                     `json:"group"`
	Started     time.Time                  `json:"started"`
	State       string                     `json:"state"` // starting, running, held or draining
	Holds       []hold.Hold                `json:"holds"`
	Breaker     string                     `json:"breaker"` // closed, open or half-open
	Partitions  []consumer.PartitionStatus `json:"partitions"`
	Rate        pace.Status                `json:"rate"`
	Daily       *pace.DayStatus            `json:"daily"` // null: no daily limit is known
	Records     Records                    `json:"records"`
	Sender      upsert.Status              `json:"sender"`
	DeadLetters DeadLetters                `json:"dead_letters"`
	Limits      Limits                     `json:"limits"`
	Build       config.Build               `json:"build"`
}

// Records counts records since the start, and those in memory. It also counts how often a partition's log turned out to
// be another one.
type Records struct {
	Upserted     uint64 `json:"upserted"` // merged ones included
	DeadLettered int    `json:"dead_lettered"`
	Skipped      uint64 `json:"skipped"`
	Arrived      int64  `json:"arrived"` // in Kafka, for this replica's partitions
	Lost         int64  `json:"lost"`    // deleted by retention before they were read
	// SkippedSettled counts offsets that were not sent again, as an earlier owner of the partition had settled them.
	SkippedSettled int64 `json:"skipped_settled"`
	Restarted      int64 `json:"restarted_partitions"` // their topic was deleted and created again
	Truncated      int64 `json:"truncated_partitions"` // their log was truncated below what was read of it
	Pending        int   `json:"pending"`
	PendingBytes   int64 `json:"pending_bytes"`
}

// Limits are the settings that bound what the rest of Status counts.
type Limits struct {
	BatchSize       int   `json:"batch_size"`
	MaxInFlight     int   `json:"max_in_flight"`
	MaxPending      int   `json:"max_pending"`
	MaxPendingBytes int64 `json:"max_pending_bytes"`
}

// DeadLetters is the writer's status, with what its reasons mean.
type DeadLetters struct {
	dlq.Status
	Reasons []Reason `json:"reasons"` // the one met last first; at most 50
}

// Reason is one for which dead letters were written.
type Reason struct {
	dlq.Count
	Meaning string `json:"meaning"` // and what to do
}

// statusPage gathers what the parts show of themselves.
type statusPage struct {
	cfg     config.Config
	host    string
	started time.Time
	group   *consumer.Consumer
	letters *dlq.Writer
	sender  *upsert.Sender
	pace    *pace.Pace
	board   *hold.Board
	dog     *watchdog.Dog
	skipped *atomic.Uint64 // tombstones
}

func (p *statusPage) status() Status {
	group, sender, letters := p.group.Status(), p.sender.Status(), p.letters.Status()
	st := Status{Time: time.Now(), Instance: p.host, Group: p.cfg.KafkaGroup, Started: p.started,
		Limits: Limits{BatchSize: p.cfg.BatchSize, MaxInFlight: p.cfg.MaxInFlight, MaxPending: p.cfg.MaxPending,
			MaxPendingBytes: int64(p.cfg.MaxPendingBytes)},
		State: "running", Holds: p.board.List(), Breaker: sender.Breaker, Partitions: group.Partitions,
		Rate: p.pace.Status(), Daily: p.pace.Daily(),
		Sender: sender, DeadLetters: DeadLetters{Status: letters, Reasons: []Reason{}}, Build: config.ReadBuild(),
		Records: Records{Upserted: sender.Upserted, Skipped: p.skipped.Load(), Arrived: group.Arrived, Lost: group.Lost,
			SkippedSettled: group.Skipped,
			Restarted:      group.Restarted, Truncated: group.Truncated,
			Pending: group.Pending, PendingBytes: group.PendingBytes}}
	for _, c := range letters.Reasons[:min(len(letters.Reasons), 50)] {
		st.DeadLetters.Reasons = append(st.DeadLetters.Reasons, Reason{c, dlq.Explain(c.Category, c.Code)})
	}
	for _, n := range letters.Written {
		st.Records.DeadLettered += n
	}
	switch {
	case group.Draining:
		st.State = "draining"
	case st.stopped() || st.Breaker != "closed":
		st.State = "held"
	case !group.Joined:
		st.State = "starting"
	}
	return st
}

// stopped tells whether a hold of everything stands. The board lists those first.
func (s Status) stopped() bool { return len(s.Holds) > 0 && s.Holds[0].Scope == hold.All }

// sample is what the page's history keeps.
func (p *statusPage) sample() page.Sample {
	st := p.status()
	s := page.Sample{At: st.Time, Held: st.stopped() || st.Sender.Outage != nil, Arrived: st.Records.Arrived,
		Upserted:     st.Records.Upserted,
		DeadLettered: st.Records.DeadLettered, Skipped: st.Records.Skipped, Inputs: st.Sender.Inputs}
	for _, n := range st.Sender.Requests {
		s.Requests += n
	}
	for _, part := range st.Partitions {
		if part.Lag != nil {
			s.Lag += *part.Lag
		}
	}
	return s
}

// unready says that this is no member of the group that takes records; empty if it is one. A hold or an open breaker is
// no reason to be unready: it would stop the rollout of its own cure.
func (p *statusPage) unready() string {
	if st := p.group.Status(); !st.Joined || st.Draining {
		return "not ready"
	}
	return ""
}

// wedged names the loops that are wedged; empty if none is. Only a restart helps such a loop.
func (p *statusPage) wedged() string {
	if names := p.dog.Wedged(); len(names) > 0 {
		return "wedged: " + strings.Join(names, ", ")
	}
	return ""
}

// admin is the server of /livez, /readyz, /metrics, /status, and the page at /; or that of profiles.
type admin struct {
	name     string
	listener net.Listener
	server   *http.Server
	log      zerolog.Logger
}

// listenAdmin opens the address, so that a mistake in it shows before anything starts.
func listenAdmin(ctx context.Context, address string, source *statusPage, history *page.History, metrics http.Handler,
	log zerolog.Logger) (*admin, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--listen=%s: %w; name an address of this machine, and a port that nothing else listens on",
			address, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, source.wedged()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, source.unready()) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(source.status()) // a client that went away is no concern of ours
	})
	page.Mount(mux, history)
	mux.Handle("GET /metrics", metrics)
	a := &admin{name: "admin server", log: log}
	a.listener, a.server = withLimits(listener, mux, log)
	return a, nil
}

// answer answers a probe: 503 if there is a problem.
func answer(w http.ResponseWriter, problem string) {
	if problem != "" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = fmt.Fprintln(w, cmp.Or(problem, "ok"))
}

// serve answers until ctx ends.
func (a *admin) serve(ctx context.Context) {
	a.log.Info().Stringer("address", a.listener.Addr()).Msg(a.name + " listens")
	stop := context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = a.server.Shutdown(last)
	})
	defer stop()
	if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
		a.log.Error().Err(err).Msg(a.name)
	}
}
