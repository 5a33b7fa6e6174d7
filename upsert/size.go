package upsert

import (
	"slices"
	"sync"
	"time"
)

const (
	sizeAnswers  = 20               // answers, passed or with status 413, that are looked at
	sizeRefusals = 3                // 413s among them, each for more bytes than all that passed, that make a bound
	sizeMemory   = 10 * time.Minute // how long an answer counts, and how long a bound stands before it doubles
)

// sizes learns how many bytes a request may have, where something between tasksink and HubSpot answers with status 413.
// As long as each request that was refused was larger than each that passed, the size explains the refusals. A refusal
// of a smaller one disproves that, and takes back the bound.
type sizes struct {
	mu      sync.Mutex
	answers []sized // the oldest first
	limit   int     // 0: no bound
	since   time.Time
}

// sized is an answer to a request of so many bytes.
type sized struct {
	at      time.Time
	bytes   int
	refused bool // with status 413
}

// passed notes that a request of so many bytes was answered by HubSpot.
func (z *sizes) passed(bytes int, now time.Time) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.note(sized{now, bytes, false})
	if largest, least, _ := z.extremes(); largest >= least && least > 0 {
		z.limit = 0
	}
}

// refused notes that a request was too large. It tells whether its size explains that, and whether there is a new
// bound.
func (z *sizes) refused(bytes int, now time.Time) (explains, bound bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.note(sized{now, bytes, true})
	largest, least, refusals := z.extremes()
	if least <= largest {
		z.limit = 0
		return false, false
	}
	z.since = now
	if largest == 0 || refusals < sizeRefusals {
		return true, false
	}
	// What passed may be small by chance: the bound is not far below what was refused.
	before := z.limit
	z.limit = max(largest, least/2)
	return true, z.limit != before
}

func (z *sizes) note(a sized) {
	z.answers = slices.DeleteFunc(z.answers, func(old sized) bool { return a.at.Sub(old.at) > sizeMemory })
	if len(z.answers) == sizeAnswers {
		z.answers = slices.Delete(z.answers, 0, 1)
	}
	z.answers = append(z.answers, a)
}

// extremes are the bytes of the largest request that passed and of the least that was refused, 0 if there is none, and
// how many were refused.
func (z *sizes) extremes() (largest, least, refusals int) {
	for _, a := range z.answers {
		switch {
		case !a.refused:
			largest = max(largest, a.bytes)
		case refusals == 0 || a.bytes < least:
			least = a.bytes
			fallthrough
		default:
			refusals++
		}
	}
	return largest, least, refusals
}

// bound is how many bytes a request may have at the most; 0 if there is no bound.
func (z *sizes) bound(now time.Time) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	for z.limit > 0 && now.Sub(z.since) > sizeMemory {
		z.limit, z.since = 2*z.limit, z.since.Add(sizeMemory)
		if z.limit > 64<<20 {
			z.limit = 0
		}
	}
	return z.limit
}
