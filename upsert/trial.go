package upsert

import (
	"math"
	"time"
)

// trial is what speaks against one record. Nearly no record has one. The evidence's mutex protects it.
type trial struct {
	apart      bool   // it travels with a part of a batch that was taken apart
	conflicted bool   // it met a 409 once
	rounds     int    // tries in a row of the batch as it is put together now, of which nothing is known
	against    int    // of those, the ones since which comparable others were confirmed
	left       uint64 // the lane's confirmations as its last try left
	seen       uint64 // and as its answer came

	alone   int       // failures by itself
	what    string    // the last of them met; empty if it is not known
	clean   int       // of those, the last ones in a row while no more than a few of the others failed
	refused int       // refusals by itself, each with a comparable other confirmed since the try before
	since   time.Time // the first failure by itself
	first   uint64    // the lane's confirmations then
	passed  float64   // the lane's requests that did well until then
	failed  float64   // and those that failed
}

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
func (tr *trial) guilty(l *lane, object string, now time.Time, before bool) bool {
	long := now.Sub(tr.since) >= longTrial
	n, share := l.minute.share(now)
	switch {
	case n >= enoughOthers && share > manyFail:
		return false
	case n >= enoughOthers && share >= fewFail:
		return tr.alone >= enoughDoubt && long
	case n >= enoughOthers:
		return tr.clean >= enoughAlone || before
	}
	passed, failed := l.passed-tr.passed, l.failed-tr.failed
	return (tr.alone >= enoughQuiet && long || before) && failed < manyFail*(passed+failed) &&
		l.objectsBetween(object, tr.first, tr.left) >= enoughObjects
}

// minute counts the requests of the last minute, in parts of five seconds.
type minute struct {
	parts [12]struct{ all, failed float64 }
	at    int64 // the newest part, counted since 1970
}

func (m *minute) turn(now time.Time) {
	at := now.Unix() / 5
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

// share is how many requests there were, and which share of them failed.
func (m *minute) share(now time.Time) (n int, share float64) {
	m.turn(now)
	all, failed := 0.0, 0.0
	for _, p := range m.parts {
		all, failed = all+p.all, failed+p.failed
	}
	if all == 0 {
		return 0, 0
	}
	return int(all), failed / all
}
