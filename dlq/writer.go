// Package dlq keeps the records that cannot be upserted: the dead letters.
//
// A Writer writes them to the dead-letter topic, each with its key, value and headers byte for byte and the reason
// in headers of its own, and settles a record once all in-sync replicas have its letter. While the topic cannot be
// written it holds, and tries again for ever: a record is given up only with its partition. DeadLetter never blocks;
// what waits is bounded by the records that the consumer lets into memory, as each keeps its place there until it is
// settled. Letters are written in the order in which they were handed over; one that failed goes before all that wait.
//
// While the Writer works, a record is on the wire from the moment at which its letter is handed over: it is written
// within milliseconds, and whoever gives up its partition waits for that. After a write that failed, only the letters
// of the attempt that is being made are on the wire, so that nobody waits for a topic that cannot be written.
//
// Use: NewWriter, then Run, which works until its context ends.
package dlq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	holdDLQ = "dlq" // the dead-letter topic cannot be written

	atOnce       = 500 // letters in one write
	writeTimeout = 10 * time.Second
	firstPause   = 250 * time.Millisecond // after a failed write
	lastPause    = 5 * time.Second
	tellEvery    = 10 * time.Second
	maxLetter    = 1 << 30 // bytes; what the broker takes is less, and it says so
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
	kafka     *kafka.Writer
	wake      chan struct{} // one place: there is something to write

	mu      sync.Mutex
	queue   []letter
	failing bool // the last write failed: what is queued is not on the wire
	status  Status
	tally   tally
	told    time.Time
}

type letter struct {
	rec    *consumer.Record
	reason Reason
	at     time.Time
	small  int // 0: whole; 1: a pointer, without value; 2: without the record's headers, too; 3: without key
	done   func(written bool)
}

// leave says that the letter's record is on the wire; false if it is given up.
func (l *letter) leave() bool { return !l.rec.Gone() && l.rec.Leave() }

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
		status: Status{Written: map[string]int{}, Sent: map[string]int{}},
		kafka: &kafka.Writer{
			Addr: kafka.TCP(cfg.Brokers...), Transport: transport, Balancer: kafka.Murmur2Balancer{},
			RequiredAcks: kafka.RequireAll, // the zero value is none
			MaxAttempts:  1,                // we repeat ourselves, and know what was written
			BatchSize:    atOnce, BatchBytes: maxLetter, BatchTimeout: time.Millisecond,
			ReadTimeout: writeTimeout, WriteTimeout: writeTimeout,
		}}
}

// DeadLetter queues the letter of a record. It never blocks; the record is settled when Kafka has the letter. After
// that Run calls done(true). If the letter is given up with its partition, Run or Drop calls done(false). Exactly one
// of them is called, once and under no lock, but for the letters that are left when Run ends.
func (w *Writer) DeadLetter(rec *consumer.Record, reason Reason, done func(written bool)) {
	l := letter{rec: rec, reason: reason, at: time.Now(), done: done}
	w.mu.Lock()
	if w.failing {
		rec.Return()
	} else {
		l.leave() // if it is given up, next finds out
	}
	w.queue = append(w.queue, l)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Drop gives up each queued letter of whose record gone is true. Letters that are being written stay.
func (w *Writer) Drop(gone func(*consumer.Record) bool) {
	var given []letter
	w.mu.Lock()
	w.queue = slices.DeleteFunc(w.queue, func(l letter) bool {
		is := gone(l.rec)
		if is {
			given = append(given, l)
		}
		return is
	})
	w.mu.Unlock()
	giveUp(given)
}

func giveUp(letters []letter) {
	for _, l := range letters {
		l.done(false)
	}
}

// Run writes until ctx ends. What is queued then is left to whoever gets the partitions.
func (w *Writer) Run(ctx context.Context) {
	defer w.transport.CloseIdleConnections()
	defer func() { _ = w.kafka.Close() }() // nothing is out: WriteMessages waits for its answers
	loop := w.cfg.Watch.Loop("dead letters")
	defer loop.End()
	pause := firstPause
	for ctx.Err() == nil {
		loop.Busy()
		batch, given := w.next()
		giveUp(given)
		if len(batch) == 0 {
			if len(given) > 0 {
				continue
			}
			loop.Idle()
			select {
			case <-w.wake:
			case <-ctx.Done():
			}
			continue
		}
		failed, err := w.write(ctx, batch)
		if err == nil {
			pause = firstPause
			w.cfg.Board.Clear(holdDLQ, hold.All)
			w.back(failed, false) // too large: in another form
			continue
		}
		w.back(failed, true)
		w.complain(ctx, err)
		loop.Idle()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, lastPause)
	}
}

