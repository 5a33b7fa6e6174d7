package consumer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
)

const (
	reportEvery  = time.Second            // on sick partitions
	lookEvery    = 2 * time.Second        // for topics and leaders
	peersEvery   = 10 * time.Second       // or with each look, while a partition seems to be assigned to nobody
	lookPause    = 100 * time.Millisecond // between two looks that somebody asked for
	measureEvery = 5 * time.Second        // the ends of the logs, for the lag of what is not being fetched
	peersTimeout = 2 * time.Second
)

// watch runs a fetch loop for each broker that leads one of the partitions, and keeps an eye on what may change: who
// leads what, which topics there are, and who else is in the group.
func (g *generation) watch(ctx context.Context) {
	defer g.c.cfg.Watch.Loop("watch of the group").End()
	var loops sync.WaitGroup
	defer loops.Wait()
	running := map[int]bool{}
	last := time.Time{}
	for ctx.Err() == nil {
		g.resolve(ctx)
		found, err := g.c.look(ctx, g.c.cfg.Topics)
		if err == nil {
			g.route(found)
			for _, p := range g.parts {
				if leader := p.health.ledBy(); leader >= 0 && !running[leader] {
					running[leader] = true
					loops.Go(func() { g.fetchFrom(ctx, leader) })
				}
			}
			if time.Since(last) >= lookEvery {
				last = time.Now()
				g.check(ctx, found)
			}
		} else {
			g.unled(err)
		}
		g.pause(ctx)
	}
}

// pause waits until it is time to look again: somebody asks for it, or some time has passed.
func (g *generation) pause(ctx context.Context) {
	select {
	case <-time.After(lookPause):
	case <-ctx.Done():
		return
	}
	select {
	case <-time.After(lookEvery - lookPause):
	case <-g.lookup:
	case <-ctx.Done():
	}
}

// lookAgain asks for a look at who leads what.
func (g *generation) lookAgain() {
	select {
	case g.lookup <- struct{}{}:
	default:
	}
}

// resolve asks the coordinator where the group left off, for partitions of which that is not known yet.
func (g *generation) resolve(ctx context.Context) {
	topics, index := []offsetfetch.RequestTopic{}, map[string]int{}
	for _, p := range g.parts {
		if resolved, _ := p.begun(); resolved {
			continue
		}
		i, ok := index[p.topic]
		if !ok {
			i, index[p.topic] = len(topics), len(topics)
			topics = append(topics, offsetfetch.RequestTopic{Name: p.topic})
		}
		topics[i].PartitionIndexes = append(topics[i].PartitionIndexes, int32(p.id))
	}
	if len(topics) == 0 {
		return
	}
	res, err := ask[*offsetfetch.Response](ctx, g.member, g.member.attempt(), offsetFetchVersion,
		&offsetfetch.Request{GroupID: g.c.cfg.Group, Topics: topics})
	if err == nil {
		err = g.member.moved(failure(res.ErrorCode))
	}
	if err != nil {
		for _, p := range g.parts {
			if resolved, _ := p.begun(); !resolved {
				g.sick(p, fetching, fmt.Errorf("ask the coordinator for the committed offsets: %w", err))
			}
		}
		g.lookAgain()
		return
	}
	for _, t := range res.Topics {
		for _, a := range t.Partitions {
			p := g.part(t.Name, int(a.PartitionIndex))
			if p == nil {
				continue
			}
			if err := failure(a.ErrorCode); err != nil {
				g.sick(p, fetching, fmt.Errorf("ask the coordinator for the committed offset: %w", err))
				g.lookAgain()
				continue
			}
			p.resume(a.CommittedOffset, a.ComittedLeaderEpoch, g.c.recall(p, a.CommittedOffset, a.Metadata))
		}
	}
	g.routes.ring()
}

const offsetFetchVersion = 5

// route takes in who leads what.
func (g *generation) route(found layout) {
	moved := false
	for _, p := range g.parts {
		at := found.leader(p.topic, p.id)
		leader := at.broker
		if at.err != nil {
			leader = -1
			g.sick(p, fetching, fmt.Errorf("find its leader: %w", at.err))
		}
		if p.bind(found[p.topic].id) {
			g.recreated(p)
		}
		if p.health.lead(leader, at.epoch) {
			g.attempts.interrupt(p)
			moved = true
		}
	}
	if moved {
		g.routes.ring()
	}
}

