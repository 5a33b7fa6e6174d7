package consumer_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// sink stands for the rest of tasksink: it settles each record a moment after it came, unless it was given up.
type sink struct {
	t    *testing.T
	seen func(*consumer.Record) // if set, called for each record delivered
	// if set, tells which records are never settled: the request with them never ends
	never func(*consumer.Record) bool
	// if set, tells which records come back without a verdict, and wait
	back      func(*consumer.Record) bool
	unordered bool // offsets may go back
	forgetful bool // keeps no values

	mu      sync.Mutex
	delay   time.Duration
	waiting []*consumer.Record
	values  []string         // delivered, in order
	settled map[string]int   // by trace id
	last    map[string]int64 // the highest offset settled, by partition
}

func newSink(t *testing.T, delay time.Duration) *sink {
	return &sink{t: t, delay: delay, settled: map[string]int{}, last: map[string]int64{}}
}

func (s *sink) deliver(rec *consumer.Record) {
	if s.seen != nil {
		s.seen(rec)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, rec)
	if !s.forgetful {
		s.values = append(s.values, string(rec.Value))
	}
}

func (s *sink) drop(gone func(*consumer.Record) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.waiting[:0]
	for _, rec := range s.waiting {
		if !gone(rec) {
			kept = append(kept, rec)
		}
	}
	s.waiting = kept
}

// work settles, until ctx ends, a hundred records at a time, as a request does.
func (s *sink) work(ctx context.Context, prove func(context.Context) error) {
	for ctx.Err() == nil {
		if prove(ctx) != nil {
			return
		}
		s.mu.Lock()
		n := min(len(s.waiting), 100)
		batch := append([]*consumer.Record(nil), s.waiting[:n]...)
		s.waiting = s.waiting[n:]
		for _, rec := range batch {
			rec.Leave()
		}
		s.mu.Unlock()
		delay := 5 * time.Millisecond
		if n > 0 {
			s.mu.Lock()
			delay = s.delay
			s.mu.Unlock()
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		for _, rec := range batch {
			if s.never != nil && s.never(rec) {
				continue
			}
			if s.back != nil && s.back(rec) {
				rec.Return()
				continue
			}
			s.settled[rec.TraceID()]++
			at := fmt.Sprintf("%s/%d", rec.Topic, rec.Partition)
			if before, ok := s.last[at]; ok && rec.Offset <= before && !s.unordered {
				s.t.Errorf("partition %s: offset %d after %d", at, rec.Offset, before)
			}
			s.last[at] = rec.Offset
			rec.Settle(time.Now())
		}
		s.mu.Unlock()
	}
}

// forget says that offsets may come again.
func (s *sink) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.last)
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.settled)
}

// member is a running consumer with its own view of the world.
type member struct {
	*consumer.Consumer
	board  *hold.Board
	stop   context.CancelFunc
	done   chan error
	worker sync.WaitGroup
	end    context.CancelFunc

	mu     sync.Mutex
	shares []string // own/total, as it was told
	heard  []string // the notes of the last time
}

// share is the last thing that the member was told of its share, and all of it.
func (m *member) share() (last, all string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.shares) > 0 {
		last = m.shares[len(m.shares)-1]
	}
	return last, strings.Join(m.shares, " ")
}

// notes is what the others said of themselves the last time.
func (m *member) notes() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.heard, "; ")
}

