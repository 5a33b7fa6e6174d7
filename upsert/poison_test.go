package upsert_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

const (
	poisonous = `"hs_task_body":"poison"`
	wireDelay = 50 * time.Millisecond // of each answer, good or bad
)

// carriesPoison matches the requests that hold a poisonous record, be it merged into another one's input.
var carriesPoison = hubspottest.Carries("hs_task_body", "poison")

// refusal is an answer of HubSpot's in its own JSON to a whole batch.
func refusal(status int, category, message string, context map[string][]string) hubspottest.Fault {
	return hubspottest.Fault{Status: status, Header: http.Header{"Content-Type": {"application/json;charset=utf-8"}},
		Body: hubspottest.JSONError(status, category, message, context)}
}

// page is the answer of something between tasksink and HubSpot.
func page(status int, title string) hubspottest.Fault {
	return hubspottest.Fault{Status: status, Header: http.Header{"Content-Type": {"text/html"}},
		Body: hubspottest.Page(status, title)}
}

const (
	invalidOption = `Property values were not valid: [{"isValid":false,"message":"NONSENSE was not one of the allowed ` +
		`options","error":"INVALID_OPTION","name":"hs_task_status"}]`
	quotesIDProperty = `Property values were not valid: [{"isValid":false,"message":"Property \"idProperty\" does not exist",` +
		`"error":"PROPERTY_DOESNT_EXIST","name":"idProperty"}]`
	quotesNonUnique = `Property values were not valid: [{"isValid":false,"message":"Unable to perform update/upsert by ` +
		`non-unique was not one of the allowed options","error":"INVALID_OPTION","name":"hs_task_type"}]`
)

// refusals are whole-batch answers in HubSpot's JSON. One that is specific names a property or a code: it convicts a
// record that travels alone by the first refusal.
var refusals = []struct {
	name     string
	fault    hubspottest.Fault
	category string
	specific bool
}{
	{"400 that names a property", refusal(400, "VALIDATION_ERROR", invalidOption, nil), "VALIDATION_ERROR", true},
	{"400 that names no property", refusal(400, "VALIDATION_ERROR", "something is wrong", nil), "VALIDATION_ERROR", false},
	{"400 malformed", refusal(400, "", "Invalid input JSON on line 1, column 3301: Cannot deserialize", nil), "HTTP_400", false},
	{"400 that quotes idProperty", refusal(400, "VALIDATION_ERROR", quotesIDProperty, nil), "VALIDATION_ERROR", true},
	{"400 that quotes non-unique", refusal(400, "VALIDATION_ERROR", quotesNonUnique, nil), "VALIDATION_ERROR", true},
	{"402", refusal(402, "PAYMENT_REQUIRED", "the account must pay", nil), "PAYMENT_REQUIRED", false},
	{"403 MISSING_SCOPES", refusal(403, "MISSING_SCOPES", "a scope is missing", map[string][]string{"requiredGranularScopes": {"crm.objects.owners.read"}}), "MISSING_SCOPES", false},
	{"403 MISSING_PERMISSIONS", refusal(403, "MISSING_PERMISSIONS", "not allowed", nil), "MISSING_PERMISSIONS", false},
	{"404", refusal(404, "OBJECT_NOT_FOUND", "Object not found", nil), "OBJECT_NOT_FOUND", false},
	{"405", refusal(405, "METHOD_NOT_ALLOWED", "not allowed", nil), "METHOD_NOT_ALLOWED", false},
	{"409", refusal(409, "CONFLICT", "Task already exists. Existing ID: 7", nil), "CONFLICT", false},
	{"413", refusal(413, "PAYLOAD_TOO_LARGE", "too large", nil), "PAYLOAD_TOO_LARGE", false},
	{"414", refusal(414, "URI_TOO_LONG", "Cannot have more than 250 identities", nil), "URI_TOO_LONG", false},
	{"418", refusal(418, "TEAPOT", "short and stout", nil), "TEAPOT", false},
	{"422", refusal(422, "UNPROCESSABLE", "unprocessable", nil), "UNPROCESSABLE", false},
	{"431", refusal(431, "HEADERS_TOO_LARGE", "too large", nil), "HEADERS_TOO_LARGE", false},
}

// places are where the poisonous record stands among 300 good ones.
var places = []struct {
	name string
	at   int
}{{"first", 0}, {"middle", 150}, {"last", 300}}

// among returns 300 good events with others put in at a place.
func among(at int, others ...string) (events []string) {
	return slices.Insert(many(300, 0), at, others...)
}

