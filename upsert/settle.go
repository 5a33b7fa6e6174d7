package upsert

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/dlq"
)

const (
	conflictPause = 500 * time.Millisecond // after a 409 the other call has created the object: the same is an update now
	pendingPause  = 2 * time.Second        // while HubSpot works on a batch, or holds a lock
	firstBackoff  = 250 * time.Millisecond
	lastBackoff   = 4 * time.Second
	// enoughTogether is how many failures in company, while others pass, make a batch suspect: a random one in five hits
	// the same batch three times in a row once in a hundred.
	enoughTogether = 3
	enoughAlone    = 5  // failures of a record that travels alone, while others pass, that make it bad in itself
	enoughDoubt    = 20 // refusals in a row that may be nobody's fault, without a success between, that call for a hold
)

// Categories of records that HubSpot never answers for.
const (
	categoryUnanswered  = "UNRESOLVED"   // it answers, but leaves the record out
	categoryServerError = "SERVER_ERROR" // it fails whenever it gets the record
)

// flight is a request that was answered, or failed.
type flight struct {
	batch   []*batcher.Sealed[*Task]
	healthy bool // the breaker was closed when it left: a failure may be the records' fault
	status  int
	span    trace.SpanContext // of the batch; not valid if it is in no trace
}

// settle does what the answer asks for, for each record of the request and for the flow as a whole. The records
// come first: when the gate lets the next request pass, they are back in their places.
func (s *Sender) settle(p permit, f flight, a judgement) {
	if stop, is := stopFor(a); is {
		if a.Class == classAuth {
			if changed, err := s.cfg.Client.ReloadToken(); err != nil {
				s.cfg.Log.Error().Err(err).Msg("read the HubSpot token again")
			} else if changed {
				stop.every = firstHoldProbe
			}
		}
		s.backAll(f, batcher.Again{})
		s.gate.Hold(stop.reason, stop.detail, stop.remedy, stop.every)
		s.gate.passed(p, held)
		return
	}
	switch a.Class {
	case classJudged:
		s.gate.passed(p, s.judged(f, a))
	case classLimited:
		s.backAll(f, batcher.Again{})
		s.gate.passed(p, held)
	case classLocked:
		s.failed(f, a.Reason, max(pendingPause, a.RetryAfter))
		s.gate.passed(p, answered)
	case classConflict:
		s.conflicted(f, a.Reason)
		s.gate.passed(p, answered)
	case classRefused, classOwnConfig:
		s.refusedWhole(f, a)
		s.gate.passed(p, answered)
	default:
		s.failed(f, a.Reason, 0)
		s.gate.failedWith(p, errFailed, failureCode(f, a.Reason))
	}
}

var errFailed = errors.New("HubSpot failed")

func (s *Sender) backAll(f flight, again batcher.Again) {
	for _, sealed := range f.batch {
		s.cfg.Queue.Back(sealed, again)
	}
}