func join(t *testing.T, b *kafkatest.Broker, topic, name string, s *sink, change func(*consumer.Config)) *member {
	t.Helper()
	log := zerolog.New(zerolog.NewTestWriter(t)).With().Str("member", name).Logger().Level(zerolog.WarnLevel)
	cfg := consumer.Config{Connection: broker.Connection{Brokers: b.Addrs, ClientID: name}, Topics: []string{topic},
		Group:      topic,
		MaxPending: 2000, MaxPendingBytes: 64 << 20, DrainTimeout: 10 * time.Second, SessionTimeout: 6 * time.Second,
		HeartbeatInterval: 200 * time.Millisecond, Board: hold.NewBoard(log), Log: log}
	if change != nil {
		change(&cfg)
	}
	ctx, stop := context.WithCancel(context.Background())
	work, end := context.WithCancel(context.Background())
	m := &member{board: cfg.Board, stop: stop, done: make(chan error, 1), end: end}
	cfg.Note = func() []byte { return []byte("from " + name) }
	cfg.Share = func(own, total, _ int, notes [][]byte) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.heard = nil
		for _, n := range notes {
			m.heard = append(m.heard, string(n))
		}
		m.shares = append(m.shares, fmt.Sprintf("%d/%d", own, total))
	}
	c, err := consumer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.Consumer = c
	m.worker.Go(func() { s.work(work, c.Prove) })
	ended := make(chan struct{})
	go func() {
		m.done <- c.Run(ctx, s.deliver, s.drop)
		close(ended)
	}()
	t.Cleanup(func() {
		stop()
		end()
		<-ended // it logs to the test until then
	})
	return m
}

// leave stops the member and returns what Run returned.
func (m *member) leave(t *testing.T) error {
	t.Helper()
	m.stop()
	select {
	case err := <-m.done:
		m.end()
		m.worker.Wait()
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("Run did not return")
		return nil
	}
}

func produce(t *testing.T, b *kafkatest.Broker, topic string, n int) {
	t.Helper()
	var msgs []kafka.Message
	for i := range n {
		msgs = append(msgs, kafka.Message{Key: []byte(strconv.Itoa(i)), Value: fmt.Appendf(nil, `{"id":"task-%d"}`, i)})
	}
	b.Produce(t, topic, msgs...)
}

// until waits for a condition, for at most limit.
func until(t *testing.T, what string, limit time.Duration, met func() bool) {
	t.Helper()
	for start := time.Now(); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// TestJoinAndLeave: a second member joins and leaves while records flow. No record is settled twice, none is left.
func TestJoinAndLeave(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		const records = 30_000
		topic := b.Topic(t, 6, nil)
		produce(t, b, topic, records)
		sa, sb := newSink(t, 10*time.Millisecond), newSink(t, 10*time.Millisecond)
		a := join(t, b, topic, "a", sa, nil)
		until(t, "a settles", 20*time.Second, func() bool { return sa.count() > 3000 })
		second := join(t, b, topic, "b", sb, nil)
		until(t, "b settles", 20*time.Second, func() bool { return sb.count() > 2000 })
		if _, all := a.share(); all != "6/6 3/6" {
			t.Errorf("a was told of the shares %s, want 6/6 3/6", all)
		}
		if heard := a.notes() + ", " + second.notes(); heard != "from b, from a" {
			t.Errorf("the members heard %q of each other", heard)
		}
		if err := second.leave(t); err != nil {
			t.Errorf("b: %v", err)
		}
		until(t, "all", time.Minute, func() bool { return sa.count()+sb.count() >= records })
		until(t, "no lag", 10*time.Second, func() bool { return b.Lag(t, topic, topic) == 0 })
		if err := a.leave(t); err != nil {
			t.Errorf("a: %v", err)
		}
		for id, n := range sa.settled {
			if n += sb.settled[id]; n > 1 {
				t.Errorf("%s was settled %d times", id, n)
			}
		}
	})
}

// TestRoom: with nothing settled, no more than MaxPending records come in; and they all leave when the flow resumes.
func TestRoom(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 3, nil)
	produce(t, b, topic, 5000)
	s := newSink(t, time.Hour)
	m := join(t, b, topic, "a", s, func(c *consumer.Config) { c.MaxPending = 700 })
	until(t, "the room fills", 10*time.Second, func() bool { return m.Status().Pending == 700 })
	until(t, "a request is out", 10*time.Second, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.waiting) < len(s.values)
	})
	until(t, "the lag is known", 15*time.Second, func() bool {
		lag := int64(0)
		for _, p := range m.Status().Partitions {
			if p.Lag != nil {
				lag += *p.Lag
			}
		}
		return lag == 5000
	})
	m.stop()
	m.end() // the request that is out never comes back: what it carried is not committed
	m.worker.Wait()
	if err := <-m.done; err == nil {
		t.Error("a drain that missed its deadline is no success")
	}
}
