// Package dlq keeps the records that cannot be upserted: the dead letters.
//
// A Writer writes them to the dead-letter topic, each with its key, value and headers byte for byte and the reason
// in headers of its own, and settles a record once all in-sync replicas have its letter. While the topic cannot be
// written it holds, and tries again for ever: a record is given up only with its partition. DeadLetter never blocks;
// what waits is bounded by the records that the consumer lets into memory, as each keeps its place there until it is
// settled.
//
// Each partition of a dead-letter topic has a lane. A lane writes its letters in the order in which they were handed
// over, and its failures stop no other lane. The record's key chooses the partition; a record without a key goes to the
// partition that belongs to its source partition. A letter that its topic takes in no form is held back, with what has
// the same key in the same source partition, and the rest of its lane goes on.
//
// While a lane works, a record is on the wire from the moment at which its letter is handed over: it is written within
// milliseconds, and whoever gives up its partition waits for that. After a write that failed, only the letters of the
// attempt that is being made are on the wire, so that nobody waits for a topic that cannot be written.
//
// Use: NewWriter, then Run, which works until its context ends. A Reader reads letters back, and a Redriver sends them
// to the topics that they came from.
package dlq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/watchdog"
	"github.com/tasksink/tasksink/tracing"
)

const (
	writeTimeout = 10 * time.Second
	firstPause   = 250 * time.Millisecond // after a failed write
	lastPause    = 5 * time.Second
	logEvery     = 10 * time.Second
)

// Config says where the letters go.
type Config struct {
	broker.Connection

	Topic     func(source string) string // the dead-letter topic of a source topic
	Topics    []string                   // all that Topic returns
	Group     string                     // for the letter's header
	Telemetry *tracing.Telemetry         // nil: off
	Watch     *watchdog.Dog              // nil: nobody watches Run
	Board     *hold.Board
	Log       zerolog.Logger
}

// Writer writes dead letters.
type Writer struct {
	cfg       Config
	transport *kafka.Transport
	client    *kafka.Client
	wake      chan struct{} // one place: letters were handed over
	backlog   *backlog

	mu         sync.Mutex
	status     Status
	tally      tally
	lastLogged time.Time // when a failed write was
}

// Status is what a Writer shows of itself.
type Status struct {
	Queued    int            `json:"queued"`
	Written   map[string]int `json:"written"`   // by category
	Truncated int            `json:"truncated"` // letters too large for the topic, written without their value
	Errors    int            `json:"errors"`    // writes that failed and were tried again

	Reasons []Count        `json:"reasons"` // of what was written, the one met last first
	Sent    map[string]int `json:"sent"`    // by dead-letter topic
}

// NewWriter returns a Writer that waits for Run.
func NewWriter(cfg Config) *Writer {
	transport := cfg.Transport(cfg.Topics...)
	return &Writer{cfg: cfg, transport: transport, wake: make(chan struct{}, 1), tally: tally{},
		client:  &kafka.Client{Addr: kafka.TCP(cfg.Brokers...), Transport: transport, Timeout: writeTimeout},
		backlog: newBacklog(cfg.Board), status: Status{Written: map[string]int{}, Sent: map[string]int{}}}
}

// DeadLetter queues the letter of a record. It never blocks; the record is settled when Kafka has the letter. After
// that Run calls done(true). If the letter is given up with its partition, Run or Drop calls done(false). Exactly one
// of them is called, once and under no lock, but for the letters that are left when Run ends.
func (w *Writer) DeadLetter(rec *consumer.Record, reason Reason, done func(written bool)) {
	w.backlog.add(letter{rec: rec, reason: reason, at: time.Now(), done: done})
	signal(w.wake)
}

// Drop gives up each queued letter of whose record gone is true. Letters that are being written stay.
func (w *Writer) Drop(gone func(*consumer.Record) bool) { giveUp(w.backlog.drop(gone)) }

