package upsert

import "time"

const (
	freeConvictions = 20   // of a kind by whole refusals, before its search is paced
	budgetShare     = 0.05 // of the window's requests that the search for further ones may use
	shownBudget     = 5 * time.Second
)

// budget bounds what the search for the bad records of one kind costs. Each costs about fourteen requests when HubSpot
// refuses whole batches, and a producer may write any number of them.
type budget struct {
	convicted int
	next      time.Time // when the next request of the search may leave
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

// spend says how long the next request of the search for records of a kind rests, where limit requests may leave in a
// window.
func (e *evidence) spend(key laneKey, kind string, limit float64, window time.Duration) (after time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.of(key).budgets[kind]
	if b == nil || b.convicted < freeConvictions {
		return 0
	}
	now := time.Now()
	if b.next.Before(now) {
		b.next = now
	}
	after = b.next.Sub(now)
	b.next = b.next.Add(time.Duration(float64(window) / (limit * budgetShare)))
	return after
}
