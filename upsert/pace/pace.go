// Package pace decides when the next request to HubSpot may leave.
//
// # Promises
//
// In any sliding window at most limit × own partitions / all partitions requests leave. The shares of all replicas
// add up to the limit, so the replicas keep it together without a service between them. Beyond its share a replica
// takes only what HubSpot's own count shows to be unused. After a 429 nothing leaves for a window, then half of the
// share. The account's calls of a day last until the day ends: if the forecast exceeds them, batches wait longer
// (BatchWait), and if that is not enough, the calls are spread over the rest of the day.
//
// # Use
//
// New, then Share after each rebalance, with the Notes of the other members. Before each request Wait returns a
// Ticket; the request's answer goes back to it. The package starts no goroutine. It knows neither Kafka nor tasks:
// partitions and notes are numbers and bytes, and an answer is its headers.
//
// # Tests
//
// The tests run many replicas against a simulated account in a testing/synctest bubble, and compare the exact
// instants at which requests leave. Property tests move the partitions at random and check that the limit holds.
package pace

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/internal/hold"
)

const (
	firstLimit    = 100              // requests per window until HubSpot says more: its lowest tier
	firstInterval = 10 * time.Second // the window until HubSpot says otherwise
	// margin is added to the window. HubSpot counts a request when it arrives, we when it leaves: two that leave
	// a window apart arrive closer together if the first one was slower on its way.
	margin      = 50 * time.Millisecond
	leastFactor = 0.1                     // of the limit, after many 429s
	turnsTake   = 1500 * time.Millisecond // after a rebalance, until all replicas have had their turn to ask
	// Half of the share may leave at once. What leaves beyond it is spread, a little faster than the limit on average
	// so that timers that are late cost nothing. So the window's places come free evenly, and a replica that joins, or
	// wakes, finds some.
	spreadHaste = 1.05
)

// Config says how many requests may leave.
type Config struct {
	Rate  int  // the account's requests per window; 0 = unlimited
	Auto  bool // follow HubSpot's X-HubSpot-RateLimit-Max; Rate counts until it is known, or 100
	Day   DayConfig
	Board *hold.Board // told when the day's calls are used up, and of long pauses; may be nil
	Log   zerolog.Logger
}

// Pace keeps the account's rate limit. In any sliding window at most limit × own partitions / all partitions requests
// leave: the shares of the replicas add up to the limit, without a service between them. When the group rebalances,
// its members tell each other what they have in the window: see peers. A share that grew where that is not known
// counts only when a window has passed, because whoever had it may just have used it. Beyond the share a request may
// leave as far as HubSpot's own count allows: see others. It keeps the daily quota, too: see day.
//
// Wait has one caller at a time; the rest is safe for concurrent use.
type Pace struct {
	wake chan struct{} // one place: an answer came, or the share changed

	board *hold.Board
	log   zerolog.Logger

	mu        sync.Mutex
	told      map[string]time.Time // when the log had a header that cannot be right
	auto      bool
	unlimited bool
	limit     float64
	interval  time.Duration
	factor    float64 // 0.1 to 1: halved by a 429, grown back by a tenth with each window without one
	adjusted  time.Time
	paused    time.Time     // nothing leaves before
	turn      time.Time     // after a rebalance nothing leaves before
	place     time.Duration // of this replica among those that ask again at the same time

	stamps []time.Time // of the requests that left within the window, oldest first
	last   time.Time   // when the last one left
	held   int         // tickets out that did not leave yet
	flying int         // requests that left and were not answered
	shares []grant     // shares of the last window, oldest first; the last one is the present
	peers  peers
	others others
	day    day
	waited time.Duration
	began  time.Time // since when Wait waits; zero if it does not
}

type grant struct {
	at    time.Time
	share float64
}

