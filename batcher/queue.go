package batcher

import (
	"cmp"
	"slices"
	"time"
)

// queue is what a Batcher's lock guards; the caller of each method holds that lock. Instants count from the Batcher's
// birth.
type queue[T any] struct {
	cfg    Config[T]
	seq    uint64
	units  uint64 // made, ever
	queued int    // records
	groups map[string]*group[T]
	asides []*Sealed[T] // whose turn has come; the Batcher hands them out when it unlocks
}

// add queues an item, and tells whether that may make a batch ripe earlier.
func (q *queue[T]) add(groupName, objectName string, it item[T], late bool) (earlier bool) {
	g := q.groups[groupName]
	if g == nil {
		g = &group[T]{name: groupName, objects: map[string]*object[T]{}}
		q.groups[groupName] = g
	}
	o := g.objects[objectName]
	if o == nil {
		o = &object[T]{name: objectName, group: g, place: -1}
		o.items = o.first[:0]
		g.objects[objectName] = o
	}
	q.seq++
	q.queued++
	it.seq = q.seq
	if late {
		it.seq |= lateSeq
	}
	o.items = append(o.items, it)
	switch o.state {
	case isReady:
		g.bytes += it.bytes
	case isNowhere:
		q.place(o, it.at)
	}
	n := g.ready.len()
	return o.state == isReady && (n == 1 || n == q.cfg.Size || g.bytes >= q.cfg.Bytes)
}

// place puts an object that is nowhere where it belongs, or out of memory. If its first record leaves by itself, that
// record's turn has come.
func (q *queue[T]) place(o *object[T], now time.Duration) {
	switch {
	case len(o.items) == 0:
		delete(o.group.objects, o.name)
		if len(o.group.objects) == 0 {
			delete(q.groups, o.group.name)
		}
	case q.held(o.items[0].rec):
		o.state = isParked // it finds its unit again when it is free
	case o.items[0].aside:
		q.asides = append(q.asides, q.sealSome(o, q.asidesOf(o)))
	default:
		o.seclude()
		o.group.enter(o, now)
	}
}

func (q *queue[T]) held(rec T) bool { return q.cfg.Held != nil && q.cfg.Held(rec) }

// asidesOf counts an object's first records that leave by themselves and are not held, up to MaxMerge. The first is
// known to be one.
func (q *queue[T]) asidesOf(o *object[T]) int {
	n := 1
	for n < min(len(o.items), MaxMerge) && o.items[n].aside && !q.held(o.items[n].rec) {
		n++
	}
	return n
}

// sealSome takes an object's first n records. The object must be in no list.
func (q *queue[T]) sealSome(o *object[T], n int) *Sealed[T] {
	s := new(Sealed[T])
	o.seal(s, n, make([]T, n))
	q.queued -= n
	return s
}

// sealFirst takes the first record of an object that waits, and tells whether it leaves by itself.
func (q *queue[T]) sealFirst(o *object[T]) (s *Sealed[T], aside bool) {
	aside = o.items[0].aside
	o.group.leave(o)
	s = q.sealSome(o, 1)
	if !aside && q.cfg.Leave != nil {
		q.cfg.Leave(s.Records[0])
	}
	return s, aside
}

// due tells from where to seal: of what is ripe, else of all that is sealable, what has the oldest record, so that
// nothing starves. Of a group's units it is the turn of the one that was made first. Without a unit these are the
// group's ready ones.
func (q *queue[T]) due(now time.Duration) (best *group[T], of *unit[T]) {
	var oldest uint64
	var bestRipe bool
	consider := func(g *group[T], u *unit[T], seq uint64, ripe bool) {
		if best == nil || ripe && !bestRipe || ripe == bestRipe && seq < oldest {
			best, of, oldest, bestRipe = g, u, seq, ripe
		}
	}
	for _, g := range q.groups {
		g.thaw(now)
		if len(g.units) > 0 {
			consider(g, g.units[0], g.units[0].members[0].seq(), true)
		}
		if g.ready.len() > 0 {
			ripe := g.readyRipeAt(now, q.cfg.Size, q.cfg.Bytes, q.cfg.Wait) <= now
			consider(g, nil, g.ready.first().seq(), ripe)
		}
	}
	return best, of
}

