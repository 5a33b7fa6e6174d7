// Package hold keeps the list of what holds tasksink up: conditions that are the same for every record,
// so that the worker waits for them to end instead of dead-lettering what is healthy.
//
// One Board serves the whole process. Whoever finds such a condition calls Set, whoever sees it end calls
// Clear, and /status, the metrics and the log show what stands. A Board is safe for concurrent use.
package hold

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/internal/visible"
)

// Hold is one condition that stops the flow.
type Hold struct {
	Reason string    `json:"reason"` // a short constant, such as "auth" or "flood": the label of tasksink_hold
	Detail string    `json:"detail"` // what was seen; never a payload, a token or a password
	Remedy string    `json:"remedy"` // what the operator can do about it
	Since  time.Time `json:"since"`
}

// Board is the list of the holds that stand.
type Board struct {
	log   zerolog.Logger
	mu    sync.Mutex
	holds map[string]Hold
	ever  map[string]bool // reasons that stood once
}

// NewBoard returns an empty board that logs each hold when it begins and when it ends.
func NewBoard(log zerolog.Logger) *Board {
	return &Board{log: log, holds: map[string]Hold{}, ever: map[string]bool{}}
}

// Set says that reason holds the flow. Setting a reason that stands already only replaces its detail. A detail may name
// what records and answers brought, such as a property: what of it does not print is escaped.
func (b *Board) Set(reason, detail, remedy string) {
	detail = visible.Text(detail)
	b.mu.Lock()
	defer b.mu.Unlock()
	h, stood := b.holds[reason]
	if !stood {
		h.Since = time.Now()
		b.log.Error().Str("hold", reason).Str("remedy", remedy).Msg("holding: " + detail)
	}
	h.Reason, h.Detail, h.Remedy = reason, detail, remedy
	b.holds[reason], b.ever[reason] = h, true
}

// Clear says that reason no longer holds; clearing what does not stand does nothing.
func (b *Board) Clear(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h, stood := b.holds[reason]; stood {
		delete(b.holds, reason)
		b.log.Info().Str("hold", reason).Float64("held_seconds", time.Since(h.Since).Seconds()).Msg("hold ended")
	}
}

// Stands tells whether reason holds now.
func (b *Board) Stands(reason string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, stands := b.holds[reason]
	return stands
}

// Reasons tells of each reason that ever stood whether it stands now.
func (b *Board) Reasons() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	reasons := make(map[string]bool, len(b.ever))
	for reason := range b.ever {
		_, reasons[reason] = b.holds[reason]
	}
	return reasons
}

// List returns the standing holds in the order of their reasons; it is never nil.
func (b *Board) List() []Hold {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Hold, 0, len(b.holds))
	for _, h := range b.holds {
		list = append(list, h)
	}
	slices.SortFunc(list, func(x, y Hold) int { return strings.Compare(x.Reason, y.Reason) })
	return list
}
