package dlq

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
)

// Plan is which letters a redrive sends, and in which order. It holds places and hashes of keys, and no payload: about
// 120 bytes for a letter that is selected, and 8 for any other.
type Plan struct {
	// Due is how many letters are to be sent.
	Due int
	// Keyless is how many of them have no key: nobody knows whether a newer event of their tasks was written.
	Keyless int
	// Unseen is how many of the others are older than all that their source partitions hold: retention may have deleted
	// newer events of their keys.
	Unseen int

	spans   []Span // of dead-letter partitions, those that were chosen
	letters []candidate
	order   []int32 // of letters: as they are sent
	sources map[partition]*source
	parts   map[partKey]*part
	refused []refusal
	seed    maphash.Seed
	checked bool
	key     []byte // of the record that see looks at
}

// candidate is a letter that may be sent.
type candidate struct {
	at     int64  // its offset
	offset int64  // of its record
	origin int64  // of its event
	key    uint64 // a hash
	part   *part
	span   int32
	keyed  bool
	state  state
}

// refusal is a letter that was selected and is not sent.
type refusal struct {
	at   int64 // its offset
	span int32
	why  string
}

type state uint8

const (
	stateDue state = iota
	stateSent
	stateRefused
)

// partition is one of a source topic.
type partition struct {
	topic string
	id    int
}

// source is a source partition: which letters came from it, and what it holds.
type source struct {
	partition
	letters []int32 // the candidates, in the order of their events
	sent    int     // of them, those that have their place in the plan's order
	groups  []*part
	next    int64 // where to go on looking for newer events
}

// part is a consumer group's part of a source partition's letters. What one group could not write, another one could.
type part struct {
	source *source
	// dead is the offsets of the records that have a letter, selected or not, in their order: they are no newer states.
	dead   []int64
	newest map[uint64]int64 // of the keys of candidates, the newest event that is not dead; −1: none was seen
}

// partKey is what there is one part for.
type partKey struct {
	partition
	group string
}

// Collect reads letters and plans to send those that takes selects among the spans chosen. To be checked, a plan must
// know of all letters: then all is what the dead-letter topics hold; else it is nil. After each letter Collect calls
// done.
func (r *Redriver) Collect(ctx context.Context, all, chosen []Span, takes func(*Letter) bool,
	done func()) (*Plan, error) {
	p := &Plan{spans: slices.Clone(chosen), seed: maphash.MakeSeed(), sources: map[partition]*source{},
		parts: map[partKey]*part{}}
	if all == nil {
		all = chosen
	}
	for l, err := range r.Reader.Letters(ctx, all) {
		if err != nil {
			return nil, err
		}
		if !l.Foreign {
			part := p.part(l)
			part.dead = append(part.dead, l.Source.Offset)
			if l.Origin != l.Source.Offset {
				part.dead = append(part.dead, l.Origin) // its own letter may be deleted
			}
		}
		if span := p.spanOf(l); span >= 0 && takes(l) {
			if why := r.refuses(l); why != "" {
				p.refused = append(p.refused, refusal{l.Place.Offset, int32(span), why})
			} else {
				p.add(l, span)
			}
		}
		done()
	}
	p.sort()
	return p, nil
}

// part returns the letter's part, and makes it if there is none.
func (p *Plan) part(l *Letter) *part {
	at := partition{l.Source.Topic, l.Source.Partition}
	key := partKey{at, l.Group}
	found := p.parts[key]
	if found == nil {
		src := p.sources[at]
		if src == nil {
			src = &source{partition: at}
			p.sources[at] = src
		}
		found = &part{source: src, newest: map[uint64]int64{}}
		src.groups = append(src.groups, found)
		p.parts[key] = found
	}
	return found
}

// spanOf is the chosen span in which the letter stands; −1 if there is none.
func (p *Plan) spanOf(l *Letter) int {
	return slices.IndexFunc(p.spans, func(s Span) bool {
		return s.Topic == l.Place.Topic && s.Partition == l.Place.Partition && l.Place.Offset >= s.First &&
			l.Place.Offset < s.End
	})
}

