package page

import (
	"context"
	"sync"
	"time"
)

const (
	// Step is the time between two samples, and Span how far back they go: 181 samples, some 15 KB.
	Step = 5 * time.Second
	Span = 15 * time.Minute
)

// Sample is where the worker stood at one instant. Counts are those since the start: who wants a rate takes the
// difference of two, so that a sample that came late, or is missing, distorts nothing.
type Sample struct {
	At           time.Time `json:"at"`
	Held         bool      `json:"held"`    // a hold of everything stood, or there was an outage
	Arrived      int64     `json:"arrived"` // records that came to the replica's partitions
	Upserted     uint64    `json:"upserted"`
	DeadLettered int       `json:"dead_lettered"`
	Skipped      uint64    `json:"skipped"`
	Inputs       uint64    `json:"inputs"` // that requests carried
	Requests     int       `json:"requests"`
	Lag          int64     `json:"lag"`
}

// History keeps the samples of the last Span. It is safe for concurrent use.
type History struct {
	take func() Sample

	mu   sync.Mutex
	ring []Sample // once it is full, the oldest one is at next
	next int
}

// NewHistory returns an empty History that waits for Run. take is called once in each Step.
func NewHistory(take func() Sample) *History {
	return &History{take: take}
}

// Run takes samples until ctx ends.
func (h *History) Run(ctx context.Context) {
	tick := time.NewTicker(Step)
	defer tick.Stop()
	for {
		h.add(h.take())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (h *History) add(s Sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) < int(Span/Step)+1 {
		h.ring = append(h.ring, s)
		return
	}
	h.ring[h.next] = s
	h.next = (h.next + 1) % len(h.ring)
}

// Samples returns what is kept, oldest first. It is never nil.
func (h *History) Samples() []Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append(append([]Sample{}, h.ring[h.next:]...), h.ring[:h.next]...)
}
