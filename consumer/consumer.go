// Package consumer brings Kafka's records in, and commits what became of them.
//
// It is a member of a consumer group (kafka-go's ConsumerGroup and Generation) that sends its own fetch requests,
// one to each leader for all the partitions that it leads. It promises:
//   - An offset is committed when its record, and all before it in its partition, are settled: confirmed by HubSpot
//     or acknowledged in the dead-letter topic. Gaps in the offsets are no obstacle.
//   - A member that lost a partition commits nothing for it, and Prove lets no request start for it.
//   - When partitions are given up, what was sent is settled and committed first, within Config.DrainTimeout.
//   - No more than Config.MaxPending records are in memory, beside one decompressed fetch for each leader.
//
// Use: New, then Run, which delivers records until its context ends, drains, leaves the group and returns. A record
// tells what became of it by its methods Sent and Settle.
//
// The tests run against Apache Kafka and kfake.
package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/tracing"
)

// Config says what to consume, and within which bounds.
type Config struct {
	broker.Connection

	Topics []string
	Group  string

	MaxPending      int   // records in memory
	MaxPendingBytes int64 // bytes in memory

	DrainTimeout      time.Duration // for settling what was sent when partitions are given up
	SessionTimeout    time.Duration // 0: 15 s. After this without a sign of life the group gives the partitions away
	HeartbeatInterval time.Duration // 0: 1 s. A rebalance is noticed at the next heartbeat

	// Share is told how many partitions of how many this member has, the number of its first one, and the notes of the
	// other members, when the group has divided them. Between two calls no other member had them. It may be nil.
	Share     func(own, total, first int, notes [][]byte)
	Note      func() []byte      // what the other members are told when this one joins; nil: nothing
	Telemetry *tracing.Telemetry // nil: off
	Board     *hold.Board
	Log       zerolog.Logger
}

const (
	holdKafka  = "kafka"  // brokers or topics out of reach
	holdCommit = "commit" // commits are refused: nothing may be sent, as membership cannot be proven

	commitEvery = 250 * time.Millisecond
	lookEvery   = 5 * time.Second  // for new partitions, and for the lag of what is not being fetched
	patience    = 10 * time.Second // of errors before they are called a hold
	slack       = 10 * time.Second // between the drain's end and the group's patience with it

	notesTimeout = 2 * time.Second
)

// Consumer is one member of a consumer group.
type Consumer struct {
	cfg       Config
	transport *kafka.Transport
	client    *kafka.Client
	sockets   sockets
	room      *room

	lost       atomic.Int64 // records that retention deleted before they were read
	arrived    atomic.Int64 // records that came to our partitions while they were ours
	rebalances atomic.Int64
	consumed   map[string]*atomic.Int64 // records delivered, by topic

	commitErrors atomic.Int64

	total atomic.Int64 // partitions of all topics

	mu      sync.Mutex
	current *generation   // nil between generations
	changed chan struct{} // closed and replaced when current changes
	failing time.Time     // since when Kafka has failed us; zero if it does not
	told    time.Time     // when that was last logged
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
	if len(cfg.Brokers) == 0 || len(cfg.Topics) == 0 || cfg.Group == "" || cfg.MaxPending < 1 || cfg.MaxPendingBytes < 1 {
		return nil, errors.New("a consumer needs brokers, topics, a group, and room for at least one record")
	}
	transport := cfg.Transport(cfg.Topics...)
	consumed := map[string]*atomic.Int64{}
	for _, topic := range cfg.Topics {
		consumed[topic] = new(atomic.Int64)
	}
	return &Consumer{cfg: cfg, consumed: consumed, transport: transport, changed: make(chan struct{}),
		room:   newRoom(cfg.MaxPending, cfg.MaxPendingBytes),
		client: &kafka.Client{Addr: kafka.TCP(cfg.Brokers...), Transport: transport}}, nil
}

// Run consumes until ctx ends. It hands each record to deliver, in the order of its partition; deliver must not
// block. When partitions are given up it calls drop: every record that waits unsent and of which gone is true must
// be forgotten. Neither may be called under a lock that Sent, Settle or gone are called under.
//
// Run returns nil if at the end everything that was sent was settled and committed.
func (c *Consumer) Run(ctx context.Context, deliver func(*Record), drop func(gone func(*Record) bool)) error {
	defer c.transport.CloseIdleConnections()
	if !c.topicsThere(ctx) {
		return nil
	}
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: c.cfg.Group, Brokers: c.cfg.Brokers, Topics: c.cfg.Topics, Dialer: c.sockets.dialer(c.cfg.Dialer()),
		SessionTimeout: c.cfg.SessionTimeout, HeartbeatInterval: c.cfg.HeartbeatInterval,
		RebalanceTimeout: c.cfg.DrainTimeout + slack, JoinGroupBackoff: 500 * time.Millisecond,
		GroupBalancers: []kafka.GroupBalancer{balancer{note: c.cfg.Note}},
		StartOffset:    kafka.FirstOffset, Timeout: broker.DialTimeout,
	})
	if err != nil {
		return fmt.Errorf("make the consumer group: %w", err)
	}
	var last *generation
	for ctx.Err() == nil {
		gen, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, kafka.ErrGroupClosed):
			return err
		case err != nil:
			c.complain(fmt.Errorf("join the group: %w", err))
		default:
			c.flows()
			c.rebalances.Add(1)
			if last != nil && gen.ID != last.gen.ID+1 {
				c.share(nil, nil) // there was a generation without us
			}
			notes, err := c.notes(ctx, gen.MemberID)
			if err != nil {
				c.cfg.Log.Warn().Err(err).Msg("the other members' requests are not known: the share of the rate limit comes into " +
					"force within one window")
			}
			last = newGeneration(c, gen, deliver, drop)
			c.share(last.parts, notes)
			c.setCurrent(last)
			gen.Start(func(over context.Context) { last.run(ctx, over) })
		}
	}
	member := ""
	if last != nil {
		<-last.drained // while still a member: heartbeats go on
		err, member = last.result, last.gen.MemberID
	}
	c.leave(group, member)
	return err
}

