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
	OwnKey     bool   // the event brought its idProperty itself
	Properties []byte // as they go on the wire, in the event's order, each name once: "name":"value","name":null

	refused *dlq.Reason // why the record is no task event

	// What follows belongs to whoever has sealed the task: the Sender's attempt that carries it.
	conflicted bool  // it met a 409 once
	panicked   bool  // its encoding panicked, and that is in the log
	attempts   int32 // requests that carried it
	// requests that carried it and of which nothing is known, each with another record confirmed since the one before
	failures int32
	alone    int32  // of those, the ones that carried nothing else
	seen     uint64 // how many records were confirmed when it last failed
}

// input is one element of a request's inputs: the tasks of one object that travel together, oldest first.
// Its trace id is that of the newest.
type input []*Task

// class is what an answer says of a whole request.
type class int

const (
	classJudged    class = iota // the body speaks for each input: Verdicts
	classRefused                // nothing was written, and no input is to blame by name: split
	classConflict               // 409, another call may have created the object: once more, then as classRefused
	classLocked                 // 423: once more after RetryAfter, at least 2 s
	classLimited                // 429 of the window: wait RetryAfter, or the window where it is 0
	classDaily                  // 429 DAILY: hold
	classAuth                   // 401: read the token again, hold
	classScope                  // 403 in HubSpot's JSON: hold
	classConfig                 // 404, 405, 414 in HubSpot's JSON, or a configured idProperty that does not fit: hold
	classOwnConfig              // the same, but only tasks with an idProperty of their own brought it
	classMigrating              // 477: hold for RetryAfter
	classFailed                 // 5xx, 408, an answer that cannot be read: nothing is known; retry
)

// verdict is what an answer says of one input.
type verdict int

const (
	verdictUnresolved verdict = iota // nothing is known of it: send it again
	verdictConfirmed
	verdictBad      // refused by name, for good: the reason stands beside it
	verdictTroubled // named with a category that does not speak of the record: the reason stands beside it
)

// judgement is what one HTTP answer means for the inputs of its request.
type judgement struct {
	Class      class
	Verdicts   []verdict     // classJudged: one for each input
	Reasons    []*dlq.Reason // classJudged: one for each input, not nil where the verdict is verdictBad
	Reason     dlq.Reason    // any other class: what the answer said of the whole
	RetryAfter time.Duration
	// Pending is true where HubSpot said PENDING, PROCESSING or CANCELED: what is unresolved goes again after ≥ 2 s.
	Pending bool
}
