package upsert

import "time"

const (
	freeConvictions = 20   // of a kind by whole refusals, before its search is paced
	budgetShare     = 0.05 // of the window's requests that the search for further ones may use
)

// budget bounds what the search for the bad records of one kind costs. Each costs about fourteen requests when HubSpot
// refuses whole batches, and a producer may write any number of them.
type budget struct {
	convicted int
	next      time.Time // when the requests that left have used their part of the window
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

// spend says what becomes of inputs that were refused together, where limit requests may leave in a window. Beyond the
// free convictions a search waits for its turn, which is next. turn says that this one had it: it goes on after a rest,
// and it has used a request, as its parts will.
func (e *evidence) spend(inputs []input, kind string, turn bool, limit float64, window time.Duration) (
	after time.Duration, waits bool, next time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.of(inputs[0][0].lane())
	b := l.budgets[kind]
	if b == nil || b.convicted < freeConvictions {
		return 0, false, time.Time{}
	}
	now, interval := time.Now(), time.Duration(float64(window)/(limit*budgetShare))
	if b.next.Before(now) {
		b.next = now
	}
	first := l.trialOf(inputs[0][0])
	if waits = !turn && !first.searched; waits {
		for _, in := range inputs {
			l.trialOf(in[0]).waits = kind
		}
		return 0, true, b.next
	}
	requests := 2
	if len(inputs) == 1 {
		requests = len(inputs[0])
	}
	if turn {
		requests++ // this one
	}
	b.next = b.next.Add(time.Duration(requests) * interval)
	for _, in := range inputs {
		tr := l.trialOf(in[0])
		tr.waits, tr.searched = "", true
	}
	return interval, false, b.next
}
