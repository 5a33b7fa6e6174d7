package consumer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tasksink/tasksink/consumer/offsetmap"
)

// Requests complete out of order, and a commit is one number. So each commit also says, in its metadata, which offsets
// beyond it are settled. The next owner of the partition skips them.

// settled is what a partition knows to be settled beyond its oldest open record. The partition's lock guards it.
type settled struct {
	top     int64            // below the position, nothing from here on is settled
	earlier []offsetmap.Span // what earlier owners settled at the position or beyond; never changed in place
	limit   int32            // of the leader epochs in which those can have been written
	sound   bool             // the leader said that its log still has them
	newest  int32            // the highest leader epoch met; -1 if none is known
	version uint64           // counts what has changed
}

// recall takes in what earlier owners settled, as the commit says.
func (s *settled) recall(m *offsetmap.Map) {
	s.earlier, s.limit, s.newest, s.sound = m.Settled, m.Epoch, m.Epoch, false
}

// asks is the epoch of which a new leader is asked whether its log still has what earlier owners settled; -1 if there
// is nothing.
func (s *settled) asks() int32 {
	if len(s.earlier) == 0 {
		return -1
	}
	return s.limit
}

// moved takes in that the position moved: what it passed is no longer ahead of it.
func (s *settled) moved(position int64) {
	for len(s.earlier) > 0 && s.earlier[0].From < position {
		s.top = max(s.top, min(s.earlier[0].To, position))
		if s.earlier[0].To > position {
			return
		}
		s.earlier = s.earlier[1:]
	}
}

// cut forgets what is settled from an offset on: it is another log there.
func (s *settled) cut(from int64) {
	s.top = min(s.top, from)
	s.earlier = before(s.earlier, from)
	s.version++
}

// before returns the parts of spans that lie before an offset.
func before(spans []offsetmap.Span, to int64) []offsetmap.Span {
	n, _ := slices.BinarySearchFunc(spans, to, func(s offsetmap.Span, to int64) int {
		if s.From < to {
			return -1
		}
		return 1
	})
	if n == 0 || spans[n-1].To <= to {
		return spans[:n]
	}
	kept := slices.Clone(spans[:n])
	kept[n-1].To = to
	return kept
}

// ahead counts the offsets from one on that earlier owners settled.
func (s *settled) ahead(from int64) (n int64) {
	for _, span := range s.earlier {
		n += max(0, span.To-max(span.From, from))
	}
	return n
}

// spans are the offsets settled beyond the oldest open record, for the commit.
func (s *settled) spans(open *ledger, position int64) (all []offsetmap.Span) {
	join := func(from, to int64) {
		switch {
		case from >= to:
		case len(all) > 0 && all[len(all)-1].To == from:
			all[len(all)-1].To = to
		default:
			all = append(all, offsetmap.Span{From: from, To: to})
		}
	}
	if open.oldest != nil {
		from := open.oldest.Offset + 1
		for r := open.oldest.newer; r != nil && from < s.top; r = r.newer {
			join(from, min(r.Offset, s.top))
			from = r.Offset + 1
		}
		join(from, s.top)
	}
	for _, span := range s.earlier {
		join(max(span.From, position), span.To)
	}
	return all
}

// resume takes in where the group's commits say to go on, -1 if nothing was ever committed; the epoch that was
// committed with it, -1 if there is none; and what the metadata says, nil if it says nothing that holds here.
func (p *partition) resume(committed int64, epoch int32, stored *offsetmap.Stored) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resolved = true
	if committed < 0 {
		return
	}
	p.next, p.committed, p.started, p.epoch = committed, committed, true, epoch
	if stored != nil {
		p.log = stored.Topic // if the topic is another one by now, it is noticed by this
		p.settled.recall(&stored.Map)
	}
}

// known returns what earlier owners settled at the position or beyond, for a batch of a leader epoch. If that is newer
// than all that they knew, the log was truncated: nothing of it holds from there on.
func (p *partition) known(epoch int32) []offsetmap.Span {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled.newest = max(p.settled.newest, epoch)
	if epoch > p.settled.limit {
		p.settled.earlier = nil
	}
	return p.settled.earlier
}

// confirm takes in where the leader's log ends in the epochs of which earlier owners knew: what they settled below that
// is still in the log.
func (p *partition) confirm(end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled.earlier, p.settled.sound = before(p.settled.earlier, end), true
}

// leap moves the position over a long run of settled offsets, and returns how many it passed.
func (p *partition) leap() (passed int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.settled
	if !s.sound || len(s.earlier) == 0 || s.earlier[0].From > p.next || s.earlier[0].To-p.next < longRun {
		return 0
	}
	to := s.earlier[0].To
	passed = to - p.next
	p.move(to)
	return passed
}

