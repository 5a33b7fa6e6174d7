// Package consumer brings Kafka's records in, and commits what became of them.
//
// It is a member of a consumer group, and sends its own fetch requests: one at a time to each broker, for the
// partitions that it leads and that are healthy. It promises:
//   - An offset is committed when its record, and all before it in its partition, are settled: confirmed by HubSpot
//     or acknowledged in the dead-letter topic. Gaps in the offsets are no obstacle.
//   - What is settled beyond the committed offset stands in the commit's metadata, and the next owner skips it.
//   - A member that lost a partition commits nothing for it, and Prove lets no request start for it.
//   - When partitions are given up, what is on the wire is settled and committed first, within Config.DrainTimeout.
//     Nothing else is waited for.
//   - Each partition stands alone: one without a leader, with a broken log, or of a deleted topic is left out, named
//     (PartitionStatus.Problem, and a hold of that scope) and tried again, while the others flow.
//   - No more than Config.MaxPending records are in memory, beside one decompressed fetch for each leader.
//
// Use: New, then Run, which delivers records until its context ends, drains, leaves the group and returns. A record
// is told what becomes of it by its methods Leave, Return and Settle.
//
// member.go speaks with the group's coordinator, generation.go is the life of one assignment, fetch.go and take.go
// read, ledger.go has what is open of a partition and settled.go what is settled beyond that, commit.go commits and
// proves the membership, watch.go keeps an eye on what changes, health.go holds what is wrong with a partition, and
// retention.go asks how long Kafka keeps the records.
//
// The tests run against Apache Kafka, with one broker and with two, and against kfake.
package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/watchdog"
	"github.com/tasksink/tasksink/tracing"
)

// Config says what to consume, and within which bounds.
type Config struct {
	broker.Connection

	Topics []string
	Group  string

	MaxPending      int   // records in memory
	MaxPendingBytes int64 // bytes in memory

	DrainTimeout      time.Duration // for settling what is on the wire when partitions are given up
	SessionTimeout    time.Duration // 0: 15 s. After this without a sign of life the group gives the partitions away
	HeartbeatInterval time.Duration // 0: 1 s. A rebalance is noticed at the next heartbeat

	// Ours tells whether a member's note is one that a tasksink wrote. A member with another one is a foreign program: it
	// is assigned no partitions, and a hold names it. nil: all members are ours.
	Ours func(note []byte) bool
	// Share is told how many partitions of how many this member has, the number of its first one, and the notes of the
	// other members, when the group has divided them. Between two calls no other member had them. It may be nil.
	Share     func(own, total, first int, notes [][]byte)
	Note      func() []byte      // what the other members are told when this one joins; nil: nothing
	Telemetry *tracing.Telemetry // nil: off
	Watch     *watchdog.Dog      // nil: nobody watches the loops
	Board     *hold.Board
	Log       zerolog.Logger
}

// The reasons of holds. Those of the second block stop nothing but their scope.
const (
	holdKafka  = "kafka"  // brokers, or all topics, out of reach
	holdCommit = "commit" // commits are refused: nothing is sent, as it would be sent again

	holdTopic     = "topic"     // a topic is not there
	holdPartition = "partition" // a partition is sick
	holdGroup     = "group"     // a foreign program is in the group
)

const (
	commitEvery = 250 * time.Millisecond
	slack       = 10 * time.Second // between the drain's end and the group's patience with it
	joinPause   = 500 * time.Millisecond
)

// Consumer is one member of a consumer group.
type Consumer struct {
	cfg       Config
	addr      net.Addr
	transport *kafka.Transport // for fetches, and for what Kafka says of topics and members; look knows the leaders
	wire      *wire            // over transport: the requests that kafka-go does not write
	room      *room

	restarted    atomic.Int64 // partitions whose topic was created again
	truncated    atomic.Int64 // partitions whose log was truncated
	lost         atomic.Int64 // records that retention deleted before they were read
	skipped      atomic.Int64 // offsets that earlier owners had settled
	arrived      atomic.Int64 // records that came to our partitions while they were ours
	rebalances   atomic.Int64
	commitErrors atomic.Int64
	consumed     map[string]*atomic.Int64                 // records delivered, by topic
	cluster      atomic.Pointer[string]                   // Kafka's id of it, as of the last look
	metadata     atomic.Int64                             // bytes that a commit's metadata may have for each partition
	kept         atomic.Pointer[map[string]time.Duration] // how long topics keep records, where that is known
	oddTimes     sync.Map                                 // topics of which a warning was given
	ignored      sync.Map                                 // why metadata was ignored, said once each

	// Run, and what it waits for, have these to themselves.
	total     int                  // partitions of all topics, as of the last join
	missing   map[string]time.Time // since when a topic is not there
	rejoinAt  time.Time            // not before then do we ask the group to divide the partitions once more
	rejoinGap time.Duration

	mu      sync.Mutex
	current *generation   // nil between generations
	changed chan struct{} // closed and replaced when current changes
	failing time.Time     // since when Kafka has failed us; zero if it does not
	logged  time.Time     // when that was last logged
}

