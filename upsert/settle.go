package upsert

import (
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/hold"
)

const (
	conflictPause = 500 * time.Millisecond // after a 409 the other call has created the object: the same is an update now
	enoughLocks   = 5                      // 423s in a row, from which on only probes leave
	answerPause   = time.Second            // before a part is taken apart further, while no comparable other was confirmed
	slowFailure   = 500 * time.Millisecond // a batch whose failure takes longer is taken apart in ten at once
)

// flight is a request that was answered, or failed.
type flight struct {
	permit  permit
	batch   []*batcher.Sealed[*Task]
	inputs  []input
	size    int  // bytes of the request, as the queue counts them
	healthy bool // the breaker was closed when it left: a failure may be the records' fault
	left    departure
	charge  charge // what it counted as a failure among the requests of its lanes
	took    time.Duration
	span    trace.SpanContext // of the batch; not valid if it is in no trace
}

// settle does what the answer asks for, for each record of the request and for the flow as a whole. The records
// come first: when the gate lets the next request pass, they are back in their places.
func (s *Sender) settle(f flight, a judgement) {
	if stop, is := stopFor(a, s.cfg.Client.FixedToken()); is {
		first := stop.every
		if a.Class == classAuth {
			first = firstHoldProbe // a stale token or a flaky answer ends here
			if changed, err := s.cfg.Client.ReloadToken(); err != nil {
				s.cfg.Log.Error().Err(err).Msg("read the HubSpot token again")
			} else if changed {
				stop.every = firstHoldProbe
			}
		}
		s.again(f)
		s.gate.Hold(stop.reason, standing{limit: probeSize, every: stop.every}, first)
		s.cfg.Board.Set(stop.reason, hold.All, stop.detail, stop.remedy)
		s.gate.passed(f.permit, held)
		return
	}
	switch a.Class {
	case classLimited:
		s.again(f)
		s.gate.passed(f.permit, held)
	case classLocked:
		s.locked(f, a)
	case classFailed, classTooLarge:
		suspected := s.failed(f, a)
		s.gate.failedWith(f.permit, a, suspected)
	case classJudged:
		s.passed(f, s.judged(f, a))
	default:
		s.refusedWhole(f, a)
		s.passed(f, silent)
	}
}

// passed tells the gate. After the first confirmation that follows an outage or a hold of everything, nothing rests any
// more, and nothing travels apart.
func (s *Sender) passed(f flight, o outcome) {
	if s.gate.passed(f.permit, o) {
		s.evidence.fresh()
		s.wake(func(*Task) bool { return true })
	}
}

// wake ends the rests of records. What travels apart is in company again.
func (s *Sender) wake(of func(*Task) bool) {
	s.cfg.Queue.Wake(func(t *Task) bool {
		if !of(t) {
			return false
		}
		t.rejoin()
		return true
	})
	s.cfg.Queue.Recheck()
}

// again sends a batch again as it was: what travelled apart stays so.
func (s *Sender) again(f flight) {
	if slices.ContainsFunc(f.inputs, func(in input) bool { return in[0].apart() }) {
		s.cfg.Queue.Together(f.batch, 0)
		return
	}
	for _, sealed := range f.batch {
		s.cfg.Queue.Back(sealed, batcher.Again{})
	}
}

// judged settles each input by what the body said of it.
func (s *Sender) judged(f flight, a judgement) outcome {
	s.follow(f, a)
	s.warned(a.warnings)
	confirmed := s.confirm(f, a)
	f.charge = s.weigh(f, a)
	outcome, undecided := silent, f
	if confirmed > 0 {
		outcome = accepted
	}
	undecided.batch, undecided.inputs = nil, nil
	ended := confirmed
	for i, sealed := range f.batch {
		switch a.Verdicts[i] {
		case verdictBad:
			ended++
			s.refused(f.permit, sealed, *a.Reasons[i])
		case verdictTroubled:
			s.countTrouble(*a.Reasons[i])
			s.failedAlone(f, sealed, *a.Reasons[i], a.Reasons[i].Category)
		case verdictUndecided:
			undecided.batch, undecided.inputs = append(undecided.batch, sealed), append(undecided.inputs, f.inputs[i])
		}
	}
	if len(undecided.batch) > 0 {
		s.undecided(undecided, a)
	}
	if ended == 0 {
		s.silent(f, a)
	}
	return outcome
}

// weigh counts a request whose answer speaks for each input, by the part of its inputs without suspicion that failed.
func (s *Sender) weigh(f flight, a judgement) charge {
	innocent, troubled := 0, 0
	for i, in := range f.inputs {
		if in[0].suspect() || in[0].apart() {
			continue
		}
		innocent++
		if v := a.Verdicts[i]; v == verdictTroubled || v == verdictUndecided {
			troubled++
		}
	}
	if innocent == 0 {
		return charge{}
	}
	return s.evidence.count(f.inputs, float64(troubled)/float64(innocent))
}

