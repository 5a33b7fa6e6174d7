package upsert

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/rs/zerolog"
	"github.com/sony/gobreaker/v2"

	"github.com/tasksink/tasksink/internal/hold"
)

func newGate(board *hold.Board, attempt time.Duration, log zerolog.Logger) *gate {
	g := &gate{board: board, changed: make(chan struct{}), holds: map[string]*standing{}, step: len(ramp),
		open: breakerOpen + rand.N(breakerJitter)}
	g.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "hubspot",
		MaxRequests: 1,
		// The ratio needs an interval in which even attempts that time out can add up.
		Interval: 20 * attempt,
		Timeout:  g.open,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= breakerFailures || c.Requests >= 20 && 2*c.TotalFailures >= c.Requests ||
				c.ConsecutiveFailures >= 2 && time.Since(g.failing) >= breakerSilence
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errGivenUp) },
		// This runs under the breaker's lock, taken in Allow and done, which are called with g.mu held: it may
		// neither ask the breaker nor lock.
		OnStateChange: func(_ string, from, to gobreaker.State) {
			g.state = to
			switch to {
			case gobreaker.StateOpen:
				g.reopen, g.wake = time.Now().Add(g.open), true
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