// poisoned plays 300 good records and some poisonous ones, which the fault strikes, and returns how many requests that
// took. The good records' delays must have the 99th percentile limit, unless it is 0.
func poisoned(t *testing.T, events []string, fault *hubspottest.Fault, trickle, limit time.Duration,
	check func(r *rig)) (requests int) {
	t.Helper()
	run(t, setup{hubspot: hubspottest.Config{Latency: wireDelay}}, func(r *rig) {
		if fault != nil {
			r.hubspot.Inject(poison(*fault))
		}
		began := time.Now()
		r.produce(events...)
		r.trickle(trickle)
		if left := time.Second - time.Since(began); left > 0 {
			time.Sleep(left)
		}
		check(r)
		if limit > 0 {
			r.prompt(began, 300, limit)
		}
		requests = len(r.hubspot.Requests())
	})
	return requests
}

// trickle lets three good records arrive each second, for so long.
func (r *rig) trickle(long time.Duration) {
	r.t.Helper()
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(time.Second) {
		r.produce(many(3, 10_000+len(r.records))...)
	}
}

// prompt wants the objects task-0 to task-n, which were produced at one time, written, and 99 of 100 within limit.
func (r *rig) prompt(produced time.Time, n int, limit time.Duration) {
	r.t.Helper()
	written := map[string]time.Duration{}
	for _, w := range r.hubspot.Journal() {
		if _, ok := written[w.ID]; !ok {
			written[w.ID] = w.Time.Sub(produced)
		}
	}
	var delays []time.Duration
	for i := range n {
		delay, ok := written[fmt.Sprintf("task-%d", i)]
		if !ok {
			r.t.Errorf("task-%d is not written", i)
			return
		}
		delays = append(delays, delay)
	}
	slices.Sort(delays)
	if p99 := delays[n*99/100]; p99 > limit {
		r.t.Errorf("the good records' delay has the 99th percentile %v, want at most %v", p99, limit)
	}
}

// atRest wants everything settled and no hold.
func (r *rig) atRest(limit time.Duration) {
	r.t.Helper()
	r.settled(limit)
	if got := r.holds(); got != "" {
		r.t.Errorf("at rest there is %s", got)
	}
}

// TestPoisonRefused: whatever the status of a refusal of the whole batch, it finds the record that causes it, and harms
// nobody else.
func TestPoisonRefused(t *testing.T) {
	for _, tc := range refusals {
		trickle := 8 * time.Second
		if tc.specific {
			trickle = 0
		}
		convicted := func(offset int) func(r *rig) {
			return func(r *rig) {
				r.atRest(10 * time.Second)
				if reason := r.deadLettered(int64(offset))[int64(offset)]; reason.Category != tc.category {
					r.t.Errorf("the reason is %+v, want %s", reason, tc.category)
				}
				r.once()
			}
		}
		for _, place := range places {
			t.Run(tc.name+"/"+place.name, func(t *testing.T) {
				trickle := trickle
				if place.at == 300 { // it is refused alone when all others are confirmed
					trickle = max(trickle, 2*time.Second)
				}
				events := among(place.at, event("poison", poisonous))
				without := poisoned(t, events, nil, trickle, 5*time.Second, func(r *rig) { r.atRest(time.Second) })
				with := poisoned(t, events, &tc.fault, trickle, 5*time.Second, convicted(place.at))
				if with > without+20 {
					t.Errorf("%d requests, %d without the poison", with, without)
				}
			})
		}
		t.Run(tc.name+"/merged", func(t *testing.T) {
			trickle := max(trickle, 4*time.Second) // the object is taken apart when all others are confirmed
			events := among(150, event("poison", subject("1")), event("poison", poisonous), event("poison", subject("3")))
			without := poisoned(t, events, nil, trickle, 5*time.Second, func(r *rig) { r.atRest(time.Second) })
			with := poisoned(t, events, &tc.fault, trickle, 5*time.Second, func(r *rig) {
				convicted(151)(r)
				r.keeps("poison", "3")
			})
			if with > without+20 {
				t.Errorf("%d requests, %d without the poison", with, without)
			}
		})
	}
}

