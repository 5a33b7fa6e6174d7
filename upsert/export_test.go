package upsert

import "github.com/tasksink/tasksink/consumer"

// Inspect shows each record to f as it is decoded, and each as its input is encoded, until undo is called. f may panic.
func Inspect(f func(stage string, rec *consumer.Record)) (undo func()) {
	before := inspect
	inspect = f
	return func() { inspect = before }
}

// What an answer means, and what a request carries, is compared with goldens and twins input by input. A Sender shows
// only what follows from both.
type (
	Class     = class
	Verdict   = verdict
	Input     = input
	Judgement = judgement
)

const (
	Judged    = classJudged
	Refused   = classRefused
	Conflict  = classConflict
	Locked    = classLocked
	Limited   = classLimited
	Daily     = classDaily
	Auth      = classAuth
	Scope     = classScope
	Config    = classConfig
	OwnConfig = classOwnConfig
	Migrating = classMigrating
	Failed    = classFailed

	Unresolved = verdictUnresolved
	Confirmed  = verdictConfirmed
	Bad        = verdictBad
	Troubled   = verdictTroubled

	ServerError = categoryServerError
)

var (
	Judge         = judge
	AppendRequest = appendRequest
)
