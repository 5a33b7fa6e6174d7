package upsert

import (
	"time"

	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/upsert/hubspot"
)

// The reasons for which the flow to HubSpot can be held, as /status and tasksink_hold name them.
const (
	holdAuth      = "auth"      // HubSpot refuses the token
	holdScope     = "scope"     // the token lacks a right
	holdConfig    = "config"    // path or idProperty do not fit the account
	holdDaily     = "daily"     // the day's calls are used up
	holdMigrating = "migrating" // the account moves between regions
	holdBlocked   = "blocked"   // something before HubSpot refuses everything
	holdFlood     = "flood"     // one record after another is refused for the same reason
)

// byRecords are the holds that only a confirmed record ends: they began because records were refused.
var byRecords = []string{holdBlocked, holdFlood}

// stop is a hold as an answer calls for it.
type stop struct {
	reason, detail, remedy string
	every                  time.Duration // between two probes
}

// stopFor tells which hold an answer calls for, if any.
func stopFor(a judgement) (stop, bool) {
	seen := a.Reason.Category
	if a.Reason.CorrelationID != "" {
		seen += " (correlation id " + a.Reason.CorrelationID + ")"
	}
	switch a.Class {
	case classAuth:
		return stop{holdAuth, "HubSpot refuses the token: " + seen, hubspot.AuthRemedy(a.Reason.Category), 5 * time.Second},
			true
	case classScope:
		return stop{holdScope, "HubSpot refuses the call for want of a scope: " + seen,
			"grant the app the scope crm.objects.contacts.write", 15 * time.Second}, true
	case classConfig:
		return stop{holdConfig, "HubSpot refuses every record: " + seen,
			"check --hubspot-url and --hubspot-path (and --hubspot-oauth-path, with OAuth), and that --hubspot-id-property " +
				"names a task property with unique values", 15 * time.Second}, true
	case classDaily:
		return stop{holdDaily, "the account's calls of the day are used up",
			"wait for midnight in the account's time zone, or raise the account's limit", max(time.Minute, a.RetryAfter)}, true
	case classMigrating:
		return stop{holdMigrating, "HubSpot moves the account to another region",
			"wait; HubSpot says when to ask again", max(15*time.Second, a.RetryAfter)}, true
	default:
		return stop{}, false
	}
}

const (
	floodRecords = 1000             // refusals in a row, all alike, that make a flood
	floodWithin  = 10 * time.Minute // the time in which they do
	floodProbe   = 30 * time.Second
)

// flood counts refusals in a row that are alike: a producer's new bug, or a property deleted in HubSpot, would
// otherwise dead-letter everything there is.
type flood struct {
	kind  [3]string // category, code and property
	count int
	since time.Time
}

// add counts one refusal and tells whether it makes a flood.
func (f *flood) add(r dlq.Reason) bool {
	kind := [3]string{r.Category, r.Code, r.Property}
	if now := time.Now(); kind != f.kind || f.count < floodRecords && now.Sub(f.since) > floodWithin {
		*f = flood{kind: kind, since: now}
	}
	f.count++
	return f.count >= floodRecords
}

// end says that a record was accepted.
func (f *flood) end() { *f = flood{} }
