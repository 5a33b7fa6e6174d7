package pace

import (
	"math"
	"time"
)

const (
	wordLasts = time.Second // what an answer said of the account is stale after this
	// A thirtieth of the limit is not lent, and at least one request: whoever wakes finds a place to ask.
	reservePart = 30
)

// others is what HubSpot's answers tell of the rest of the account: how many places of the window others have taken,
// and how many we may take of what is left.
//
// Each answer carries the account's Remaining as of the request's arrival. The window's places less Remaining less our
// own requests are those of others: other replicas, and other programs. What is free goes to all in proportion:
// max(own share, own requests / all requests) of it is ours. The shares of all replicas add up to one, and so do their
// parts of the requests; so together they take what is there, if all are as busy as before, and a single busy one gets
// nearly all of it. A place that one of our own requests leaves may be taken again in any case. The next answer counts
// anew: if others have taken more, we give back.
type others struct {
	at   time.Time // of the last word
	max  int       // the account's limit as HubSpot says; 0 until it does
	used int       // places that others had taken then

	// What others use goes up and down within a window, and it is theirs: what they used at the most is not lent.
	peak   int // of used, in this half of a window
	before int // in the half before
	turned time.Time

	part float64 // of what is free, that is ours
	old  int     // own requests in the window that left before the group divided
	// How many requests we may have in the window, until the next word. The fractions add up.
	mine float64 // within the share
	lent float64 // beyond it
}

// hear takes in an answer to a request that left at t.at. Requests that are out together arrive in any order, and one
// that overtook others seems to leave room: so the worst word of those that were out together counts, until one comes
// that left after it.
func (p *Pace) hear(t *Ticket, limit, remaining int, now time.Time) {
	a := &p.others
	a.max = limit
	used := max(0, limit-remaining-t.counted)
	if t.at.Before(a.at) && used < a.used {
		return
	}
	if now.Sub(a.turned) >= p.interval/2 {
		a.before, a.peak, a.turned = a.peak, 0, now
	}
	a.used, a.peak, a.at, a.part = used, max(a.peak, used), now, p.share()
	own := len(p.stamps)
	// Before, all may be new, and few.
	if n := len(p.shares); own+used > 0 && n > 0 && now.Sub(p.shares[n-1].at) >= 2*wordLasts {
		a.part = max(a.part, float64(own)/float64(own+used))
	}
	a.old, _ = p.before(now)
	have := float64(own + p.held)
	a.mine = have + max(0, p.share()*(float64(limit-used)-have))
	// Beyond the share, a fraction that was left of the last time is added; and what others miss is given back at once.
	more := p.limit - float64(max(a.peak, a.before)) - have - p.reserve(now)
	if more > 0 {
		more *= a.part
		if left := a.lent - have; left > 0 && left < 1 {
			more = left + more // not all replicas come to a whole one at the same time
		}
	}
	a.lent = have + more
}

// free tells whether there is a place for one more request: of the share in force, of the share that is not in force
// yet, or beyond it. Who has heard nothing for a while asks with one request at a time.
func (p *Pace) free(now time.Time, used, old int, inForce, within, alone, fair bool) bool {
	a := &p.others
	most := a.lent - float64(a.old-old) // what they leave is everybody's
	if within {
		most = a.mine
	}
	if within && !inForce { // words that overtook each other may be off by a few
		most -= p.share() * p.reserve(now)
	}
	fits := fair || float64(used+1) <= most+1e-9
	switch {
	case !a.stale(now) || fits && inForce && p.share() == 1: // no other replica has come to use what this one left
		return fits
	case within && used+a.used >= a.max: // all was taken: half a window later that may have changed
		return alone && (fits || now.Sub(a.at) >= p.interval/2)
	default:
		return alone && (within || fits)
	}
}

// reserve is not lent; twice as much within a window of a rebalance, when nobody knows yet what the others need.
func (p *Pace) reserve(now time.Time) float64 {
	part := p.limit / reservePart
	if now.Sub(p.peers.since) < p.window() {
		part *= 2
	}
	return max(1, math.Floor(part))
}

func (a *others) stale(now time.Time) bool { return now.Sub(a.at) >= wordLasts }
