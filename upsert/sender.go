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
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"
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
	BatchBytes  int                         // bytes of a batch at the most
	MaxInFlight int                         // requests out at once
	IDProperty  string                      // of events that carry none: the name of a hold leaves it out
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
	turn      chan struct{} // one place: whoever seals the next batch has it

	evidence *evidence
	floods   *floods
	sizes    sizes
	lanes    laneHolds
	locks    atomic.Int32 // 423s in a row

	mu        sync.Mutex // guards what follows
	requests  map[string]int
	trouble   map[string]int
	doubts    []place           // partitions that may flood
	warnings  map[string]int    // by category
	warnKinds map[string]bool   // that are in the log
	searches  map[string]string // the scopes of the searches that wait, by the gate's name for them
}

// Status is what a Sender shows of itself.
type Status struct {
	Breaker  string         `json:"breaker"` // closed, open, half-open
	Outage   *Outage        `json:"outage"`  // null while the breaker is closed
	InFlight int            `json:"in_flight"`
	Queued   int            `json:"queued"`   // records waiting for a batch
	Upserted uint64         `json:"upserted"` // records confirmed, merged ones included
	Merged   uint64         `json:"merged"`   // of those, the ones that travelled inside a newer one's input
	Inputs   uint64         `json:"inputs"`   // that requests carried, those sent again included
	Requests map[string]int `json:"requests"` // by HTTP status, or "error" where none came
	Trouble  map[string]int `json:"trouble"`  // inputs that HubSpot named with a category that is not the record's fault
	Warnings map[string]int `json:"warnings"` // of results, by category: HubSpot wrote the task, and notes something
}

// NewSender returns a Sender that waits for Run.
func NewSender(cfg SenderConfig) *Sender {
	m := newMetrics(cfg.Telemetry, cfg.Client.Endpoint(), cfg.Group)
	return &Sender{cfg: cfg, gate: newGate(cfg.Board, cfg.Log), metrics: m,
		traces: newTraces(cfg.Telemetry, cfg.Client.Endpoint(), cfg.Group, m.target),
		slots:  make(chan struct{}, cfg.MaxInFlight), turn: make(chan struct{}, 1), evidence: newEvidence(),
		floods: newFloods(), lanes: laneHolds{board: cfg.Board, usual: cfg.IDProperty, stand: map[laneKey]laneReason{}},
		requests: map[string]int{}, trouble: map[string]int{}, warnings: map[string]int{}, warnKinds: map[string]bool{},
		searches: map[string]string{}}
}

// Held tells whether a hold of a smaller scope stops the record: it may not leave now.
func (s *Sender) Held(t *Task) bool { return s.gate.Held(t) }

// Run sends until ctx ends, and returns when the last request is answered or given up. A ripe batch gets, in this
// order, the gate's permit, a slot, the pace's ticket and the proof of membership; only then is it sealed.
func (s *Sender) Run(ctx context.Context) {
	var flights, probes sync.WaitGroup
	defer flights.Wait()
	defer probes.Wait()
	probes.Go(func() { s.probe(ctx, &flights) })
	loop := s.cfg.Watch.Loop("sender")
	defer loop.End()
	for {
		loop.Busy()
		s.cfg.Queue.SetWait(s.cfg.Pace.BatchWait())
		s.cfg.Queue.SetBytes(s.batchBytes())
		loop.Idle() // until the batch is sealed: each of these waits may take any time
		if s.cfg.Queue.Ripe(ctx) != nil {
			return
		}
		w := waits{ripe: time.Now()}
		p, err := s.gate.Pass(ctx, s.cfg.BatchSize)
		if err != nil {
			return
		}
		w.gate, w.hold = time.Since(w.ripe), p.hold
		if !s.slot(ctx) { // after the gate: a probe needs one while the gate is shut
			return
		}
		ticket, ok := s.ticket(ctx, &w)
		if !ok {
			return
		}
		loop.Busy()
		s.leave(ctx, &flights, p, ticket, s.cfg.Queue.Seal(p.limit), w)
		<-s.turn
	}
}

// probe asks, while something is held, whether it may flow again. A probe carries records that came back least often,
// so that each carries others.
func (s *Sender) probe(ctx context.Context, flights *sync.WaitGroup) {
	loop := s.cfg.Watch.Loop("probes")
	defer loop.End()
	var last laneKey
	for {
		loop.Idle()
		p, err := s.gate.Due(ctx, s.cfg.BatchSize)
		if err != nil {
			return
		}
		if strings.HasPrefix(p.hold, doubtName) {
			s.gate.unused(p, false)
			s.certain(p.hold)
			continue
		}
		w := waits{ripe: time.Now(), hold: p.hold}
		if !s.slot(ctx) {
			return
		}
		ticket, ok := s.ticket(ctx, &w)
		if !ok {
			return
		}
		loop.Busy()
		batch, aside := s.ask(p, &last)
		if aside {
			for _, sealed := range batch {
				s.asideNow(sealed)
			}
			batch = nil
		} else if batch == nil && p.of != nil {
			s.end(p.hold) // nothing waits for it
		}
		s.leave(ctx, flights, p, ticket, batch, w)
		<-s.turn
	}
}

