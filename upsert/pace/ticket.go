package pace

import (
	"net/http"
	"time"

	"github.com/tasksink/tasksink/internal/hold"
)

// Ticket lets one request leave. Its holder calls Leave when the request is on its way. It ends the ticket once: with
// Answered if HubSpot answered, else with Return.
type Ticket struct {
	pace   *Pace
	beyond bool // it left beyond the share in force: a 429 says nothing against the share

	// The Pace's mutex protects what follows.
	at      time.Time // when it left; zero until then
	counted int       // own requests of the window then, itself included
	done    bool
}

// Leave says that the request is on its way. It may be called late or twice: net/http tells of a request that it has
// written from a goroutine of its own.
func (t *Ticket) Leave() {
	t.pace.mu.Lock()
	defer t.pace.mu.Unlock()
	t.leave()
}

func (t *Ticket) leave() {
	if !t.at.IsZero() || t.done {
		return
	}
	p := t.pace
	t.at = time.Now()
	p.last = t.at
	p.held--
	p.flying++
	p.day.left()
	if !p.unlimited {
		p.forget(t.at)
		p.stamps = append(p.stamps, t.at)
		t.counted = len(p.stamps)
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
	case !t.at.IsZero():
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
	said := p.read(header, now)
	if said.interval > 0 {
		p.interval = said.interval
	}
	if said.limit > 0 && (p.auto || float64(said.limit) < p.limit) && !p.unlimited {
		p.limit = float64(said.limit)
	}
	p.hearDay(t, said.daily, said.dailyRemaining, now)
	switch {
	case limited:
		if !t.beyond && now.Sub(p.adjusted) >= p.interval { // once a window: the requests that were out fail together
			p.factor, p.adjusted = max(leastFactor, p.factor/2), now
		}
		if retryAfter == 0 {
			retryAfter = p.window() + p.place // those that were refused together do not come back together
		}
		p.pause(now, now.Add(retryAfter))
		if said.limit > 0 { // all is taken, as far as we know when the pause is over: ask first
			p.hear(t, said.limit, 0, now)
			p.others.at = time.Time{}
		}
	case said.remaining >= 0:
		p.hear(t, said.limit, said.remaining, now)
	}
	t.end()
}

// pause lets nothing leave before the end. Of several pauses the longest counts.
func (p *Pace) pause(now, end time.Time) {
	if end.After(p.paused) {
		p.paused = end
	}
	if p.board != nil && p.paused.Sub(now) > shownPause {
		p.board.Set(holdLimited, hold.All, "an answer with status 429 asks for a pause; sending goes on at "+
			p.paused.Format(time.RFC3339), "wait; if HubSpot's own limits are not used up, look at the proxy or firewall "+
			"in between, which may have a limit of its own")
	}
}

// resume ends the hold of a pause that is over.
func (p *Pace) resume(now time.Time) {
	if p.board != nil && !now.Before(p.paused) {
		p.board.Clear(holdLimited, hold.All)
	}
}

const (
	holdLimited = "limited"   // a long pause after a 429
	shownPause  = time.Minute // a longer one is a hold
)
