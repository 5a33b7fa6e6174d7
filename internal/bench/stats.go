package main

import (
	"math"
	"slices"
	"time"
)

// median is the middle one of the values, or the mean of the two in the middle; NaN if there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// percentile is the least of the values that p per cent of them do not exceed; NaN if there are none.
func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[max(0, min(rank, len(sorted))-1)]
}

// quotaUsed is which part of an account's quota became records in full batches, from one instant to another: how full
// HubSpot's rolling window was with accepted requests, on average over the time. A request that is not full counts
// as the part of a hundred inputs that it carried. It does not depend on where in a burst the time begins or ends.
func quotaUsed(requests []request, from, to time.Time, limit int, window time.Duration) float64 {
	filled := 0.0
	for _, r := range requests {
		if r.Status != 200 && r.Status != 207 {
			continue
		}
		begins, ends := latest(r.time(), from), earliest(r.time().Add(window), to)
		if in := ends.Sub(begins); in > 0 {
			filled += in.Seconds() * float64(r.Inputs) / batchSize
		}
	}
	return filled / (to.Sub(from).Seconds() * float64(limit))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// between are the requests that came in a stretch of time, its end excluded.
func between(requests []request, from, to time.Time) (some []request) {
	for _, r := range requests {
		if !r.time().Before(from) && r.time().Before(to) {
			some = append(some, r)
		}
	}
	return some
}

func count(requests []request, status int) (n int) {
	for _, r := range requests {
		if r.Status == status {
			n++
		}
	}
	return n
}
