package batcher

import (
	"iter"
	"slices"
	"time"
)

// group holds the objects that may share a batch.
type group[T any] struct {
	name         string
	objects      map[string]*object[T]
	ready        ready[T]          // sealable: late ones behind the others, else the one with the oldest record first
	bytes        int               // of the ready
	resting      ranks[*object[T]] // to be sent again, but not yet: the first to thaw first
	units        ranks[*unit[T]]   // sealable: the one that was made first comes first
	restingUnits ranks[*unit[T]]   // the first to thaw first
}

// enter puts an object that is nowhere where it belongs: into its unit, to rest, or by its age among the ready.
func (g *group[T]) enter(o *object[T], now time.Duration) {
	switch {
	case o.unit != nil:
		o.state = isTogether
		g.join(o, now)
	case o.notBefore > now:
		o.state = isResting
		g.resting.push(o)
	default:
		o.state = isReady
		g.ready.push(o)
		g.bytes += o.bytes()
	}
}

// leave takes an object out of where it stands.
func (g *group[T]) leave(o *object[T]) {
	switch o.state {
	case isTogether:
		g.part(o)
	case isResting:
		g.resting.remove(o.place)
	case isReady:
		g.ready.remove(o)
		g.bytes -= o.bytes()
	}
	o.state = isNowhere
}

// thaw makes sealable what has rested long enough.
func (g *group[T]) thaw(now time.Duration) {
	for len(g.resting) > 0 && g.resting[0].notBefore <= now {
		o := g.resting[0]
		g.leave(o)
		g.enter(o, now)
	}
	for len(g.restingUnits) > 0 && g.restingUnits[0].notBefore <= now {
		u := g.restingUnits[0]
		g.restingUnits.remove(0)
		u.waiting = false
		g.units.push(u)
	}
}

// readyRipeAt tells when the ready objects, of which there must be some, are worth a batch. Units are always.
func (g *group[T]) readyRipeAt(now time.Duration, size, bytes int, wait time.Duration) time.Duration {
	if g.ready.len() >= size || g.bytes >= bytes {
		return now
	}
	return g.ready.first().items[0].at + wait
}

// ripeAt tells when something in the group is ripe or thaws, if nothing else happens; false if nothing is queued.
func (g *group[T]) ripeAt(now time.Duration, size, bytes int, wait time.Duration) (at time.Duration, some bool) {
	g.thaw(now)
	if len(g.units) > 0 {
		return now, true
	}
	consider := func(t time.Duration) {
		if !some || t < at {
			at, some = t, true
		}
	}
	if g.ready.len() > 0 {
		consider(g.readyRipeAt(now, size, bytes, wait))
	}
	if len(g.resting) > 0 {
		consider(g.resting[0].notBefore)
	}
	if len(g.restingUnits) > 0 {
		consider(g.restingUnits[0].notBefore)
	}
	return at, some
}

// pickReady takes the objects of the next batch out of the ready ones, the one with the oldest record first.
func (g *group[T]) pickReady(now time.Duration, limit, maxBytes int) []*object[T] {
	picked, passed := fill(func(yield func(*object[T]) bool) {
		for g.ready.len() > 0 {
			o := g.ready.first()
			g.leave(o)
			if !yield(o) {
				return
			}
		}
	}, limit, maxBytes)
	for _, o := range passed {
		g.enter(o, now)
	}
	return picked
}

// pickFrom takes the objects of the next batch out of some of the group, in the given order.
func (g *group[T]) pickFrom(objects []*object[T], limit, maxBytes int) []*object[T] {
	picked, _ := fill(slices.Values(objects), limit, maxBytes)
	for _, o := range picked {
		g.leave(o)
	}
	return picked
}

// fill chooses the objects of a batch. The first comes in any case; others join in their order if the batch is not too
// large for them. It passes over no more than a batch holds: looking at all of a long queue would cost too much.
func fill[T any](order iter.Seq[*object[T]], limit, maxBytes int) (picked, passed []*object[T]) {
	bytes := 0
	for o := range order {
		size := o.nextBytes(maxBytes)
		if len(picked) > 0 && bytes+size > maxBytes {
			passed = append(passed, o)
		} else {
			picked, bytes = append(picked, o), bytes+size
		}
		if len(picked) == limit || len(passed) == limit || bytes >= maxBytes {
			break
		}
	}
	return picked, passed
}
