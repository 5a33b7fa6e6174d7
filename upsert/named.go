package upsert

import "time"

// name tells whether the board names the record as one that fails alone. While many others fail, too, or many are named
// already, it does not.
func (e *evidence) name(t *Task, tries int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.of(t.lane())
	if n, share := l.others(t, time.Now()); !e.named[t] && (tries < enoughNamed || len(e.named) >= mostNamed ||
		n >= enoughOthers && share >= fewFail || l.streak.several && !l.singled(t)) {
		return false
	}
	e.named[t] = true
	return true
}

// unname forgets a record, and tells whether the board named it.
func (e *evidence) unname(t *Task) (named bool) {
	if t.trial == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	named = e.named[t]
	delete(e.named, t)
	return named
}

// unnameAll forgets the named records that of likes, and returns them.
func (e *evidence) unnameAll(of func(*Task) bool) (tasks []*Task) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for t := range e.named {
		if of(t) {
			delete(e.named, t)
			tasks = append(tasks, t)
		}
	}
	return tasks
}
