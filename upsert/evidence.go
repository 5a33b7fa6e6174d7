package upsert

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/tasksink/tasksink/dlq"
)

// evidence is what the answers so far say about records, and about everybody. One rule decides: a record is guilty only
// of what happens to it while comparable others pass, and a hold is only for what happens to all of them.
type evidence struct {
	mu    sync.Mutex
	lanes map[laneKey]*lane
	named map[*Task]bool // records that the board names as failing alone
}

// laneKey names what is comparable: the records of one topic with one idProperty.
type laneKey struct{ topic, property string }

func (t *Task) lane() laneKey { return laneKey{t.Record.Topic, t.IDProperty} }

// lane is what is known of comparable records.
type lane struct {
	confirmed uint64            // inputs, ever
	last      time.Time         // when the last of them was
	recent    [4]confirmation   // the objects confirmed last, each once, newest first
	minute    minute            // requests that carried no suspect
	passed    float64           // those ever that did well, and those that failed
	failed    float64           //
	streak    streak            // answers that brought nothing
	convicted map[uint64]string // the hash of each object of a convicted record, and of what kind that was
	budgets   map[string]*budget
}

type confirmation struct {
	object string
	at     uint64 // lane.confirmed then
}

// streak are answers in a row that neither confirmed nor convicted a record.
type streak struct {
	answers int
	since   time.Time
	object  string // of the first
	several bool   // they concern more than one object
}

const (
	enoughSilence = 20               // such answers that call for a hold
	enoughFailed  = 3                // such answers, from which on other lanes that pass show that it is this one
	longSilence   = 10 * time.Second // or how long they take
	mostConvicted = 10_000           // objects that are remembered
	mostNamed     = 20               // records that the board names at a time
)

func newEvidence() *evidence { return &evidence{lanes: map[laneKey]*lane{}, named: map[*Task]bool{}} }

// of returns a lane; e.mu must be held.
func (e *evidence) of(key laneKey) *lane {
	l := e.lanes[key]
	if l == nil {
		l = &lane{convicted: map[uint64]string{}, budgets: map[string]*budget{}}
		e.lanes[key] = l
	}
	return l
}

// trialOf returns the record's trial, which begins now if it has none; e.mu must be held.
func (l *lane) trialOf(t *Task) *trial {
	if t.trial == nil {
		t.trial = &trial{start: l.confirmed, left: l.confirmed, seen: l.confirmed}
	}
	return t.trial
}

// confirm notes the inputs that HubSpot confirmed, by the first task of each.
func (e *evidence) confirm(confirmed []*Task) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	var l *lane
	for i, t := range confirmed {
		if key := t.lane(); i == 0 || key != confirmed[i-1].lane() {
			l = e.of(key)
		}
		l.confirmed, l.last = l.confirmed+1, now
		if i < len(l.recent) || i >= len(confirmed)-len(l.recent) { // as many as recent keeps
			l.remember(t.ID)
		}
		l.streak = streak{}
	}
}

func (l *lane) remember(object string) {
	i := slices.IndexFunc(l.recent[:], func(c confirmation) bool { return c.object == object })
	if i < 0 {
		i = len(l.recent) - 1
	}
	copy(l.recent[1:i+1], l.recent[:i])
	l.recent[0] = confirmation{object, l.confirmed}
}

// objectsBetween counts the other objects that were last confirmed after one confirmation of the lane, and not after
// another one; up to four are known.
func (l *lane) objectsBetween(own string, after, until uint64) (n int) {
	for _, c := range l.recent {
		if c.at > after && c.at <= until && c.object != own {
			n++
		}
	}
	return n
}

// othersSince tells whether a comparable other was confirmed since that confirmation of the lane.
func (l *lane) othersSince(own string, after uint64) bool {
	return l.objectsBetween(own, after, l.confirmed) > 0
}

// count counts a request, of whose inputs without suspicion a part failed, for the lanes it carried. A request that was
// a part of a batch taken apart, or that failed as a whole with a suspect in it, does not count.
func (e *evidence) count(inputs []input, failed float64) charge {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for i, in := range inputs {
		key := in[0].lane()
		if i > 0 && key == inputs[i-1][0].lane() {
			continue
		}
		l := e.of(key)
		l.minute.add(now, failed)
		l.passed, l.failed = l.passed+1-failed, l.failed+failed
	}
	return charge{part: partOf(now), failed: failed}
}

// fresh forgets how many requests failed of late: what stopped everything is over, and says nothing about what comes.
func (e *evidence) fresh() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.lanes {
		l.minute = minute{}
	}
}

