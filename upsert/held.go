package upsert

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tasksink/tasksink/dlq"
)

// What the gate calls the holds of a smaller scope.
const (
	laneName   = "lane "
	floodName  = "flood "
	searchName = "search "
	doubtName  = "doubt " // it stops what is no task event while it is not known whether its partition floods
	lockName   = "locked" // 423s in a row: it stops everything for seconds, and is not on the board
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
	s.resolve()
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
	if strings.HasPrefix(name, searchName) {
		s.mu.Lock()
		s.cfg.Board.Clear(holdSearch, s.searches[name])
		delete(s.searches, name)
		s.mu.Unlock()
		s.cfg.Queue.Recheck()
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
	scope := partitionScope(t.Record.Topic, t.Record.Partition)
	name, doubt := floodName+scope, doubtName+scope
	switch {
	case s.cfg.LetFlood, dlq.Redriven(t.Record), p.probe && p.hold == name:
		return false
	case s.gate.Stops(name) != nil, t.refused != nil && s.gate.Stops(doubt) != nil:
		return true
	}
	if reason.Stage == "" {
		reason.Stage = dlq.StageUpsert
	}
	if partitions := s.floods.refused(t.Record, reason, time.Now()); len(partitions) > 0 {
		detail := s.floods.detail(t.Record.Topic)
		for _, partition := range partitions {
			p := place{t.Record.Topic, partition}
			if t.refused != nil && (s.flying.Load() > 0 || s.cfg.Queue.Len() > 0) {
				s.doubt(p)
			} else {
				s.holdFlood(p, detail)
			}
		}
		s.cfg.Queue.Recheck()
	}
	return s.gate.Stops(name) != nil || t.refused != nil && s.gate.Stops(doubt) != nil
}

// place is a partition.
type place struct {
	topic     string
	partition int
}

func (p place) holds(t *Task) bool {
	return t.Record.Partition == p.partition && t.Record.Topic == p.topic
}

const longDoubt = 10 * time.Second // after which a partition floods that may

// doubt lets what is no task event wait for what HubSpot says of the others. Decoding is done with a whole backlog
// before HubSpot answers for the first record of it: until then nothing but failures is known.
func (s *Sender) doubt(p place) {
	stops := func(t *Task) bool { return t.refused != nil && p.holds(t) }
	if s.gate.Hold(doubtName+partitionScope(p.topic, p.partition), standing{stops: stops, every: longDoubt}, longDoubt) {
		s.mu.Lock()
		s.doubts = append(s.doubts, p)
		s.mu.Unlock()
	}
}

// resolve ends the doubts about partitions that turn out not to flood.
func (s *Sender) resolve() {
	ended := s.undoubted(func(p place) bool { return !s.floods.still(p.topic, p.partition) })
	for _, p := range ended {
		s.gate.End(doubtName + partitionScope(p.topic, p.partition))
	}
	if len(ended) > 0 {
		s.cfg.Queue.Recheck()
	}
}

// undoubted takes the partitions that of likes out of those in doubt.
func (s *Sender) undoubted(of func(place) bool) (taken []place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubts = slices.DeleteFunc(s.doubts, func(p place) bool {
		if of(p) {
			taken = append(taken, p)
			return true
		}
		return false
	})
	return taken
}

// certain holds the partition of a doubt that nothing has resolved.
func (s *Sender) certain(name string) {
	for _, p := range s.undoubted(func(p place) bool { return name == doubtName+partitionScope(p.topic, p.partition) }) {
		s.holdFlood(p, s.floods.detail(p.topic))
	}
	s.gate.End(name)
	s.cfg.Queue.Recheck()
}

func (s *Sender) holdFlood(p place, detail string) {
	scope := partitionScope(p.topic, p.partition)
	s.gate.Hold(floodName+scope, standing{stops: p.holds, limit: 1, every: floodProbe}, floodProbe)
	s.floods.empty(p.topic, p.partition)
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

// search is about a batch that was refused because of records of a kind. If the search for such records has used its
// part of the window, the batch waits for its turn: a probe of a hold of its own. Else it goes on after a rest.
func (s *Sender) search(f flight, reason dlq.Reason) (after time.Duration, waits bool) {
	st := s.cfg.Pace.Status()
	limit, window := st.Limit*st.Share, time.Duration(st.Window*float64(time.Second))
	if st.Unlimited || limit <= 0 || window <= 0 {
		limit, window = 100, 10*time.Second // HubSpot's lowest
	}
	key, kind := f.inputs[0][0].lane(), kindOf(reason)
	name := searchName + key.name() + " " + kind
	after, waits, next := s.evidence.spend(f.inputs, kind, f.permit.probe && f.permit.hold == name, limit, window)
	if !waits && s.gate.Stops(name) == nil {
		return after, false
	}
	stops := func(t *Task) bool { return t.trial != nil && t.trial.waits == kind && t.lane() == key }
	turn := max(time.Until(next), idleProbe)
	if s.gate.Hold(name, standing{stops: stops, limit: s.cfg.BatchSize, turns: true, every: turn}, turn) {
		known := reason.Kind() // a scope has no words that HubSpot, or a record, makes up
		scope := s.lanes.scope(key) + ": " + strings.TrimSpace(known.Category+" "+known.Code)
		s.cfg.Board.Set(holdSearch, scope, "HubSpot refuses whole batches because of records of this kind ("+kind+
			"); the search for them waits, as it may use 5 % of the requests",
			"correct the producer, or what HubSpot's message names")
		s.mu.Lock()
		s.searches[name] = scope
		s.mu.Unlock()
	}
	return after, waits
}

// deadLetter hands a record to the dead letters. ended is called when Kafka has the letter, or it is given up.
func (s *Sender) deadLetter(t *Task, reason dlq.Reason, ended func(written bool)) {
	if reason.Stage == "" {
		reason.Stage = dlq.StageUpsert
	}
	reason.Attempts = int(t.attempts)
	s.cfg.DeadLetter(t.Record, reason, ended)
}
