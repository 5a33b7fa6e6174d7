package upsert

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	firstLimit = 100              // requests per window until HubSpot says more: its lowest tier
	firstSpan  = 10 * time.Second // the window until HubSpot says otherwise
	// paceMargin is added to the window. HubSpot counts a request when it arrives, we when it leaves: two that leave
	// a window apart arrive closer together if the first one was slower on its way.
	paceMargin  = 50 * time.Millisecond
	spareLasts  = time.Second // what an answer said of the account is stale after this
	leastFactor = 0.1         // of the limit, after many 429s
)

// PaceConfig says how many requests may leave.
type PaceConfig struct {
	Rate int  // the account's requests per window; 0 = unlimited
	Auto bool // follow HubSpot's X-HubSpot-RateLimit-Max; Rate counts until it is known, or 100
}

// Pace keeps the account's rate limit. In any sliding window at most limit × own partitions / all partitions requests
// leave: the shares of the replicas add up to the limit, without a service between them. A share that grew counts
// only when a window has passed, because whoever had it may just have used it. Beyond the share a request may leave
// as far as HubSpot's own count allows: at most Remaining × share for each answer, less the requests that count may not
// hold yet.
//
// Wait has one caller at a time; the rest is safe for concurrent use.
type Pace struct {
	wake chan struct{} // one place: an answer came, or the share changed

	mu        sync.Mutex
	auto      bool
	unlimited bool
	limit     float64
	span      time.Duration
	factor    float64 // 0.1 to 1: halved by a 429, grown back by a tenth with each window without one
	adjusted  time.Time
	paused    time.Time // nothing leaves before

	stamps []time.Time // of the requests that left within the window, oldest first
	last   time.Time   // when the last one left
	held   int         // tickets out that did not leave yet
	flying int         // requests that left and were not answered
	left   uint64      // requests that left, ever
	heard  count       // HubSpot's own, from the last answer
	shares []grant     // shares of the last window, oldest first; the last one is the present
	waited time.Duration
	began  time.Time // since when Wait waits; zero if it does not
}

type grant struct {
	at    time.Time
	share float64
}

// count is what an answer told of the account.
type count struct {
	at        time.Time
	left      uint64 // requests that had left when it came
	remaining int    // places in the window, as HubSpot counted when the request arrived
	spare     int    // our part of them
	passed    int    // the least of remaining in answers that came since, and may be older
}

// Ticket lets one request leave. Its holder calls Leave when it is on its way, and Done when it is over.
type Ticket struct {
	pace *Pace

	// Guarded by the pace's lock.
	number uint64 // which of all requests it is; 0 until it left
	done   bool
}

// NewPace returns a Pace. It knows nothing of what other processes did before, so one window passes before its whole
// share is in force, unless HubSpot's first answer tells that more is left.
func NewPace(cfg PaceConfig) *Pace {
	p := &Pace{wake: make(chan struct{}, 1), auto: cfg.Auto, unlimited: cfg.Rate == 0 && !cfg.Auto,
		limit: float64(cfg.Rate), span: firstSpan, factor: 1, heard: count{passed: math.MaxInt}}
	if cfg.Auto && cfg.Rate == 0 {
		p.limit = firstLimit
	}
	return p
}

