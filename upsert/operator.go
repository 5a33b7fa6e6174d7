package upsert

import (
	"strconv"
	"strings"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
)

const categoryOperator = "OPERATOR" // an operator listed the record

// DeadLetterListed makes a dead letter of each record that an operator listed, if it waits here, failed at least once,
// and is the first one of its object. It needs no answer of HubSpot, so it works while everything is held. It returns
// the records that it handed over; each is settled when Kafka has its letter. A record in a request that is out stays
// there: ask again later. An operator's letters say nothing about the other records, and count in no flood.
func (s *Sender) DeadLetterListed(listed func(*consumer.Record) bool) (handed []*consumer.Record) {
	failed := func(t *Task) bool { return (t.attempts > 0 || t.refused != nil) && listed(t.Record) }
	for {
		sealed, _ := s.cfg.Queue.Take(failed)
		if sealed == nil {
			return handed
		}
		t := sealed.Records[0]
		s.unname(t)
		s.deadLetter(t, s.listedReason(t), s.returned(sealed))
		handed = append(handed, t.Record)
	}
}

// listedReason says of a listed record how it failed until now.
func (s *Sender) listedReason(t *Task) dlq.Reason {
	const listed = "an operator listed the record in --dead-letter-file"
	if t.refused != nil {
		why := strings.TrimSpace(t.refused.Category + " " + t.refused.Code)
		return dlq.Reason{Stage: t.refused.Stage, Category: categoryOperator, Property: t.refused.Property,
			Message: listed + "; tasksink cannot send it: " + why + ": " + t.refused.Message}
	}
	message := listed + "; HubSpot had not decided on it after " + strconv.Itoa(int(t.attempts)) + " tries"
	if t.attempts == 1 {
		message = strings.TrimSuffix(message, "tries") + "try"
	}
	if what := s.evidence.lastFailure(t); what != "" {
		message += "; its last failure by itself: " + what
	}
	return dlq.Reason{Category: categoryOperator, Message: message}
}
