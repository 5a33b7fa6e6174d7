package upsert

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/sony/gobreaker/v2"

	"github.com/tasksink/tasksink/internal/hold"
)

const (
	probeSize       = 10                     // inputs of the first probe; each that fails halves the next, down to one
	breakerOpen     = 4 * time.Second        // how long the breaker stays open before a probe, plus the jitter
	breakerJitter   = time.Second            // so that the replicas of one account do not probe in step
	breakerFailures = 5                      // failures in a row that open it
	firstHoldProbe  = 500 * time.Millisecond // the first question after a 401 or 403
)

// ramp is how many inputs a request may carry after the breaker closed: one request at a time until the last step.
var ramp = []int{25, 50}

// errGivenUp tells the breaker that an attempt says nothing about HubSpot.
var errGivenUp = errors.New("attempt given up")

// gate decides whether a request may leave, as far as HubSpot's health goes. Behind it stand the circuit breaker,
// which waits instead of rejecting, and the holds: conditions that are the same for every record. While either is
// in doubt one probe at a time passes, with other records each time, so that a single poisonous record cannot keep
// the gate shut for the healthy ones.
type gate struct {
	board   *hold.Board
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	open    time.Duration // how long the breaker stays open

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	state   gobreaker.State
	reopen  time.Time            // while open: when it lets a probe pass
	since   time.Time            // while not closed: when it opened first
	failure string               // what the last failed request met
	holds   map[string]time.Time // the instant of each one's next probe
	probing bool                 // a probe, or a request of the ramp, is out
	failed  int                  // probes in a row that did not pass
	step    int                  // place in the ramp; len(ramp) = full size
}

// permit lets one request pass.
type permit struct {
	limit  int    // the most inputs it may carry
	varied bool   // it is a probe: it should carry records that came back least often
	probe  bool   // it leaves alone: while it is out no other passes
	hold   string // the hold that it waited for, if any
	done   func(error)
}

func newGate(board *hold.Board, attempt time.Duration, log zerolog.Logger) *gate {
	g := &gate{board: board, changed: make(chan struct{}), holds: map[string]time.Time{}, step: len(ramp),
		open: breakerOpen + rand.N(breakerJitter)}
	g.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "hubspot",
		MaxRequests: 1,
		// The ratio needs an interval in which even attempts that time out can add up.
		Interval: 20 * attempt,
		Timeout:  g.open,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= breakerFailures || c.Requests >= 20 && 2*c.TotalFailures >= c.Requests
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errGivenUp) },
		// This runs under the breaker's lock, taken in Allow and done, which are called with g.mu held: it may
		// neither ask the breaker nor lock.
		OnStateChange: func(_ string, from, to gobreaker.State) {
			g.state = to
			switch to {
			case gobreaker.StateOpen:
				g.reopen = time.Now().Add(g.open)
				if from == gobreaker.StateClosed {
					g.since = time.Now()
				}
			case gobreaker.StateClosed:
				g.step, g.failed = 0, 0
			}
			log.Warn().Stringer("from", from).Stringer("to", to).Msg("circuit breaker: " + breakerMeans[to])
		},
	})
	return g
}

var breakerMeans = map[gobreaker.State]string{
	gobreaker.StateOpen:     "HubSpot fails; records wait, nothing is dead-lettered",
	gobreaker.StateHalfOpen: "asking HubSpot with a small batch",
	gobreaker.StateClosed:   "HubSpot answers; batches grow again",
}

