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
// requests on the wire are answered. The next one writes nothing a second time, and no dead letter either.
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
		"whole batches are refused": {bad: 50, cfg: hubspottest.Config{IgnoreTrace: true},
			begin: func(*hubspottest.Server) func() { return func() {} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.cfg.Latency = 50 * time.Millisecond
			topic, hubspot, args := world(t, b, 2, tc.cfg, append(tc.args, "--max-in-flight=4")...)
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
			if err := m.terminate(t); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
			t.Logf("it ended after %v", time.Since(asked).Round(10*time.Millisecond))
			if took := time.Since(asked); took > 15*time.Second { // a request's timeout
				t.Errorf("it ended after %v", took)
			}
			first := len(hubspot.Journal())
			end()
			if tc.noLetters {
				b.CreateTopic(t, topic+".dlq", 1, nil)
			}
			m = start(t, "second", args...)
			until(t, "all is committed", 2*time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
			if err := m.terminate(t); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
			times := map[string]int{}
			for _, w := range hubspot.Journal() {
				if times[w.TraceID]++; times[w.TraceID] == 2 {
					t.Errorf("%s was written twice", w.TraceID)
				}
			}
			letters := map[string]int{}
			for _, l := range b.ReadAll(t, topic+".dlq") {
				letters[string(l.Key)]++
			}
			if len(times) != events-tc.bad || len(letters) != tc.bad || first == len(times) && !tc.noLetters {
				t.Errorf("%d events were written, %d of them by the first; there are letters of %d", len(times), first,
					len(letters))
			}
			for key, n := range letters {
				if n > 1 {
					t.Errorf("%d dead letters of %s", n, key)
				}
			}
		})
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

func state(t *testing.T, m *member) string {
	t.Helper()
	_, body := m.get(t, "/status")
	var st worker.Status
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return st.State
}
