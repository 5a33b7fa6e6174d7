package upsert_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// list lists offsets, once a second until all are handed over, ten times at most. It returns those that were.
func (r *rig) list(offsets ...int64) (handed []int64) {
	r.t.Helper()
	for range 10 {
		for _, rec := range r.sender.DeadLetterListed(func(rec *consumer.Record) bool {
			return slices.Contains(offsets, rec.Offset)
		}) {
			handed = append(handed, rec.Offset)
		}
		if len(handed) == len(offsets) {
			break
		}
		time.Sleep(time.Second)
	}
	return handed
}

// TestListed: whatever holds a record that failed, it becomes a dead letter when an operator lists it, and the others
// go on as if nothing had been.
func TestListed(t *testing.T) {
	own := http.Header{"Content-Type": {"application/json"}}
	page := hubspottest.Fault{Status: 500, Body: "<html><title>oops</title></html>"}
	first := func(in []hubspottest.Input) bool { return in[0].TraceID == "tasks-0-0" }
	alone := hubspottest.Fault{Status: 500, Match: first}
	for _, tc := range []struct {
		name   string
		fault  hubspottest.Fault
		events []string
		wait   time.Duration
		holds  string // while it waits, and after it was listed
		after  string
		says   string
	}{
		{"alone", alone, many(1, 0), time.Minute, "record tasks/0/0", "", "5 tries; its last failure by itself: HTTP 500"},
		{"in a unit that rests", hubspottest.Fault{BatchStatus: "PENDING"}, many(2, 0), 2 * time.Second, "", "", "2 tries"},
		{"outage", page, many(200, 0), time.Minute, "outage all", "outage all", " tr"},
		{"token", hubspottest.Fault{Status: 401, Header: own, Body: hubspottest.JSONError(401, "INVALID_AUTHENTICATION", "no", nil)}, many(200, 0), time.Minute, "auth all", "auth all", " tr"},
		{"scope", hubspottest.Fault{Status: 403, Header: own, Body: hubspottest.JSONError(403, "MISSING_SCOPES", "no", nil)}, many(200, 0), time.Minute, "scope all", "scope all", " tr"},
		{"config", hubspottest.Fault{Status: 404, Header: own, Body: hubspottest.JSONError(404, "OBJECT_NOT_FOUND", "no", nil)}, many(200, 0), time.Minute, "config all", "config all", " tr"},
		{"blocked", hubspottest.Fault{Status: 400, Header: own, Body: hubspottest.JSONError(400, "VALIDATION_ERROR", "no", nil)}, many(200, 0), time.Minute, "blocked all", "blocked all", " tr"},
		{"daily", hubspottest.Fault{Status: 429, Header: own, Body: `{"status":"error","message":"no","errorType":"RATE_LIMIT","policyName":"DAILY"}`}, many(200, 0), time.Minute, "daily all", "daily all", " tr"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, setup{}, func(r *rig) {
				mend := r.hubspot.Inject(tc.fault)
				r.produce(tc.events...)
				time.Sleep(tc.wait)
				if got := r.holds(); got != tc.holds {
					t.Fatalf("holds %q, want %q", got, tc.holds)
				}
				if handed := r.list(0); !slices.Equal(handed, []int64{0}) {
					t.Fatalf("%d were handed over, want record 0; status %+v", handed, r.sender.Status())
				}
				reason := r.deadLettered(0)[0]
				if reason.Category != "OPERATOR" || reason.Stage != dlq.StageUpsert || reason.Attempts == 0 ||
					!strings.Contains(reason.Message, "an operator listed the record") || !strings.Contains(reason.Message, tc.says) {
					t.Errorf("reason %+v", reason)
				}
				if got := r.holds(); got != tc.after {
					t.Errorf("holds %q, want %q", got, tc.after)
				}
				mend()
				r.settled(10 * time.Minute)
				r.deadLettered(0)
				if got := r.holds(); got != "" {
					t.Errorf("holds %q in the end", got)
				}
				r.once()
			})
		})
	}
}

