package upsert

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/internal/hold"
)

const (
	probeSize       = 10                     // inputs of the first probe; each that fails halves the next, down to one
	breakerOpen     = 4 * time.Second        // how long the breaker stays open before a probe, plus the jitter
	breakerJitter   = time.Second            // so that the replicas of one account do not probe in step
	breakerFailures = 5                      // failures in a row that open it
	breakerSilence  = 10 * time.Second       // or two of them, if nothing succeeded for so long
	breakerRequests = 20                     // of the last minute, of which half failed, open it, too
	breakerPatience = 5 * time.Second        // how long failures in a row wait for what is out
	idleProbe       = time.Second            // until the next look, if nothing waits for an answer
	firstHoldProbe  = 500 * time.Millisecond // the first question after a 401
)

// ramp is how many inputs a request may carry after the breaker closed: one request at a time until the last step.
var ramp = []int{25, 50}

// errGivenUp tells the breaker that an attempt says nothing about HubSpot.
var errGivenUp = errors.New("attempt given up")

// gate decides whether a request may leave, as far as HubSpot's health goes. Behind it stand the circuit breaker, which
// waits instead of rejecting, and the holds. While the breaker is not closed, or a hold stops everything, only probes
// leave, one at a time, with other records each time, so that a single poisonous record cannot keep the gate shut for
// the healthy ones. A hold of a smaller scope stops only its records, and has probes of its own.
type gate struct {
	board   *hold.Board
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	open    time.Duration // how long the breaker stays open
	scoped  atomic.Int32  // holds of a smaller scope

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	state   gobreaker.State
	reopen  time.Time // while open: when it lets a probe pass
	since   time.Time // while not closed: when it opened first
	failing time.Time // the first failure since the last success
	sent    time.Time // when the request left that failed last
	left    uint64    // requests that left, ever
	out     []uint64  // those that are out, the oldest first
	minute  minute    // requests that were whole
	row     series    // the failures in a row, once they are enough to open the breaker
	failure string    // what the last failed request met: HTTP_503, NO_ANSWER (none came), UNREADABLE_ANSWER and the like
	holds   map[string]*standing
	alone   bool // a probe of everything, or a request of the ramp, is out
	failed  int  // probes of everything in a row that did not pass
	step    int  // place in the ramp; len(ramp) = full size
	wake    bool // since the last confirmation there was an outage, or a hold of everything
}

// standing is a hold that stands.
type standing struct {
	stops   func(*Task) bool // nil: everything
	limit   int              // the most inputs of a probe
	turns   bool             // a probe is the turn of the oldest batch; else one that does not pass halves the next
	every   time.Duration    // between two probes
	next    time.Time        // when the next probe may leave
	probing bool             // a probe is out
	failed  int              // probes in a row that did not pass
}

// probe is the permit of the next probe, where a request may carry most inputs.
func (st *standing) probe(name string, most int) permit {
	p := permit{limit: min(st.limit, most), probe: true, of: st.stops, hold: name}
	if st.turns {
		p.prefer = batcher.Oldest
	} else {
		p.limit = max(1, p.limit>>min(st.failed, 8))
	}
	return p
}

// permit lets one request pass.
type permit struct {
	limit  int              // the most inputs it may carry
	probe  bool             // it asks a question: it carries records that came back least often, though they rest
	first  bool             // it is the first probe of everything since something passed
	of     func(*Task) bool // the probe's records; nil: any
	prefer batcher.Preference
	hold   string    // the hold that it probes, or that it waited for, if any
	alone  bool      // while it is out no other passes
	number uint64    // of its request, in the order in which they left
	at     time.Time // when it left
	whole  bool      // the request has no suspect, and is no part of a batch that was taken apart
	done   func(error)
}

// Pass waits until a request may leave that is no probe. Each permit must be returned by passed, failedWith or unused.
func (g *gate) Pass(ctx context.Context, size int) (permit, error) {
	hold := ""
	return g.wait(ctx, func(time.Time) (p permit, wait time.Duration, ok bool) {
		for name, st := range g.holds {
			if st.stops == nil {
				hold = name
				return p, 0, false
			}
		}
		if g.alone || g.state != gobreaker.StateClosed {
			return p, 0, false
		}
		p = permit{limit: size, hold: hold}
		if g.step < len(ramp) {
			p.limit, p.alone = min(ramp[g.step], size), true
		}
		return g.allow(p)
	})
}