// failures are answers that say nothing of a record: one record may cause them each time, or HubSpot is not reached.
var failures = []struct {
	name     string
	fault    hubspottest.Fault
	category string
}{
	{"500 in HubSpot's JSON", refusal(500, "INTERNAL_ERROR", "internal error", nil), "SERVER_ERROR"},
	{"500 as a page", page(500, "oops"), "SERVER_ERROR"},
	{"503 as a page", page(503, "Service Unavailable"), "SERVER_ERROR"},
	{"400 as a page", page(400, "Bad Request"), "UNEXPECTED_PAGE"},
	{"403 as a page", page(403, "Attention Required!"), "FORBIDDEN_BY_FIREWALL"},
	{"404 as a page", page(404, "Not Found"), "UNEXPECTED_PAGE"},
	{"307", hubspottest.Fault{Status: 307, Header: http.Header{"Location": {"http://elsewhere.test/"}}}, "UNEXPECTED_PAGE"},
	{"a reset before the write", hubspottest.Fault{Reset: true}, "SERVER_ERROR"},
	{"an empty 200", hubspottest.Fault{Status: 200, Body: " "}, "UNRESOLVED"},
	{"a 200 with {}", hubspottest.Fault{Status: 200, Body: "{}"}, "UNRESOLVED"},
	{"PENDING", hubspottest.Fault{BatchStatus: "PENDING"}, "UNRESOLVED"},
	{"left out of the results", hubspottest.Fault{Omit: isPoison}, "UNRESOLVED"},
	{"an item INTERNAL_ERROR", hubspottest.Fault{Items: poisonIs("INTERNAL_ERROR")}, "INTERNAL_ERROR"},
	{"an item CONFLICT", hubspottest.Fault{Items: poisonIs("CONFLICT")}, "CONFLICT"},
}

func isPoison(in hubspottest.Input) bool { return in.Properties["hs_task_body"] == "poison" }

func poisonIs(category string) func(hubspottest.Input) string {
	return func(in hubspottest.Input) string {
		if isPoison(in) {
			return category
		}
		return ""
	}
}

// poison makes a fault strike the poisonous records only.
func poison(f hubspottest.Fault) hubspottest.Fault {
	if f.Items == nil && f.Omit == nil {
		f.Match = carriesPoison
	}
	if f.Status > 0 || f.BatchStatus != "" {
		f.Delay = wireDelay
	}
	return f
}

// calm wants nothing on the board but the named records.
func (r *rig) calm(records ...int) {
	r.t.Helper()
	var want []string
	for _, offset := range records {
		want = append(want, fmt.Sprintf("record tasks/0/%d", offset))
	}
	slices.Sort(want)
	if got := r.holds(); got != strings.Join(want, ", ") {
		r.t.Errorf("the board shows %q, want %q", got, strings.Join(want, ", "))
	}
}

// TestPoisonFails: a record that makes every request fail is named within 30 s, and becomes a dead letter when enough
// others passed meanwhile.
func TestPoisonFails(t *testing.T) {
	for _, tc := range failures {
		for _, place := range places {
			t.Run(tc.name+"/"+place.name, func(t *testing.T) {
				events := among(place.at, event("poison", poisonous))
				play := func(fault *hubspottest.Fault) int {
					return poisoned(t, events, fault, 0, 0, func(r *rig) {
						if fault == nil {
							r.atRest(time.Second)
							return
						}
						time.Sleep(29 * time.Second)
						if n := len(r.hubspot.Objects()); n != 300 {
							t.Errorf("after 30 s HubSpot has %d objects, want 300", n)
						}
						r.calm(place.at)
					})
				}
				if without, with := play(nil), play(&tc.fault); with > without+30 {
					t.Errorf("%d requests in 30 s, %d without the poison", with, without)
				}
			})
		}
		t.Run(tc.name+"/quiet", func(t *testing.T) {
			events := among(150, event("poison", poisonous))
			poisoned(t, events, &tc.fault, 0, 0, func(r *rig) {
				time.Sleep(30 * time.Second)
				for i := range 8 { // good records now and then
					r.produce(many(1, 1000+i)...)
					time.Sleep(5 * time.Minute)
				}
				r.atRest(10 * time.Minute)
				if reason := r.deadLettered(150)[150]; reason.Category != tc.category {
					t.Errorf("the reason is %+v, want %s", reason, tc.category)
				}
				r.once()
			})
		})
		t.Run(tc.name+"/busy", func(t *testing.T) {
			events := among(150, event("poison", poisonous))
			poisoned(t, events, &tc.fault, 0, 0, func(r *rig) {
				began := time.Now()
				r.traffic(301, 5*time.Minute)
				// Five failures alone take rests of 0.5, 2, 8 and 32 s, which end in slots of a quarter.
				if took := time.Since(began); took > 75*time.Second {
					t.Errorf("the letter came after %v", took)
				}
				r.atRest(time.Minute)
				if reason := r.deadLettered(150)[150]; reason.Category != tc.category {
					t.Errorf("the reason is %+v, want %s", reason, tc.category)
				}
				r.once()
			})
		})
	}
}