// judged settles each input by what the body said of it.
func (s *Sender) judged(f flight, a judgement) outcome {
	s.follow(f, a)
	records, inputs, now := 0, 0, time.Now()
	for i, sealed := range f.batch {
		if a.Verdicts[i] == verdictConfirmed {
			for _, t := range sealed.Records {
				t.Record.Settle(now)
			}
			s.cfg.Queue.Done(sealed)
			records, inputs = records+len(sealed.Records), inputs+1
		}
	}
	if records > 0 {
		s.flowed(records, inputs)
	}
	after := time.Duration(0)
	if a.Pending {
		after = pendingPause
	}
	for i, sealed := range f.batch {
		switch a.Verdicts[i] {
		case verdictBad:
			s.refused(sealed, *a.Reasons[i])
		case verdictTroubled:
			s.unanswered(sealed, true, batcher.Again{}, *a.Reasons[i])
		case verdictUnresolved:
			again := batcher.Again{Cap: (len(f.batch) + 1) / 2, After: after}
			s.unanswered(sealed, len(f.batch) == 1, again, dlq.Reason{Category: categoryUnanswered,
				Message: "HubSpot answered, but not for this record", Span: f.span})
		}
	}
	if records > 0 {
		return accepted
	}
	return answered
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

// refused settles an input that was refused by name. One of several records may be at fault alone: then a part of
// them goes again, until the guilty one stands by itself.
func (s *Sender) refused(sealed *batcher.Sealed[*Task], reason dlq.Reason) {
	if len(sealed.Records) > 1 {
		s.cfg.Queue.Back(sealed, batcher.Again{Suspect: true})
		return
	}
	if s.floods(reason) {
		s.cfg.Queue.Back(sealed, batcher.Again{})
		return
	}
	s.deadLetter(sealed.Records[0], reason, s.returned(sealed))
}

// refusedWhole settles a request of which nothing was written. Halves of it go again, until the guilty record
// travels alone.
func (s *Sender) refusedWhole(f flight, a judgement) {
	// What refuses may be nobody's fault: a web application firewall that dislikes a content, or that is broken; an
	// idProperty that one event brought, or every event. The record is bad if others pass meanwhile.
	doubtful := a.Class == classOwnConfig || f.status == http.StatusForbidden
	if doubtful {
		s.doubt(a.Reason)
	}
	sealed := f.batch[0]
	switch {
	case len(f.batch) > 1:
		s.backAll(f, batcher.Again{Cap: (len(f.batch) + 1) / 2})
	case doubtful && len(sealed.Records) == 1 && !s.failsAlone(sealed.Records[0], 2):
		s.cfg.Queue.Back(sealed, batcher.Again{Cap: 1, After: backoff(int(sealed.Records[0].attempts))})
	default:
		s.refused(sealed, a.Reason)
	}
}

func (s *Sender) doubt(reason dlq.Reason) {
	s.mu.Lock()
	s.doubted++
	many := s.doubted >= enoughDoubt
	s.mu.Unlock()
	if many {
		s.gate.Hold(holdBlocked, fmt.Sprintf("%d requests in a row were refused and none passed: %s %s", enoughDoubt,
			reason.Category, reason.Code),
			"look for a proxy or firewall between tasksink and HubSpot, and at the idProperty of the events", 15*time.Second)
	}
}

// conflicted settles a request that met another call creating the same object: once more, then as refused.
func (s *Sender) conflicted(f flight, reason dlq.Reason) {
	for _, sealed := range f.batch {
		if !sealed.Records[0].conflicted {
			for _, sealed := range f.batch {
				sealed.Records[0].conflicted = true
			}
			s.backAll(f, batcher.Again{After: conflictPause})
			return
		}
	}
	s.refusedWhole(f, judgement{Class: classRefused, Reason: reason})
}

// failed settles a request of which nothing is known. All of it goes again; a batch that keeps failing while others
// pass is quartered, because a record of it may be what HubSpot fails on.
func (s *Sender) failed(f flight, reason dlq.Reason, after time.Duration) {
	reason.Category, reason.Code = categoryServerError, failureCode(f, reason)
	alone, most := len(f.batch) == 1, int32(0)
	for _, sealed := range f.batch {
		most = max(most, sealed.Records[0].attempts)
	}
	after = max(after, backoff(int(most)))
	for _, sealed := range f.batch {
		again := batcher.Again{After: after}
		// A probe that fails in an outage says nothing about what it carried: no crumbs when the outage ends.
		if t := sealed.Records[0]; f.healthy && !alone && s.counts(t) && t.failures >= enoughTogether {
			again.Cap = (len(f.batch) + 3) / 4
		}
		s.unanswered(sealed, alone && f.healthy, again, reason)
	}
}

// failureCode is what a failed request met: NO_ANSWER, HTTP_503 and the like.
func failureCode(f flight, reason dlq.Reason) string {
	return cmp.Or(reason.Code, fmt.Sprintf("HTTP_%d", f.status))
}

// unanswered sends an input again that nothing is known of, unless it has failed often enough by itself.
func (s *Sender) unanswered(sealed *batcher.Sealed[*Task], alone bool, again batcher.Again, reason dlq.Reason) {
	if alone {
		again.Cap = 1
		if len(sealed.Records) > 1 {
			again.Suspect = true
		} else if s.failsAlone(sealed.Records[0], enoughAlone) {
			s.deadLetter(sealed.Records[0], reason, s.returned(sealed))
			return
		}
		again.After = max(again.After, backoff(int(sealed.Records[0].alone)))
	}
	s.cfg.Queue.Back(sealed, again)
}

// failsAlone counts a failure of a record that travelled alone, and tells whether that makes enough.
func (s *Sender) failsAlone(t *Task, enough int32) bool {
	if s.counts(t) {
		t.alone++
	}
	return t.alone >= enough
}

// counts counts a failure against a record: the first one, and each with another record confirmed since the one
// before. In an outage nothing passes, and nobody is to blame.
func (s *Sender) counts(t *Task) bool {
	now := s.confirmed.Load()
	if t.failures > 0 && now == t.seen {
		return false
	}
	t.failures++
	t.seen = now
	return true
}

// backoff is how long the n-th failure in a row rests: exponential, with jitter over its upper half.
func backoff(n int) time.Duration {
	d := min(lastBackoff, firstBackoff<<min(max(n-1, 0), 10))
	return d/2 + rand.N(d/2)
}
