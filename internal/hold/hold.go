// Package hold keeps the list of what holds tasksink up: conditions that are the same for every record of a scope, so
// that the worker waits for them to end instead of dead-lettering what is healthy.
//
// A hold has a scope: everything (All), or one topic or partition, by its name. A hold of a smaller scope stops nothing
// outside of it. There is one hold for each reason and scope.
//
// One Board serves the whole process. The code that finds such a condition calls Set, the code that sees it end calls
// Clear, and /status, the metrics and the log show what stands. A Board is safe for concurrent use.
package hold

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/internal/visible"
)

// All is the scope of a hold that stops everything.
const All = "all"

// Hold is one condition that stops the flow within its scope.
type Hold struct {
	Reason string    `json:"reason"` // a short constant, such as "auth" or "flood": the label of tasksink_hold
	Scope  string    `json:"scope"`  // All, or what it concerns: a topic, or a partition such as "tasks/3"
	Detail string    `json:"detail"` // what was seen; never a payload, a token or a password
	Remedy string    `json:"remedy"` // what the operator can do about it
	Since  time.Time `json:"since"`
}

// Board is the list of the holds that stand.
type Board struct {
	log    zerolog.Logger
	mu     sync.Mutex
	holds  map[place]Hold
	ever   map[string]bool // reasons that stood once with the scope All
	scoped map[string]bool // and those that stood with a smaller one
}

// place is what there is one hold for.
type place struct{ reason, scope string }

// NewBoard returns an empty board that logs each hold when it begins and when it ends.
func NewBoard(log zerolog.Logger) *Board {
	return &Board{log: log, holds: map[place]Hold{}, ever: map[string]bool{}, scoped: map[string]bool{}}
}

// Set says that reason holds the flow within scope. Setting a hold that stands already only replaces its detail and its
// remedy. A detail may name what records and answers brought, such as a property: what of it does not print is escaped.
func (b *Board) Set(reason, scope, detail, remedy string) {
	detail = visible.Text(detail)
	b.mu.Lock()
	defer b.mu.Unlock()
	h, stood := b.holds[place{reason, scope}]
	if !stood {
		h.Since = time.Now()
		b.log.Error().Str("hold", reason).Str("scope", scope).Str("remedy", remedy).Msg("holding: " + detail)
	}
	h.Reason, h.Scope, h.Detail, h.Remedy = reason, scope, detail, remedy
	b.holds[place{reason, scope}] = h
	if scope == All {
		b.ever[reason] = true
	} else {
		b.scoped[reason] = true
	}
}

// Clear says that reason no longer holds scope; clearing what does not stand does nothing.
func (b *Board) Clear(reason, scope string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h, stood := b.holds[place{reason, scope}]; stood {
		delete(b.holds, place{reason, scope})
		b.log.Info().Str("hold", reason).Str("scope", scope).Float64("held_seconds",
			time.Since(h.Since).Seconds()).Msg("hold ended")
	}
}

// Stands tells whether reason holds scope now.
func (b *Board) Stands(reason, scope string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, stands := b.holds[place{reason, scope}]
	return stands
}

// Reasons tells of each reason that ever held everything whether it does now, and of each reason that ever held a
// smaller scope how many scopes it holds now.
func (b *Board) Reasons() (all map[string]bool, scoped map[string]int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, scoped = make(map[string]bool, len(b.ever)), make(map[string]int, len(b.scoped))
	for reason := range b.ever {
		_, all[reason] = b.holds[place{reason, All}]
	}
	for reason := range b.scoped {
		scoped[reason] = 0
	}
	for at := range b.holds {
		if at.scope != All {
			scoped[at.reason]++
		}
	}
	return all, scoped
}

// List returns the standing holds, those of everything first, in the order of their reasons and scopes; it is never
// nil.
func (b *Board) List() []Hold {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Hold, 0, len(b.holds))
	for _, h := range b.holds {
		list = append(list, h)
	}
	slices.SortFunc(list, func(x, y Hold) int {
		if (x.Scope == All) != (y.Scope == All) {
			if x.Scope == All {
				return -1
			}
			return 1
		}
		return cmp.Or(strings.Compare(x.Reason, y.Reason), strings.Compare(x.Scope, y.Scope))
	})
	return list
}
