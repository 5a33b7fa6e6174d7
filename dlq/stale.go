package dlq

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"slices"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// lookEvery is how often a redrive looks for events that came since.
const lookEvery = 2 * time.Second

// Stale is a letter that a newer event of its key has overtaken.
type Stale struct {
	Letter Place
	Record Place // that died
	Newer  Place // the newest event of its key
}

// Check looks for newer events in the source partitions, and refuses the letters that they have overtaken. A newer
// event has the same key, in the same source partition. A record that has a letter of the same consumer group is no
// newer state, as HubSpot does not have it. A record that a redrive sent back counts as the event that died, which is
// older than it. All others count, tombstones too, whether HubSpot has them yet or not.
//
// Each source partition is read once, from behind the oldest of its letters; Send goes on from there. Check calls done
// with how many offsets it has seen, and how many there are. A plan that is not checked has no stale letters.
func (r *Redriver) Check(ctx context.Context, p *Plan, done func(seen, all int64)) error {
	for _, src := range p.sources {
		src.next = math.MaxInt64
		for _, i := range src.letters {
			if c := &p.letters[i]; c.keyed {
				src.next = min(src.next, c.origin+1)
			}
		}
	}
	if err := r.look(ctx, p, done); err != nil {
		return err
	}
	p.checked = true
	for _, i := range p.order {
		c := &p.letters[i]
		if stale, ok := p.stale(c); ok {
			r.Stale(stale)
			p.refuse(c, RefusedStale)
		}
	}
	return nil
}

// stale tells whether a newer event has overtaken the letter.
func (p *Plan) stale(c *candidate) (Stale, bool) {
	if !p.checked || !c.keyed || c.part.newest[c.key] <= c.origin {
		return Stale{}, false
	}
	newer := Place{c.part.source.topic, c.part.source.id, c.part.newest[c.key]}
	return Stale{Letter: p.place(c), Record: c.record(), Newer: newer}, true
}

// look reads on in the source partitions, to their present ends.
func (r *Redriver) look(ctx context.Context, p *Plan, done func(seen, all int64)) error {
	topics := map[string]bool{}
	for _, src := range p.sources {
		if src.next < math.MaxInt64 {
			topics[src.topic] = true
		}
	}
	var ahead []Span
	for topic := range topics {
		spans, err := r.Reader.Spans(ctx, topic)
		if err != nil {
			return err
		}
		for _, s := range spans {
			if src := p.sources[partition{topic, s.Partition}]; src != nil && src.next < math.MaxInt64 {
				if !p.checked {
					p.Unseen += p.unseen(src, s)
				}
				s.First = max(s.First, src.next)
				ahead = append(ahead, s)
			}
		}
	}
	var seen, all int64
	for _, s := range ahead {
		all += s.Len()
	}
	for _, s := range ahead {
		src := p.sources[partition{s.Topic, s.Partition}]
		for s.First < s.End {
			next, err := r.Reader.scan(ctx, s, func(rec *protocol.Record) error { return p.see(src, rec) })
			if err != nil {
				return fmt.Errorf("look for newer events in %s/%d at offset %d: %w; or send the letters without that (--force)",
					s.Topic, s.Partition, s.First, withRemedy(err))
			}
			next = min(next, s.End)
			seen += next - s.First
			s.First, src.next = next, next
			done(seen, all)
		}
	}
	return nil
}

// unseen is how many letters with a key there are of whose newer events the partition may hold some no more: retention
// has deleted records behind theirs, or the topic was created again.
func (p *Plan) unseen(src *source, now Span) (n int) {
	for _, i := range src.letters {
		if c := &p.letters[i]; c.keyed && (c.origin+1 < now.First || c.origin >= now.End) {
			n++
		}
	}
	return n
}

// see notes a record of a source partition, if its key is that of a letter.
func (p *Plan) see(src *source, rec *protocol.Record) error {
	if rec.Key == nil || rec.Key.Len() == 0 {
		return nil
	}
	p.key = slices.Grow(p.key[:0], rec.Key.Len())[:rec.Key.Len()]
	if _, err := io.ReadFull(rec.Key, p.key); err != nil {
		return err
	}
	hash := maphash.Bytes(p.seed, p.key)
	for _, part := range src.groups {
		newest, ok := part.newest[hash]
		if !ok {
			continue
		}
		if _, dead := slices.BinarySearch(part.dead, rec.Offset); dead {
			continue
		}
		if origin := originOf(rec.Headers, src.topic, src.id, rec.Offset); origin > newest {
			part.newest[hash] = origin
		}
	}
	return nil
}