// unled says that nobody knows who leads the partitions that have no leader yet.
func (g *generation) unled(err error) {
	for _, p := range g.parts {
		if p.health.ledBy() < 0 {
			g.sick(p, fetching, err)
		}
	}
}

// check looks at what the group as a whole should know: topics that came or went, partitions that nobody has, and
// programs that are not tasksink.
func (g *generation) check(ctx context.Context, found layout) {
	gone, come := g.c.noteMissing(found, g.topics)
	known := !g.group.missing(found) && time.Since(g.asked) < peersEvery || g.askPeers(ctx)
	if known && len(g.group.foreign) == 0 && g.group.missing(found) {
		g.orphans++
	} else {
		g.orphans = 0
	}
	switch {
	case come:
		g.rejoin("a topic has appeared")
	case gone:
		g.rejoin("a topic was deleted")
	case g.orphans > 2 || g.orphans > 0 && g.group.first: // one member is enough
		g.rejoin("partitions were added")
	}
}

// askPeers asks who is in the group, and tells whether the answer can be relied on.
func (g *generation) askPeers(ctx context.Context) bool {
	who, err := g.c.peers(ctx, g.member.id)
	if err != nil || !who.stable {
		return false
	}
	g.group, g.asked = who, time.Now()
	g.c.watchForeigners(who.foreign)
	return true
}

// rejoin leaves the group and joins it again, so that it divides the partitions once more. Kafka does not
// rebalance for a member that only joins again with the same topics.
func (g *generation) rejoin(why string) {
	if !g.c.mayRejoin() {
		return
	}
	g.c.cfg.Log.Info().Int32("generation", g.id).Msg("joining the group again: " + why)
	g.again.Store(true)
	g.finish()
}

// measure asks for the ends of the logs, so that the lag of partitions that are not being fetched is known.
func (g *generation) measure(ctx context.Context) {
	defer g.c.cfg.Watch.Loop("ends of the logs").End()
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		var asked sync.WaitGroup
		for leader, parts := range g.byLeader() {
			asked.Go(func() {
				attempt, stop := context.WithTimeout(ctx, measureEvery)
				defer stop()
				ends, err := g.c.offsets(attempt, leader, parts, kafka.LastOffset)
				if err != nil {
					return // the fetches from this broker say what is wrong
				}
				for p, end := range ends {
					if end.err == nil {
						g.c.arrived.Add(p.grows(end.offset))
					}
				}
			})
		}
		asked.Wait()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// byLeader are the partitions that each broker leads.
func (g *generation) byLeader() map[int][]*partition {
	led := map[int][]*partition{}
	for _, p := range g.parts {
		if leader := p.health.ledBy(); leader >= 0 {
			led[leader] = append(led[leader], p)
		}
	}
	return led
}

// awaitTopics waits until one of the topics is there, and returns those that are.
func (c *Consumer) awaitTopics(ctx context.Context) (layout, bool) {
	for {
		found, err := c.look(ctx, c.cfg.Topics)
		if err == nil {
			if len(found.topics()) > 0 {
				return found, true
			}
			topic := c.cfg.Topics[0]
			err = fmt.Errorf("look up topic %s: %w", topic, found[topic].err)
		}
		if ctx.Err() != nil {
			return nil, false
		}
		c.complain(err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, false
		}
	}
}

// noteMissing keeps an eye on topics that are not there. gone tells whether one that we joined with has been missing
// for a while, come whether one is there that we did not join with.
func (c *Consumer) noteMissing(found layout, joined []string) (gone, come bool) {
	now := time.Now()
	for _, topic := range c.cfg.Topics {
		if err := found[topic].err; err != nil {
			since, ok := c.missing[topic]
			if !ok {
				since, c.missing[topic] = now, now
			}
			gone = gone || slices.Contains(joined, topic) && now.Sub(since) >= goneAfter
			if now.Sub(since) >= patience {
				cause, remedy := diagnose(err)
				c.cfg.Board.Set(holdTopic, topic, fmt.Sprintf("topic %s: %s: %v", topic, cause, err), remedy)
			}
			continue
		}
		delete(c.missing, topic)
		c.cfg.Board.Clear(holdTopic, topic)
		come = come || !slices.Contains(joined, topic)
	}
	return gone, come
}

// goneAfter is how long a topic is missing before the group is joined without it: a broker that has just started does
// not know all topics.
const goneAfter = 3 * time.Second
