package upsert

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/upsert/hubspot"
)

// The reasons for which the flow to HubSpot can be held, as /status and tasksink_hold name them.
const (
	holdAuth      = "auth"      // HubSpot refuses the token
	holdScope     = "scope"     // the token lacks a right
	holdConfig    = "config"    // path or idProperty do not fit the account
	holdDaily     = "daily"     // the day's calls are used up
	holdMigrating = "migrating" // the account moves between regions
	holdPayment   = "payment"   // HubSpot wants the account to pay
	holdBlocked   = "blocked"   // nothing of a lane passes, for another reason
	holdFlood     = "flood"     // nearly all records of a partition fail for the same reasons
	holdOutage    = "outage"    // the breaker is not closed
	holdRecord    = "record"    // a record fails alone
	holdSearch    = "search"    // the search for bad records of a kind has used its part of the window
)

const (
	holdProbe  = 5 * time.Second  // between two probes of a hold
	dailyProbe = 10 * time.Minute // at the most, while the day's calls are used up: the limit may be raised
)

// stop is a hold of everything as an answer calls for it.
type stop struct {
	reason, detail, remedy string
	every                  time.Duration // between two probes
}

// stopFor tells which hold of everything an answer calls for, if any. fixed says that the token is no file's.
func stopFor(a judgement, fixed bool) (stop, bool) {
	switch a.Class {
	case classAuth:
		return stop{holdAuth, "HubSpot refuses the token: " + a.What, hubspot.AuthRemedy(a.Reason.Category, fixed),
			holdProbe}, true
	case classDaily:
		return stop{holdDaily, "the account's calls of the day are used up",
			"wait for midnight in the account's time zone, or raise the account's limit",
			min(max(time.Minute, a.RetryAfter), dailyProbe)}, true
	case classLogin:
		if a.Status == http.StatusTooManyRequests {
			return stop{holdAuth, "there is no good access token, and HubSpot's token endpoint limits how often it is asked",
				"wait: tasksink asks again when it may; see whether other programs get tokens of the same app too often",
				holdProbe}, true
		}
		return stop{holdConfig, "HubSpot's token endpoint refuses: " + a.What,
			"check --hubspot-url and --hubspot-oauth-path", holdProbe}, true
	case classMoving:
		return stop{holdMigrating, "HubSpot moves the account to another region",
			"wait; HubSpot says when to ask again", max(10*time.Second, a.RetryAfter)}, true
	default:
		return stop{}, false
	}
}

// laneHold says why a lane is held in which nothing passes, by the last answer.
func laneHold(a judgement) (reason, detail, remedy string) {
	switch {
	case a.Class == classJudged:
		return holdBlocked, "HubSpot answers, but confirms no record: " + a.silence(),
			"wait: tasksink asks every 5 s; if it lasts, give the correlation id to HubSpot's support"
	case a.Class == classFailed, a.Class == classTooLarge:
		return holdBlocked, "every request with these records fails, while others pass: " + a.What,
			"look at what these records have in common, and at proxies and firewalls between tasksink and HubSpot"
	case a.Status == http.StatusPaymentRequired:
		return holdPayment, "HubSpot refuses every record: " + a.What,
			"look at the account's subscription and invoices in HubSpot, under Account & Billing"
	case len(a.scopes) > 0 || a.Reason.Category == "MISSING_SCOPES":
		return holdScope, "HubSpot refuses every record: " + a.What, scopeRemedy(a.scopes)
	case a.Status == http.StatusForbidden:
		return holdBlocked, "HubSpot refuses every record: " + a.What,
			"this is no matter of a scope: look at the account and at " +
				"the user of the key in HubSpot, and give the correlation id to HubSpot's support"
	case a.idProperty, a.Status == http.StatusNotFound, a.Status == http.StatusMethodNotAllowed:
		return holdConfig, "HubSpot refuses every record: " + a.What,
			"check --hubspot-url and --hubspot-path, and that --hubspot-id-property and --hubspot-id-properties name task " +
				"properties with unique values"
	default:
		return holdBlocked, "HubSpot refuses every record: " + a.What,
			"look at what HubSpot says, at the events, and at --hubspot-url, --hubspot-path and --hubspot-id-property"
	}
}

// silence says how an answer confirmed nothing.
func (a judgement) silence() string {
	for _, r := range a.Reasons {
		if r != nil {
			return "it names them with " + r.Category
		}
	}
	return cmp.Or(a.What, "it names none of them")
}

func scopeRemedy(scopes []string) string {
	if len(scopes) == 0 {
		return "grant the key or the app the scope that HubSpot names; usually it is crm.objects.contacts.write"
	}
	return "grant the key or the app the scope " + strings.Join(scopes, " or ")
}

// outageRemedy says what to do about a failure that stops everything.
func outageRemedy(a judgement) string {
	switch {
	case a.Status == http.StatusProxyAuthRequired:
		return "the proxy that HTTPS_PROXY names wants a login: put user and password into its URL, and restart tasksink"
	case a.Status/100 == 3 || a.Status/100 == 4 && a.Status != http.StatusRequestTimeout:
		return "it is not HubSpot that answers: look at the proxy or firewall between tasksink and HubSpot, and at " +
			"--hubspot-url; " +
			"tasksink asks every few seconds and goes on by itself"
	default:
		return "wait: tasksink asks every few seconds and goes on by itself; look at HubSpot's status page, and at proxies " +
			"and " +
			"firewalls between tasksink and HubSpot"
	}
}

// laneHolds are the lanes that are held, and what the board shows of them: one hold of everything if all lanes are held
// for the same reason, else one for each lane.
type laneHolds struct {
	board *hold.Board
	mu    sync.Mutex
	usual string // the idProperty of events that carry none
	stand map[laneKey]laneReason
	shown map[[2]string]bool // reason and scope
}

type laneReason struct{ reason, detail, remedy string }

func (h *laneHolds) begin(key laneKey, r laneReason, lanes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stand[key] = r
	h.show(lanes)
}

func (h *laneHolds) end(name string, lanes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.stand, func(key laneKey, _ laneReason) bool { return key.name() == name })
	h.show(lanes)
}

// show brings the board up to date. lanes is how many there are.
func (h *laneHolds) show(lanes int) {
	now := map[[2]string]bool{}
	for key, r := range h.stand {
		scope := h.scope(key)
		if len(h.stand) == lanes && h.same() {
			scope = hold.All
		}
		h.board.Set(r.reason, scope, r.detail, r.remedy)
		now[[2]string{r.reason, scope}] = true
	}
	for at := range h.shown {
		if !now[at] {
			h.board.Clear(at[0], at[1])
		}
	}
	h.shown = now
}

// same tells whether all lanes are held for the same reason.
func (h *laneHolds) same() bool {
	reasons := map[string]bool{}
	for r := range maps.Values(h.stand) {
		reasons[r.reason] = true
	}
	return len(reasons) == 1
}

// scope is the lane as the board names it: the topic, with the idProperty if that is not the usual one.
func (h *laneHolds) scope(key laneKey) string {
	if key.property == h.usual {
		return key.topic
	}
	return key.topic + " by " + key.property
}

// name tells lanes apart.
func (k laneKey) name() string { return k.topic + " " + k.property }

func partitionScope(topic string, partition int) string {
	return fmt.Sprintf("%s/%d", topic, partition)
}

func recordScope(t *Task) string {
	return fmt.Sprintf("%s/%d/%d", t.Record.Topic, t.Record.Partition, t.Record.Offset)
}