// longRun is how many settled offsets in a row are leapt over. Fewer are fetched, and skipped: a leap costs a fetch.
const longRun = 2000

// skipping passes over the offsets that earlier owners settled, in one pass over a batch.
type skipping struct {
	spans   []offsetmap.Span
	skipped int64
}

// has tells whether an offset was settled. Offsets are asked for in their order.
func (s *skipping) has(offset int64) bool {
	for len(s.spans) > 0 && s.spans[0].To <= offset {
		s.spans = s.spans[1:]
	}
	if len(s.spans) == 0 || offset < s.spans[0].From {
		return false
	}
	s.skipped++
	return true
}

// snapshot is what to commit of a partition.
type snapshot struct {
	log     topicID // whose offsets these are; zero if that is unknown
	offset  int64
	epoch   int32 // of the record read last: in a log that still has it, that epoch ends behind the offset
	newest  int32 // that was met
	settled []offsetmap.Span
	version uint64
	traces  []*followed // that end with it
}

// unsaved returns what to commit, if that is not what was accepted last.
func (p *partition) unsaved() (s snapshot, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dirty() {
		return s, false
	}
	s = snapshot{log: p.log, offset: p.at(), epoch: p.epoch, newest: p.settled.newest,
		settled: p.settled.spans(&p.open, p.next), version: p.settled.version, traces: p.ended()}
	return s, true
}

// accepted takes in that a commit was accepted.
func (p *partition) accepted(s snapshot, left int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.committed, p.saved = s.offset, s.version
	p.covered = -left
	for _, span := range s.settled {
		p.covered += span.To - span.From
	}
}

// dirty tells whether something is to be committed: until a commit of it is accepted, as the coordinator may still
// store an older one that it did not answer. The lock is held.
func (p *partition) dirty() bool {
	return p.started && (p.at() != p.committed || p.settled.version != p.saved)
}

// unanswered takes in that a commit was refused, or that nobody knows what became of it.
func (p *partition) unanswered(s snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.followed = append(s.traces, p.followed...)
	p.followed = p.followed[max(0, len(p.followed)-maxFollowed):]
}

// clean tells whether all that is settled is committed.
func (p *partition) clean() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.dirty()
}

// metadataLimit is what offset.metadata.max.bytes is by default.
const metadataLimit = 4096

// lessMetadata takes in that a broker found a commit's metadata too large: it is set to allow less.
func (c *Consumer) lessMetadata(refused int) {
	for {
		limit := c.metadata.Load()
		less := int64(refused) * 3 / 4
		if less >= limit {
			return
		}
		if c.metadata.CompareAndSwap(limit, less) {
			c.cfg.Log.Warn().Int64("bytes", less).Msg("the brokers' offset.metadata.max.bytes is smaller than 4096: a commit " +
				"remembers less of what is settled beyond it")
			return
		}
	}
}

// place is where offsets of a log belong. It is not known if the topic has no id.
func (c *Consumer) place(log topicID) (place offsetmap.Place, known bool) {
	cluster := c.cluster.Load()
	if log == (topicID{}) || cluster == nil || *cluster == "" {
		return place, false
	}
	return offsetmap.Place{Cluster: *cluster, Group: c.cfg.Group, Topic: log}, true
}

// recall returns what a commit's metadata says, or nil if it does not hold for this offset of this group in this
// cluster: other programs write metadata, too, and MirrorMaker copies ours beside other offsets.
func (c *Consumer) recall(p *partition, committed int64, metadata string) *offsetmap.Stored {
	if metadata == "" || committed < 0 {
		return nil
	}
	stored, err := offsetmap.Decode(metadata)
	cluster := c.cluster.Load()
	switch {
	case err != nil:
	case cluster == nil || !stored.SameCluster(*cluster):
		err = errors.New("it was written in another cluster")
	case !stored.SameGroup(c.cfg.Group):
		err = errors.New("it was written for another group")
	case stored.Committed != committed:
		err = fmt.Errorf("it was written with offset %d", stored.Committed)
	case stored.Topic == topicID{}:
		err = errors.New("it names no topic id")
	default:
		return &stored
	}
	if _, said := c.ignored.LoadOrStore(err.Error(), true); !said {
		c.cfg.Log.Warn().Str("topic", p.topic).Int("partition", p.id).Int64("offset", committed).Err(err).
			Msg("partition " + p.String() + ": the commit's metadata does not hold here and is ignored; records that were " +
				"settled beyond the offset are sent again")
	}
	return nil
}