func giveUp(letters []letter) {
	for _, l := range letters {
		l.done(false)
	}
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends. What is queued then is left to whoever gets the partitions.
func (w *Writer) Run(ctx context.Context) {
	defer w.transport.CloseIdleConnections()
	var lanes sync.WaitGroup
	defer lanes.Wait()
	loop := w.cfg.Watch.Loop("dead letters")
	defer loop.End()
	for ctx.Err() == nil {
		loop.Busy()
		fresh, again := w.sort(ctx, loop)
		for _, l := range fresh {
			lanes.Go(func() { w.work(ctx, l) })
		}
		loop.Idle()
		select {
		case <-w.wake:
		case <-again:
		case <-ctx.Done():
		}
	}
}

// sort puts the letters that were handed over into the lanes of their partitions. Those of a topic that cannot be
// looked up wait. It returns the lanes that are new, and when to try again; nil: when there is something new.
func (w *Writer) sort(ctx context.Context, loop *watchdog.Loop) (fresh []*lane, again <-chan time.Time) {
	byTopic := map[string][]letter{}
	for _, l := range w.backlog.handedOver() {
		topic := w.cfg.Topic(l.rec.Topic)
		byTopic[topic] = append(byTopic[topic], l)
	}
	for _, topic := range w.backlog.unsorted() {
		if byTopic[topic] == nil {
			byTopic[topic] = []letter{} // it is looked up though nothing is new
		}
	}
	for topic, letters := range byTopic {
		loop.Busy() // a new piece of work
		lobby := w.backlog.lane(target{topic, unknown})
		if !w.backlog.due(lobby) {
			w.backlog.put(lobby, letters)
			continue
		}
		n, err := w.partitions(ctx, topic)
		if err != nil {
			w.backlog.put(lobby, letters)
			w.backlog.failed(lobby, nil, w.failure(ctx, err))
			continue
		}
		fresh = append(fresh, w.backlog.sorted(lobby, letters, n)...)
	}
	if pause, waits := w.backlog.nextLookup(); waits {
		again = time.After(pause)
	}
	return fresh, again
}

// written settles the record of a letter that Kafka has acknowledged.
func (w *Writer) written(l letter) {
	w.mu.Lock()
	w.status.Written[l.reason.Category]++
	w.tally.add(l.reason, time.Now())
	w.status.Sent[w.cfg.Topic(l.rec.Topic)]++
	if l.form != whole {
		w.status.Truncated++
	}
	w.mu.Unlock()
	if l.form != whole {
		w.cfg.Log.Error().Str("topic", l.rec.Topic).Int("partition", l.rec.Partition).Int64("offset", l.rec.Offset).
			Msg("a dead letter is too large for its topic and was written without its value; raise max.message.bytes of the " +
				"dead-letter topic")
	}
	w.trace(l)
	l.rec.Settle(time.Now())
	l.done(true)
}

// failure counts and logs a failed write, and says what the hold shows of it.
func (w *Writer) failure(ctx context.Context, err error) failure {
	f := failure{detail: fmt.Sprintf("dead letters cannot be written: %v", err), remedy: remedyOf(err)}
	if ctx.Err() != nil {
		return failure{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.Errors++
	if time.Since(w.lastLogged) > logEvery {
		w.lastLogged = time.Now()
		w.cfg.Log.Error().Err(err).Str("remedy", f.remedy).Msg("dead letters cannot be written")
	}
	return f
}

// remedyOf says what an operator can do about a dead-letter topic that cannot be written.
func remedyOf(err error) string {
	switch {
	case errors.Is(err, kafka.UnknownTopicOrPartition):
		// Kafka also says so where the principal may not even know of the topic.
		return "create the dead-letter topic; tasksink creates none. If it is there, allow the principal WRITE on it: " +
			"docs/security.md"
	case errors.Is(err, kafka.TopicAuthorizationFailed):
		return "allow the principal WRITE on the dead-letter topic: docs/security.md"
	}
	if remedy := broker.Remedy(err); remedy != "" {
		return remedy
	}
	return "check the brokers; tasksink goes on by itself"
}

// Status tells where the Writer stands.
func (w *Writer) Status() Status {
	queued := w.backlog.len()
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.status
	st.Reasons = w.tally.list()
	st.Queued, st.Written, st.Sent = queued, maps.Clone(st.Written), maps.Clone(st.Sent)
	return st
}
