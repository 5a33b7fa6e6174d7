package upsert

import "time"

// departure is how many inputs of each of its lanes were confirmed as a request left.
type departure map[laneKey]uint64

// depart notes that a request leaves. For a record that travels alone the trial begins with its first try, as it must
// be known who was confirmed since.
func (e *evidence) depart(inputs []input) departure {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := departure{}
	var l *lane
	for i, in := range inputs {
		t := in[0]
		if key := t.lane(); i == 0 || key != inputs[i-1][0].lane() {
			l = e.of(key)
			left[key] = l.confirmed
		}
		if t.trial != nil || len(inputs) == 1 {
			l.trialOf(t).left = l.confirmed
		}
	}
	return left
}

// tried notes one more try of a batch of which nothing is known. It says how often it was tried as it is put together
// now, and whether comparable others were confirmed since the first of these tries left. For a part of a batch that is
// the last try of the whole.
func (e *evidence) tried(f flight) (rounds int, others bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, in := range f.inputs {
		l := e.of(in[0].lane())
		tr := l.trialOf(in[0])
		if tr.rounds++; tr.rounds == 1 && !tr.apart {
			tr.start = f.left[in[0].lane()]
		}
		tr.charge(f.charge)
		tr.seen = l.confirmed
		rounds, others = max(rounds, tr.rounds), others || l.othersSince(in[0].ID, tr.start)
	}
	return rounds, others
}

// takenApart notes that inputs travel as a part of their batch from now on, which left when so many were confirmed.
func (e *evidence) takenApart(inputs []input, left departure) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, in := range inputs {
		tr := e.of(in[0].lane()).trialOf(in[0])
		tr.apart, tr.rounds, tr.start = true, 0, left[in[0].lane()]
	}
}

// rejoin forgets that the record was taken apart from others.
func (t *Task) rejoin() {
	if t.trial != nil {
		t.trial.apart, t.trial.searched, t.trial.waits, t.trial.rounds = false, false, "", 0
	}
}

// singled tells whether comparable others were confirmed since the batch left from which the record was taken apart, or
// since its first try alone: what happens to it does not happen to everybody. e.mu must be held.
func (l *lane) singled(t *Task) bool {
	return (t.apart() || t.suspect()) && l.othersSince(t.ID, t.trial.start)
}

// suspects tells since when all records of a request are suspects, and whether none is, nor travels apart. A part of a
// batch that was taken apart is suspect, too, once comparable others were confirmed, and so is a lane, once other lanes
// were.
func (e *evidence) suspects(inputs []input) (since time.Time, innocent bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now, innocent, all, elsewhere := time.Now(), true, true, false
	for i, in := range inputs {
		t := in[0]
		if i == 0 || t.lane() != inputs[i-1][0].lane() {
			elsewhere = e.elsewhere(t.lane())
		}
		innocent = innocent && !t.suspect() && !t.apart()
		switch {
		case t.suspect():
			since = later(since, t.trial.since)
		case elsewhere:
			return now, innocent
		case t.apart() && e.of(t.lane()).singled(t):
			since = now
		default:
			all = false
		}
	}
	if !all {
		return time.Time{}, innocent
	}
	return since, innocent
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// blame is how often a batch must fail to be taken apart; t is its first record.
func (e *evidence) blame(t *Task) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, share := e.of(t.lane()).others(t, time.Now())
	if n < someOthers {
		return 1
	}
	return roundsToBlame(share)
}

// apart tells whether a record travels with a part of a batch that was taken apart.
func (t *Task) apart() bool { return t.trial != nil && t.trial.apart }