// TestListedFloods: records that a flood holds can be listed, task events that failed and those that are none. The rest
// of the flood stays held.
func TestListedFloods(t *testing.T) {
	for name, tc := range map[string]struct {
		event       func(n int) string
		stage, says string
	}{
		"refused":       {func(n int) string { return event(fmt.Sprint("bad-", n), bad) }, dlq.StageUpsert, "VALIDATION_ERROR INVALID_OPTION hs_task_status"},
		"no task event": {func(int) string { return "{" }, dlq.StageDecode, "tasksink cannot send it: INVALID_JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, setup{}, func(r *rig) {
				for n := range 300 {
					r.produce(tc.event(n))
				}
				time.Sleep(10 * time.Second)
				var open []int64
				for _, rec := range r.records {
					if !rec.Settled() {
						open = append(open, rec.Offset)
					}
				}
				if r.holds() != "flood tasks/0" || len(open) != 101 {
					t.Fatalf("holds %q, %d are open", r.holds(), len(open))
				}
				// So few that the probe, which takes the newest, is not among them.
				if handed := r.list(open[:40]...); len(handed) != 40 || r.holds() != "flood tasks/0" {
					t.Fatalf("%d were handed over, want 40; holds %q", handed, r.holds())
				}
				if got := r.letters[open[0]]; got.Category != "OPERATOR" || got.Stage != tc.stage ||
					!strings.Contains(got.Message, tc.says) {
					t.Errorf("reason %+v", got)
				}
			})
		})
	}
}

// TestListedIsNoFlood: what an operator lists is no evidence of a flood, however much it is.
func TestListedIsNoFlood(t *testing.T) {
	run(t, setup{}, func(r *rig) {
		r.hubspot.Inject(hubspottest.Fault{Status: 503})
		r.produce(many(300, 0)...)
		time.Sleep(time.Minute)
		var all []int64
		for n := range int64(300) {
			all = append(all, n)
		}
		for tries := 0; len(r.letters) < 300 && tries < 60; tries++ {
			r.list(all...)
		}
		if got := r.holds(); len(r.letters) != 300 || strings.Contains(got, "flood") {
			t.Errorf("%d letters, want 300; holds %q", len(r.letters), got)
		}
	})
}

// TestListedWaits: a record is not taken if it did not fail, or waits behind another one of its object. The object
// stays locked until Kafka has the letter.
func TestListedWaits(t *testing.T) {
	var mu sync.Mutex
	var waiting []func()
	tune := func(_ *batcher.Config[*upsert.Task], s *upsert.SenderConfig) {
		s.DeadLetter = func(rec *consumer.Record, _ dlq.Reason, done func(bool)) {
			mu.Lock()
			defer mu.Unlock()
			waiting = append(waiting, func() { rec.Settle(time.Now()); done(true) })
		}
	}
	run(t, setup{tune: tune}, func(r *rig) {
		poison := func(in []hubspottest.Input) bool {
			return slices.ContainsFunc(in, func(i hubspottest.Input) bool { return i.ID == "a" })
		}
		r.hubspot.Inject(hubspottest.Fault{Status: 500, Match: poison})
		r.produce(event("a"))
		if handed := r.sender.DeadLetterListed(func(*consumer.Record) bool { return true }); len(handed) > 0 {
			t.Error("a record is handed over that did not fail yet")
		}
		time.Sleep(30 * time.Second)
		r.produce(event("a", subject("second")))
		if handed := r.list(1); len(handed) > 0 {
			t.Error("a record is handed over that waits behind another one")
		}
		if handed := r.list(0, 1); !slices.Equal(handed, []int64{0}) {
			t.Errorf("%d were handed over, want record 0", handed)
		}
		waiting[0]()
		if handed := r.list(0, 1); !slices.Equal(handed, []int64{1}) {
			t.Errorf("%d were handed over, want record 1", handed)
		}
		waiting[1]()
	})
}
