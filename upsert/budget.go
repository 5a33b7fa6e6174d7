package upsert

import (
	"math/bits"
	"time"
)

const (
	freeConvictions = 20   // of a kind by whole refusals, before its search is paced
	budgetShare     = 0.05 // of the window's requests that the search for further ones may use
	shownBudget     = 5 * time.Second
)

// budget bounds what the search for the bad records of one kind costs. Each costs about fourteen requests when HubSpot
// refuses whole batches, and a producer may write any number of them.
type budget struct {
	convicted int
	next      time.Time // when the next search may begin
	begun     int       // first parts of searches that were refused again
	parts     int       // parts that these led to
}

// budget returns the budget of a kind. When there are too many kinds all further ones share one.
func (l *lane) budget(kind string) *budget {
	const most = 100
	if l.budgets[kind] == nil {
		if len(l.budgets) >= most {
			kind = ""
		}
		if l.budgets[kind] == nil {
			l.budgets[kind] = &budget{}
		}
	}
	return l.budgets[kind]
}

// searches tells whether the search for bad records of a kind waits for its part of the window: then few answers come,
// however long it takes.
func (l *lane) searches(now time.Time) bool {
	for _, b := range l.budgets {
		if b.next.After(now) {
			return true
		}
	}
	return false
}

// spend says how long what was refused rests before the search for the bad ones goes on with its parts, where limit
// requests may leave in a window. A search that begins takes its turn, and as many requests are reserved as others
// cost. One that goes on waits for no other turn, or all would begin and none would end.
func (e *evidence) spend(inputs []input, kind string, limit float64, window time.Duration) (after time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.of(inputs[0][0].lane())
	b := l.budgets[kind]
	if b == nil || b.convicted < freeConvictions {
		return 0
	}
	now, interval := time.Now(), time.Duration(float64(window)/(limit*budgetShare))
	if b.next.Before(now) {
		b.next = now
	}
	switch l.trialOf(inputs[0][0]).searched {
	case 0:
		cost := 2 * max(bits.Len(uint(len(inputs))), b.parts/max(1, b.begun))
		after = b.next.Sub(now)
		b.next = b.next.Add(time.Duration(cost) * interval)
	case 1:
		b.begun++
		fallthrough
	default:
		b.parts += 2
		after = interval
	}
	for _, in := range inputs {
		l.trialOf(in[0]).searched++
	}
	return after
}
