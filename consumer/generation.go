package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/consumer/offsetmap"
)

// generation is the member's time with one assignment of partitions. Its loops are heartbeats, the watch with a fetch
// loop for each leader, commits, the ends of the logs, reports of sick partitions, and the topics' retention.
type generation struct {
	c       *Consumer
	member  *member
	id      int32
	topics  []string // that the group was joined with
	deliver func(*Record)
	drop    func(gone func(*Record) bool)
	parts   []*partition
	index   map[place]*partition // of parts

	draining atomic.Bool
	ending   chan struct{} // closed when the partitions are to be given up
	end      sync.Once
	again    atomic.Bool   // the group must divide the partitions once more: leave it and join it again
	evicted  chan struct{} // closed when the group said that we are no member of this generation
	evict    sync.Once
	drained  chan struct{} // closed when the drain is over: result stands then
	result   error

	routes signal        // rung when who leads what has changed
	lookup chan struct{} // asks to look who leads what

	attempts attempts // fetches that are out
	group    peers    // when last asked
	asked    time.Time
	orphans  int // looks in a row that saw a partition which nobody has

	committing sync.Mutex // one commit at a time
	encoder    offsetmap.Encoder
	refused    atomic.Int64  // since when commits are refused, all of them, in ns since born; 0: they are not
	proven     atomic.Int64  // when what was last accepted was sent, in ns since born; 0 before the first
	hurry      chan struct{} // asks for a heartbeat now
	born       time.Time
}

var errEvicted = errors.New("the group gave the partitions to others")

// newGeneration takes over from the generation before, if there was one, which log a partition had, and since when it
// is sick.
func newGeneration(c *Consumer, m *member, j joined, before *generation, topics []string, deliver func(*Record),
	drop func(func(*Record) bool)) *generation {
	g := &generation{c: c, member: m, id: j.generation, topics: topics, deliver: deliver, drop: drop, born: time.Now(),
		index: map[place]*partition{}, ending: make(chan struct{}), evicted: make(chan struct{}),
		drained: make(chan struct{}), lookup: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
	for topic, ids := range j.mine {
		for _, id := range ids {
			p := newPartition(topic, id, c.room.seat(), c.cfg.Telemetry.Ages())
			g.parts, g.index[place{topic, id}] = append(g.parts, p), p
			if before == nil {
				continue
			}
			if old := before.part(topic, id); old != nil {
				p.health.inherit(old.health.list())
				p.bind(old.identity()) // if the topic is another one by now, the committed offset may be the old one's
			}
		}
	}
	c.room.divide(len(g.parts))
	g.proven.Store(-int64(24 * time.Hour))
	g.hurry <- struct{}{} // the first proof
	return g
}

func (g *generation) part(topic string, id int) *partition { return g.index[place{topic, id}] }

// place names a partition.
type place struct {
	topic string
	id    int
}

// over tells whether the generation is of no more use: drained, or taken away.
func (g *generation) over() bool {
	select {
	case <-g.drained:
		return true
	case <-g.evicted:
		return true
	default:
		return false
	}
}

// run is the generation's life: fetch and commit until the group rebalances, the process stops (stop ends), or the
// group has evicted us; then drain. Heartbeats go on until the drain is over.
func (g *generation) run(stop context.Context) {
	g.c.cfg.Log.Info().Int32("generation", g.id).Int("partitions", len(g.parts)).Msg("partitions assigned")
	ctx, cancel := context.WithCancel(context.WithoutCancel(stop))
	defer cancel()
	alive, die := context.WithCancel(context.WithoutCancel(stop))
	var heart, loops sync.WaitGroup
	heart.Go(func() { g.beat(alive) })
	loops.Go(func() { g.watch(ctx) })
	loops.Go(func() { g.commitLoop(ctx) })
	loops.Go(func() { g.measure(ctx) })
	loops.Go(func() { g.reportLoop(ctx) })
	loops.Go(func() { g.retain(ctx) })
	select {
	case <-stop.Done():
	case <-g.ending:
	case <-g.evicted:
	}
	g.draining.Store(true)
	cancel() // before anything else: a delivery after drop would stay in the pipeline
	loops.Wait()
	g.result = g.drain()
	close(g.drained)
	die()
	heart.Wait()
	g.forget()
	g.c.cfg.Log.Info().Int32("generation", g.id).Err(g.result).Msg("partitions given up")
}

// beat tells the coordinator that we live, and hears of it that the group rebalances or that we are no member any more.
func (g *generation) beat(ctx context.Context) {
	defer g.c.cfg.Watch.Loop("heartbeats").End()
	tick := time.NewTicker(g.c.cfg.HeartbeatInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-g.hurry:
		}
		asked := time.Now()
		err := g.member.heartbeat(ctx, g.id)
		switch {
		case err == nil:
			g.prove(asked)
			g.c.flows()
		case errors.Is(err, kafka.RebalanceInProgress):
			g.prove(asked) // until we join again nobody else gets our partitions
			g.finish()
		case evicting(err):
			g.takeAway(err)
			return
		case ctx.Err() == nil:
			g.c.complain(fmt.Errorf("heartbeat to the group's coordinator: %w", err))
		}
	}
}

