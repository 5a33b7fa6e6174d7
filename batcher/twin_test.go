package batcher_test

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// rec is a record of the model test.
type rec struct {
	object int
	id     int // the order in which it was added
	at     time.Duration
	late   bool
	bytes  int
	scope  int    // what can be held
	aside  string // it leaves by itself, and then: it stays away, is refused at once, or comes back as it is held
}

func (r rec) seq() int {
	if r.late {
		return r.id + 1<<40
	}
	return r.id
}

func (r rec) group() int { return r.object % 2 }

// twin says what a Batcher is to do. It knows no lists, heaps or states: it looks at all objects each time.
type twin struct {
	size, bytes int
	wait        time.Duration
	now         func() time.Duration
	held        map[int]bool // by scope
	gone        map[int]bool // records that were given up while they were away
	objects     []*twinObject
	units       int // made so far
}

// twinObject is the queue of one object.
type twinObject struct {
	queue, away []rec
	isAway      bool
	toHandOut   bool // the records that are away leave by themselves, and nobody got them yet
	parked      bool
	until       time.Duration
	unit        int // 0: none
	bound       int
	suspect     int
	alone       int // the unit of the suspects; 0: they have company
	tries       int
	ended       []int
}

func (w *twin) len() (n int) {
	for _, o := range w.objects {
		n += len(o.queue)
	}
	return n
}

func (o *twinObject) takeAway(n int) {
	o.away, o.queue = slices.Clone(o.queue[:n]), o.queue[n:]
	o.isAway, o.unit, o.bound, o.until = true, 0, 0, 0
}

func (w *twin) place(o *twinObject) {
	switch {
	case len(o.queue) == 0:
		*o = twinObject{ended: o.ended}
		return
	case w.held[o.queue[0].scope]:
		o.parked = true
		return
	}
	o.parked = false
	n := 0
	for n < len(o.queue) && o.queue[n].aside != "" && !w.held[o.queue[n].scope] {
		n++
	}
	if n > 0 {
		o.takeAway(n)
		o.toHandOut = true
		return
	}
	if o.suspect == 0 {
		o.alone = 0
	}
	if o.alone > 0 && o.unit == 0 {
		o.unit, o.bound = o.alone, o.suspect
	}
}

func (w *twin) add(r rec) {
	o := w.objects[r.object]
	o.queue = append(o.queue, r)
	if len(o.queue) == 1 && !o.isAway {
		w.place(o)
	}
}

func (w *twin) end(o *twinObject, suspect int) {
	for _, r := range o.away {
		o.ended = append(o.ended, r.id)
	}
	o.away, o.isAway, o.tries, o.suspect = nil, false, 0, suspect
	w.place(o)
}

// back returns what is away, as a part of the given unit.
func (w *twin) back(o *twinObject, until time.Duration, suspect, alone bool, unit int) {
	kept := slices.DeleteFunc(o.away, func(r rec) bool { return w.gone[r.id] })
	o.queue = append(slices.Clone(kept), o.queue...)
	o.away, o.isAway, o.until = nil, false, until
	o.tries++
	if suspect {
		o.suspect, o.alone = len(kept), 0
		if alone {
			w.units++
			o.alone = w.units
		}
	}
	if unit > 0 && len(kept) > 0 {
		o.unit, o.bound = unit, len(kept)
	}
	w.place(o)
}

// restEnd is the first multiple of a quarter of the rest that does not cut it short.
func (w *twin) restEnd(rest time.Duration) (end time.Duration) {
	if rest == 0 {
		return 0
	}
	for end < w.now()+rest {
		end += rest / 4
	}
	return end
}

func (w *twin) recheck() {
	for _, o := range w.objects {
		if !o.isAway && len(o.queue) > 0 && w.held[o.queue[0].scope] != o.parked {
			w.place(o)
		}
	}
}

func (w *twin) wake(of func(rec) bool) {
	for _, o := range w.objects {
		if !o.isAway && len(o.queue) > 0 && !w.ready(o) && of(o.queue[0]) {
			o.until, o.unit, o.bound = 0, 0, 0
			w.place(o)
		}
	}
}

func (w *twin) wakeTogether(of func(rec) bool) {
	units := map[int]bool{}
	for _, o := range w.objects {
		if !o.isAway && len(o.queue) > 0 && !w.ready(o) && of(o.queue[0]) {
			units[o.unit] = o.unit > 0
			o.until = 0
			w.place(o)
		}
	}
	for _, o := range w.objects {
		if units[o.unit] && !o.isAway {
			o.until = 0
		}
	}
}

func (w *twin) drop(gone func(rec) bool) {
	for _, o := range w.objects {
		for _, r := range o.away {
			if gone(r) {
				w.gone[r.id] = true
			}
		}
		kept, suspect, bound := []rec{}, o.suspect, o.bound
		for i, r := range o.queue {
			switch {
			case !gone(r):
				kept = append(kept, r)
				continue
			case i < o.suspect:
				suspect = 0
			}
			if i < o.bound {
				bound--
			}
		}
		if len(kept) == len(o.queue) {
			continue
		}
		o.queue, o.suspect, o.bound = kept, suspect, bound
		if bound == 0 {
			o.unit = 0
		}
		if !o.isAway {
			w.place(o)
		}
	}
}

