package upsert

import (
	"time"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
)

// Task is one decoded task event: a Kafka record and the endpoint's input object in it. Of a record that is no task
// event it is the place among the records of its object.
type Task struct {
	Record     *consumer.Record
	ID         string
	IDProperty string // the event's own, else the configured one
	Properties []byte // as they go on the wire, in the event's order, each name once: "name":"value","name":null

	refused *dlq.Reason // why the record is no task event

	// What follows belongs to whoever has sealed the task: the Sender's attempt that carries it.
	panicked bool   // its encoding panicked, and that is in the log
	attempts int32  // requests that carried it
	trial    *trial // what speaks against it; nil: nothing
}

// input is one element of a request's inputs: the tasks of one object that travel together, oldest first.
// Its trace id is that of the newest.
type input []*Task

// verdict is what an answer says of one input.
type verdict int

const (
	verdictUndecided verdict = iota // nothing is known of it: send it again
	verdictConfirmed
	verdictBad      // refused by name, for good: the reason stands beside it
	verdictTroubled // named with a category that does not speak of the record: the reason stands beside it
)

// judgement is what one HTTP answer means for the inputs of its request.
type judgement struct {
	Class      class
	Status     int           // 0: no answer came
	Verdicts   []verdict     // classJudged: one for each input
	Reasons    []*dlq.Reason // classJudged: one for each input, not nil if it was named
	Reason     dlq.Reason    // any other class: what the answer said of the whole
	RetryAfter time.Duration
	What       string // the answer in a few words, for people: "HTTP 503, a page with the title ..."

	warnings   []warning
	scopes     []string // that HubSpot wants, if it refuses for want of one
	idProperty bool     // one of HubSpot's two messages about an idProperty that does not fit the account
}

// specific tells whether a refusal names a property or a code: then it speaks of a record, most likely.
func (a judgement) specific() bool {
	return a.Reason.Category == "VALIDATION_ERROR" && (a.Reason.Code != "" || a.Reason.Property != "")
}
