package dlq

import (
	"slices"
	"time"
)

const talliedProper = 80 // bytes of a property's name

// Count is how many letters were written for a kind of reason. It holds no message, as that may quote a record.
type Count struct {
	Kind
	Property string    `json:"property"` // that the last one was refused for; empty if none was named
	Letters  int       `json:"letters"`
	Last     time.Time `json:"last"` // when the last one was written
}

// tally counts letters by kind.
type tally map[Kind]Count

func (t tally) add(r Reason, now time.Time) {
	kind := r.Kind()
	t[kind] = Count{Kind: kind, Property: brief(r.Property, talliedProper), Letters: t[kind].Letters + 1, Last: now}
}

// list returns the counts, the kind met last first. It is never nil.
func (t tally) list() []Count {
	all := make([]Count, 0, len(t))
	for _, c := range t {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Count) int { return b.Last.Compare(a.Last) })
	return all
}
