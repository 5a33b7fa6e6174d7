package hubspottest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

const (
	path = "/crm/v3/objects/tasks/batch/upsert"
	when = `"hs_timestamp":"2026-11-23T10:00:00Z"`
)

func input(id, trace string, props ...string) string {
	return fmt.Sprintf(`{"id":%q,"idProperty":"external_task_id","objectWriteTraceId":%q,"properties":{%s}}`, id, trace,
		strings.Join(props, ","))
}

// ask posts a body and returns the status, the header and the parsed answer.
func ask(t *testing.T, s *hubspottest.Server, body string) (int, http.Header, map[string]any) {
	t.Helper()
	return askAt(t, s, http.MethodPost, path, "secret", body)
}

func askAt(t *testing.T, s *hubspottest.Server, method, path, token, body string) (int, http.Header, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var parsed map[string]any
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(w.Body.Bytes(), &parsed); err != nil {
			t.Fatalf("%v in %s", err, w.Body)
		}
	}
	return w.Code, w.Header(), parsed
}

func batch(inputs ...string) string { return `{"inputs":[` + strings.Join(inputs, ",") + `]}` }

// TestChecks goes through the order in which the endpoint checks a request.
func TestChecks(t *testing.T) {
	t.Run("full", func(t *testing.T) {
		s := hubspottest.New(hubspottest.Config{Token: "secret"})
		checks(t, s)
		if n := len(s.Journal()); n != 1 {
			t.Errorf("%d writes, want that of the dated path", n)
		}
	})
	t.Run("lean", func(t *testing.T) { checks(t, hubspottest.New(hubspottest.Config{Token: "secret", Lean: true})) })
}

func checks(t *testing.T, s *hubspottest.Server) {
	many := make([]string, 101)
	for i := range many {
		many[i] = input(fmt.Sprint(i), fmt.Sprint(i), when)
	}
	for _, tc := range []struct {
		name, method, path, token, body string
		status                          int
		says                            string
	}{
		{"no token", "POST", path, "", "", 401, "Authentication"},
		{"a wrong token", "POST", path, "other", batch(), 401, "Authentication"},
		{"a wrong path", "POST", "/crm/v3/objects/contacts/batch/upsert", "secret", batch(), 404, "No resource"},
		{"a wrong method", "GET", path, "secret", batch(), 404, "No resource"},
		{"no JSON", "POST", path, "secret", "{", 400, "Invalid input JSON"},
		{"no inputs", "POST", path, "secret", batch(), 400, "[inputs]"},
		{"no id", "POST", path, "secret", batch(`{"idProperty":"external_task_id","properties":{}}`), 400, "[id]"},
		{"101 inputs", "POST", path, "secret", batch(many...), 400, "maximum number of inputs"},
		{"a property that is not unique", "POST", path, "secret", batch(`{"id":"1","idProperty":"hs_task_subject","properties":{}}`), 400, "non-unique"},
		{"an id twice", "POST", path, "secret", batch(input("1", "a", when), input("1", "b", when)), 400, "Duplicate IDs"},
		{"the dated path", "POST", "/crm/objects/2026-09/0-27/batch/upsert", "secret", batch(input("1", "a", when)), 200, ""},
	} {
		status, _, answer := askAt(t, s, tc.method, tc.path, tc.token, tc.body)
		if message, _ := answer["message"].(string); status != tc.status || !strings.Contains(message, tc.says) {
			t.Errorf("%s: %d %v, want %d %s", tc.name, status, answer, tc.status, tc.says)
		}
	}
}

