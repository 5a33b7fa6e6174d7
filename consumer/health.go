package consumer

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/internal/broker"
)

// Problem is what is wrong with one partition. It harms no other.
type Problem struct {
	Cause  string    `json:"cause"`  // one of the causes below
	Detail string    `json:"detail"` // what was seen
	Since  time.Time `json:"since"`
	Offset int64     `json:"offset"` // where the partition stands; -1 if that is unknown
	Remedy string    `json:"remedy"` // what the operator can do about it
}

// The causes of a Problem.
const (
	causeMissing     = "missing"      // the topic or the partition is not there
	causeNoLeader    = "no-leader"    // no broker leads it, or its leader is on the move
	causeUnreachable = "unreachable"  // its leader, or the group's coordinator, does not answer
	causeCorrupt     = "corrupt"      // what the log holds cannot be read
	causeStorage     = "storage"      // the broker cannot read its disk
	causeDenied      = "unauthorized" // we may not read it
	// a transaction is open at this offset, and what lies behind it is not served yet
	causeTransaction = "open-transaction"
	causeOldFormat   = "old-format" // its records are of format v0 or v1
	causeTooLarge    = "too-large"  // one record is larger than the room
	causeOther       = "error"
)

// activity is what can fail for a partition, each by itself.
type activity int

const (
	fetching activity = iota // finding its leader, where to begin, and its records
	committing
	passing // getting on: nothing is served though the log goes on
	activities
)

// fault is an activity that fails.
type fault struct {
	Problem
	tries  int
	next   time.Time // when to try again
	logged time.Time // when it was last logged; zero: not yet
}

// health is the state of one partition: who leads it, whether a request for it is out, and what is wrong with it.
// Nothing else knows any of this. Its methods lock it.
type health struct {
	mu     sync.Mutex
	leader int   // -1 if there is none
	epoch  int32 // of its leadership; -1 if the brokers do not say
	busy   bool  // a request for it is out: there is never a second one
	faults [activities]*fault
}

const (
	firstRest, longestRest = 100 * time.Millisecond, 5 * time.Second // after a failure, doubled each time

	blip     = time.Second      // a fault that is shorter is not logged: leaders move
	patience = 10 * time.Second // of faults before they are called a hold
	remind   = time.Minute      // a fault that lasts is logged again
)

// lead takes in who leads the partition; -1 if nobody does. A partition that has moved is tried at once.
func (h *health) lead(id int, epoch int32) (moved bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epoch = epoch
	if h.leader == id {
		return false
	}
	h.leader = id
	if f := h.faults[fetching]; f != nil && id >= 0 {
		f.next = time.Time{}
	}
	return true
}

// progress says that an activity that fails has come a little further: it need not rest.
func (h *health) progress(a activity) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.faults[a]; f != nil {
		f.next, f.tries = time.Time{}, 0
	}
}

// leaderEpoch is the epoch of the leadership, as far as we know.
func (h *health) leaderEpoch() int32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.epoch
}

func (h *health) ledBy() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leader
}

// claim reserves the partition for one request to a broker, until release. If it is not to be asked for now, due is
// when it will be; zero: not before something changes. suspect says that its last request failed: it is asked for
// alone.
func (h *health) claim(leader int, now time.Time) (claimed, suspect bool, due time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leader != leader || h.busy {
		return false, false, time.Time{}
	}
	f := h.faults[fetching]
	if f != nil && now.Before(f.next) {
		return false, true, f.next
	}
	h.busy = true
	return true, f != nil, time.Time{}
}

// release ends a claim. moved tells whether another broker leads the partition by now, and may ask for it.
func (h *health) release(leader int) (moved bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy = false
	return h.leader != leader
}

// failures counts how often an activity failed in a row.
func (h *health) failures(a activity) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.faults[a]; f != nil {
		return f.tries
	}
	return 0
}

// rests tells until when an activity that failed is not tried again; zero if it may be tried now.
func (h *health) rests(a activity, now time.Time) (until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.faults[a]; f != nil && now.Before(f.next) {
		return f.next
	}
	return time.Time{}
}

// fail says that an activity failed at an offset, and when it may be tried again.
func (h *health) fail(a activity, offset int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	cause, remedy := diagnose(err)
	f := h.faults[a]
	if f == nil || a == passing && f.Offset != offset { // it has got on
		f = &fault{Problem: Problem{Since: time.Now()}}
		h.faults[a] = f
	}
	f.Cause, f.Detail, f.Offset, f.Remedy = cause, err.Error(), offset, remedy
	rest := min(firstRest<<min(f.tries, 10), longestRest)
	f.next = time.Now().Add(rest*4/5 + rand.N(rest*2/5))
	f.tries++
}

