package upsert

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/rs/zerolog"
	"github.com/sony/gobreaker/v2"

	"github.com/tasksink/tasksink/internal/hold"
)

func newGate(board *hold.Board, log zerolog.Logger) *gate {
	g := &gate{board: board, changed: make(chan struct{}), holds: map[string]*standing{}, step: len(ramp),
		open: breakerOpen + rand.N(breakerJitter)}
	g.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "hubspot",
		MaxRequests: 1,
		Timeout:     g.open,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			n, share := g.minute.share(time.Now(), nil)
			return c.ConsecutiveFailures >= breakerFailures && g.rowEnds() || n >= breakerRequests && share >= 0.5 ||
				c.ConsecutiveFailures >= 2 && time.Since(g.failing) >= breakerSilence
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errGivenUp) },
		// This runs under the breaker's lock, taken in Allow and done, which are called with g.mu held: it may
		// neither ask the breaker nor lock.
		OnStateChange: func(_ string, from, to gobreaker.State) {
			g.state = to
			switch to {
			case gobreaker.StateOpen:
				g.reopen, g.wake, g.minute, g.row = time.Now().Add(g.open), true, minute{}, series{}
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

// series are failures in a row that are enough to open the breaker.
type series struct {
	since time.Time // when the last of them left; zero: they are not enough
	last  uint64    // the request that had left last then
}

// rowEnds tells whether the failures in a row, which are enough, are all that there is. A record that fails at once
// takes one part of its batch after the other with it, while their neighbours take longer: what is out is waited for,
// unless the failures took as long.
func (g *gate) rowEnds() bool {
	if g.row.since.IsZero() {
		g.row = series{g.sent, g.left}
	}
	return len(g.out) == 0 || g.out[0] > g.row.last || time.Since(g.row.since) >= breakerPatience
}

var breakerMeans = map[gobreaker.State]string{
	gobreaker.StateOpen:     "HubSpot fails; records wait, nothing is dead-lettered",
	gobreaker.StateHalfOpen: "asking HubSpot with a small batch",
	gobreaker.StateClosed:   "HubSpot answers; batches grow again",
}