// topicsThere waits until all topics exist. kafka-go would ask the broker to create a missing one.
func (c *Consumer) topicsThere(ctx context.Context) bool {
	for {
		_, err := c.layout(ctx)
		if err == nil {
			c.flows()
			return true
		}
		c.complain(err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return false
		}
	}
}

// layout asks for the leader of each partition: topic → partition → broker id.
func (c *Consumer) layout(ctx context.Context) (map[string]map[int]int, error) {
	ctx, stop := context.WithTimeout(ctx, broker.DialTimeout)
	defer stop()
	res, err := c.client.Metadata(ctx, &kafka.MetadataRequest{Topics: c.cfg.Topics})
	if err != nil {
		return nil, fmt.Errorf("ask Kafka for the topics: %w", err)
	}
	leaders, total := map[string]map[int]int{}, 0
	for _, t := range res.Topics {
		if t.Error != nil {
			return nil, fmt.Errorf("look up topic %s: %w", t.Name, t.Error)
		}
		leaders[t.Name] = map[int]int{}
		for _, p := range t.Partitions {
			leaders[t.Name][p.ID] = p.Leader.ID
			total++
		}
	}
	if len(leaders) < len(c.cfg.Topics) {
		return nil, fmt.Errorf("look up the topics %v: only %d of them are there", c.cfg.Topics, len(leaders))
	}
	c.total.Store(int64(total))
	return leaders, nil
}

// complain reports that Kafka fails us: in the log at once, then every ten seconds, and as a hold when it lasts.
func (c *Consumer) complain(err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, errRevoked) {
		return
	}
	c.mu.Lock()
	now := time.Now()
	if c.failing.IsZero() {
		c.failing = now
	}
	lasts := now.Sub(c.failing) > patience
	tell := now.Sub(c.told) > patience
	if tell {
		c.told = now
	}
	c.mu.Unlock()
	if tell {
		c.cfg.Log.Warn().Err(err).Msg("Kafka does not serve; trying again")
	}
	if lasts {
		c.cfg.Board.Set(holdKafka, err.Error(), cmp.Or(broker.Remedy(err),
			"check --kafka-brokers, --kafka-topics and the brokers themselves; tasksink goes on by itself"))
	}
}

// flows says that Kafka serves us.
func (c *Consumer) flows() {
	c.mu.Lock()
	c.failing = time.Time{}
	c.mu.Unlock()
	c.cfg.Board.Clear(holdKafka)
}

// Load is how many records of our partitions are not settled, and how many ever came for them while they were ours.
func (c *Consumer) Load() (lag, arrived int64) {
	c.mu.Lock()
	g := c.current
	c.mu.Unlock()
	if g != nil {
		for _, p := range g.parts {
			lag += p.lag()
		}
	}
	return lag, c.arrived.Load()
}

func (c *Consumer) lose(p *partition, records int64) {
	c.lost.Add(records)
	c.cfg.Log.Error().Str("topic", p.topic).Int("partition", p.id).Int64("records", records).
		Msg("records were deleted by retention before they were read; raise the topic's retention, or find what holds " +
			"tasksink up")
}

// Proven tells whether the last proof still holds. A request asks once more as its last bytes leave: a process can be
// frozen between Prove and there.
func (c *Consumer) Proven() bool {
	c.mu.Lock()
	g := c.current
	c.mu.Unlock()
	return g != nil && !g.over() && time.Since(g.provenAt()) < c.cfg.SessionTimeout*2/3
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
	c.cfg.Share(len(own), max(len(own), int(c.total.Load())), first, notes)
}

func (c *Consumer) setCurrent(g *generation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = g
	close(c.changed)
	c.changed = make(chan struct{})
}

// Prove returns when it is certain that this process is still a member and its partitions are still its own: a
// commit was accepted less than half a session ago, on the monotonic clock. Otherwise it commits the present
// position and waits for the broker's word. A process that was frozen and thawed believes itself a member; without
// the proof it would write old states over the newer ones of whoever took over.
func (c *Consumer) Prove(ctx context.Context) error {
	for {
		c.mu.Lock()
		g, changed := c.current, c.changed
		c.mu.Unlock()
		var retry <-chan time.Time
		if g != nil && !g.over() {
			if time.Since(g.provenAt()) < c.cfg.SessionTimeout/2 {
				return nil
			}
			err := g.commit(ctx, true)
			if err == nil {
				continue
			}
			c.cfg.Log.Warn().Err(err).Msg("membership cannot be proven: nothing is sent")
			retry = time.After(commitEvery)
		}
		select {
		case <-changed:
		case <-retry:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