// succeed says that an activity works. It returns the problem that ended by it, if that was logged.
func (h *health) succeed(a activity) (ended *Problem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.faults[a]
	h.faults[a] = nil
	if f == nil || f.logged.IsZero() {
		return nil
	}
	return &f.Problem
}

// list and inherit hand faults on to the next generation, which tries at once.
func (h *health) list() (all [activities]*fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.faults
}

func (h *health) inherit(faults [activities]*fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for a, f := range faults {
		if f != nil {
			h.faults[a] = &fault{Problem: f.Problem, logged: f.logged}
		}
	}
}

// current is the fault to show; nil if there is none. That it does not get on is none before it is old: most
// transactions end at once. The lock is held.
func (h *health) current(now time.Time) *fault {
	for a, f := range h.faults {
		if f != nil && (activity(a) != passing || now.Sub(f.Since) >= patience) {
			return f
		}
	}
	return nil
}

// problem is what is wrong now; nil if nothing is.
func (h *health) problem(now time.Time) *Problem {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.current(now)
	if f == nil {
		return nil
	}
	p := f.Problem
	return &p
}

// fault is what is wrong with an activity; nil if it works.
func (h *health) fault(a activity) *Problem {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.faults[a]; f != nil {
		p := f.Problem
		return &p
	}
	return nil
}

// report is what to say now about the partition's problem: whether to log it, and whether it is old enough for a hold.
func (h *health) report(now time.Time) (p *Problem, log, lasting bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.current(now)
	if f == nil {
		return nil, false, false
	}
	if log = now.Sub(f.Since) >= blip && now.Sub(f.logged) >= remind; log {
		f.logged = now
	}
	said := f.Problem
	return &said, log, now.Sub(f.Since) >= patience
}

// diagnose names the cause of an error that concerns one partition, and what the operator can do about it.
func diagnose(err error) (cause, remedy string) {
	if errors.Is(err, errOpenTransaction) {
		return causeTransaction, "a transaction began here and was neither committed nor aborted; if it stays open, find " +
			"its producer " +
			"with kafka-transactions.sh --bootstrap-server HOST:PORT find-hanging --broker-id ID, and abort it there"
	}
	if errors.Is(err, errOldFormat) {
		return causeOldFormat, "tasksink reads format v2, Kafka's since 0.11: docs/upgrading.md says how to rewrite the topic"
	}
	if errors.Is(err, errTooLarge) {
		return causeTooLarge, "raise --max-pending-bytes above the record's size, and the memory limit with it"
	}
	var code kafka.Error
	switch {
	case errors.Is(err, errUnreadable):
		code = kafka.InvalidMessage
	case !errors.As(err, &code):
		code = kafka.NetworkException
	}
	switch code {
	case kafka.UnknownTopicOrPartition, kafka.UnknownTopicID, kafka.InconsistentTopicID:
		return causeMissing, "create the topic again, or take it out of --kafka-topics; tasksink goes on with the others, " +
			"and with this one when it is there"
	case kafka.TopicAuthorizationFailed:
		return causeDenied, "allow the principal READ and DESCRIBE on the topic: docs/security.md has the list"
	case kafka.LeaderNotAvailable, kafka.NotLeaderForPartition, kafka.ReplicaNotAvailable, kafka.FencedLeaderEpoch,
		kafka.UnknownLeaderEpoch, kafka.OffsetNotAvailable, kafka.ListenerNotFound:
		return causeNoLeader, "bring back a broker that holds a replica of it: " +
			"kafka-topics.sh --bootstrap-server HOST:PORT --describe --unavailable-partitions"
	case kafka.KafkaStorageError, kafka.LogDirNotFound:
		return causeStorage, "look at the disk and the log of the broker that leads it, or move the leadership to another " +
			"replica"
	case kafka.NetworkException, kafka.BrokerNotAvailable, kafka.RequestTimedOut:
		return causeUnreachable, cmp.Or(broker.Remedy(err),
			"look at the broker that leads it, and at the network in between; tasksink goes on by itself")
	case kafka.InvalidMessage, kafka.InvalidRecord, kafka.InvalidMessageSize:
		return causeCorrupt, "the log cannot be read from this offset on: look at it with kafka-dump-log.sh --files …, " +
			"restore it from " +
			"a replica, or stop tasksink and step over it with kafka-consumer-groups.sh --reset-offsets --to-offset N"
	default:
		return causeOther, cmp.Or(broker.Remedy(err), "look at the broker that leads it; tasksink tries again by itself")
	}
}

// errUnreadable marks what a fetch answered and cannot be decoded.
var errUnreadable = errors.New("the answer cannot be read")