// next takes letters from the queue, and puts them on the wire. Those of partitions that were given up it takes, too.
func (w *Writer) next() (batch, given []letter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, bytes := 0, 0
	for n < len(w.queue) && len(batch) < atOnce && bytes < 8<<20 {
		if l := w.queue[n]; l.leave() {
			batch = append(batch, l)
			bytes += len(l.rec.Value)
		} else {
			given = append(given, l)
		}
		n++
	}
	w.queue = append([]letter(nil), w.queue[n:]...)
	return batch, given
}

// back puts letters before the others again, after a write that failed or did not. That decides whether what is queued
// is on the wire.
func (w *Writer) back(letters []letter, failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(letters) > 0 {
		w.queue = append(letters, w.queue...)
	}
	switch {
	case failed:
		for _, l := range w.queue {
			l.rec.Return()
		}
	case w.failing:
		for _, l := range w.queue {
			l.leave()
		}
	}
	w.failing = failed
}

// write writes a batch and settles what was acknowledged. It returns what was not, and the error of one of those
// that is not about its size.
func (w *Writer) write(ctx context.Context, batch []letter) (failed []letter, err error) {
	msgs := make([]kafka.Message, len(batch))
	for i, l := range batch {
		msgs[i] = l.message(w.cfg.Topic(l.rec.Topic), w.cfg.Group)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*writeTimeout)
	defer cancel()
	all := w.kafka.WriteMessages(ctx, msgs...)
	each := make([]error, len(batch))
	var several kafka.WriteErrors
	switch {
	case all == nil:
	case errors.As(all, &several) && len(several) == len(batch):
		copy(each, several)
	default:
		for i := range each {
			each[i] = all
		}
	}
	for i, l := range batch {
		switch {
		case each[i] == nil:
			w.written(l)
		case errors.Is(each[i], kafka.MessageSizeTooLarge):
			// The broker refuses the whole of what was sent to a partition: only alone is it this letter's fault.
			if len(batch) == 1 {
				l.small++
			}
			failed = append(failed, l)
		default:
			failed, err = append(failed, l), each[i]
		}
	}
	if len(batch) > 1 && len(failed) > 0 && err == nil {
		return w.apart(ctx, failed)
	}
	return failed, err
}

// apart writes letters one by one, as one of them is too large.
func (w *Writer) apart(ctx context.Context, letters []letter) (failed []letter, err error) {
	for i, l := range letters {
		left, err := w.write(ctx, []letter{l})
		failed = append(failed, left...)
		if err != nil {
			return append(failed, letters[i+1:]...), err
		}
	}
	return failed, nil
}

func (w *Writer) written(l letter) {
	w.mu.Lock()
	w.status.Written[l.reason.Category]++
	w.tally.add(l.reason, time.Now())
	w.status.Sent[w.cfg.Topic(l.rec.Topic)]++
	if l.small > 0 {
		w.status.Truncated++
	}
	w.mu.Unlock()
	if l.small > 0 {
		w.cfg.Log.Error().Str("topic", l.rec.Topic).Int("partition", l.rec.Partition).Int64("offset", l.rec.Offset).
			Msg("a dead letter is too large for its topic and was written without its value; raise max.message.bytes of the " +
				"dead-letter topic")
	}
	w.trace(l)
	l.rec.Settle(time.Now())
	l.done(true)
}

// complain reports that the topic cannot be written.
func (w *Writer) complain(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	remedy := cmp.Or(broker.Remedy(err), "check the brokers; tasksink goes on by itself")
	switch {
	case errors.Is(err, kafka.UnknownTopicOrPartition):
		// Kafka also says so where the principal may not even know of the topic.
		remedy = "create the dead-letter topic; tasksink creates none. If it is there, allow the principal WRITE on it: " +
			"docs/security.md"
	case errors.Is(err, kafka.TopicAuthorizationFailed):
		remedy = "allow the principal WRITE on the dead-letter topic: docs/security.md"
	}
	w.mu.Lock()
	w.status.Errors++
	tell := time.Since(w.told) > tellEvery
	if tell {
		w.told = time.Now()
	}
	w.mu.Unlock()
	if tell {
		w.cfg.Log.Error().Err(err).Str("remedy", remedy).Msg("dead letters cannot be written")
	}
	w.cfg.Board.Set(holdDLQ, hold.All, fmt.Sprintf("dead letters cannot be written: %v", err), remedy)
}

// Status tells where the Writer stands.
func (w *Writer) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.status
	st.Reasons = w.tally.list()
	st.Queued, st.Written, st.Sent = len(w.queue), maps.Clone(st.Written), maps.Clone(st.Sent)
	return st
}
