package upsert

import (
	"strconv"
	"strings"
	"time"

	"github.com/tasksink/tasksink/dlq"
)

// What the gate calls the holds of a smaller scope.
const (
	laneName  = "lane "
	floodName = "flood "
	lockName  = "locked" // 423s in a row: it stops everything for seconds, and is not on the board
)

const enoughProbes = 3 // of a lane's hold that were refused: then it was everybody

// silent counts an answer that neither confirmed nor convicted anybody. Lanes in which nothing else comes are held.
func (s *Sender) silent(f flight, a judgement) {
	failed := a.Class == classFailed || a.Class == classTooLarge || a.Class == classLocked
	for _, key := range s.evidence.silent(f.inputs, failed) {
		stops := func(t *Task) bool { return t.refused == nil && t.lane() == key && !t.paced() }
		if s.gate.Hold(laneName+key.name(), standing{stops: stops, limit: probeSize, every: holdProbe}, holdProbe) {
			s.cfg.Queue.Recheck()
			s.unnameAll(stops) // it is not they that fail alone
		}
		reason, detail, remedy := laneHold(a)
		s.lanes.begin(key, laneReason{reason, detail, remedy}, s.evidence.known())
	}
}

// release ends the holds that confirmed records disprove: those of their lanes, and that of a flood if they are its
// probe. Records from before the hold say nothing about the flood.
func (s *Sender) release(f flight, confirmed []*Task) {
	if s.gate.scoped.Load() == 0 {
		return
	}
	for i, t := range confirmed {
		if i == 0 || t.lane() != confirmed[i-1].lane() {
			s.end(laneName + t.lane().name())
		}
	}
	if strings.HasPrefix(f.permit.hold, floodName) && f.permit.probe {
		s.end(f.permit.hold)
	}
}

// end ends a hold of a smaller scope: its records go on, and none of them rests. If probes of a lane, each smaller than
// the one before, were refused, it was not for a record. Else what passes now may be what was innocent in a batch: the
// parts of it stay apart, or the search for the bad record would begin again.
func (s *Sender) end(name string) {
	stops := s.gate.Stops(name)
	failed, stood := s.gate.End(name)
	if !stood {
		return
	}
	if scope, flood := strings.CutPrefix(name, floodName); flood {
		i := strings.LastIndexByte(scope, '/')
		partition, _ := strconv.Atoi(scope[i+1:])
		s.floods.empty(scope[:i], partition)
		s.cfg.Board.Clear(holdFlood, scope)
	} else {
		s.lanes.end(strings.TrimPrefix(name, laneName), s.evidence.known())
		if failed < enoughProbes {
			s.cfg.Queue.WakeTogether(stops)
			s.cfg.Queue.Recheck()
			return
		}
	}
	s.wake(stops)
}

// flooded counts a record that is about to be dead-lettered, and tells whether it must wait, as its partition floods.
// The probe of a flood is dead-lettered, whatever it meets.
func (s *Sender) flooded(p permit, t *Task, reason dlq.Reason) bool {
	name := floodName + partitionScope(t.Record.Topic, t.Record.Partition)
	switch {
	case s.cfg.LetFlood, dlq.Redriven(t.Record), p.probe && p.hold == name:
		return false
	case s.gate.Stops(name) != nil:
		return true
	}
	if reason.Stage == "" {
		reason.Stage = dlq.StageUpsert
	}
	partitions, detail := s.floods.refused(t.Record, reason, time.Now())
	for _, partition := range partitions {
		s.holdFlood(t.Record.Topic, partition, detail)
	}
	if len(partitions) > 0 {
		s.cfg.Queue.Recheck()
	}
	return s.gate.Stops(name) != nil
}

func (s *Sender) holdFlood(topic string, partition int, detail string) {
	scope := partitionScope(topic, partition)
	stops := func(t *Task) bool { return t.Record.Partition == partition && t.Record.Topic == topic }
	s.gate.Hold(floodName+scope, standing{stops: stops, limit: 1, every: floodProbe}, floodProbe)
	s.cfg.Board.Set(holdFlood, scope, detail,
		"correct the producer, or the property in HubSpot; or let these records go to the dead letters with "+
			"--on-flood=dead-letter")
}

// name shows a record that fails alone on the board.
func (s *Sender) name(t *Task, tries int, what string) {
	s.evidence.failedBy(t, what)
	if !s.evidence.name(t, tries) {
		return
	}
	s.cfg.Board.Set(holdRecord, recordScope(t), "1 record fails alone: "+recordScope(t)+", "+what+", "+
		strconv.Itoa(tries)+" tries", "look at the record: HubSpot takes the others, or there are none at the moment; its "+
		"partition goes on, and it becomes a dead letter when the others show that it is to blame, or when it is listed in "+
		"--dead-letter-file")
}

func (s *Sender) unnameAll(of func(*Task) bool) {
	for _, t := range s.evidence.unnameAll(of) {
		s.cfg.Board.Clear(holdRecord, recordScope(t))
	}
}

func (s *Sender) unname(t *Task) {
	if s.evidence.unname(t) {
		s.cfg.Board.Clear(holdRecord, recordScope(t))
	}
}

// search is how long what was refused rests before the search for bad records of the kind goes on with it.
func (s *Sender) search(f flight, kind string) time.Duration {
	st := s.cfg.Pace.Status()
	limit, window := st.Limit*st.Share, time.Duration(st.Window*float64(time.Second))
	if st.Unlimited || limit <= 0 || window <= 0 {
		limit, window = 100, 10*time.Second // HubSpot's lowest
	}
	after := s.evidence.spend(f.inputs, kind, limit, window)
	scope := s.lanes.scope(f.inputs[0][0].lane()) + ": " + kind
	if after >= shownBudget {
		s.cfg.Board.Set(holdSearch, scope, "HubSpot refuses whole batches because of records of this kind; the search for "+
			"them waits, as it may use 5 % of the requests", "correct the producer, or what HubSpot's message names")
		s.mu.Lock()
		s.searches[scope] = later(s.searches[scope], time.Now().Add(after))
		s.mu.Unlock()
	}
	return after
}

// searched ends the holds of searches that no longer wait: what rested longest has left, and its answer called for no
// further rest.
func (s *Sender) searched() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for scope, until := range s.searches {
		if time.Now().After(until) {
			delete(s.searches, scope)
			s.cfg.Board.Clear(holdSearch, scope)
		}
	}
}

// deadLetter hands a record to the dead letters. ended is called when Kafka has the letter, or it is given up.
func (s *Sender) deadLetter(t *Task, reason dlq.Reason, ended func(written bool)) {
	if reason.Stage == "" {
		reason.Stage = dlq.StageUpsert
	}
	reason.Attempts = int(t.attempts)
	s.cfg.DeadLetter(t.Record, reason, ended)
}
