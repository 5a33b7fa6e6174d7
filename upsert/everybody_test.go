package upsert_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// produceTo lets events arrive in a topic. Offsets are those of the whole rig, so that they name a record.
func (r *rig) produceTo(topic string, events ...string) (records []*consumer.Record) {
	r.t.Helper()
	for _, value := range events {
		rec := &consumer.Record{Topic: topic, Offset: int64(len(r.records)), Value: []byte(value)}
		r.records, records = append(r.records, rec), append(records, rec)
		task, reason := r.decoder.Decode(rec)
		if reason != nil {
			r.sender.Refuse(task, reason)
			continue
		}
		r.queue.Add(task.IDProperty, task.ID, task, upsert.InputSize(task), false)
	}
	return records
}

// retryAfter adds the header to a fault's answer.
func retryAfter(f hubspottest.Fault, seconds string) hubspottest.Fault {
	f.Header = f.Header.Clone()
	f.Header.Set("Retry-After", seconds)
	return f
}

// spells are answers that everybody gets, and the hold that they call for; empty: none.
var spells = []struct {
	name, hold string
	fault      hubspottest.Fault
}{
	{"400 that names a property", "blocked", refusal(400, "VALIDATION_ERROR", invalidOption, nil)},
	{"400 malformed", "blocked", refusal(400, "", "Invalid input JSON on line 1, column 3301: Cannot deserialize", nil)},
	{"400 non-unique idProperty", "config", refusal(400, "VALIDATION_ERROR", "Unable to perform update/upsert by non-unique 0-27 property external_task_id in portal ID 1", nil)},
	{"402", "payment", refusal(402, "PAYMENT_REQUIRED", "the account must pay", nil)},
	{"403 MISSING_SCOPES", "scope", refusal(403, "MISSING_SCOPES", "a scope is missing", nil)},
	{"403 BANNED", "blocked", refusal(403, "BANNED", "the account is banned", nil)},
	{"404", "config", refusal(404, "OBJECT_NOT_FOUND", "No resource", nil)},
	{"405", "config", refusal(405, "METHOD_NOT_ALLOWED", "not allowed", nil)},
	{"409", "blocked", refusal(409, "CONFLICT", "Task already exists. Existing ID: 7", nil)},
	{"413", "blocked", refusal(413, "PAYLOAD_TOO_LARGE", "too large", nil)},
	{"414", "blocked", refusal(414, "URI_TOO_LONG", "Cannot have more than 250 identities", nil)},
	{"418", "blocked", refusal(418, "TEAPOT", "short and stout", nil)},
	{"422", "blocked", refusal(422, "UNPROCESSABLE", "unprocessable", nil)},
	{"431", "blocked", refusal(431, "HEADERS_TOO_LARGE", "too large", nil)},
	{"500 in HubSpot's JSON", "outage", refusal(500, "INTERNAL_ERROR", "internal error", nil)},
	{"a page with 400", "outage", page(400, "Bad Request")},
	{"a page with 403", "outage", page(403, "Attention Required!")},
	{"a page with 404", "outage", page(404, "Not Found")},
	{"a page with 413", "outage", page(413, "Request Entity Too Large")},
	{"a page with 500", "outage", page(500, "oops")},
	{"a page with 502", "outage", page(502, "Bad Gateway")},
	{"a page with 503", "outage", page(503, "Service Unavailable")},
	{"a page with 504", "outage", page(504, "Gateway Time-out")},
	{"a page with 524", "outage", page(524, "A timeout occurred")},
	{"a page with 200", "outage", page(200, "Login")},
	{"307", "outage", hubspottest.Fault{Status: 307, Header: http.Header{"Location": {"http://elsewhere.test/"}}}},
	{"407", "outage", page(407, "Proxy Authentication Required")},
	{"408", "outage", page(408, "Request Time-out")},
	{"a reset", "outage", hubspottest.Fault{Reset: true}},
	{"a hang", "outage", hubspottest.Fault{Hang: true}},
	{"401", "auth", refusal(401, "INVALID_AUTHENTICATION", "no", nil)},
	{"423", "", refusal(423, "LOCKED", "locked", nil)},
	{"429", "", refusal(429, "TEN_SECONDLY_ROLLING", "You have reached your ten_secondly_rolling limit.", nil)},
	{"477", "migrating", retryAfter(refusal(477, "MIGRATION_IN_PROGRESS", "the account is being moved", nil), "60")},
	{"477 without Retry-After", "migrating", refusal(477, "MIGRATION_IN_PROGRESS", "the account is being moved", nil)},
	{"PENDING", "blocked", hubspottest.Fault{BatchStatus: "PENDING"}},
	{"CANCELED", "blocked", hubspottest.Fault{BatchStatus: "CANCELED"}},
	{"an empty 200", "blocked", hubspottest.Fault{Status: 200, Body: " "}},
	{"results left out", "blocked", hubspottest.Fault{Omit: func(hubspottest.Input) bool { return true }}},
	{"items INTERNAL_ERROR", "blocked", hubspottest.Fault{Items: hubspottest.Every("INTERNAL_ERROR")}},
	{"items RATE_LIMITS", "blocked", hubspottest.Fault{Items: hubspottest.Every("RATE_LIMITS")}},
}