// silent counts an answer that neither confirmed nor convicted anybody, for each lane that the request carried, except
// for records of which it is known that others pass. It returns the lanes that must be held. A failure is the breaker's
// business unless other lanes pass.
func (e *evidence) silent(inputs []input, failed bool) (hold []laneKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now, counted := time.Now(), map[laneKey]bool{}
	for _, in := range inputs {
		key := in[0].lane()
		l := e.of(key)
		if l.singled(in[0]) {
			continue
		}
		s := &l.streak
		if !counted[key] {
			counted[key] = true
			if s.answers++; s.answers == 1 {
				s.since, s.object = now, in[0].ID
			}
		}
		s.several = s.several || in[0].ID != s.object
	}
	for key := range counted {
		l := e.of(key)
		long := l.streak.answers >= enoughSilence || now.Sub(l.streak.since) >= longSilence && !l.searches(now)
		if long && l.streak.several && (!failed || e.elsewhere(key)) {
			hold = append(hold, key)
		}
	}
	return hold
}

// elsewhere tells whether records of other lanes were confirmed since the answers to those of a lane bring nothing. The
// caller holds e.mu.
func (e *evidence) elsewhere(key laneKey) bool {
	s := e.of(key).streak
	if s.answers < enoughFailed {
		return false
	}
	for other, l := range e.lanes {
		if other != key && l.last.After(s.since) {
			return true
		}
	}
	return false
}

// passedLast is the lane that was confirmed last.
func (e *evidence) passedLast() (key laneKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var last time.Time
	for k, l := range e.lanes {
		if l.last.After(last) {
			key, last = k, l.last
		}
	}
	return key
}

// conflicts marks records that met a 409, and tells whether one of them meets it for the first time.
func (e *evidence) conflicts(inputs []input) (first bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, in := range inputs {
		for _, t := range in {
			tr := e.of(t.lane()).trialOf(t)
			first = first || !tr.conflicted
			tr.conflicted = true
		}
	}
	return first
}

// refuses notes a refusal of a whole request for each of its records.
func (e *evidence) refuses(inputs []input) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, in := range inputs {
		l := e.of(in[0].lane())
		l.trialOf(in[0]).seen = l.confirmed
	}
}

// refusedAlone counts a refusal of a record that travelled alone, and tells whether it is bad.
func (e *evidence) refusedAlone(t *Task, a judgement) (guilty bool, tries int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.of(t.lane())
	tr := l.trialOf(t)
	l.aloneNow(t)
	since := l.othersSince(t.ID, tr.seen)
	tr.seen = l.confirmed
	if !since || a.idProperty {
		return false, tr.alone
	}
	tr.refused++
	kind := kindOf(a.Reason)
	if tr.refused < 2 && !a.specific() && l.convicted[objectHash(t)] != kind {
		return false, tr.alone
	}
	l.convict(t, kind)
	l.budget(kind).convicted++
	return true, tr.alone
}

// failedAlone counts a failure of a record by itself, and tells whether it is bad.
func (e *evidence) failedAlone(t *Task, c charge, reason dlq.Reason) (guilty bool, tries int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now, l := time.Now(), e.of(t.lane())
	l.trialOf(t).charge(c)
	tr := l.aloneNow(t)
	kind := kindOf(reason)
	since := tr.seen
	if tr.apart {
		since = min(since, tr.start)
	}
	before := l.convicted[objectHash(t)] == kind && l.othersSince(t.ID, since)
	tr.seen = l.confirmed
	if !tr.guilty(l, t, now, before) {
		return false, tr.alone
	}
	l.convict(t, kind)
	return true, tr.alone
}

// aloneNow counts one more failure of a record by itself.
func (l *lane) aloneNow(t *Task) *trial {
	tr := l.trialOf(t)
	if tr.alone++; tr.alone == 1 {
		tr.since, tr.first, tr.passed, tr.failed = time.Now(), l.confirmed, l.passed, l.failed
	}
	return tr
}

func (l *lane) convict(t *Task, kind string) {
	if len(l.convicted) >= mostConvicted {
		clear(l.convicted)
	}
	l.convicted[objectHash(t)] = kind
	l.streak = streak{}
}

var objectSeed = maphash.MakeSeed()

// objectHash stands for an object: an id may be long, and many objects are remembered.
func objectHash(t *Task) uint64 { return maphash.String(objectSeed, t.ID) }

func kindOf(r dlq.Reason) string { return r.Category + " " + r.Code + " " + cut(r.Property, maxWord) }

// failedBy notes what a record met that failed by itself.
func (e *evidence) failedBy(t *Task, what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.of(t.lane()).trialOf(t).what = what
}

// lastFailure is what the record's last failure by itself met; empty if it is not known.
func (e *evidence) lastFailure(t *Task) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.trial == nil {
		return ""
	}
	return t.trial.what
}

// known is how many lanes there are.
func (e *evidence) known() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.lanes)
}
