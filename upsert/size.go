package upsert

import (
	"sync"
	"time"
)

const (
	sizeRefusals = 3                // 413s in a row, each for more bytes than passed, that make a bound
	sizeMemory   = 10 * time.Minute // how long a size counts that passed, and how long a bound stands before it doubles
)

// sizes learns how many bytes a request may have, where something between tasksink and HubSpot answers with status 413.
type sizes struct {
	mu      sync.Mutex
	largest int // bytes that passed
	at      time.Time
	refusal int  // in a row, of more bytes than that
	least   int  // bytes of the smallest of them
	smaller bool // meanwhile a smaller one passed: it is the size that matters
	limit   int  // 0: no bound
	since   time.Time
}

// passed notes that a request of so many bytes was answered by HubSpot.
func (z *sizes) passed(bytes int, now time.Time) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.smaller = z.smaller || z.refusal > 0 && bytes < z.least
	if bytes >= z.largest || now.Sub(z.at) > sizeMemory {
		z.largest, z.at = bytes, now
		if bytes >= z.least {
			z.refusal = 0
		}
	}
}

// refused notes that a request was too large. It tells whether it was larger than those that passed, and whether there is
// a new bound.
func (z *sizes) refused(bytes int, now time.Time) (larger, bound bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.since = now
	if now.Sub(z.at) > sizeMemory {
		z.largest = 0
	}
	if bytes <= z.largest {
		return false, false
	}
	if z.largest == 0 {
		return true, false
	}
	if z.refusal == 0 {
		z.least, z.smaller = bytes, false
	}
	z.least = min(z.least, bytes)
	if z.refusal++; z.refusal < sizeRefusals || !z.smaller {
		return true, false
	}
	// What passed may be small by chance: the bound is not far below what was refused.
	z.refusal, z.limit = 0, max(z.largest, z.least/2)
	return true, true
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
