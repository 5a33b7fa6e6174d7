package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/cmd/tasksink/worker"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// refuses is an answer to every request, as HubSpot gives it.
func refuses(status int, category string) hubspottest.Fault {
	return hubspottest.Fault{Status: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: fmt.Sprintf(`{"status":"error","category":%q,"message":"no","correlationId":"c"}`, category)}
}

// leftOut is a fault that strikes requests with one of the ids.
func leftOut(f hubspottest.Fault, ids ...string) hubspottest.Fault {
	f.Match = func(in []hubspottest.Input) bool {
		return slices.ContainsFunc(in, func(i hubspottest.Input) bool { return slices.Contains(ids, i.ID) })
	}
	return f
}

// TestStopsInAnyState: whatever keeps records from being settled, SIGTERM ends the program with status 0 as soon as the
// requests on the wire are answered. The next one writes nothing a second time, and no dead letter either. The same
// holds if a second replica joins instead, and takes a partition over.
func TestStopsInAnyState(t *testing.T) {
	b := kafkatest.Kafka(t)
	const events = 3000
	for name, tc := range map[string]struct {
		begin func(h *hubspottest.Server) (end func())
		cfg   hubspottest.Config
		args  []string
		bad   int // of events, so many are bad in themselves
		holds bool
		// the dead-letter topic is created only after the stop
		noLetters bool
	}{
		"401": {holds: true, begin: func(h *hubspottest.Server) func() {
			h.SetToken("other")
			return func() { h.SetToken("") }
		}},
		"403": {holds: true, begin: func(h *hubspottest.Server) func() { return h.Inject(refuses(403, "MISSING_SCOPES")) }},
		"429": {begin: func(h *hubspottest.Server) func() { return h.Inject(refuses(429, "RATE_LIMITS")) }},
		"an open breaker": {holds: true, begin: func(h *hubspottest.Server) func() {
			h.SetDown(true)
			return func() { h.SetDown(false) }
		}},
		"a day that is used up": {holds: true, begin: func(h *hubspottest.Server) func() {
			return h.Inject(hubspottest.Fault{Status: 429, Header: http.Header{"Content-Type": {"application/json"}},
				Body: `{"status":"error","message":"You have reached your daily limit.","errorType":"RATE_LIMIT",` +
					`"policyName":"DAILY","correlationId":"c"}`})
		}},
		"dead letters that cannot be written": {bad: 50, noLetters: true,
			begin: func(*hubspottest.Server) func() { return func() {} }},
		"a room full of held records": {holds: true, args: []string{"--max-pending=1000"},
			begin: func(h *hubspottest.Server) func() {
				h.SetToken("other")
				return func() { h.SetToken("") }
			}},
		"one record fails": {begin: func(h *hubspottest.Server) func() {
			return h.Inject(leftOut(hubspottest.Fault{Status: 500, Body: "oops"}, "task-600"))
		}},
		"two records are pending": {begin: func(h *hubspottest.Server) func() {
			return h.Inject(leftOut(hubspottest.Fault{BatchStatus: "PENDING"}, "task-600", "task-2000"))
		}},
		// With a limit the search for so many bad ones would take long, as it may use 5 % of it.
		"whole batches are refused": {bad: 50, cfg: hubspottest.Config{IgnoreTrace: true}, args: []string{"--hubspot-rate=20000"},
			begin: func(*hubspottest.Server) func() { return func() {} }},
	} {
		for _, change := range []string{"stop", "rebalance"} {
			t.Run(name+"/"+change, func(t *testing.T) {
				t.Parallel()
				cfg := tc.cfg
				cfg.Latency = 50 * time.Millisecond
				topic, hubspot, args := world(t, b, 2, cfg, append(slices.Clone(tc.args), "--max-in-flight=4")...)
				if !tc.noLetters {
					b.CreateTopic(t, topic+".dlq", 1, nil)
				}
				b.Produce(t, topic, withBad(events, tc.bad)...)
				m := start(t, "first", args...)
				until(t, "HubSpot has some", time.Minute, func() bool { return len(hubspot.Journal()) > 500 })
				end := tc.begin(hubspot)
				if tc.holds {
					until(t, "it holds", time.Minute, func() bool { return state(t, m) == "held" })
				} else {
					time.Sleep(3 * time.Second) // of that state
				}
				asked := time.Now()
				var second *member
				if change == "stop" {
					ends(t, m)
					second = start(t, "second", args...)
				} else {
					second = start(t, "second", args...)
					until(t, "each has a partition", 30*time.Second, func() bool { return has(t, m) == 1 && has(t, second) == 1 })
				}
				t.Logf("it took %v", time.Since(asked).Round(10*time.Millisecond))
				end()
				if tc.noLetters {
					b.CreateTopic(t, topic+".dlq", 1, nil)
				}
				until(t, "all is committed", 2*time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
				ends(t, second)
				if change == "rebalance" {
					ends(t, m)
				}
				once(t, hubspot, b.ReadAll(t, topic+".dlq"), events, tc.bad)
			})
		}
	}
}

// ends stops a member, which must not take longer than a request may.
func ends(t *testing.T, m *member) {
	t.Helper()
	asked := time.Now()
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if took := time.Since(asked); took > 15*time.Second {
		t.Errorf("it ended after %v", took)
	}
}

// once checks that each event was written once, or has one dead letter.
func once(t *testing.T, hubspot *hubspottest.Server, dead []kafka.Message, events, bad int) {
	t.Helper()
	times, letters := map[string]int{}, map[string]int{}
	for _, w := range hubspot.Journal() {
		if times[w.TraceID]++; times[w.TraceID] == 2 {
			t.Errorf("%s was written twice", w.TraceID)
		}
	}
	for _, l := range dead {
		if letters[string(l.Key)]++; letters[string(l.Key)] == 2 {
			t.Errorf("%s has two dead letters", l.Key)
		}
	}
	if len(times) != events-bad || len(letters) != bad {
		t.Errorf("%d events were written, and there are letters of %d", len(times), len(letters))
	}
}

// withBad are events of as many objects, so many of which HubSpot refuses.
func withBad(n, bad int) []kafka.Message {
	msgs := versions(0, n, n)
	for i := range bad {
		at := i * (n / bad)
		msgs[at].Value = []byte(strings.Replace(string(msgs[at].Value), `"properties":{`,
			`"properties":{"hs_task_status":"NONSENSE",`, 1))
	}
	return msgs
}

func statusOf(t *testing.T, m *member) (st worker.Status) {
	t.Helper()
	_, body := m.get(t, "/status")
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return st
}

func state(t *testing.T, m *member) string { t.Helper(); return statusOf(t, m).State }

// has is how many partitions a member has.
func has(t *testing.T, m *member) int { t.Helper(); return len(statusOf(t, m).Partitions) }