// scoped is the hold as the board shows it.
func scoped(reason, scope string) string {
	if reason == "" {
		return ""
	}
	return reason + " " + scope
}

// holdsAre wants the board to show the same in each second from one time of the spell to another one.
func (r *rig) holdsAre(want string, began time.Time, from, until time.Duration) {
	r.t.Helper()
	time.Sleep(from - time.Since(began))
	seen := map[string]int{}
	for ; time.Since(began) < until; time.Sleep(time.Second) {
		seen[r.holds()]++
	}
	if len(seen) != 1 || seen[want] == 0 {
		r.t.Errorf("the board showed, for so many seconds, %v; want always %q", seen, want)
	}
}

const spellTime = time.Minute

// TestEverybody: what happens to everybody is one hold, and no record's fault. It costs few requests, and when it is
// over everything flows as before.
func TestEverybody(t *testing.T) {
	for i, tc := range spells {
		if underRace && i%4 > 0 {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			run(t, setup{hubspot: hubspottest.Config{Latency: wireDelay}}, func(r *rig) {
				r.produce(many(500, 0)...)
				r.settled(5 * time.Second)
				before := len(r.hubspot.Requests())
				fault := tc.fault
				fault.For = spellTime
				if fault.Status > 0 || fault.BatchStatus != "" {
					fault.Delay = wireDelay
				}
				began := time.Now()
				r.hubspot.Inject(fault)
				r.produce(many(1000, 1000)...)
				for i := range 15 {
					time.Sleep(time.Second)
					r.produce(many(100, 2000+100*i)...)
				}
				r.holdsAre(scoped(tc.hold, "all"), began, 20*time.Second, spellTime)
				n := len(r.hubspot.Requests()) - before
				if t.Logf("%d requests in the minute", n); n > 60 {
					t.Errorf("%d requests in the minute", n)
				}
				limit := 10 * time.Second
				if tc.fault.Hang {
					limit += 15 * time.Second
				}
				r.settled(limit)
				t.Logf("settled %v after the end", time.Since(began)-spellTime)
				r.deadLettered()
				r.fullBatches()
			})
		})
	}
}

// fullBatches wants nothing to be left of a spell: no hold, and batches that are nearly full.
func (r *rig) fullBatches() {
	r.t.Helper()
	before := len(r.hubspot.Requests())
	r.produce(many(3000, 100_000)...)
	r.atRest(10 * time.Second)
	if n := len(r.hubspot.Requests()) - before; n > 33 {
		r.t.Errorf("%d requests for 3000 records after the end", n)
	}
}

// ofTopic matches the requests that hold a record of the topic.
func ofTopic(topic string) func([]hubspottest.Input) bool {
	return func(in []hubspottest.Input) bool {
		return slices.ContainsFunc(in, func(i hubspottest.Input) bool { return strings.HasPrefix(i.TraceID, topic+"-") })
	}
}