// New returns a Consumer that waits for Run. It does not connect yet.
func New(cfg Config) (*Consumer, error) {
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = 15 * time.Second
	}
	if cfg.HeartbeatInterval == 0 {
		cfg.HeartbeatInterval = time.Second
	}
	if cfg.Note == nil {
		cfg.Note = func() []byte { return nil }
	}
	if cfg.Ours == nil {
		cfg.Ours = func([]byte) bool { return true }
	}
	if len(cfg.Brokers) == 0 || len(cfg.Topics) == 0 || cfg.Group == "" || cfg.MaxPending < 1 || cfg.MaxPendingBytes < 1 {
		return nil, errors.New("a consumer needs brokers, topics, a group, and room for at least one record")
	}
	consumed := map[string]*atomic.Int64{}
	for _, topic := range cfg.Topics {
		consumed[topic] = new(atomic.Int64)
	}
	addr, transport := kafka.TCP(cfg.Brokers...), cfg.Transport()
	c := &Consumer{cfg: cfg, addr: addr, transport: transport, wire: newWire(transport, addr, cfg.ClientID),
		consumed: consumed, missing: map[string]time.Time{}, changed: make(chan struct{}),
		room: newRoom(cfg.MaxPending, cfg.MaxPendingBytes)}
	c.metadata.Store(metadataLimit)
	return c, nil
}

// Run consumes until ctx ends. It hands each record to deliver, in the order of its partition; deliver must not
// block. When partitions are given up it calls drop: every record that is not on the wire and of which gone is true
// must be forgotten. Neither may be called under a lock that a Record's methods are called under.
//
// Run returns nil if at the end everything that was on the wire was settled, and all that was settled is committed.
func (c *Consumer) Run(ctx context.Context, deliver func(*Record), drop func(gone func(*Record) bool)) error {
	defer c.transport.CloseIdleConnections()
	m := newMember(&c.cfg)
	defer m.cut()
	var last *generation
	for ctx.Err() == nil {
		found, ok := c.awaitTopics(ctx)
		if !ok {
			break
		}
		j, err := m.join(ctx, found.topics(), c.look)
		if err != nil {
			c.joinFailed(ctx, err)
			continue
		}
		c.flows()
		c.rebalances.Add(1)
		if last != nil && j.generation != last.id+1 {
			c.share(nil, nil) // there was a generation without us
		}
		c.total = found.total()
		last = newGeneration(c, m, j, last, found.topics(), deliver, drop)
		c.share(last.parts, c.notes(ctx, m.id))
		c.setCurrent(last)
		last.run(ctx)
		if ctx.Err() != nil {
			break
		}
		c.setCurrent(nil)
		if last.again.Load() {
			c.leave(m)
		}
	}
	c.leave(m)
	if last == nil {
		return nil
	}
	return last.result
}

// joinFailed says why the group was not joined, and waits before the next attempt. A rebalance that began meanwhile is
// no reason to wait: the coordinator holds the next join back as long as it needs.
func (c *Consumer) joinFailed(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil || errors.Is(err, kafka.RebalanceInProgress):
		return
	case errors.Is(err, kafka.InconsistentGroupProtocol):
		err = fmt.Errorf("another program, which divides partitions in another way, is in the consumer group %s: %w",
			c.cfg.Group, err)
	}
	c.complain(fmt.Errorf("join the consumer group: %w", err))
	select {
	case <-time.After(joinPause):
	case <-ctx.Done():
	}
}

// leave takes us out of the group, though the context may have ended.
func (c *Consumer) leave(m *member) {
	if err := m.leave(context.Background()); err != nil {
		c.cfg.Log.Warn().Err(err).Msg("the group waits for a session timeout before it gives our partitions to others")
	}
}