// finish asks for the end of the generation.
func (g *generation) finish() { g.end.Do(func() { close(g.ending) }) }

// takeAway ends everything at once: the partitions may be somebody else's.
func (g *generation) takeAway(err error) {
	g.evict.Do(func() {
		g.c.cfg.Log.Warn().Int32("generation", g.id).Err(err).Msg("the group has taken the partitions away; joining again")
		close(g.evicted)
		g.c.share(nil, nil)
		for _, p := range g.parts {
			p.lose()
		}
		g.drop((*Record).Gone)
	})
}

// drain waits for what is on the wire, commits what is settled, and gives up the rest.
func (g *generation) drain() error {
	for _, p := range g.parts {
		p.revoke()
	}
	g.drop((*Record).Gone)
	defer func() {
		for _, p := range g.parts {
			p.lose()
		}
		g.drop((*Record).Gone)
	}()
	ctx, cancel := context.WithTimeoutCause(context.Background(), g.c.cfg.DrainTimeout, errDrain)
	defer cancel()
	var missed error
	for _, p := range g.parts {
		for missed == nil {
			done, wait := p.drained()
			if done {
				break
			}
			select {
			case <-wait:
			case <-g.evicted:
				return errEvicted
			case <-ctx.Done():
				missed = context.Cause(ctx)
			}
		}
	}
	return errors.Join(missed, g.lastCommit())
}

var errDrain = errors.New("--drain-timeout passed before everything that was on the wire was settled")

// lastCommit has time of its own: what is settled must not be done again by the next owner. A half-open connection
// takes one attempt of it. With the drain it stays within the group's patience.
func (g *generation) lastCommit() error {
	ctx, done := context.WithTimeout(context.Background(), lastCommitTimeout)
	defer done()
	for {
		err := g.commit(ctx)
		if err == nil {
			err = g.unsaved()
		}
		if err == nil || errors.Is(err, errEvicted) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(commitEvery / 2):
		case <-ctx.Done():
		}
	}
}

// unsaved names a partition whose last commit was not accepted. A topic that is not there has nothing to commit.
func (g *generation) unsaved() error {
	for _, p := range g.parts {
		problem := p.health.fault(committing)
		switch {
		case problem != nil && problem.Cause != causeMissing:
			return fmt.Errorf("partition %s: %s", p, problem.Detail)
		case problem == nil && !p.clean():
			return fmt.Errorf("partition %s: its last commit was not accepted", p)
		}
	}
	return nil
}

const lastCommitTimeout = slack / 2

// forget takes the generation's partitions off the board.
func (g *generation) forget() {
	for _, p := range g.parts {
		g.c.cfg.Board.Clear(holdPartition, p.String())
	}
}

// sick says that an activity of a partition failed. It concerns this partition only.
func (g *generation) sick(p *partition, a activity, err error) {
	p.health.fail(a, p.nextOffset(), err)
	if a == fetching {
		p.seat.yield()
	}
}

// well says that an activity of a partition works.
func (g *generation) well(p *partition, a activity) {
	if ended := p.health.succeed(a); ended != nil {
		g.c.cfg.Log.Info().Str("topic", p.topic).Int("partition", p.id).Str("cause", ended.Cause).
			Float64("lasted_seconds", time.Since(ended.Since).Seconds()).Msg("partition " + p.String() + ": works again")
	}
}

func (g *generation) reportLoop(ctx context.Context) {
	defer g.c.cfg.Watch.Loop("report of partitions").End()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			g.report(now)
		}
	}
}

// report logs the partitions that are sick, and makes holds of those that stay so. While Kafka fails as a whole, that
// is the one thing to report.
func (g *generation) report(now time.Time) {
	if g.c.failed() {
		return
	}
	for _, p := range g.parts {
		problem, log, lasting := p.health.report(now)
		if problem == nil {
			g.c.cfg.Board.Clear(holdPartition, p.String())
			continue
		}
		said := "partition " + p.String() + ": " + problem.Detail
		if log {
			g.c.cfg.Log.Warn().Str("topic", p.topic).Int("partition", p.id).Int64("offset", problem.Offset).
				Str("cause", problem.Cause).Float64("since_seconds", now.Sub(problem.Since).Seconds()).
				Str("remedy", problem.Remedy).Msg(said)
		}
		if lasting {
			g.c.cfg.Board.Set(holdPartition, p.String(), said, problem.Remedy)
		}
	}
}
