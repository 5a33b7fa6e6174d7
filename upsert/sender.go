// Package upsert writes tasks to HubSpot, and accounts for every record that it was given.
//
// A Decoder turns a Kafka record into a Task. A Sender takes batches of tasks from a queue, sends each as one request
// (package hubspot), and judges the answer: a record is settled when HubSpot confirmed it by name or by count, goes to
// the dead letters when HubSpot refused it, and is back in the queue in every other case, in its place. What is wrong
// for all records alike (an outage, the token, the path) stops the flow and is probed; nothing is dead-lettered for it.
// When the next request may leave is for package pace to say.
//
// The records of one object end in the order of their offsets, whether they are confirmed or dead-lettered: an object
// stays locked until Kafka has its letter, and a record that is no task event waits for the earlier ones of the object
// that it names.
//
// Use: NewSender, then Run, which returns when its context has ended and no request is out. A record that Drop forgot
// is not sent any more.
//
// The tests run the Sender against hubspottest in a testing/synctest bubble, and hold what it sends against HubSpot's
// published description.
package upsert

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/watchdog"
	"github.com/tasksink/tasksink/tracing"
	"github.com/tasksink/tasksink/upsert/hubspot"
	"github.com/tasksink/tasksink/upsert/pace"
)

// SenderConfig says what a Sender works with.
type SenderConfig struct {
	Queue       *batcher.Batcher[*Task]
	Client      *hubspot.Client
	Pace        *pace.Pace
	Prove       func(context.Context) error // proof that the records are still ours; asked before each request
	Proven      func() bool                 // whether it still holds; asked as the request's bytes leave
	BatchSize   int                         // inputs a request carries at the most, 1 to 100
	MaxInFlight int                         // requests out at once
	IDProperty  string                      // the configured one, for telling whose fault an unknown idProperty is
	LetFlood    bool                        // dead-letter floods instead of holding them
	Group       string                      // the consumer group, for metrics and traces
	Telemetry   *tracing.Telemetry          // nil: off
	Watch       *watchdog.Dog               // nil: nobody watches the loops
	Board       *hold.Board
	Log         zerolog.Logger

	// DeadLetter and DropLetters are a dlq.Writer's DeadLetter and Drop.
	DeadLetter  func(rec *consumer.Record, reason dlq.Reason, done func(written bool))
	DropLetters func(gone func(*consumer.Record) bool)
}

// Sender takes batches from the queue, sends them to HubSpot, and sees to it that each record ends: confirmed by
// HubSpot, or handed to the dead letters. Between the two it is back in the queue.
type Sender struct {
	cfg     SenderConfig
	gate    *gate
	metrics *metrics
	traces  *traces
	slots   chan struct{} // one for each request in flight

	confirmed atomic.Uint64 // records, ever
	merged    atomic.Uint64 // of those, the ones that travelled inside a newer one's input
	inputs    atomic.Uint64 // that requests carried, ever
	flying    atomic.Int64  // requests that are out
	heldBack  heldBack      // decode failures, while a flood is held

	mu       sync.Mutex // guards what follows
	requests map[string]int
	flood    flood
	doubted  int // refusals in a row that may be nobody's fault, without a success between
}

// Status is what a Sender shows of itself.
type Status struct {
	Breaker  string         `json:"breaker"` // closed, open, half-open
	Outage   *Outage        `json:"outage"`  // null while the breaker is closed
	InFlight int            `json:"in_flight"`
	Queued   int            `json:"queued"`    // records waiting for a batch
	Upserted uint64         `json:"upserted"`  // records confirmed, merged ones included
	Merged   uint64         `json:"merged"`    // of those, the ones that travelled inside a newer one's input
	Inputs   uint64         `json:"inputs"`    // that requests carried, those sent again included
	Requests map[string]int `json:"requests"`  // by HTTP status, or "error" where none came
	HeldBack int            `json:"held_back"` // decode failures that a flood holds back
}

// NewSender returns a Sender that waits for Run.
func NewSender(cfg SenderConfig) *Sender {
	m := newMetrics(cfg.Telemetry, cfg.Client.Endpoint(), cfg.Group)
	return &Sender{cfg: cfg, gate: newGate(cfg.Board, cfg.Client.Timeout(), cfg.Log), metrics: m,
		traces: newTraces(cfg.Telemetry, cfg.Client.Endpoint(), cfg.Group, m.target),
		slots:  make(chan struct{}, cfg.MaxInFlight), requests: map[string]int{}}
}

