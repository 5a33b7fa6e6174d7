package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/internal/broker"
)

// generation is the member's time with one assignment of partitions.
type generation struct {
	c       *Consumer
	gen     *kafka.Generation
	deliver func(*Record)
	drop    func(gone func(*Record) bool)
	parts   []*partition
	total   int64 // partitions of all topics, as of before the join

	draining atomic.Bool
	evicted  chan struct{} // closed when the group said that we are no member of this generation
	evict    sync.Once
	drained  chan struct{} // closed when the drain is over; then result stands
	result   error

	committing sync.Mutex   // one commit at a time
	proven     atomic.Int64 // when the last accepted commit was sent, in ns since born; 0 before the first
	born       time.Time
}

var errEvicted = errors.New("the group gave the partitions to others")

func newGeneration(c *Consumer, gen *kafka.Generation, deliver func(*Record),
	drop func(func(*Record) bool)) *generation {
	g := &generation{c: c, gen: gen, deliver: deliver, drop: drop, born: time.Now(), total: c.total.Load(),
		evicted: make(chan struct{}), drained: make(chan struct{})}
	for topic, assigned := range gen.Assignments {
		for _, a := range assigned {
			g.parts = append(g.parts, newPartition(topic, a.ID, a.Offset, c.room, c.cfg.Telemetry.Ages()))
		}
	}
	return g
}

func (g *generation) part(topic string, id int) *partition {
	for _, p := range g.parts {
		if p.id == id && p.topic == topic {
			return p
		}
	}
	return nil
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

// run is the generation's life: fetch and commit until the group rebalances (over ends), the process stops (stop
// ends), or the group has evicted us; then drain. The group does not rejoin before run returns.
func (g *generation) run(stop, over context.Context) {
	g.c.cfg.Log.Info().Int32("generation", g.gen.ID).Int("partitions", len(g.parts)).Msg("partitions assigned")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var loops sync.WaitGroup
	loops.Go(func() { g.fetch(ctx) })
	grown := make(chan struct{})
	loops.Go(func() { g.look(ctx, grown) })
	loops.Go(func() { g.commitLoop(ctx) })
	select {
	case <-stop.Done():
	case <-over.Done():
	case <-grown:
	case <-g.evicted:
	}
	g.draining.Store(true)
	cancel() // before anything else: a delivery after drop would stay in the pipeline
	loops.Wait()
	g.result = g.drain()
	close(g.drained)
	g.c.cfg.Log.Info().Int32("generation", g.gen.ID).Err(g.result).Msg("partitions given up")
	if stop.Err() != nil {
		<-over.Done() // until the group is closed: returning now would join it again
		return
	}
	g.c.setCurrent(nil)
}

// drain settles and commits what was sent, and gives up the rest.
func (g *generation) drain() error {
	for _, p := range g.parts {
		p.revoke()
	}
	g.drop((*Record).gone)
	defer func() {
		for _, p := range g.parts {
			p.lose()
		}
		g.drop((*Record).gone)
	}()
	ctx, cancel := context.WithTimeoutCause(context.Background(), g.c.cfg.DrainTimeout, errDrain)
	defer cancel()
	// kafka-go stops its heartbeats when the generation ends, but a commit is a sign of life, too.
	alive := time.NewTicker(g.c.cfg.SessionTimeout / 4)
	defer alive.Stop()
	var missed error
	for _, p := range g.parts {
		for missed == nil {
			done, wait := p.drained()
			if done {
				break
			}
			select {
			case <-wait:
			case <-alive.C:
				_ = g.commit(ctx, true) // the last commit decides
			case <-g.evicted:
				return errEvicted
			case <-ctx.Done():
				missed = context.Cause(ctx)
			}
		}
	}
	// The last commit has time of its own: what is settled must not be done again by the next owner.
	last, done := context.WithTimeout(context.Background(), slack/2)
	defer done()
	for {
		err := g.commit(last, false)
		if err == nil || errors.Is(err, errEvicted) || last.Err() != nil {
			return errors.Join(missed, err)
		}
		select {
		case <-time.After(commitEvery / 2):
		case <-last.Done():
		}
	}
}

var errDrain = errors.New("--drain-timeout passed before everything that was sent was settled")

// commitLoop commits what was settled, a few times a second.
func (g *generation) commitLoop(ctx context.Context) {
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := g.commit(ctx, false); err != nil {
				g.c.complain(err)
			}
		}
	}
}