// pick takes the objects of the batch that is due.
func (q *queue[T]) pick(limit int, now time.Duration) []*object[T] {
	g, u := q.due(now)
	switch {
	case g == nil:
		return nil
	case u != nil:
		return g.pickFrom(u.members, limit, q.cfg.Bytes)
	default:
		return g.pickReady(now, limit, q.cfg.Bytes)
	}
}

// seal makes a batch of objects that pick took.
func (q *queue[T]) seal(picked []*object[T]) []*Sealed[T] {
	total := 0
	for _, o := range picked {
		total += o.next(q.cfg.Bytes)
	}
	batch, all, recs := make([]*Sealed[T], len(picked)), make([]Sealed[T], len(picked)), make([]T, total)
	for i, o := range picked {
		n := o.next(q.cfg.Bytes)
		o.seal(&all[i], n, recs[:n:n])
		batch[i], recs = &all[i], recs[n:]
		q.queued -= n
		if q.cfg.Leave != nil {
			for _, rec := range all[i].Records {
				q.cfg.Leave(rec)
			}
		}
	}
	return batch
}

// candidates returns, of one group, the objects whose first record a probe may carry, in its order. Those whose first
// record leaves by itself are candidates only if there are no others.
func (q *queue[T]) candidates(prefer Preference, of func(T) bool) (objects []*object[T], aside bool) {
	var asides []*object[T]
	for o := range q.waiting {
		switch first := o.items[0]; {
		case !of(first.rec):
		case first.aside:
			asides = append(asides, o)
		default:
			objects = append(objects, o)
		}
	}
	if len(objects) == 0 {
		slices.SortFunc(asides, func(x, y *object[T]) int { return cmp.Or(cmp.Compare(x.tries, y.tries), byAge(x, y)) })
		return asides, true
	}
	slices.SortFunc(objects, func(x, y *object[T]) int {
		age := cmp.Compare(x.seq()&^lateSeq, y.seq()&^lateSeq)
		if prefer == Oldest {
			return age
		}
		return cmp.Or(cmp.Compare(x.tries, y.tries), -age)
	})
	first := objects[0]
	return slices.DeleteFunc(objects, func(o *object[T]) bool {
		return o.group != first.group || prefer == LeastTried && o.tries != first.tries
	}), false
}

// waiting yields each object that is not flying. It may be placed anew meanwhile.
func (q *queue[T]) waiting(yield func(*object[T]) bool) {
	for _, g := range q.groups {
		for _, o := range g.objects {
			if o.state != isFlying && !yield(o) {
				return
			}
		}
	}
}

// drop forgets the queued records of which gone is true.
func (q *queue[T]) drop(gone func(T) bool, now time.Duration) {
	for _, g := range q.groups {
		for _, o := range g.objects {
			if !slices.ContainsFunc(o.items, func(it item[T]) bool { return gone(it.rec) }) {
				continue
			}
			if o.state == isFlying {
				q.queued -= o.drop(gone)
				continue
			}
			g.leave(o)
			q.queued -= o.drop(gone)
			q.place(o, now)
		}
	}
}

// comeBack puts the records of an input, except those that are gone, before the object's later ones, and tells how
// many did. The object rests until notBefore. It is to be placed then.
func (q *queue[T]) comeBack(s *Sealed[T], notBefore time.Duration) (kept int) {
	o := s.object
	items := make([]item[T], 0, len(s.items)+len(o.items))
	for _, it := range s.items {
		if q.cfg.Return == nil || !q.cfg.Return(it.rec) {
			items = append(items, it)
		}
	}
	kept = len(items)
	q.queued += kept
	o.items = append(items, o.items...)
	o.state, o.notBefore = isNowhere, notBefore
	o.tries++
	return kept
}

// restEnd is when a rest that begins now ends. It ends in slots of a quarter of its length, so that what rests at about
// the same time thaws together and shares a batch.
func restEnd(now, rest time.Duration) time.Duration {
	slot := max(rest/4, 1)
	return (now + rest + slot - 1) / slot * slot
}