// Share says that this process has own partitions of total from now on. It has none before the first call.
func (p *Pace) Share(own, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	share := 0.0
	if total > 0 {
		share = float64(own) / float64(total)
	}
	if p.share() != share {
		p.shares = append(p.shares, grant{time.Now(), share})
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
		wait, ok := p.take()
		if ok {
			return &Ticket{pace: p}, nil
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
func (p *Pace) take() (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if wait = p.until(now); wait > 0 {
		if p.began.IsZero() {
			p.began = now
		}
		return wait, false
	}
	if !p.began.IsZero() {
		p.waited += now.Sub(p.began)
		p.began = time.Time{}
	}
	p.held++
	return 0, true
}

// until says how long a request must wait, as far as is known now; 0 if it may leave.
func (p *Pace) until(now time.Time) time.Duration {
	switch {
	case p.unlimited:
		return 0
	case p.share() == 0:
		return time.Hour // Share wakes
	case now.Before(p.paused):
		return p.paused.Sub(now)
	}
	p.forget(now)
	used, allowed := len(p.stamps)+p.held, p.allowed(now)
	switch {
	case allowed >= 1 && used < int(allowed+1e-9): // 10 × 0.8 is less than 8 in floating point
		return 0
	case allowed > 0 && allowed < 1 && p.held == 0 && !now.Before(p.rested(allowed)):
		return 0
	case allowed == 0 && used == 0 && p.flying == 0:
		return 0 // the share is not in force yet: one may ask how much is left
	case p.spare(now) > 0:
		return 0
	}
	wait := p.window()
	if len(p.stamps) > 0 {
		wait = min(wait, p.stamps[0].Add(p.window()).Sub(now))
	}
	for _, g := range p.shares { // a share that grew comes into force
		if left := g.at.Add(p.window()).Sub(now); left > 0 {
			wait = min(wait, left)
			break
		}
	}
	if allowed > 0 && allowed < 1 {
		wait = min(wait, p.rested(allowed).Sub(now))
	}
	return max(wait, time.Millisecond)
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

// spare is how many requests may leave beyond the share, by what HubSpot last said. When that was a while ago, one
// may ask.
func (p *Pace) spare(now time.Time) int {
	n := p.heard.spare - p.flying - p.held
	if now.Sub(p.heard.at) >= spareLasts {
		return min(n, 1-p.flying-p.held)
	}
	return n
}

// rested is when an allowance of less than one request a window allows the next. Over time such allowances add up to
// the limit too; within one window several of them may meet.
func (p *Pace) rested(allowed float64) time.Time {
	return p.last.Add(time.Duration(float64(p.window()) / allowed))
}

func (p *Pace) window() time.Duration { return p.span + paceMargin }

// forget drops the stamps that have left the window.
func (p *Pace) forget(now time.Time) {
	n := 0
	for n < len(p.stamps) && now.Sub(p.stamps[n]) >= p.window() {
		n++
	}
	p.stamps = p.stamps[n:]
}

// Leave says that the request is on its way. It may be called late or twice: net/http tells of a request that it has
// written from a goroutine of its own.
func (t *Ticket) Leave() {
	t.pace.mu.Lock()
	defer t.pace.mu.Unlock()
	t.leave()
}

func (t *Ticket) leave() {
	if t.number > 0 || t.done {
		return
	}
	p := t.pace
	p.left++
	t.number = p.left
	p.held--
	p.flying++
	if !p.unlimited {
		p.last = time.Now()
		p.stamps = append(p.stamps, p.last)
	}
}

// Return gives back the ticket of a request that did not leave, and that of one which got no answer.
func (t *Ticket) Return() {
	t.pace.mu.Lock()
	defer t.pace.mu.Unlock()
	t.end()
}

func (t *Ticket) end() {
	switch {
	case t.done:
	case t.number > 0:
		t.pace.flying--
	default:
		t.pace.held--
	}
	t.done = true
	t.pace.stir()
}

// Answered learns from the answer to the request. limited says that it was a 429 of the window, after which nothing
// leaves for retryAfter, or for a window where HubSpot did not say, as it usually does not.
func (t *Ticket) Answered(header http.Header, limited bool, retryAfter time.Duration) {
	p := t.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	t.leave() // an answer can be faster than the news that the request was written
	now := time.Now()
	if span := number(header, "X-Hubspot-Ratelimit-Interval-Milliseconds"); span > 0 {
		p.span = time.Duration(min(span, 3_600_000)) * time.Millisecond
	}
	if limit := number(header, "X-Hubspot-Ratelimit-Max"); limit > 0 && (p.auto || float64(limit) < p.limit) && !p.unlimited {
		p.limit = float64(limit)
	}
	remaining := number(header, "X-Hubspot-Ratelimit-Remaining")
	switch {
	case limited:
		if now.Sub(p.adjusted) >= p.span { // once a window: the requests that were out fail together
			p.factor, p.adjusted = max(leastFactor, p.factor/2), now
		}
		if retryAfter == 0 {
			retryAfter = p.window()
		}
		p.paused, p.heard = now.Add(retryAfter), count{passed: math.MaxInt}
	case remaining >= 0:
		if !p.auto { // the rest of the account is for others
			remaining = max(0, remaining-max(0, number(header, "X-Hubspot-Ratelimit-Max")-int(p.limit)))
		}
		// Requests that are out together are counted in any order: the least number is the latest, and holds all that
		// were answered. What left after the last word came was surely counted after it.
		switch newer := t.number > p.heard.left; {
		case newer:
			p.hear(now, min(remaining, p.heard.passed))
		case remaining < p.heard.remaining:
			p.hear(now, remaining)
		default:
			p.heard.passed = min(p.heard.passed, remaining)
		}
	}
	t.end()
}

func (p *Pace) hear(now time.Time, remaining int) {
	p.heard = count{at: now, left: p.left, remaining: remaining, spare: int(float64(remaining) * p.share()), passed: math.MaxInt}
}

func (p *Pace) stir() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func number(h http.Header, name string) int {
	n, err := strconv.Atoi(h.Get(name))
	if err != nil {
		return -1
	}
	return n
}

// PaceStatus is what a Pace shows of itself.
type PaceStatus struct {
	Unlimited bool    `json:"unlimited"`
	Limit     float64 `json:"limit"`          // the account's requests per window, lowered for a while by a 429
	Window    float64 `json:"window_seconds"` // as HubSpot says
	Share     float64 `json:"share"`          // of the limit, that is ours
	InWindow  int     `json:"in_window"`      // requests that left within the last window
	Waited    float64 `json:"waited_seconds"` // in all, for the limit
}

// Status tells where the Pace stands.
func (p *Pace) Status() PaceStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(time.Now())
	return PaceStatus{Unlimited: p.unlimited, Limit: p.limit * p.factor, Window: p.span.Seconds(), Share: p.share(),
		InWindow: len(p.stamps), Waited: p.waited.Seconds()}
}