// TestPoisonHangs: a record that HubSpot does not answer delays its neighbours for three timeouts at the most.
func TestPoisonHangs(t *testing.T) {
	for _, place := range places {
		t.Run(place.name, func(t *testing.T) {
			events := among(place.at, event("poison", poisonous))
			poisoned(t, events, &hubspottest.Fault{Hang: true}, 0, 0, func(r *rig) {
				began := time.Now().Add(-time.Second)
				time.Sleep(44 * time.Second)
				r.prompt(began, 300, 45*time.Second)
				r.trickle(5 * time.Minute)
				r.atRest(time.Minute)
				r.deadLettered(int64(place.at))
			})
		})
	}
}

// TestSilentPoison: a record that nothing decides costs little, however long it lasts.
func TestSilentPoison(t *testing.T) {
	for _, tc := range failures {
		t.Run(tc.name, func(t *testing.T) {
			run(t, setup{hubspot: hubspottest.Config{Latency: wireDelay}}, func(r *rig) {
				r.hubspot.Inject(poison(tc.fault))
				r.produce(event("poison", poisonous))
				time.Sleep(24 * time.Hour)
				if n := len(r.hubspot.Requests()); n > 300 {
					t.Errorf("%d requests in a day", n)
				}
				r.calm(0)
				r.deadLettered()
			})
		})
	}
}

// TestSeveralPoisons: two in a batch, one in each of two batches, and five among three hundred.
func TestSeveralPoisons(t *testing.T) {
	kinds := []struct {
		name     string
		fault    hubspottest.Fault
		trickle  time.Duration
		failures bool
	}{
		{"refusals that name a property", refusals[0].fault, 4 * time.Second, false},
		{"refusals that name none", refusals[1].fault, 10 * time.Second, false},
		{"404", refusals[8].fault, 10 * time.Second, false},
		{"500", failures[0].fault, 2 * time.Minute, true},
		{"an empty 200", failures[8].fault, 3 * time.Minute, true},
		{"an item CONFLICT", failures[13].fault, 2 * time.Minute, true},
	}
	for _, set := range [][]int{{20, 60}, {20, 120}, {40, 41}, {3, 77, 150, 222, 299}} {
		for _, kind := range kinds {
			t.Run(fmt.Sprintf("%s at %v", kind.name, set), func(t *testing.T) {
				events, offsets := many(300, 0), []int64(nil)
				for i, at := range set {
					events = slices.Insert(events, at, event(fmt.Sprintf("poison-%d", i), poisonous))
					offsets = append(offsets, int64(at))
				}
				limit := 5 * time.Second
				if kind.failures {
					limit = 0
				}
				play := func(fault *hubspottest.Fault) int {
					return poisoned(t, events, fault, kind.trickle, limit, func(r *rig) {
						r.atRest(time.Minute)
						if fault != nil {
							r.deadLettered(offsets...)
							r.once()
						}
					})
				}
				most := 20
				if kind.failures {
					most = 30
				}
				if without, with := play(nil), play(&kind.fault); with > without+most*len(set) {
					t.Errorf("%d requests, %d without the %d poisons", with, without, len(set))
				}
			})
		}
	}
}

// TestPoisonAgain: after one conviction the next record of the same object needs one failure.
func TestPoisonAgain(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault hubspottest.Fault
	}{
		{"a refusal that names nothing", refusals[1].fault},
		{"404", refusals[8].fault},
		{"500", failures[0].fault},
		{"an empty 200", failures[8].fault},
		{"an item CONFLICT", failures[13].fault},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, setup{hubspot: hubspottest.Config{Latency: wireDelay}}, func(r *rig) {
				r.hubspot.Inject(poison(tc.fault))
				r.produce(event("poison", poisonous))
				r.traffic(1, 5*time.Minute)
				r.deadLettered(0)
				for range 3 {
					second, at := len(r.records), time.Now()
					r.produce(event("poison", poisonous))
					alone := r.alone()
					for !r.records[second].Settled() && time.Since(at) < time.Minute {
						r.produce(many(3, 1000+len(r.records))...)
						time.Sleep(time.Second)
					}
					if n := r.alone() - alone; n > 2 { // one tells that it is the record, one convicts it
						t.Errorf("the next one failed alone %d times in %v", n, time.Since(at))
					}
				}
				r.atRest(time.Minute)
			})
		})
	}
}

// alone counts the requests with one input that were not written.
func (r *rig) alone() (n int) {
	written := map[int]bool{}
	for _, w := range r.hubspot.Journal() {
		written[w.Request] = true
	}
	for _, q := range r.hubspot.Requests() {
		if q.Inputs == 1 && !written[q.Seq] {
			n++
		}
	}
	return n
}