// Pass waits until a request may leave. Each permit must be returned by passed, failedWith or unused.
func (g *gate) Pass(ctx context.Context, size int) (permit, error) {
	hold := ""
	for {
		g.mu.Lock()
		p, wait, ok := g.try(size)
		for reason := range g.holds {
			hold = reason
		}
		changed := g.changed
		g.mu.Unlock()
		if ok {
			p.hold = hold
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

// try gives a permit, or says how long to wait at the most; 0 means until something changes.
func (g *gate) try(size int) (p permit, wait time.Duration, ok bool) {
	now := time.Now()
	if g.probing {
		return p, 0, false
	}
	if g.state == gobreaker.StateOpen && now.Before(g.reopen) {
		return p, g.reopen.Sub(now), false
	}
	for _, next := range g.holds { // one probe serves them all
		wait = max(wait, next.Sub(now))
	}
	if wait > 0 {
		return p, wait, false
	}
	done, err := g.breaker.Allow()
	switch {
	case errors.Is(err, gobreaker.ErrOpenState):
		return p, time.Millisecond, false // the breaker's own clock is a trifle behind ours
	case err != nil:
		return p, 0, false
	}
	p = permit{limit: size, done: done}
	switch {
	case g.state == gobreaker.StateHalfOpen, len(g.holds) > 0:
		p.limit, p.varied, p.probe = max(1, min(probeSize, size)>>min(g.failed, 8)), true, true
		if _, flood := g.holds[holdFlood]; flood {
			p.limit = 1
		}
	case g.step < len(ramp):
		p.limit, p.probe = min(ramp[g.step], size), true
	}
	g.probing = p.probe
	return p, 0, true
}

// outcome is what an answer tells the gate.
type outcome int

const (
	held     outcome = iota // it set or renewed a hold
	answered                // HubSpot judged the records, and accepted none
	accepted                // at least one record was confirmed: whatever held the flow is over
)

// passed returns a permit whose request was answered in a way that says nothing against HubSpot's health.
func (g *gate) passed(p permit, o outcome) {
	g.finish(p, nil, func() {
		switch {
		case o == accepted:
			g.failed = 0
			if p.probe && !p.varied && g.state == gobreaker.StateClosed {
				g.step = min(g.step+1, len(ramp))
			}
		case p.varied:
			g.failed++
		}
		for reason := range g.holds {
			if o == accepted || o == answered && !slices.Contains(byRecords, reason) {
				delete(g.holds, reason)
				g.board.Clear(reason, hold.All)
			}
		}
	})
}

// failedWith returns a permit whose request failed as an outage does; met is a code for what it met.
func (g *gate) failedWith(p permit, err error, met string) {
	g.finish(p, err, func() {
		g.failure = met
		if p.varied {
			g.failed++
		}
	})
}

// unused returns a permit with which nothing was learnt.
func (g *gate) unused(p permit) { g.finish(p, errGivenUp, func() {}) }

// finish tells the breaker, then changes what the gate itself knows.
func (g *gate) finish(p permit, err error, change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.done(err)
	if p.probe {
		g.probing = false
	}
	change()
	g.stir()
}

// Hold stops the flow for reason, or renews a hold that stands: the next probe leaves after every.
func (g *gate) Hold(reason, detail, remedy string, every time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	wait := every
	if _, stood := g.holds[reason]; !stood && (reason == holdAuth || reason == holdScope) {
		wait = min(firstHoldProbe, every) // a stale token or a flaky answer ends here
	}
	g.holds[reason] = time.Now().Add(wait)
	g.board.Set(reason, hold.All, detail, remedy)
	g.stir()
}

func (g *gate) stir() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// BreakerState is the breaker's state as of its last change: closed, open or half-open.
func (g *gate) BreakerState() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Sprint(g.state)
}

// Outage is how HubSpot fails while the breaker is not closed.
type Outage struct {
	Since   time.Time `json:"since"`         // when the breaker opened
	Failure string    `json:"failure"`       // what the last request met: HTTP_503, NO_ANSWER (none came), UNREADABLE_ANSWER and the like
	Every   float64   `json:"every_seconds"` // between two questions whether it is over
}

// outage is nil while the breaker is closed.
func (g *gate) outage() *Outage {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == gobreaker.StateClosed {
		return nil
	}
	return &Outage{Since: g.since, Failure: g.failure, Every: g.open.Seconds()}
}

// healthy tells whether the breaker is closed: only then does a failure speak against the records that met it.
func (g *gate) healthy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state == gobreaker.StateClosed
}
