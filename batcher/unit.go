package batcher

import (
	"cmp"
	"slices"
	"time"
)

// unit is a part of a batch that was taken apart. Its objects travel together, and nothing else joins them. It is in
// its group's lists as long as an object is in it.
type unit[T any] struct {
	members   []*object[T] // the one with the oldest record first
	number    uint64       // the order in which units were made
	notBefore time.Duration
	waiting   bool // it is in the heap of the resting ones
	place     int  // index in the heap that holds it, -1 in none
}

func (u *unit[T]) setPlace(place int) { u.place = place }

// before orders the resting units by the end of their rest, the ready ones by their age. So the parts of a batch that
// was taken apart come before the parts of a part: what is good in it passes soon, and failures do not come in a row.
func (u *unit[T]) before(v *unit[T]) bool {
	if u.waiting {
		return u.notBefore < v.notBefore
	}
	return u.number < v.number
}

// join puts an object into its unit, and the unit into the group's lists.
func (g *group[T]) join(o *object[T], now time.Duration) {
	u := o.unit
	at, _ := slices.BinarySearchFunc(u.members, o, byAge[T])
	u.members = slices.Insert(u.members, at, o)
	if u.place >= 0 {
		return
	}
	u.waiting = u.notBefore > now
	g.heapOf(u).push(u)
}

// part takes an object out of its unit. A unit without objects leaves the group's lists.
func (g *group[T]) part(o *object[T]) {
	u := o.unit
	at := slices.Index(u.members, o)
	u.members = slices.Delete(u.members, at, at+1)
	if len(u.members) == 0 {
		g.heapOf(u).remove(u.place)
	}
}

// wake ends a unit's rest.
func (g *group[T]) wake(u *unit[T]) {
	u.notBefore = 0
	if u.waiting && u.place >= 0 {
		g.restingUnits.remove(u.place)
		u.waiting = false
		g.units.push(u)
	}
}

func (g *group[T]) heapOf(u *unit[T]) *ranks[*unit[T]] {
	if u.waiting {
		return &g.restingUnits
	}
	return &g.units
}

func byAge[T any](x, y *object[T]) int { return cmp.Compare(x.seq(), y.seq()) }