// TestProperties goes through what a task's properties may be.
func TestProperties(t *testing.T) {
	long := strings.Repeat("ä", 65_536)
	for _, tc := range []struct{ props, code string }{
		{when, ""},
		{`"hs_timestamp":1763892000000`, ""},
		{`"hs_timestamp":"tomorrow"`, "INVALID_DATE"},
		{`"hs_task_subject":"no date"`, "required properties"},
		{when + `,"hs_task_status":"WAITING","hs_task_priority":"HIGH","hs_task_type":"CALL","hubspot_owner_id":42`, ""},
		{when + `,"hs_task_status":null,"hs_task_priority":""`, ""},
		{when + `,"hs_task_status":"waiting"`, "INVALID_OPTION"},
		{when + `,"hs_task_priority":"URGENT"`, "INVALID_OPTION"},
		{when + `,"hs_task_type":"FAX"`, "INVALID_OPTION"},
		{when + `,"hubspot_owner_id":"me"`, "INVALID_OWNER_ID"},
		{when + `,"hs_object_id":"1"`, "READ_ONLY_VALUE"},
		{when + `,"colour":"red"`, "PROPERTY_DOESNT_EXIST"},
		{when + `,"hs_task_body":"` + long + `"`, ""},
		{when + `,"hs_task_body":"` + long + `x"`, "PROPERTY_VALUE_TOO_LONG"},
		{when + `,"hs_task_body":["a"]`, "is no string"},
	} {
		s := hubspottest.New(hubspottest.Config{})
		status, _, answer := ask(t, s, batch(input("good", "a", when), input("it", "b", tc.props)))
		errs, _ := answer["errors"].([]any)
		shown := tc.props[:min(len(tc.props), 120)]
		if tc.code == "" {
			if status != 200 || len(s.Journal()) != 2 {
				t.Errorf("%s: %d %v, want it accepted", shown, status, errs)
			}
			continue
		}
		if said := fmt.Sprint(errs); status != 207 || len(errs) != 1 || !strings.Contains(said, tc.code) ||
			!strings.Contains(said, "objectWriteTraceId:[b]") {
			t.Errorf("%s: %d %v, want a 207 with %s for b", shown, status, errs, tc.code)
		}
		if j := s.Journal(); len(j) != 1 || j[0].ID != "good" {
			t.Errorf("%s: written %v, want the neighbour alone", shown, j)
		}
		// Without trace ids of their own, the first bad input sinks the batch.
		s = hubspottest.New(hubspottest.Config{})
		if status, _, answer = ask(t, s, batch(input("good", "", when), input("it", "", tc.props))); status != 400 ||
			len(s.Journal()) != 0 {
			t.Errorf("%s without trace ids: %d %v, %d writes", shown, status, answer, len(s.Journal()))
		}
	}
}

// TestUpsertIsPartial: what is not named stays, and an existing task needs no date.
func TestUpsertIsPartial(t *testing.T) {
	s := hubspottest.New(hubspottest.Config{EchoTrace: true})
	_, _, first := ask(t, s, batch(input("1", "a", when, `"hs_task_subject":"x"`)))
	status, _, second := ask(t, s, batch(input("1", "b", `"hs_task_status":"WAITING"`)))
	result := func(answer map[string]any) map[string]any { return answer["results"].([]any)[0].(map[string]any) }
	if a, b := result(first), result(second); status != 200 || a["id"] != b["id"] || a["new"] != true ||
		b["new"] != false || b["objectWriteTraceId"] != "b" {
		t.Errorf("%d: first %v, second %v", status, a, b)
	}
	held := s.Objects()["external_task_id\x001"]
	if held["hs_task_subject"] != "x" || held["hs_task_status"] != "WAITING" {
		t.Errorf("HubSpot holds %v", held)
	}
}

// TestWindow: a request counts when it comes, for a rolling window; a refused one does not count.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hubspottest.New(hubspottest.Config{Limit: 2, Daily: 5})
		expect := func(status int, remaining, daily string) {
			t.Helper()
			got, h, answer := ask(t, s, batch(input("1", "a", when)))
			if got != status || h.Get("X-HubSpot-RateLimit-Remaining") != remaining ||
				h.Get("X-HubSpot-RateLimit-Daily-Remaining") != daily {
				t.Errorf("%d, %s and %s left, %v; want %d, %s and %s", got, h.Get("X-HubSpot-RateLimit-Remaining"),
					h.Get("X-HubSpot-RateLimit-Daily-Remaining"), answer, status, remaining, daily)
			}
		}
		expect(200, "1", "4")
		time.Sleep(6 * time.Second)
		expect(200, "0", "3")
		expect(429, "0", "2")
		time.Sleep(4 * time.Second)
		expect(200, "0", "1")
		time.Sleep(20 * time.Second)
		expect(200, "1", "0")
		expect(429, "", "0")
		time.Sleep(24 * time.Hour)
		expect(200, "1", "4")
		s.SetLimit(0)
		s.SetDown(true)
		expect(503, "", "3")
		s.SetDown(false)
		s.SetToken("new")
		expect(401, "", "")
	})
}