// Due waits until a probe is due.
func (g *gate) Due(ctx context.Context, size int) (permit, error) {
	return g.wait(ctx, func(now time.Time) (p permit, wait time.Duration, ok bool) {
		if name, at, stands := g.everything(); stands {
			if g.alone {
				return p, 0, false
			}
			if wait = at.Sub(now); wait > 0 {
				return p, wait, false
			}
			return g.allow(permit{limit: max(1, min(probeSize, size)>>min(g.failed, 8)), probe: true, first: g.failed == 0,
				alone: true, hold: name})
		}
		for name, st := range g.holds {
			switch left := st.next.Sub(now); {
			case st.probing:
			case left <= 0:
				st.probing = true
				return g.allow(st.probe(name, size))
			case wait == 0 || left < wait:
				wait = left
			}
		}
		return p, wait, false
	})
}

// everything tells whether something stops all records, and when the next probe may leave. One probe serves all such
// holds.
func (g *gate) everything() (name string, at time.Time, stands bool) {
	if g.state != gobreaker.StateClosed {
		at, stands = g.reopen, true
	}
	for reason, st := range g.holds {
		if st.stops == nil {
			name, stands = reason, true
			if st.next.After(at) {
				at = st.next
			}
		}
	}
	return name, at, stands
}

func (g *gate) allow(p permit) (_ permit, wait time.Duration, ok bool) {
	done, err := g.breaker.Allow()
	if err != nil { // the breaker's own clock is slightly behind ours, or its probe is out
		if st := g.holds[p.hold]; st != nil {
			st.probing = false
		}
		return p, time.Millisecond, false
	}
	p.done, g.alone = done, p.alone || g.alone
	return p, 0, true
}

// leaves notes that the permit's request leaves, and that it is a whole one.
func (g *gate) leaves(p *permit, whole bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left++
	p.number, p.at, p.whole = g.left, time.Now(), whole
	g.out = append(g.out, p.number)
}

// wait tries again whenever something changes.
func (g *gate) wait(ctx context.Context, try func(now time.Time) (permit, time.Duration, bool)) (permit, error) {
	for {
		g.mu.Lock()
		p, wait, ok := try(time.Now())
		changed := g.changed
		g.mu.Unlock()
		if ok {
			return p, nil
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return permit{}, context.Cause(ctx)
		case <-changed:
		case <-due:
		}
	}
}

// outcome is what an answer tells the gate.
type outcome int

const (
	held     outcome = iota // it set or renewed a hold of everything
	silent                  // HubSpot answered, and confirmed nothing
	accepted                // at least one record was confirmed: whatever stopped everything is over
)

// passed returns a permit whose request was answered in a way that says nothing against HubSpot's health. It tells
// whether this was the first confirmation after something had stopped all records.
func (g *gate) passed(p permit, o outcome) (wake bool) {
	g.finish(p, nil, func() {
		if g.state == gobreaker.StateClosed {
			g.board.Clear(holdOutage, hold.All)
		}
		if o == held {
			return
		}
		for name, st := range g.holds {
			if st.stops == nil {
				delete(g.holds, name)
				g.board.Clear(name, hold.All)
			}
		}
		if o == accepted {
			wake, g.wake, g.failed = g.wake, false, 0
			if p.alone && !p.probe && g.state == gobreaker.StateClosed {
				g.step = min(g.step+1, len(ramp))
			}
		} else if p.probe && p.of == nil {
			g.failed++
		}
	})
	return wake
}

// failedWith returns a permit whose request failed as an outage does; a says what it met. A request of suspects only
// says nothing about HubSpot: suspected is then since when they are, else zero. If they are all that is left to probe
// with, and failed before the outage began, the breaker closes: the next healthy record tells more.
func (g *gate) failedWith(p permit, a judgement, suspected time.Time) {
	err := errors.New(a.What)
	if !suspected.IsZero() {
		switch breaker, outage := g.status(); {
		case outage == nil:
			err = errGivenUp
		case breaker == gobreaker.StateHalfOpen.String() && suspected.Before(outage.Since):
			err = nil
		}
	}
	g.finish(p, err, func() {
		g.failure = a.Reason.Code
		if p.probe && p.of == nil {
			g.failed++
		}
		if g.state == gobreaker.StateClosed {
			g.board.Clear(holdOutage, hold.All)
		} else {
			g.board.Set(holdOutage, hold.All, "HubSpot fails: "+a.What, outageRemedy(a))
		}
	})
}

