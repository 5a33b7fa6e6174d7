package batcher

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

type item[T any] struct {
	rec   T
	bytes int           // 0 of one that leaves by itself
	aside bool          // it leaves by itself
	seq   uint64        // the order of arrival; of late ones with lateSeq added
	at    time.Duration // when it came, since the Batcher was made
}

const lateSeq = 1 << 63 // goes behind all that is not late

// object is the queue of one object. It is in exactly one place: among its group's ready or resting ones, or flying
// (in a sealed batch, or behind a record that left by itself), or forgotten.
type object[T any] struct {
	name  string
	group *group[T]
	items []item[T]  // oldest first
	first [1]item[T] // where the first one is kept: most objects never have another

	place   int  // index in the row or heap that holds it, -1 in none
	inRow   bool // that is the row of the ready ones
	waiting bool // that is the heap of the resting ones
	flying  bool

	limit     int           // the most inputs in the batch that carries it; 0 = no bound
	tries     int           // how often it came back since its last success
	notBefore time.Duration // it rests until then, since the Batcher was made
	// suspect counts the oldest records that were refused as one: at least one of them is bad. Only half of them
	// leave at a time. If those are accepted the guilty one is in the other half, which is therefore halved in
	// turn without being sent: finding one among n takes log₂ n requests.
	suspect int
}

// next tells how many of the object's records leave with its next input.
func (o *object[T]) next(maxBytes int) int {
	n := min(len(o.items), MaxMerge)
	if o.suspect > 0 {
		n = min(n, (o.suspect+1)/2)
	}
	bytes := 0
	for i, it := range o.items[:n] {
		if bytes += it.bytes; i > 0 && (bytes > maxBytes || it.aside) {
			return i
		}
	}
	return n
}

// asides counts the first records that leave by themselves, up to MaxMerge.
func (o *object[T]) asides() (n int) {
	for n < min(len(o.items), MaxMerge) && o.items[n].aside {
		n++
	}
	return n
}

// seal fills s with the object's next n records, and puts them into recs, too.
func (o *object[T]) seal(s *Sealed[T], n int, recs []T) {
	*s = Sealed[T]{object: o, items: o.items[:n:n], Records: recs}
	for i, it := range s.items {
		recs[i] = it.rec
	}
	o.items = o.items[n:]
	o.flying, o.notBefore = true, 0
}

// nextBytes is an upper bound of the size of the object's next input.
func (o *object[T]) nextBytes(maxBytes int) (n int) {
	for _, it := range o.items[:o.next(maxBytes)] {
		n += it.bytes
	}
	return n
}

// bytes is what the object's queued records hold.
func (o *object[T]) bytes() (n int) {
	for _, it := range o.items {
		n += it.bytes
	}
	return n
}

// group holds the objects that may share a batch.
type group[T any] struct {
	name    string
	objects map[string]*object[T]
	ready   ready[T]   // sealable: late ones behind the others, else the one with the oldest record first
	resting objects[T] // to be sent again, but not yet: the first to thaw first
	bytes   int        // of the ready
}

// enter puts an object where it belongs by its age, or lets it rest first.
func (g *group[T]) enter(o *object[T], now time.Duration) {
	o.waiting = o.notBefore > now
	if o.waiting {
		heap.Push(&g.resting, o)
		return
	}
	g.ready.push(o)
	g.bytes += o.bytes()
}

func (g *group[T]) leave(o *object[T]) {
	if o.waiting {
		heap.Remove(&g.resting, o.place)
		return
	}
	g.ready.remove(o)
	g.bytes -= o.bytes()
}

// thaw makes sealable what has rested long enough.
func (g *group[T]) thaw(now time.Duration) {
	for g.resting.Len() > 0 && g.resting.first().notBefore <= now {
		o := g.resting.first()
		heap.Remove(&g.resting, 0)
		o.notBefore = 0
		g.enter(o, now)
	}
}

func (g *group[T]) ripeAt(now time.Duration, size, bytes int, wait time.Duration) (at time.Duration, some bool) {
	g.thaw(now)
	if g.ready.len() >= size || g.ready.len() > 0 && g.bytes >= bytes {
		return now, true
	}
	if g.ready.len() > 0 {
		at, some = g.ready.first().items[0].at+wait, true
	}
	if g.resting.Len() > 0 {
		if t := g.resting.first().notBefore; !some || t < at {
			at, some = t, true
		}
	}
	return at, some
}

// pick takes the objects of the next batch out of the ready ones. The oldest comes in any case, and its bound is the
// batch's; others join in the order of their age if the batch is not too large for them. A batch without a bound
// leaves those with one to a batch of their own, or one suspect would make a full batch thin. With varied, those
// that came back least often go first.
func (g *group[T]) pick(now time.Duration, limit, maxBytes int, varied bool) []*object[T] {
	var order []*object[T] // a probe is rare, so it may look at all of them
	if varied {
		order = g.ready.all()
		slices.SortFunc(order, func(x, y *object[T]) int {
			return cmp.Or(cmp.Compare(x.tries, y.tries), cmp.Compare(x.items[0].seq, y.items[0].seq))
		})
	}
	var picked, passed []*object[T]
	bytes := 0
	for g.ready.len() > 0 && len(picked) < limit {
		o := g.ready.first()
		if varied {
			o, order = order[0], order[1:]
		}
		g.leave(o)
		size := o.nextBytes(maxBytes)
		switch {
		case len(picked) == 0 && o.limit > 0:
			limit = min(limit, o.limit)
		case len(picked) > 0 && (o.limit > 0 && o.limit < limit || bytes+size > maxBytes):
			passed = append(passed, o)
			continue
		}
		picked, bytes = append(picked, o), bytes+size
		if bytes >= maxBytes {
			break
		}
	}
	for _, o := range passed {
		g.enter(o, now)
	}
	return picked
}

// objects is a heap of objects: by the end of their rest where they rest, else by their first record.
type objects[T any] []*object[T]

func (h objects[T]) first() *object[T] { return h[0] }
func (h objects[T]) Len() int          { return len(h) }

func (h objects[T]) Less(i, j int) bool {
	if h[i].waiting {
		return h[i].notBefore < h[j].notBefore
	}
	return h[i].items[0].seq < h[j].items[0].seq
}

func (h objects[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push and Pop are container/heap's.
func (h *objects[T]) Push(x any) {
	o := x.(*object[T])
	o.place = len(*h)
	*h = append(*h, o)
}

func (h *objects[T]) Pop() any {
	old := *h
	o := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	o.place = -1
	return o
}