// ready tells whether an object that is in no unit may leave in company.
func (w *twin) ready(o *twinObject) bool {
	return !o.isAway && len(o.queue) > 0 && !o.parked && o.unit == 0 && o.until <= w.now()
}

// lot is what may be sealed at a time: the ready ones of a group, or a unit.
type lot struct {
	objects []*twinObject
	ripe    bool
}

func (w *twin) lots() (lots []lot) {
	byKey := map[string]*lot{}
	bytes := map[string]int{}
	for _, o := range w.objects {
		var key string
		switch {
		case w.ready(o):
			key = fmt.Sprint("group ", o.queue[0].group())
		case !o.isAway && !o.parked && o.unit > 0 && o.until <= w.now():
			key = fmt.Sprint("unit ", o.unit)
		default:
			continue
		}
		if byKey[key] == nil {
			byKey[key] = &lot{ripe: o.unit > 0}
		}
		byKey[key].objects = append(byKey[key].objects, o)
		for _, r := range o.queue {
			bytes[key] += r.bytes
		}
	}
	for key, l := range byKey {
		if w.laterUnit(l.objects[0]) {
			continue
		}
		slices.SortFunc(l.objects, func(x, y *twinObject) int { return cmp.Compare(x.queue[0].seq(), y.queue[0].seq()) })
		l.ripe = l.ripe || len(l.objects) >= w.size || bytes[key] >= w.bytes || w.waited(l.objects[0])
		lots = append(lots, *l)
	}
	slices.SortFunc(lots, func(x, y lot) int { // the ripe ones first, then by the oldest record
		if x.ripe != y.ripe {
			return map[bool]int{true: -1, false: 1}[x.ripe]
		}
		return cmp.Compare(x.objects[0].queue[0].seq(), y.objects[0].queue[0].seq())
	})
	return lots
}

// laterUnit tells whether a unit of the same group was made earlier and is ready, too: then it is that one's turn.
func (w *twin) laterUnit(o *twinObject) bool {
	return o.unit > 0 && slices.ContainsFunc(w.objects, func(x *twinObject) bool {
		return !x.isAway && !x.parked && x.unit > 0 && x.unit < o.unit && x.until <= w.now() &&
			x.queue[0].group() == o.queue[0].group()
	})
}

// waited tells whether an object's first record has waited long enough for company.
func (w *twin) waited(o *twinObject) bool { return o.queue[0].at+w.wait <= w.now() }

// fill takes away the batch that the objects give, in their order.
func (w *twin) fill(objects []*twinObject, limit int) (batch [][]rec) {
	limit = min(limit, w.size)
	bytes, passed := 0, 0
	for _, o := range objects {
		n, size := w.next(o)
		if len(batch) > 0 && bytes+size > w.bytes {
			passed++
		} else {
			o.takeAway(n)
			batch, bytes = append(batch, o.away), bytes+size
		}
		if len(batch) == limit || passed == limit || bytes >= w.bytes {
			break
		}
	}
	return batch
}

func (w *twin) next(o *twinObject) (n, bytes int) {
	most := len(o.queue)
	if o.unit > 0 {
		most = o.bound
	}
	if o.suspect > 0 {
		most = min(most, (o.suspect+1)/2)
	}
	for _, r := range o.queue[:most] {
		if n > 0 && (bytes+r.bytes > w.bytes || r.aside != "") {
			break
		}
		n, bytes = n+1, bytes+r.bytes
	}
	return n, bytes
}

func (w *twin) probe(limit int, oldest bool, of func(rec) bool) (batch [][]rec, aside bool) {
	var tasks, asides []*twinObject
	for _, o := range w.objects {
		switch {
		case o.isAway || len(o.queue) == 0 || !of(o.queue[0]):
		case o.queue[0].aside != "":
			asides = append(asides, o)
		default:
			tasks = append(tasks, o)
		}
	}
	order := func(x, y *twinObject) int {
		return cmp.Or(cmp.Compare(x.tries, y.tries), cmp.Compare(x.queue[0].seq(), y.queue[0].seq()))
	}
	slices.SortFunc(tasks, func(x, y *twinObject) int {
		if oldest {
			return cmp.Compare(x.queue[0].id, y.queue[0].id)
		}
		return cmp.Or(cmp.Compare(x.tries, y.tries), cmp.Compare(y.queue[0].id, x.queue[0].id))
	})
	slices.SortFunc(asides, order)
	if len(tasks) > 0 {
		group, tries := tasks[0].queue[0].group(), tasks[0].tries
		others := func(o *twinObject) bool { return o.queue[0].group() != group || !oldest && o.tries != tries }
		return w.fill(slices.DeleteFunc(tasks, others), limit), false
	}
	if len(asides) > 0 {
		asides[0].takeAway(1)
		return [][]rec{asides[0].away}, true
	}
	return nil, false
}

// take lists the objects whose first record may be taken.
func (w *twin) take(of func(rec) bool) (objects []*twinObject) {
	for _, o := range w.objects {
		if !o.isAway && len(o.queue) > 0 && of(o.queue[0]) {
			objects = append(objects, o)
		}
	}
	return objects
}
