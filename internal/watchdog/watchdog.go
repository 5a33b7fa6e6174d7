// Package watchdog finds loops that are wedged: a loop that began a piece of work and never came back from it.
//
// A loop says when it begins to work (Busy) and when it waits again (Idle). How the work ended does not matter, and to
// wait is no fault, however long: for records, for room, for a hold to end. Only a piece of work that takes longer than
// the bound is. So neither Kafka nor HubSpot can make a loop look wedged, as long as every attempt has a deadline
// shorter than the bound, which is at least 60 s, and twice --hubspot-timeout:
//
//   - fetch: 17 s for a request, with the first offsets that it needs; then, as a piece of work of its own, 6 s for
//     each partition in the answer whose position the log does not have.
//   - commit: a fifth of the session, at most 3 s.
//   - request to HubSpot: --hubspot-timeout, from dialling and the wait for an access token to the answer's last byte.
//     Nothing is repeated within it.
//   - dead letters: 20 s for a write. Each write of a lane is a piece of work of its own.
//
// The sender asks nobody between its waits. What else stands in such a piece of work, such as a line in the log or the
// settlement of a record, waits for nobody.
//
// A loop that panics ends the process in any case. With OnPanic the program says how.
//
// Time is counted in ticks of the Dog's own, not by the clock: a process that was frozen, or a machine that slept, does
// not wake up wedged.
//
// Use: New, Run in a goroutine, and Loop for each loop. A nil Dog watches nothing. A Dog is safe for concurrent use; a
// Loop belongs to its goroutine. The tests run in testing/synctest.
package watchdog

import (
	"context"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

const tick = time.Second

// Dog watches loops.
type Dog struct {
	bound int // ticks

	panicked func(loop string, value any, stack []byte)

	mu    sync.Mutex
	loops map[*Loop]struct{}
}

// New returns a Dog that calls a loop wedged when one piece of its work takes longer than bound.
func New(bound time.Duration) *Dog {
	return &Dog{bound: int((bound + tick - 1) / tick), loops: map[*Loop]struct{}{}}
}

// OnPanic sets what is called when a watched loop panics; it must end the process. Without it Go does, with status 2.
// It must be set before the first Loop.
func (d *Dog) OnPanic(end func(loop string, value any, stack []byte)) { d.panicked = end }

// Loop is one loop that is watched. A nil Loop is watched by nobody.
type Loop struct {
	dog   *Dog
	name  string
	busy  bool
	ticks int // since the work began
}

// Loop begins to watch a loop, which is idle; End ends that.
func (d *Dog) Loop(name string) *Loop {
	if d == nil {
		return nil
	}
	l := &Loop{dog: d, name: name}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.loops[l] = struct{}{}
	return l
}

// Busy says that a piece of work begins.
func (l *Loop) Busy() { l.set(true) }

// Idle says that the work ended, whatever its result, or that the loop waits for something that may take any time.
func (l *Loop) Idle() { l.set(false) }

func (l *Loop) set(busy bool) {
	if l == nil {
		return
	}
	l.dog.mu.Lock()
	defer l.dog.mu.Unlock()
	l.busy, l.ticks = busy, 0
}

// End says that the loop has ended. It is to be deferred, so that it sees a panic.
func (l *Loop) End() {
	if l == nil {
		return
	}
	if l.dog.panicked != nil {
		if value := recover(); value != nil {
			l.dog.panicked(l.name, value, debug.Stack())
		}
	}
	l.dog.mu.Lock()
	defer l.dog.mu.Unlock()
	delete(l.dog.loops, l)
}

// Run counts until ctx ends.
func (d *Dog) Run(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			d.count()
		}
	}
}

func (d *Dog) count() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for l := range d.loops {
		if l.busy {
			l.ticks++
		}
	}
}

// Wedged names the loops that are wedged, in alphabetical order. Loops of one name are named once.
func (d *Dog) Wedged() (names []string) {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for l := range d.loops {
		if l.ticks > d.bound {
			names = append(names, l.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
