package batcher

import "time"

type item[T any] struct {
	rec   T
	bytes int           // 0 of one that leaves by itself
	aside bool          // it leaves by itself
	seq   uint64        // the order of arrival; of late ones with lateSeq added
	at    time.Duration // when it came, since the Batcher was made
}

const lateSeq = 1 << 63 // goes behind all that is not late

// state tells where an object is. It is in one place at a time.
type state uint8

const (
	isNowhere  state = iota // it is new, or about to be placed
	isReady                 // among its group's ready ones
	isResting               // among its group's resting ones
	isTogether              // in its unit
	isParked                // its first record is held: it stands in no list, so that it costs nothing
	isFlying                // in a sealed batch, or behind a record that left by itself
)

// object is the queue of one object.
type object[T any] struct {
	name  string
	group *group[T]
	items []item[T]  // oldest first; only a flying object may have none
	first [1]item[T] // where the first one is kept: most objects never have another

	state state
	inRow bool // it is ready, and stands in the row
	place int  // index in the row or heap that holds it

	tries     int           // how often it came back since its last success
	notBefore time.Duration // it rests until then, since the Batcher was made
	unit      *unit[T]      // what it travels with; nil: whatever is ready
	bound     int           // how many of its oldest records travel with the unit; 0 without a unit
	// suspect counts the oldest records that were refused as one: at least one of them is bad. Only half of them
	// leave at a time. If those are accepted the guilty one is in the other half, which is therefore halved in
	// turn without being sent: finding one among n takes log₂ n requests.
	suspect int
	alone   uint64 // while there are any, they are in a unit of their own, of this number; 0: they have company
}

// seq is the order of the object's first record.
func (o *object[T]) seq() uint64 { return o.items[0].seq }

func (o *object[T]) setPlace(place int) { o.place = place }

// before orders the resting objects by the end of their rest, the others by their first record.
func (o *object[T]) before(p *object[T]) bool {
	if o.state == isResting {
		return o.notBefore < p.notBefore
	}
	return o.seq() < p.seq()
}

// seclude puts an object into a unit of its own while its suspects must not harm others.
func (o *object[T]) seclude() {
	if o.suspect == 0 {
		o.alone = 0
	}
	if o.alone > 0 && o.unit == nil {
		o.unit, o.bound = &unit[T]{number: o.alone, notBefore: o.notBefore, place: -1}, o.suspect
	}
}

// detach takes the object out of its unit for good.
func (o *object[T]) detach() { o.unit, o.bound = nil, 0 }

// next tells how many of the object's records leave with its next input.
func (o *object[T]) next(maxBytes int) int {
	n := min(len(o.items), MaxMerge)
	if o.unit != nil {
		n = min(n, o.bound)
	}
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

// nextBytes is the size of the object's next input.
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

// seal fills s with the object's next n records, and puts them into recs, too. The object must be in no list.
func (o *object[T]) seal(s *Sealed[T], n int, recs []T) {
	*s = Sealed[T]{object: o, items: o.items[:n:n], Records: recs}
	for i, it := range s.items {
		recs[i] = it.rec
	}
	o.items = o.items[n:]
	o.state, o.notBefore = isFlying, 0
	o.detach()
}

// drop forgets each record of which gone is true, and tells how many went. The object must be in no list.
func (o *object[T]) drop(gone func(T) bool) int {
	kept := make([]item[T], 0, len(o.items))
	suspect, bound := o.suspect, o.bound
	for i, it := range o.items {
		if !gone(it.rec) {
			kept = append(kept, it)
			continue
		}
		if i < o.suspect {
			suspect = 0 // the guilty one may be among those that went
		}
		if i < o.bound {
			bound--
		}
	}
	went := len(o.items) - len(kept)
	o.items, o.suspect, o.bound = kept, suspect, bound
	if bound == 0 {
		o.detach()
	}
	return went
}
