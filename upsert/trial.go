package upsert

import (
	"math"
	"slices"
	"time"
)

// trial is what speaks against one record. Nearly no record has one. The evidence's mutex protects it.
type trial struct {
	apart      bool   // it travels with a part of a batch that was taken apart
	waits      string // for the turn of the search for bad records of this kind; empty: it does not
	searched   bool   // that search is about it
	conflicted bool   // it met a 409 once
	rounds     int    // tries in a row of the batch as it is put together now, of which nothing is known
	start      uint64 // the lane's confirmations as the first of them left, or as the whole left of which it is a part
	left       uint64 // the lane's confirmations as its last try left
	seen       uint64 // and as its answer came

	alone   int       // failures by itself
	what    string    // the last of them met; empty if it is not known
	refused int       // refusals by itself, each with a comparable other confirmed since the try before
	since   time.Time // the first failure by itself
	first   uint64    // the lane's confirmations then
	passed  float64   // the lane's requests that did well until then
	failed  float64   // and those that failed
	charges []charge  // the failures of the last minute that it had a part in: they say nothing of the others
}

// charge is what a request counted as a failure in lane.minute.
type charge struct {
	part   int64
	failed float64
}

// charge notes a failure that the record had a part in.
func (tr *trial) charge(c charge) {
	if c.failed > 0 {
		tr.charges = slices.DeleteFunc(tr.charges, func(old charge) bool { return old.part <= c.part-minuteParts })
		tr.charges = append(tr.charges, c)
	}
}

// others is how many requests of the last minute carried no suspect, and which share of them failed, without those that
// the record had a part in.
func (l *lane) others(t *Task, now time.Time) (n int, share float64) {
	if t.trial == nil {
		return l.minute.share(now, nil)
	}
	return l.minute.share(now, t.trial.charges)
}

// paced tells whether a paced search is about the record, or will be. It goes on while its lane is held, and has its
// own pace: it asks no more than probes do.
func (t *Task) paced() bool { return t.trial != nil && (t.trial.searched || t.trial.waits != "") }

// suspect tells whether a record failed alone. A request of suspects only says nothing about HubSpot.
func (t *Task) suspect() bool { return t.trial != nil && t.trial.alone > 0 }

// rest is how long the n-th failure in a row rests.
func rest(n int) time.Duration {
	return min(firstRest<<(2*min(max(n-1, 0), 10)), lastRest)
}

const (
	firstRest = 500 * time.Millisecond // then 2, 8, 32 and 128 s
	lastRest  = 5 * time.Minute

	// The rule for convictions. The other requests are those of the last minute that carried no suspect.
	enoughOthers  = 20               // other requests that say how many requests fail anyway
	someOthers    = 5                // as few of them cast doubt
	fewFail       = 0.1              // of the others: then enoughAlone failures alone convict
	manyFail      = 0.5              // beyond that nobody is convicted
	enoughAlone   = 5                // in a row
	enoughDoubt   = 20               // in a row, over longTrial, while more than few of the others fail
	enoughQuiet   = 10               // over longTrial, on a quiet topic
	longTrial     = 30 * time.Minute // how long the failures must take
	enoughObjects = 3                // on a quiet topic: other objects confirmed meanwhile
	enoughNamed   = 3                // failures alone, from which on the board names the record

	// A batch is taken apart when so many failures in a row would be rare if it were innocent.
	rare        = 0.1
	mostRounds  = 20
	enoughRound = 3 // undecided answers before a batch is taken apart
)

// roundsToBlame is how often a batch must fail in a row to be taken apart, while a share of the other requests fails.
func roundsToBlame(share float64) int {
	if share < fewFail {
		return 1
	}
	if share >= 1 {
		return mostRounds
	}
	return min(int(math.Ceil(math.Log(rare)/math.Log(share))), mostRounds)
}

// guilty tells whether the failures alone of a record convict it, by what happened to the others meanwhile.
func (tr *trial) guilty(l *lane, t *Task, now time.Time, before bool) bool {
	long := now.Sub(tr.since) >= longTrial
	passed, failed := l.passed-tr.passed, l.failed-tr.failed // since then
	n, share := l.others(t, now)
	switch {
	case n >= enoughOthers && share > manyFail:
		return false
	case n >= enoughOthers && share >= fewFail:
		return tr.alone >= enoughDoubt && long
	case n >= enoughOthers:
		return (tr.alone >= enoughAlone || before) && failed <= fewFail*(passed+failed)
	}
	return (tr.alone >= enoughQuiet && long || before) && failed < manyFail*(passed+failed) &&
		l.objectsBetween(t.ID, tr.first, tr.left) >= enoughObjects
}

// minute counts the requests of the last minute, in parts of five seconds.
type minute struct {
	parts [minuteParts]struct{ all, failed float64 }
	at    int64 // the newest part
}

const minuteParts = 12

// partOf is a time's part, counted since 1970.
func partOf(at time.Time) int64 { return at.Unix() / 5 }

func (m *minute) turn(now time.Time) {
	at := partOf(now)
	for n := min(at-m.at, int64(len(m.parts))); n > 0; n-- {
		m.parts[(at-n+1)%int64(len(m.parts))] = struct{ all, failed float64 }{}
	}
	m.at = max(m.at, at)
}

// add counts a request of which a part failed, from 0 to 1.
func (m *minute) add(now time.Time, failed float64) {
	m.turn(now)
	p := &m.parts[m.at%int64(len(m.parts))]
	p.all++
	p.failed += failed
}

// share is how many requests there were, and which share of them failed, without some of them.
func (m *minute) share(now time.Time, without []charge) (n int, share float64) {
	m.turn(now)
	all, failed := 0.0, 0.0
	for _, p := range m.parts {
		all, failed = all+p.all, failed+p.failed
	}
	for _, c := range without {
		if c.part > m.at-minuteParts {
			all, failed = all-1, failed-c.failed
		}
	}
	if all < 1 {
		return 0, 0
	}
	return int(all), max(failed, 0) / all
}