// notes are what the other members said as they joined. Nothing is lost without them.
func (c *Consumer) notes(ctx context.Context, own string) [][]byte {
	who, err := c.peers(ctx, own)
	if err != nil {
		c.cfg.Log.Warn().Err(err).Msg("the other members' requests are not known: the share of the rate limit takes effect " +
			"within one window")
	}
	return who.notes
}

// mayRejoin tells whether we may ask the group once more to divide the partitions, and counts it: each time within ten
// minutes doubles the pause before the next one, so that what does not help does not keep the group busy.
func (c *Consumer) mayRejoin() bool {
	now := time.Now()
	if now.Before(c.rejoinAt) {
		return false
	}
	if now.Sub(c.rejoinAt) > 10*time.Minute {
		c.rejoinGap = 0
	}
	c.rejoinGap = min(max(2*c.rejoinGap, 3*time.Second), 5*time.Minute)
	c.rejoinAt = now.Add(c.rejoinGap)
	return true
}

// complain reports that Kafka fails us: in the log if it lasts longer than a blip, then every ten seconds, and as a
// hold.
func (c *Consumer) complain(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	c.mu.Lock()
	now := time.Now()
	if c.failing.IsZero() {
		c.failing = now
	}
	lasts := now.Sub(c.failing) > patience
	log := now.Sub(c.failing) >= blip && now.Sub(c.logged) > patience
	if log {
		c.logged = now
	}
	c.mu.Unlock()
	if log {
		c.cfg.Log.Warn().Err(err).Msg("Kafka does not serve; trying again")
	}
	if lasts {
		c.cfg.Board.Set(holdKafka, hold.All, err.Error(),
			cmp.Or(groupRemedy(err), broker.Remedy(err), "check --kafka-brokers, --kafka-topics and the brokers themselves; "+
				"tasksink goes on by itself"))
	}
}

// failed tells whether Kafka fails us as a whole: then what each partition suffers is not worth a word.
func (c *Consumer) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.failing.IsZero()
}

// flows says that Kafka serves us.
func (c *Consumer) flows() {
	c.mu.Lock()
	c.failing = time.Time{}
	c.mu.Unlock()
	c.cfg.Board.Clear(holdKafka, hold.All)
}

// groupRemedy is for errors that another program in the group causes.
func groupRemedy(err error) string {
	if errors.Is(err, kafka.InconsistentGroupProtocol) {
		return "give tasksink a group of its own with --kafka-group, or stop the other program"
	}
	return ""
}

// Load is how many records of our partitions are not settled, and how many ever came for them while they were ours.
func (c *Consumer) Load() (lag, arrived int64) {
	if g, _ := c.generation(); g != nil {
		for _, p := range g.parts {
			n, _ := p.lag()
			lag += n
		}
	}
	return lag, c.arrived.Load()
}

// warnOfTime says once of a topic that its records' times cannot be.
func (c *Consumer) warnOfTime(topic string, ms int64) {
	if _, warned := c.oddTimes.LoadOrStore(topic, true); !warned && ms >= 0 {
		c.cfg.Log.Warn().Str("topic", topic).Time("time", time.UnixMilli(ms)).
			Msg("topic " + topic + ": records have times that cannot be, such as seconds for milliseconds; their age is unknown")
	}
}

func (c *Consumer) lose(p *partition, records int64) {
	if records == 0 {
		return
	}
	c.lost.Add(records)
	c.cfg.Log.Error().Str("topic", p.topic).Int("partition", p.id).Int64("records", records).
		Msg("records were deleted by retention before they were read; raise the topic's retention, or find what holds " +
			"tasksink up")
}

// share tells how many partitions are ours from now on.
func (c *Consumer) share(own []*partition, notes [][]byte) {
	if c.cfg.Share == nil {
		return
	}
	first := 0
	for i, p := range own {
		if i == 0 || p.id < first {
			first = p.id
		}
	}
	c.cfg.Share(len(own), max(len(own), c.total), first, notes)
}

// generation is the present one; nil between two. changed is closed when that changes.
func (c *Consumer) generation() (g *generation, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current, c.changed
}

func (c *Consumer) setCurrent(g *generation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = g
	close(c.changed)
	c.changed = make(chan struct{})
}
