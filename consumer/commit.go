package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"

	"github.com/tasksink/tasksink/consumer/offsetmap"
	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/hold"
)

// commitLoop commits what was settled, a few times a second.
func (g *generation) commitLoop(ctx context.Context) {
	loop := g.c.cfg.Watch.Loop("commit")
	defer loop.End()
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			loop.Busy()
			if err := g.commit(ctx); err != nil && !errors.Is(err, errEvicted) {
				g.c.complain(err)
			}
			loop.Idle()
		}
	}
}

// commit commits the positions that moved. A partition whose commit is refused does not spoil the others'. The error
// concerns all that was to be committed.
func (g *generation) commit(ctx context.Context) error {
	g.committing.Lock()
	defer g.committing.Unlock()
	if g.over() {
		return errEvicted
	}
	all, topics := g.snapshots()
	if len(topics) == 0 {
		return nil
	}
	asked := time.Now()
	results, err := g.member.commit(ctx, g.id, topics)
	if err == nil {
		err = g.sort(all, results, asked)
	} else {
		for p, s := range all {
			p.unanswered(s.snapshot)
		}
	}
	switch {
	case err == nil:
		g.refused.Store(0)
		g.c.cfg.Board.Clear(holdCommit, hold.All)
		return nil
	case evicting(err):
		g.c.commitErrors.Add(1)
		g.takeAway(err)
		return fmt.Errorf("%w: %w", errEvicted, err)
	default:
		g.c.commitErrors.Add(1)
		if ctx.Err() == nil && !errors.Is(err, kafka.RebalanceInProgress) {
			g.refused.CompareAndSwap(0, int64(asked.Sub(g.born))+1)
		}
		var code kafka.Error
		if errors.As(err, &code) && !code.Temporary() { // else the coordinator is away: see complain
			g.c.cfg.Board.Set(holdCommit, hold.All, "offsets cannot be committed: "+err.Error(),
				cmp.Or(broker.Remedy(err), "allow the principal READ on the group and the topics, and check the group's "+
					"coordinator"))
		}
		return fmt.Errorf("commit: %w", err)
	}
}

// sent is what was sent of a partition's snapshot.
type sent struct {
	snapshot
	metadata string
	left     int64 // settled offsets for which the metadata had no space
}

// snapshots are what to commit now. A partition whose last commit was refused waits for its time, except in a drain.
func (g *generation) snapshots() (map[*partition]sent, []offsetcommit.RequestTopic) {
	all, topics, index := map[*partition]sent{}, []offsetcommit.RequestTopic{}, map[string]int{}
	now := time.Now()
	for _, p := range g.parts {
		if !g.draining.Load() && !p.health.rests(committing, now).IsZero() {
			continue
		}
		s, ok := p.unsaved()
		if !ok {
			continue
		}
		i, ok := index[p.topic]
		if !ok {
			i, index[p.topic] = len(topics), len(topics)
			topics = append(topics, offsetcommit.RequestTopic{Name: p.topic})
		}
		metadata, left := g.metadata(s)
		all[p] = sent{s, metadata, left}
		topics[i].Partitions = append(topics[i].Partitions, offsetcommit.RequestPartition{PartitionIndex: int32(p.id),
			CommittedOffset: s.offset, CommittedLeaderEpoch: s.epoch, CommittedMetadata: metadata})
	}
	return all, topics
}

// metadata is what a commit says beside the offset; left is how many settled offsets it had no space for. Nothing is
// said where the topic has no id: nobody could tell later whether the topic is still the same.
func (g *generation) metadata(s snapshot) (text string, left int64) {
	place, known := g.c.place(s.log)
	if known {
		text, left = g.encoder.Encode(place, offsetmap.Map{Committed: s.offset, Epoch: s.newest, Settled: s.settled},
			int(g.c.metadata.Load()))
	}
	if text == "" {
		for _, span := range s.settled {
			left += span.To - span.From
		}
	}
	return text, left
}

// sort takes in what became of each partition's commit. It returns an error that concerns all of them, or that of the
// only ones if all were refused by themselves.
func (g *generation) sort(all map[*partition]sent, results map[string]map[int]error, asked time.Time) error {
	var common error
	for p, s := range all {
		err, answered := results[p.topic][p.id]
		if !answered {
			err = kafka.Unknown
		}
		if err == nil {
			g.prove(asked)
			g.well(p, committing)
			p.accepted(s.snapshot, s.left)
			g.traceCommit(p, s.offset, s.traces, asked)
			continue
		}
		p.unanswered(s.snapshot)
		switch {
		case errors.Is(err, kafka.OffsetMetadataTooLarge) && s.metadata != "":
			g.c.lessMetadata(len(s.metadata))
		case ownRefusal(err):
			g.c.commitErrors.Add(1)
			g.sick(p, committing, fmt.Errorf("the commit of offset %d is refused: %w", s.offset, err))
		default:
			common = err
		}
	}
	return common
}

// ownRefusal tells whether a commit's error concerns one partition. All others concern the member, the group or its
// coordinator.
func ownRefusal(err error) bool {
	return errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, kafka.TopicAuthorizationFailed) ||
		errors.Is(err, kafka.OffsetMetadataTooLarge) || errors.Is(err, kafka.InvalidCommitOffsetSize) ||
		errors.Is(err, kafka.Unknown)
}

// prove says that the coordinator accepted something that was sent at that time.
func (g *generation) prove(asked time.Time) {
	at := int64(asked.Sub(g.born)) + 1
	for before := g.proven.Load(); before < at; before = g.proven.Load() {
		if g.proven.CompareAndSwap(before, at) {
			return
		}
	}
}

// sure tells whether it is certain that we are still a member and the partitions are our own: the coordinator accepted
// a heartbeat or a commit less than limit ago, on the monotonic clock, and commits are not refused for longer than
// that.
func (g *generation) sure(limit time.Duration) bool {
	if g.over() {
		return false
	}
	now := int64(time.Since(g.born))
	refused := g.refused.Load()
	return now-g.proven.Load() < int64(limit) && (refused == 0 || now-refused < int64(limit))
}

// Prove returns when it is certain that this process is still a member and its partitions are its own. If the
// coordinator's last word is old, it asks for a new one. A process that was frozen and thawed believes itself a
// member; without the proof it would write old states over the newer ones of whoever took over.
func (c *Consumer) Prove(ctx context.Context) error {
	for {
		g, changed := c.generation()
		var retry <-chan time.Time
		if g != nil && !g.over() {
			if g.sure(c.cfg.SessionTimeout / 2) {
				return nil
			}
			select {
			case g.hurry <- struct{}{}:
			default:
			}
			retry = time.After(proofEvery)
		}
		select {
		case <-changed:
		case <-retry:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Proven tells whether the last proof still holds. A request asks once more as its last bytes leave: a process can be
// frozen between Prove and there.
func (c *Consumer) Proven() bool {
	g, _ := c.generation()
	return g != nil && g.sure(c.cfg.SessionTimeout*2/3)
}

const proofEvery = 50 * time.Millisecond // while there is no proof