// commit commits the positions that moved, or with force all of them, as a sign of life and a proof of membership.
func (g *generation) commit(ctx context.Context, force bool) error {
	g.committing.Lock()
	defer g.committing.Unlock()
	if g.over() {
		return errEvicted
	}
	offsets := map[string]map[int]int64{}
	for _, p := range g.parts {
		at, known := p.position()
		p.mu.Lock()
		moved := at != p.committed
		p.mu.Unlock()
		if known && (moved || force) {
			if offsets[p.topic] == nil {
				offsets[p.topic] = map[int]int64{}
			}
			offsets[p.topic][p.id] = at
		}
	}
	if len(offsets) == 0 {
		return nil
	}
	asked := time.Now()
	err := g.gen.CommitOffsets(offsets)
	if err != nil && !gone(err) { // the coordinator may have moved: the Client looks it up again
		err = g.commitByClient(ctx, offsets)
	}
	switch {
	case err == nil:
	case gone(err):
		g.c.commitErrors.Add(1)
		g.evict.Do(func() {
			close(g.evicted)
			g.c.share(nil, nil)
		})
		for _, p := range g.parts {
			p.lose()
		}
		g.drop((*Record).gone)
		return fmt.Errorf("%w: %w", errEvicted, err)
	default:
		g.c.commitErrors.Add(1)
		if ctx.Err() == nil && !errors.Is(err, kafka.RebalanceInProgress) {
			g.c.cfg.Board.Set(holdCommit, "offsets cannot be committed: "+err.Error(),
				cmp.Or(broker.Remedy(err), "allow the principal READ on the group and the topics, and check the group's "+
					"coordinator"))
		}
		return fmt.Errorf("commit: %w", err)
	}
	g.proven.Store(int64(asked.Sub(g.born)) + 1)
	g.c.cfg.Board.Clear(holdCommit)
	for topic, parts := range offsets {
		for id, at := range parts {
			p := g.part(topic, id)
			p.mu.Lock()
			p.committed = at
			spans := p.covered()
			p.mu.Unlock()
			g.traceCommit(p, at, spans, asked)
		}
	}
	return nil
}

// commitByClient commits in the name of the same member and generation, wherever the coordinator is now.
func (g *generation) commitByClient(ctx context.Context, offsets map[string]map[int]int64) error {
	ctx, cancel := context.WithTimeout(ctx, broker.DialTimeout)
	defer cancel()
	topics := map[string][]kafka.OffsetCommit{}
	for topic, parts := range offsets {
		for id, at := range parts {
			topics[topic] = append(topics[topic], kafka.OffsetCommit{Partition: id, Offset: at})
		}
	}
	res, err := g.c.client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: g.gen.GroupID,
		GenerationID: int(g.gen.ID), MemberID: g.gen.MemberID, Topics: topics})
	if err != nil {
		return err
	}
	for _, parts := range res.Topics {
		for _, p := range parts {
			if p.Error != nil {
				return p.Error // several may have failed: take all as failed, and commit them again
			}
		}
	}
	return nil
}

// gone tells whether a commit's error says that the partitions are somebody else's by now.
func gone(err error) bool {
	return errors.Is(err, kafka.IllegalGeneration) || errors.Is(err, kafka.UnknownMemberId) ||
		errors.Is(err, kafka.FencedInstanceID)
}

// provenAt is when the last accepted commit was sent; a day ago before the first.
func (g *generation) provenAt() time.Time {
	if ns := g.proven.Load(); ns > 0 {
		return g.born.Add(time.Duration(ns))
	}
	return g.born.Add(-24 * time.Hour)
}

// look keeps an eye on what fetches do not show: partitions that were added, for which the group must divide anew,
// and the ends of logs while there is no room to fetch.
func (g *generation) look(ctx context.Context, grown chan<- struct{}) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := g.c.layout(ctx); err != nil {
			g.c.complain(err)
			continue
		}
		if g.c.total.Load() != g.total {
			g.c.cfg.Log.Info().Int64("before", g.total).Int64("now",
				g.c.total.Load()).Msg("the number of partitions changed: dividing anew")
			close(grown)
			return
		}
		g.ends(ctx)
	}
}

func (g *generation) ends(ctx context.Context) {
	ask := map[string][]kafka.OffsetRequest{}
	for _, p := range g.parts {
		ask[p.topic] = append(ask[p.topic], kafka.LastOffsetOf(p.id))
	}
	if len(ask) == 0 {
		return
	}
	res, err := g.c.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: ask})
	if err != nil {
		g.c.complain(fmt.Errorf("ask for the ends of the partitions: %w", err))
		return
	}
	for topic, offsets := range res.Topics {
		for _, o := range offsets {
			if p := g.part(topic, o.Partition); p != nil && o.Error == nil {
				g.c.arrived.Add(p.grows(o.LastOffset))
			}
		}
	}
}