// New returns a Pace. It knows nothing of what other processes did before, so one window passes before its whole
// share is in force, unless HubSpot's first answer tells that more is left.
func New(cfg Config) *Pace {
	p := &Pace{wake: make(chan struct{}, 1), board: cfg.Board, log: cfg.Log, told: map[string]time.Time{},
		auto: cfg.Auto, unlimited: cfg.Rate == 0 && !cfg.Auto,
		limit: float64(cfg.Rate), interval: firstInterval, factor: 1, day: newDay(cfg.Day, cfg.Board)}
	if cfg.Auto && cfg.Rate == 0 {
		p.limit = firstLimit
	}
	return p
}

// Share says that this process has own partitions of total from now on, which is the first of them, and what the
// other members of its group have noted. It has none before the first call.
func (p *Pace) Share(own, total, first int, notes [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, share := time.Now(), 0.0
	if total > 0 {
		share = float64(own) / float64(total)
	}
	p.learn(now, notes)
	if p.share() != share {
		p.shares = append(p.shares, grant{now, share})
		// Others come or go: ask before anything else. Where the window is not known wholly, each has its turn by its
		// first partition; meanwhile places come free.
		p.others = others{max: p.others.max, part: share}
		p.place = 0
		if own < total {
			p.place = turnsTake * time.Duration(first) / time.Duration(total)
		}
		if p.peers.unknownUntil.After(now) {
			p.turn = now.Add(p.place)
		}
	}
	p.stir()
}

// share is the part of the limit that is ours now.
func (p *Pace) share() float64 {
	if len(p.shares) == 0 {
		return 0
	}
	return p.shares[len(p.shares)-1].share
}

// Wait waits until a request may leave.
func (p *Pace) Wait(ctx context.Context) (*Ticket, error) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		ticket, wait := p.take()
		if ticket != nil {
			return ticket, nil
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-timer.C:
		case <-p.wake:
		}
	}
}

// take gives a ticket, or says how long to wait before looking again.
func (p *Pace) take() (*Ticket, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.resume(now)
	wait, beyond := p.until(now)
	if wait <= 0 {
		wait = p.untilDay(now)
	}
	if wait > 0 {
		if p.began.IsZero() {
			p.began = now
		}
		return nil, wait
	}
	if !p.began.IsZero() {
		p.waited += now.Sub(p.began)
		p.began = time.Time{}
	}
	p.held++
	return &Ticket{pace: p, beyond: beyond}, 0
}

// until says how long a request must wait for its place in the window, as far as is known now; 0 if it may leave, and
// whether it would leave beyond the share.
func (p *Pace) until(now time.Time) (wait time.Duration, beyond bool) {
	switch {
	case now.Before(p.paused): // a 429 counts whatever the operator configured
		return p.paused.Sub(now), false
	case p.unlimited:
		return 0, false
	case p.share() == 0:
		return time.Hour, false // Share wakes
	case now.Before(p.turn):
		return p.turn.Sub(now), false
	}
	p.forget(now)
	used, allowed := len(p.stamps)+p.held, p.allowed(now)
	if wait := p.spread(now, used); wait > 0 {
		return wait, false
	}
	own, peers := p.before(now)
	pool := p.limit*p.factor - float64(own+peers) // divided like the partitions
	within := float64(used-own+1) <= pool*p.share()+1e-9
	clear := now.After(p.peers.unknownUntil)
	inForce := within && (clear || used < int(allowed+1e-9)) || // 10 × 0.8 is less than 8 in floating point
		allowed > 0 && allowed < 1 && own+peers == 0 && p.held == 0 && !now.Before(p.rested(allowed))
	alone, told := p.flying+p.held == 0, p.others.max > 0
	// The others keep to their shares: ours is ours.
	fair := inForce && clear && float64(p.others.used-peers) <= pool*(1-p.share()) &&
		float64(p.others.used+used+1) <= p.limit
	switch {
	case inForce && !told:
		return 0, false
	case told && p.free(now, used, own, inForce, within, alone, fair):
		return 0, !inForce
	case allowed == 0 && alone && !told && used == 0 && (within || own+peers == 0):
		return 0, true // the share is not in force yet: one may ask how much is left
	}
	wait = p.window()
	if len(p.stamps) > 0 {
		wait = min(wait, p.stamps[0].Add(p.window()).Sub(now))
	}
	for _, g := range p.shares { // a share that grew comes into force
		if left := g.at.Add(p.window()).Sub(now); left > 0 {
			wait = min(wait, left)
			break
		}
	}
	if peers > 0 {
		wait = min(wait, p.peers.sent[0].Add(p.window()).Sub(now))
	}
	if allowed > 0 && allowed < 1 {
		wait = min(wait, p.rested(allowed).Sub(now))
	}
	if alone && !p.others.stale(now) {
		wait = min(wait, p.others.at.Add(wordLasts).Sub(now))
	}
	return max(wait, time.Millisecond), false
}

