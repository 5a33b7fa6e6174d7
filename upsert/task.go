package upsert

import (
	"time"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
)

// Task is one decoded task event: a Kafka record and the endpoint's input object in it.
type Task struct {
	Record     *consumer.Record
	ID         string
	IDProperty string // the event's own, else the configured one
	OwnKey     bool   // the event brought its idProperty itself
	Properties []byte // as they go on the wire, in the event's order, each name once: "name":"value","name":null

	// What follows belongs to whoever has sealed the task: the Sender's attempt that carries it.
	conflicted bool   // it met a 409 once
	attempts   int32  // requests that carried it
	failures   int32  // requests that carried it and of which nothing is known, each with another record confirmed since the one before
	alone      int32  // of those, the ones that carried nothing else
	seen       uint64 // how many records were confirmed when it last failed
}

// Object names the HubSpot object that the task writes: idProperty and id.
func (t *Task) Object() string { return t.IDProperty + "\x00" + t.ID }

// Input is one element of a request's inputs: the tasks of one object that travel together, oldest first.
// Its trace id is that of the newest.
type Input []*Task

// Class is what an answer says of a whole request.
type Class int

const (
	Judged    Class = iota // the body speaks for each input: Answer.Verdicts
	Refused                // nothing was written, and no input is to blame by name: split
	Conflict               // 409, another call may have created the object: once more, then as Refused
	Locked                 // 423: once more after RetryAfter, at least 2 s
	Limited                // 429 of the window: wait RetryAfter, or the window where it is 0
	Daily                  // 429 DAILY: hold
	Auth                   // 401: read the token again, hold
	Scope                  // 403 in HubSpot's JSON: hold
	Config                 // 404, 405, 414 in HubSpot's JSON, or a configured idProperty that is missing or not unique: hold
	OwnConfig              // the same, but only tasks with an idProperty of their own brought it
	Migrating              // 477: hold for RetryAfter
	Failed                 // 5xx, 408, an answer that cannot be read: nothing is known; retry
)

// Verdict is what an answer says of one input.
type Verdict int

const (
	Unresolved Verdict = iota // nothing is known of it: send it again
	Confirmed
	Bad // refused by name: the reason stands beside it
)

// Answer is what one HTTP answer means for the inputs of its request.
type Answer struct {
	Class      Class
	Verdicts   []Verdict     // Judged: one for each input
	Reasons    []*dlq.Reason // Judged: one for each input, not nil where the verdict is Bad
	Reason     dlq.Reason    // any other class: what the answer said of the whole
	RetryAfter time.Duration
	// Pending is true where HubSpot said PENDING, PROCESSING or CANCELED: what is unresolved goes again after ≥ 2 s.
	Pending bool
}