// unused returns a permit with which nothing was learnt. idle says that nothing waits that it could have carried.
func (g *gate) unused(p permit, idle bool) {
	g.finish(p, errGivenUp, func() {
		if !idle || !p.probe || p.of != nil {
			return
		}
		for _, st := range g.holds {
			if st.stops == nil {
				st.next = time.Now().Add(min(st.every, idleProbe))
			}
		}
		g.reopen = time.Now().Add(idleProbe)
	})
}

// finish tells the breaker, then changes what the gate itself knows.
func (g *gate) finish(p permit, err error, change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out = slices.DeleteFunc(g.out, func(number uint64) bool { return number == p.number })
	if p.whole && err == nil {
		g.minute.add(time.Now(), 0)
	} else if p.whole && !errors.Is(err, errGivenUp) {
		g.minute.add(time.Now(), 1)
	}
	switch {
	case err == nil:
		g.failing, g.row = time.Time{}, series{}
	case !errors.Is(err, errGivenUp) && g.failing.IsZero():
		g.failing = time.Now()
	}
	if err != nil {
		g.sent = p.at
	}
	p.done(err)
	if p.alone {
		g.alone = false
	}
	if st := g.holds[p.hold]; p.probe && st != nil {
		st.probing, st.next = false, time.Now().Add(st.every)
		st.failed++
	}
	change()
	g.stir()
}

// Hold stops the records that stops likes, or all if it is nil, or renews a hold that stands: the next probe, of at
// most limit inputs, leaves after first. It tells whether the hold is new.
func (g *gate) Hold(name string, st standing, first time.Duration) (began bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old, stood := g.holds[name]
	if stood {
		st.next, st.probing, st.failed = time.Now().Add(st.every), old.probing, old.failed
	} else {
		st.next = time.Now().Add(first)
	}
	switch {
	case stood:
	case st.stops != nil:
		g.scoped.Add(1)
	default:
		g.wake = true
	}
	g.holds[name] = &st
	g.stir()
	return !stood
}

// End ends a hold. It tells whether it stood, and how many probes did not pass.
func (g *gate) End(name string) (failed int, stood bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	st := g.holds[name]
	if st == nil {
		return 0, false
	}
	delete(g.holds, name)
	if st.stops != nil {
		g.scoped.Add(-1)
	}
	g.stir()
	return st.failed, true
}

// Stops returns what a hold of a smaller scope stops; nil if it does not stand.
func (g *gate) Stops(name string) func(*Task) bool {
	if g.scoped.Load() == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if st := g.holds[name]; st != nil {
		return st.stops
	}
	return nil
}

// Held tells whether a hold of a smaller scope stops the record.
func (g *gate) Held(t *Task) bool {
	if g.scoped.Load() == 0 {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, st := range g.holds {
		if st.stops != nil && st.stops(t) {
			return true
		}
	}
	return false
}

func (g *gate) stir() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// healthy tells whether the breaker is closed: only then does a failure speak against the records that met it.
func (g *gate) healthy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state == gobreaker.StateClosed
}

// Outage is how HubSpot fails while the breaker is not closed.
type Outage struct {
	Since   time.Time `json:"since"`         // when the breaker opened
	Failure string    `json:"failure"`       // what the last request met: HTTP_503, NO_ANSWER (none came), UNREADABLE_ANSWER and the like
	Every   float64   `json:"every_seconds"` // between two questions whether it is over
}

// status is the breaker's state as of its last change, and nil while it is closed.
func (g *gate) status() (breaker string, outage *Outage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != gobreaker.StateClosed {
		outage = &Outage{Since: g.since, Failure: g.failure, Every: g.open.Seconds()}
	}
	return fmt.Sprint(g.state), outage
}
