package dlq

import (
	"slices"
	"time"
)

const (
	talliedReasons = 50 // HubSpot chooses the words: their number has to have a bound
	talliedBytes   = 80 // of a category, a code or a property
)

// Count is how many letters were written for a reason. It holds no message, as that may quote a record.
type Count struct {
	Stage    string    `json:"stage"`
	Category string    `json:"category"`
	Code     string    `json:"code"`
	Property string    `json:"property"` // that the last one was refused for; empty if none was named
	Letters  int       `json:"letters"`
	Last     time.Time `json:"last"` // when the last one was written
}

// tally counts letters by reason. When there are too many reasons, the one that was met longest ago makes room.
type tally struct {
	counts []Count // the one met last comes last
}

func (t *tally) add(r Reason, now time.Time) {
	c := Count{Stage: r.Stage, Category: brief(r.Category, talliedBytes), Code: brief(r.Code, talliedBytes), Property: brief(r.Property, talliedBytes)}
	i := slices.IndexFunc(t.counts, func(x Count) bool {
		return x.Stage == c.Stage && x.Category == c.Category && x.Code == c.Code
	})
	switch {
	case i >= 0:
		c.Letters = t.counts[i].Letters
		t.counts = slices.Delete(t.counts, i, i+1)
	case len(t.counts) == talliedReasons:
		t.counts = slices.Delete(t.counts, 0, 1)
	}
	c.Letters, c.Last = c.Letters+1, now
	t.counts = append(t.counts, c)
}

// list returns the counts, the reason met last first. It is never nil.
func (t *tally) list() []Count {
	all := append([]Count{}, t.counts...)
	slices.Reverse(all)
	return all
}