// ask seals the batch of a probe. One of everything carries the lane that passed last, then each time another one than
// before, so that a lane in which nothing passes does not speak for the others.
func (s *Sender) ask(p permit, last *laneKey) (batch []*batcher.Sealed[*Task], aside bool) {
	if p.of != nil {
		return s.cfg.Queue.Probe(p.limit, p.prefer, p.of)
	}
	var lane laneKey
	if p.first {
		lane = s.evidence.passedLast()
	}
	batch, _ = s.cfg.Queue.Probe(p.limit, batcher.LeastTried, func(t *Task) bool {
		if lane == (laneKey{}) && t.refused == nil && t.lane() != *last {
			lane = t.lane()
		}
		return t.refused == nil && t.lane() == lane
	})
	if *last = lane; batch != nil {
		return batch, false
	}
	return s.cfg.Queue.Probe(p.limit, batcher.LeastTried, func(*Task) bool { return true })
}

func (s *Sender) slot(ctx context.Context) bool {
	select {
	case s.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// ticket waits for this batch's turn, the pace and the proof of membership. If it returns true the turn is the
// caller's.
func (s *Sender) ticket(ctx context.Context, w *waits) (ticket *pace.Ticket, ok bool) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	began := time.Now()
	ticket, err := s.cfg.Pace.Wait(ctx)
	w.rate = time.Since(began)
	if err == nil {
		err = s.cfg.Prove(ctx)
	}
	w.proof = time.Since(began) - w.rate
	if err != nil {
		<-s.turn
		return nil, false
	}
	return ticket, true
}

// leave sends a sealed batch. If there is none, what was ripe went with its partition.
func (s *Sender) leave(ctx context.Context, flights *sync.WaitGroup, p permit, ticket *pace.Ticket,
	batch []*batcher.Sealed[*Task], w waits) {
	if batch == nil {
		ticket.Return()
		s.gate.unused(p, true)
		<-s.slots
		return
	}
	flights.Go(func() {
		s.attempt(ctx, p, ticket, batch, w)
		<-s.slots
	})
}

// batchBytes is how many bytes a batch may have now.
func (s *Sender) batchBytes() int {
	if bound := s.sizes.bound(time.Now()); bound > 0 {
		return min(bound, s.cfg.BatchBytes)
	}
	return s.cfg.BatchBytes
}

// attempt sends one request and settles what its answer says.
func (s *Sender) attempt(ctx context.Context, p permit, ticket *pace.Ticket, batch []*batcher.Sealed[*Task], w waits) {
	began := time.Now()
	loop := s.cfg.Watch.Loop("request to HubSpot")
	defer loop.End()
	loop.Busy()
	body, batch, inputs := s.encode(p, batch)
	if len(batch) == 0 {
		ticket.Return()
		s.gate.unused(p, false)
		return
	}
	for _, in := range inputs {
		for _, t := range in {
			t.attempts++
		}
	}
	s.inputs.Add(uint64(len(inputs)))
	left := s.evidence.depart(inputs)
	topic := topicOf(inputs)
	ctx, span := s.traces.process(ctx, inputs, topic, w)
	defer span.End()
	s.metrics.sealed(ctx, len(inputs), w.rate)
	_, whole := s.evidence.suspects(inputs)
	s.gate.leaves(&p, whole)
	f := flight{permit: p, batch: batch, inputs: inputs, size: sizeOf(inputs), healthy: s.gate.healthy(),
		left: left, span: span.SpanContext()}
	s.flying.Add(1)
	asked := time.Now()
	posting, post := s.traces.request(ctx, inputs)
	// The pace counts the request when it is written: dialling takes its time.
	answer, err := s.cfg.Client.Post(posting, body, hubspot.AnswerBound(len(inputs), f.size), s.cfg.Proven, ticket.Leave)
	took := time.Since(asked)
	s.flying.Add(-1)
	s.traces.answered(post, answer, err)
	defer answer.Release()
	if ctx.Err() != nil {
		ticket.Return()
		s.gate.unused(p, false) // the process stops: whoever takes over sends these records again
		return
	}
	if errors.Is(err, hubspot.ErrWithheld) { // the next one proves the membership anew, or the records are gone
		ticket.Return()
		s.again(f)
		s.gate.unused(p, false)
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
		a = judgement{Class: classFailed, What: "no answer: " + err.Error(), Reason: noAnswer(err)}
	} else {
		a = judge(inputs, answer.Status, answer.Header, answer.Body)
		if answer.Login && a.Class != classAuth {
			a.Class = classLogin
		}
		if answer.Login { // nothing was sent to the API
			ticket.Return()
		} else {
			ticket.Answered(answer.Header, a.Class == classLimited, a.RetryAfter)
		}
	}
	s.traces.judged(span, &a)
	f.took = took
	s.settle(f, a)
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

// countTrouble counts an input that was named, but not for its own fault.
func (s *Sender) countTrouble(reason dlq.Reason) {
	category := reason.Kind().Category
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble[category]++
}

// Drop forgets each record of which gone is true: those that wait for a request, and those that wait for their letter
// to be written.
func (s *Sender) Drop(gone func(*consumer.Record) bool) {
	s.cfg.Queue.Drop(func(t *Task) bool { return gone(t.Record) })
	s.unnameAll(func(t *Task) bool { return gone(t.Record) })
	s.cfg.DropLetters(gone)
}

// Status tells where the Sender stands.
func (s *Sender) Status() Status {
	breaker, outage := s.gate.status()
	st := Status{Breaker: breaker, Outage: outage, InFlight: int(s.flying.Load()), Queued: s.cfg.Queue.Len(),
		Upserted: s.confirmed.Load(), Merged: s.merged.Load(), Inputs: s.inputs.Load()}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Requests, st.Trouble, st.Warnings = maps.Clone(s.requests), maps.Clone(s.trouble), maps.Clone(s.warnings)
	return st
}