// spread says how long a request beyond half of the share must wait, so that not all places are taken at once.
func (p *Pace) spread(now time.Time, used int) time.Duration {
	if float64(used) < p.limit*p.share()/2 {
		return 0
	}
	perSecond := p.limit * p.factor * max(p.share(), p.others.part) / p.interval.Seconds() * spreadHaste
	few := max(1, int(perSecond/5)) // together, as a timer is no exact instrument
	n := len(p.stamps) + p.held - few
	switch {
	case n < 0:
		return 0
	case n >= len(p.stamps):
		return 10 * time.Millisecond // a ticket that is out will leave, or come back
	}
	return max(0, p.stamps[n].Add(time.Duration(float64(few)/perSecond*float64(time.Second))).Sub(now))
}

// allowed is how many requests may leave in a window: by the least share that we had during the last window.
func (p *Pace) allowed(now time.Time) float64 {
	// An entry counts until the next one is a window old.
	for len(p.shares) > 1 && now.Sub(p.shares[1].at) >= p.window() {
		p.shares = p.shares[1:]
	}
	least := math.Inf(1)
	if now.Sub(p.shares[0].at) < p.window() {
		least = 0 // of what was before we know nothing
	}
	for _, g := range p.shares {
		least = min(least, g.share)
	}
	if now.Sub(p.adjusted) >= p.window() && p.factor < 1 {
		p.factor, p.adjusted = min(1, p.factor+0.1), now
	}
	return p.limit * p.factor * least
}

// rested is when an allowance of less than one request a window allows the next. Over time such allowances add up to
// the limit too; within one window several of them may meet.
func (p *Pace) rested(allowed float64) time.Time {
	return p.last.Add(time.Duration(float64(p.window()) / allowed))
}

func (p *Pace) window() time.Duration { return p.interval + margin }

// forget drops the stamps that have left the window.
func (p *Pace) forget(now time.Time) {
	n := 0
	for n < len(p.stamps) && now.Sub(p.stamps[n]) >= p.window() {
		n++
	}
	p.stamps = p.stamps[n:]
}

func (p *Pace) stir() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Status is what a Pace shows of itself.
type Status struct {
	Unlimited bool    `json:"unlimited"`
	Limit     float64 `json:"limit"`          // the account's requests per window, lowered for a while by a 429
	Window    float64 `json:"window_seconds"` // as HubSpot says
	Share     float64 `json:"share"`          // of the limit, that is ours
	InWindow  int     `json:"in_window"`      // requests that left within the last window
	Others    int     `json:"others"`         // requests of others in the account's window, as of HubSpot's last word
	Waited    float64 `json:"waited_seconds"` // in all, for the limit
}

// Status tells where the Pace stands.
func (p *Pace) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.resume(now)
	p.forget(now)
	return Status{Unlimited: p.unlimited, Limit: p.limit * p.factor, Window: p.interval.Seconds(), Share: p.share(),
		InWindow: len(p.stamps), Others: p.others.used, Waited: p.waited.Seconds()}
}