// add plans to send a letter.
func (p *Plan) add(l *Letter, span int) {
	c := candidate{at: l.Place.Offset, offset: l.Source.Offset, origin: l.Origin, part: p.part(l), span: int32(span),
		keyed: len(l.Key) > 0} // an empty key names no task
	if c.keyed {
		c.key = maphash.Bytes(p.seed, l.Key)
		c.part.newest[c.key] = -1
	} else {
		p.Keyless++
	}
	p.Due++
	c.part.source.letters = append(c.part.source.letters, int32(len(p.letters)))
	p.letters = append(p.letters, c)
}

// sort puts the letters in the order in which they are sent: those of a source partition by their events, and beyond
// that as they stand in the dead-letter partitions, so that each of these is read once, and a run that is interrupted
// has come equally far in each.
func (p *Plan) sort() {
	for _, part := range p.parts {
		slices.Sort(part.dead)
	}
	for _, src := range p.sources {
		slices.SortStableFunc(src.letters, func(a, b int32) int {
			x, y := &p.letters[a], &p.letters[b]
			return cmp.Or(cmp.Compare(x.origin, y.origin), cmp.Compare(x.offset, y.offset))
		})
	}
	waiting := make([][]int32, len(p.spans)) // the letters of each span, in its order
	for i := range p.letters {
		waiting[p.letters[i].span] = append(waiting[p.letters[i].span], int32(i))
	}
	ordered := make([]bool, len(p.letters))
	take := func(src *source) {
		i := src.letters[src.sent]
		p.order, ordered[i] = append(p.order, i), true
		src.sent++
	}
	for len(p.order) < len(p.letters) {
		before := len(p.order)
		var blocked *source
		for s, rest := range waiting {
			for len(rest) > 0 {
				if i := rest[0]; !ordered[i] {
					src := p.letters[i].part.source
					if src.letters[src.sent] != i {
						blocked = src
						break
					}
					take(src)
				}
				rest = rest[1:]
			}
			waiting[s] = rest
		}
		if len(p.order) == before { // each waits for one that stands behind another
			take(blocked)
		}
	}
}

// place is where a letter stands.
func (p *Plan) place(c *candidate) Place {
	return Place{p.spans[c.span].Topic, p.spans[c.span].Partition, c.at}
}

// record is where a letter's record stood.
func (c *candidate) record() Place {
	return Place{c.part.source.topic, c.part.source.id, c.offset}
}

// Ledger is what would become of the letters, if no more than limit are sent; 0: all.
func (p *Plan) Ledger(limit int) Ledger {
	due := p.Due
	if limit > 0 {
		due = min(due, limit)
	}
	return Ledger{Sent: due, Refused: p.refusals(nil)}
}

// ended is the ledger of a run that sent so many letters. It counts the refused ones that the next run will not meet.
func (p *Plan) ended(sent int) Ledger {
	left := p.left()
	return Ledger{Sent: sent, Refused: p.refusals(left), Left: left}
}

// refusals counts the refused letters by why: those before what is left, or all if that is nil.
func (p *Plan) refusals(left []Span) map[string]int {
	count := map[string]int{}
	for _, r := range p.refused {
		if left == nil || r.at < left[r.span].First {
			count[r.why]++
		}
	}
	return count
}

// refuse takes a letter out of those that are due.
func (p *Plan) refuse(c *candidate, why string) {
	c.state = stateRefused
	p.refused = append(p.refused, refusal{c.at, c.span, why})
	p.Due--
}

// left is where to go on: it leaves out no letter that is due. If the next run would repeat a letter, it also repeats
// the later ones of its source partition, so that repeats come in order, too.
func (p *Plan) left() []Span {
	left := slices.Clone(p.spans)
	for i := range left {
		left[i].First = left[i].End
	}
	for i := range p.letters {
		if c := &p.letters[i]; c.state == stateDue {
			left[c.span].First = min(left[c.span].First, c.at)
		}
	}
	for moved := true; moved; {
		moved = false
		for _, src := range p.sources {
			again := false
			for _, i := range src.letters {
				c := &p.letters[i]
				switch {
				case c.state == stateRefused:
				case c.at >= left[c.span].First:
					again = true
				case again:
					left[c.span].First, moved = c.at, true
				}
			}
		}
	}
	return left
}
