package offsetmap

import (
	"crypto/sha256"
	"math"
)

// Span is a run of offsets, From included, To not.
type Span struct{ From, To int64 }

// Place is where a map holds: it is believed nowhere else.
type Place struct {
	Cluster string // Kafka's cluster id
	Group   string
	Topic   [16]byte // topic id
}

// Map says which offsets beyond the committed one are settled.
type Map struct {
	Committed int64  // at least 0
	Epoch     int32  // the highest leader epoch among the records that the map knows; -1: unknown
	Settled   []Span // ascending, disjoint, not touching each other, none before Committed
}

// wellFormed returns the first spans, up to one that breaks the rules of Map or is one too many.
func (m Map) wellFormed() []Span {
	end := m.Committed - 1 // where the span before ends; the first span may begin at the committed offset
	for i, s := range m.Settled {
		if s.From <= end || s.To <= s.From || i == maxSpans {
			return m.Settled[:i]
		}
		end = s.To
	}
	return m.Settled
}

// count is how many offsets the spans hold.
func count(spans []Span) (n int64) {
	for _, s := range spans {
		n += min(max(0, s.To-s.From), math.MaxInt64-n)
	}
	return n
}

const (
	clusterLen = 8
	groupLen   = 4
)

// clusterHash and groupHash are the first bytes of the name's SHA-256.
func clusterHash(cluster string) [clusterLen]byte {
	sum := sha256.Sum256([]byte(cluster))
	return [clusterLen]byte(sum[:])
}

func groupHash(group string) [groupLen]byte {
	sum := sha256.Sum256([]byte(group))
	return [groupLen]byte(sum[:])
}
