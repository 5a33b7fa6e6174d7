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
	Judged   = classJudged
	Refused  = classRefused
	Conflict = classConflict
	Failed   = classFailed
	TooLarge = classTooLarge
	Locked   = classLocked
	Limited  = classLimited
	Daily    = classDaily
	Auth     = classAuth
	Moving   = classMoving

	Undecided = verdictUndecided
	Confirmed = verdictConfirmed
	Bad       = verdictBad
	Troubled  = verdictTroubled

	ServerError = categoryServerError
)

var (
	Judge         = judge
	AppendRequest = appendRequest
)

// Rows are the lines of the table that judge goes by, as docs/answers.md shows them.
func Rows() (rows [][4]string) {
	for _, r := range table {
		whose := "any"
		if r.own {
			whose = "HubSpot's JSON"
		}
		rows = append(rows, [4]string{r.status, whose, r.says, r.then})
	}
	return rows
}

// Permanent are the categories that speak of a record.
func Permanent() []string { return permanent }