// confirm settles the inputs that HubSpot confirmed, and ends the holds that this disproves.
func (s *Sender) confirm(f flight, a judgement) (inputs int) {
	now, records := time.Now(), 0
	tasks, taken := make([]*Task, 0, len(f.batch)), make([]input, 0, len(f.batch))
	for i, sealed := range f.batch {
		if a.Verdicts[i] != verdictConfirmed {
			continue
		}
		for _, t := range sealed.Records {
			s.unname(t)
			t.Record.Settle(now)
		}
		tasks, taken, records = append(tasks, sealed.Records[0]), append(taken, sealed.Records), records+len(sealed.Records)
		s.cfg.Queue.Done(sealed)
	}
	if len(tasks) == 0 {
		return 0
	}
	s.locks.Store(0)
	s.confirmed.Add(uint64(records))
	s.merged.Add(uint64(records - len(tasks)))
	s.sizes.passed(f.size, now)
	if !s.cfg.LetFlood {
		s.floods.confirmed(taken, now)
	}
	s.evidence.confirm(tasks)
	s.release(f, tasks)
	return len(tasks)
}

// follow says which records the batch's trace is about to settle, before a commit can know of any of them.
func (s *Sender) follow(f flight, a judgement) {
	if !f.span.IsSampled() {
		return
	}
	for i, sealed := range f.batch {
		for _, t := range sealed.Records {
			if a.Verdicts[i] == verdictConfirmed {
				t.Record.Follow(f.span)
			}
		}
	}
}

// refused settles an input that was refused by name, or whose record is convicted. One of several records may be at
// fault alone: then a part of them goes again, until the guilty one stands by itself.
func (s *Sender) refused(p permit, sealed *batcher.Sealed[*Task], reason dlq.Reason) {
	if len(sealed.Records) > 1 {
		s.cfg.Queue.Back(sealed, batcher.Again{Suspect: true})
		return
	}
	t := sealed.Records[0]
	if s.flooded(p, t, reason) {
		s.evidence.failedBy(t, strings.TrimSpace(kindOf(reason)))
		s.cfg.Queue.Back(sealed, batcher.Again{})
		return
	}
	s.unname(t)
	s.deadLetter(t, reason, s.returned(sealed))
}

// refusedWhole settles a request of which HubSpot wrote nothing. Parts of it go again, until the guilty record travels
// alone.
func (s *Sender) refusedWhole(f flight, a judgement) {
	s.silent(f, a)
	if s.byLane(f) {
		return
	}
	if a.Class == classConflict && s.evidence.conflicts(f.inputs) {
		s.cfg.Queue.Together(f.batch, conflictPause)
		return
	}
	alone, tries := len(f.batch) == 1 && len(f.batch[0].Records) == 1, 0
	if alone {
		guilty, n := s.evidence.refusedAlone(f.batch[0].Records[0], a)
		if guilty {
			s.refused(f.permit, f.batch[0], a.Reason)
			return
		}
		tries = n
		s.name(f.batch[0].Records[0], tries, a.What)
	} else if len(f.batch) > 1 {
		s.evidence.refuses(f.inputs)
	}
	switch after, waits := s.search(f, a.Reason); {
	case waits:
		s.cfg.Queue.Together(f.batch, 0)
	case len(f.batch) > 1:
		s.apart(f, 2, after)
	case alone:
		s.cfg.Queue.Together(f.batch, max(rest(tries), after))
	default:
		s.cfg.Queue.Back(f.batch[0], batcher.Again{Suspect: true, Alone: true, After: after})
	}
}

// failed settles a request of which nothing is known. It returns since when its records are suspects, if they all are.
func (s *Sender) failed(f flight, a judgement) (suspected time.Time) {
	suspected, innocent := s.evidence.suspects(f.inputs)
	bySize := a.Class == classTooLarge && s.tooLarge(f.size)
	if !f.healthy {
		// The probe of an outage says nothing about what it carried.
		s.again(f)
		return suspected
	}
	if innocent {
		f.charge = s.evidence.count(f.inputs, 1)
	}
	s.silent(f, a)
	if s.byLane(f) {
		return suspected
	}
	if len(f.batch) == 1 {
		s.failedAlone(f, f.batch[0], a.Reason, a.What)
		return suspected
	}
	rounds, others := s.evidence.tried(f)
	pause := time.Duration(0)
	if !others { // their answers may be on the way
		pause = answerPause
	}
	switch {
	case !bySize && rounds < s.evidence.blame(f.inputs[0][0]):
		s.cfg.Queue.Together(f.batch, rest(rounds))
	case f.took > slowFailure:
		s.apart(f, 10, pause)
	default:
		s.apart(f, 2, pause)
	}
	return suspected
}

// tooLarge notes a 413, and tells whether the request's size explains it.
func (s *Sender) tooLarge(size int) (explains bool) {
	now := time.Now()
	explains, bound := s.sizes.refused(size, now)
	if bound {
		s.cfg.Log.Warn().Int("bytes", s.sizes.bound(now)).Msg("requests are kept smaller from now on: something between " +
			"tasksink and HubSpot refuses larger ones with status 413")
	}
	return explains
}