// Run sends until ctx ends, and returns when the last request is answered or given up. A ripe batch gets, in this
// order, a slot, the gate's permit, the pace's ticket and the proof of membership; only then is it sealed.
func (s *Sender) Run(ctx context.Context) {
	var flights sync.WaitGroup
	defer flights.Wait()
	loop := s.cfg.Watch.Loop("sender")
	defer loop.End()
	for {
		loop.Busy()
		s.cfg.Queue.SetWait(s.cfg.Pace.BatchWait())
		loop.Idle() // until the proof is there: each of these waits may take any time
		if s.cfg.Queue.Ripe(ctx) != nil {
			return
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		w := waits{ripe: time.Now()}
		p, err := s.gate.Pass(ctx, s.cfg.BatchSize)
		if err != nil {
			return
		}
		w.gate, w.hold = time.Since(w.ripe), p.hold
		ticket, err := s.cfg.Pace.Wait(ctx)
		if err != nil {
			return
		}
		w.rate = time.Since(w.ripe) - w.gate
		if s.cfg.Prove(ctx) != nil {
			return
		}
		w.proof = time.Since(w.ripe) - w.gate - w.rate
		loop.Busy()
		batch := s.cfg.Queue.Seal(p.limit, p.varied)
		if batch == nil { // what was ripe went with its partition
			ticket.Return()
			s.gate.unused(p)
			<-s.slots
			continue
		}
		flights.Go(func() {
			s.attempt(ctx, p, ticket, batch, w)
			<-s.slots
		})
	}
}

// attempt sends one request and settles what its answer says.
func (s *Sender) attempt(ctx context.Context, p permit, ticket *pace.Ticket, batch []*batcher.Sealed[*Task], w waits) {
	began := time.Now()
	loop := s.cfg.Watch.Loop("request to HubSpot")
	defer loop.End()
	loop.Busy()
	body, batch, inputs := s.encode(batch)
	if len(batch) == 0 {
		ticket.Return()
		s.gate.unused(p)
		return
	}
	for _, in := range inputs {
		for _, t := range in {
			t.attempts++
		}
	}
	s.inputs.Add(uint64(len(inputs)))
	topic := topicOf(inputs)
	ctx, span := s.traces.process(ctx, inputs, topic, w)
	defer span.End()
	s.metrics.sealed(ctx, len(inputs), w.rate)
	healthy := s.gate.healthy()
	s.flying.Add(1)
	asked := time.Now()
	posting, post := s.traces.request(ctx, inputs)
	// The pace counts the request when it is written: dialling takes its time.
	answer, err := s.cfg.Client.Post(posting, body, hubspot.AnswerBound(len(inputs)), s.cfg.Proven, ticket.Leave)
	took := time.Since(asked)
	s.flying.Add(-1)
	s.traces.answered(post, answer, err)
	defer answer.Release()
	if ctx.Err() != nil {
		ticket.Return()
		s.gate.unused(p) // the process stops: whoever takes over sends these records again
		return
	}
	if errors.Is(err, hubspot.ErrWithheld) { // the next one proves the membership anew, or the records are gone
		ticket.Return()
		s.backAll(flight{batch: batch}, batcher.Again{})
		s.gate.unused(p)
		s.cfg.Log.Warn().Ctx(ctx).Int("inputs", len(inputs)).Msg("a request was withheld: this process stood still for so " +
			"long that its partitions may be somebody else's")
		return
	}
	var a judgement
	status := "error"
	if err == nil {
		status = strconv.Itoa(answer.Status)
	}
	s.count(status)
	s.metrics.answered(ctx, status, took)
	if err != nil {
		ticket.Return()
		s.cfg.Log.Warn().Ctx(ctx).Err(err).Int("inputs", len(inputs)).Msg("request to HubSpot failed")
		a = judgement{Class: classFailed, Reason: noAnswer(err)}
	} else {
		a = judge(inputs, s.cfg.IDProperty, answer.Status, answer.Header, answer.Body)
		ticket.Answered(answer.Header, a.Class == classLimited, a.RetryAfter)
	}
	s.traces.judged(span, &a)
	s.settle(p, flight{batch: batch, healthy: healthy, status: answer.Status, span: span.SpanContext()}, a)
	s.metrics.processed(ctx, topic, time.Since(began))
	s.cfg.Log.Debug().Ctx(ctx).Str("status", status).Int("inputs", len(inputs)).Int("fill_percent",
		100*len(inputs)/s.cfg.BatchSize).
		Int64("ms", took.Milliseconds()).Msg("batch answered")
}

func (s *Sender) count(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[status]++
}

// deadLetter hands a record to the dead letters. ended is called when Kafka has the letter, or it is given up.
func (s *Sender) deadLetter(t *Task, reason dlq.Reason, ended func(written bool)) {
	reason.Stage, reason.Attempts = cmp.Or(reason.Stage, dlq.StageUpsert), int(t.attempts)
	s.cfg.DeadLetter(t.Record, reason, ended)
}

// Drop forgets each record of which gone is true: those that wait for a request, and those that wait for their letter
// to be written.
func (s *Sender) Drop(gone func(*consumer.Record) bool) {
	s.cfg.Queue.Drop(func(t *Task) bool { return gone(t.Record) })
	s.dropHeldBack(gone)
	s.cfg.DropLetters(gone)
}

// floods counts a refusal and tells whether it is one too many of its kind; then the flow is held.
func (s *Sender) floods(reason dlq.Reason) bool {
	s.mu.Lock()
	brake := s.flood.add(reason) && !s.cfg.LetFlood
	s.mu.Unlock()
	if brake {
		s.gate.Hold(holdFlood, strconv.Itoa(floodRecords)+" records in a row failed alike: "+
			reason.Stage+" "+reason.Category+" "+reason.Code+" "+reason.Property,
			"mend the producer or the property in HubSpot; or let them go to the dead letters with --on-flood=dead-letter",
			floodProbe)
	}
	return brake
}

// flowed says that records were confirmed: no flood, and what one held back may go.
func (s *Sender) flowed(records, inputs int) {
	s.confirmed.Add(uint64(records))
	s.merged.Add(uint64(records - inputs))
	s.mu.Lock()
	s.flood.end()
	s.doubted = 0
	s.mu.Unlock()
	for _, a := range s.heldBack.take() {
		for _, t := range a.tasks {
			s.deadLetter(t, *t.refused, a.ended)
		}
	}
}

// Status tells where the Sender stands.
func (s *Sender) Status() Status {
	st := Status{Breaker: s.gate.BreakerState(), Outage: s.gate.outage(), InFlight: int(s.flying.Load()),
		Queued:   s.cfg.Queue.Len(),
		Upserted: s.confirmed.Load(), Merged: s.merged.Load(), Inputs: s.inputs.Load(), Requests: map[string]int{},
		HeldBack: s.heldBack.len()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for status, n := range s.requests {
		st.Requests[status] = n
	}
	return st
}