// TestOneTopic: what happens to one topic only holds that topic. The other one flows all the time.
func TestOneTopic(t *testing.T) {
	for i, tc := range spells {
		if underRace && i%4 > 0 || slices.Contains([]string{"auth", "migrating", ""}, tc.hold) { // these speak of the account
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			run(t, setup{hubspot: hubspottest.Config{Latency: wireDelay}}, func(r *rig) {
				r.produceTo("tasks", many(100, 0)...)
				r.produceTo("sick", many(100, 1000)...)
				r.settled(5 * time.Second)
				fault := tc.fault
				fault.For = spellTime
				strike := ofTopic("sick")
				switch {
				case fault.Items != nil:
					category := fault.Items(hubspottest.Input{})
					fault.Items = func(in hubspottest.Input) string {
						if strike([]hubspottest.Input{in}) {
							return category
						}
						return ""
					}
				case fault.Omit != nil:
					fault.Omit = func(in hubspottest.Input) bool { return strike([]hubspottest.Input{in}) }
				default:
					fault.Match, fault.Delay = strike, wireDelay
				}
				began, before := time.Now(), len(r.hubspot.Requests())
				r.hubspot.Inject(fault)
				r.produceTo("sick", many(300, 2000)...)
				var slowest time.Duration
				seen := map[string]int{}
				for i := 0; time.Since(began) < spellTime; i++ {
					at := time.Now()
					r.produceTo("sick", many(10, 5000+10*i)...)
					healthy := r.produceTo("tasks", many(20, 10_000+20*i)...)
					for slices.ContainsFunc(healthy, func(rec *consumer.Record) bool { return !rec.Settled() }) {
						if time.Since(at) > spellTime {
							t.Fatalf("the healthy topic is stuck: %s, %+v", r.holds(), r.sender.Status())
						}
						time.Sleep(10 * time.Millisecond)
					}
					slowest = max(slowest, time.Since(at))
					if time.Since(began) > 20*time.Second {
						seen[r.holds()]++
					}
					time.Sleep(time.Second)
				}
				limit, hold := 5*time.Second, tc.hold
				if hold == "outage" { // that everything fails is disproved by the first probe, after 5 s at the most
					limit, hold = 6*time.Second, "blocked"
				}
				if tc.fault.Hang {
					limit += 15 * time.Second
				}
				if slowest > limit {
					t.Errorf("the healthy topic took %v", slowest)
				}
				if want := scoped(hold, "sick"); len(seen) != 1 || seen[want] == 0 {
					t.Errorf("the board showed %v, want always %q", seen, want)
				}
				t.Logf("%d requests in the minute, the healthy topic took %v", len(r.hubspot.Requests())-before, slowest)
				r.atRest(25 * time.Second)
				r.deadLettered()
				if n := len(r.hubspot.Objects()); n != len(r.records) {
					t.Errorf("HubSpot has %d objects, want %d", n, len(r.records))
				}
			})
		})
	}
}

// TestOneIDProperty: of two idProperties that are configured the account has one. What brings the other one waits, and
// nothing else does.
func TestOneIDProperty(t *testing.T) {
	run(t, setup{hubspot: hubspottest.Config{Latency: wireDelay}}, func(r *rig) {
		var waiting []*consumer.Record
		for i := range 60 {
			other := fmt.Sprintf(`{"id":"other-%d","idProperty":"hs_task_subject","properties":{"hs_timestamp":"2026-11-23T10:00:00Z"}}`, i)
			waiting = append(waiting, r.produceTo("tasks", other)...)
			healthy := r.produceTo("tasks", many(20, 20*i)...)
			time.Sleep(time.Second)
			if slices.ContainsFunc(healthy, func(rec *consumer.Record) bool { return !rec.Settled() }) {
				t.Fatalf("after %d s what has the other idProperty waits: %s", i, r.holds())
			}
		}
		if got := r.holds(); got != "config tasks by hs_task_subject" {
			t.Errorf("holds %q", got)
		}
		if slices.ContainsFunc(waiting, func(rec *consumer.Record) bool { return rec.Settled() }) {
			t.Error("a record of the idProperty that the account does not have is settled")
		}
		r.deadLettered()
		if n := len(r.hubspot.Requests()); n > 60+60 {
			t.Errorf("%d requests", n)
		}
	})
}
