package upsert

import (
	"slices"
	"time"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/dlq"
)

// undecided sends inputs again that HubSpot did not answer for.
func (s *Sender) undecided(f flight, a judgement) {
	if len(f.batch) == 1 {
		s.failedAlone(f, f.batch[0], dlq.Reason{Category: categoryUnanswered, Span: f.span, Message: a.What},
			"no answer for the record")
		return
	}
	if s.byLane(f) {
		return
	}
	s.later(f, 0)
}

// later sends a batch again of which nothing is known, after a rest that grows, or takes it apart.
func (s *Sender) later(f flight, least time.Duration) (rounds int) {
	t := f.inputs[0][0]
	enough := s.evidence.blame(t)
	if !t.apart() {
		enough = max(enough, enoughRound)
	}
	rounds, others := s.evidence.tried(f)
	after := max(least, rest(rounds))
	if rounds < enough || !others || len(f.batch) == 1 {
		s.cfg.Queue.Together(f.batch, after)
	} else {
		s.apart(f, 2, 0)
	}
	return rounds
}

// locked settles a request that met a 423. It speaks against nobody, but one record must not keep others with it. After
// some in a row only probes leave.
func (s *Sender) locked(f flight, a judgement) {
	least := min(a.RetryAfter, lastRest)
	s.silent(f, a)
	rounds := s.later(f, least)
	if len(f.batch) == 1 {
		s.name(f.inputs[0][0], rounds, a.What)
	}
	if len(f.batch) == 1 && rounds > 1 || s.locks.Add(1) < enoughLocks {
		s.passed(f, silent)
		return
	}
	s.gate.Hold(lockName, standing{limit: probeSize, every: holdProbe}, least)
	s.gate.passed(f.permit, held)
}

// failedAlone counts a failure of one input against its record.
func (s *Sender) failedAlone(f flight, sealed *batcher.Sealed[*Task], reason dlq.Reason, what string) {
	t := sealed.Records[0]
	if len(sealed.Records) > 1 && len(f.inputs) == 1 {
		s.cfg.Queue.Back(sealed, batcher.Again{Suspect: true, Alone: true})
		return
	}
	guilty, tries := s.evidence.failedAlone(t, f.charge, reason)
	if guilty {
		s.refused(f.permit, sealed, reason)
		return
	}
	s.name(t, tries, what)
	if len(f.inputs) == 1 {
		s.cfg.Queue.Together([]*batcher.Sealed[*Task]{sealed}, rest(tries)) // it would harm its company
		return
	}
	s.cfg.Queue.Back(sealed, batcher.Again{After: rest(tries)})
}

// byLane takes a batch of several lanes apart by lane, and tells whether it was one. That blames none of its records.
func (s *Sender) byLane(f flight) bool {
	parts := map[laneKey][]*batcher.Sealed[*Task]{}
	for _, sealed := range f.batch {
		key := sealed.Records[0].lane()
		parts[key] = append(parts[key], sealed)
	}
	if len(parts) == 1 {
		return false
	}
	for _, part := range parts {
		s.cfg.Queue.Together(part, 0)
	}
	return true
}

// apart sends a batch again in n parts. Each rests for so long.
func (s *Sender) apart(f flight, n int, rest time.Duration) {
	s.evidence.takenApart(f.inputs, f.left)
	for part := range slices.Chunk(f.batch, (len(f.batch)+n-1)/n) {
		s.cfg.Queue.Together(part, rest)
	}
}
