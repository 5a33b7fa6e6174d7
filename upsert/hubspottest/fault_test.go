package hubspottest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestSpell: a fault with For is over by itself, and Times may end it earlier.
func TestSpell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hubspottest.New(hubspottest.Config{})
		expect := func(id string, want int) {
			t.Helper()
			if status, _, answer := ask(t, s, batch(input(id, "a", when))); status != want {
				t.Errorf("%s is answered %d %v, want %d", id, status, answer, want)
			}
		}
		s.Inject(hubspottest.Fault{Status: 503, For: time.Minute, Match: hubspottest.Has("x")})
		time.Sleep(time.Minute - 1)
		expect("x", 503)
		expect("y", 200)
		time.Sleep(time.Nanosecond)
		expect("x", 200)
		s.Inject(hubspottest.Fault{Status: 503, For: time.Minute, Times: 1})
		expect("x", 503)
		expect("x", 200)
		remove := s.Inject(hubspottest.Fault{Status: 503, For: time.Minute})
		expect("x", 503)
		remove()
		expect("x", 200)
	})
}

// TestShare: the seed decides which of the matching requests a fault strikes, and Times counts only those.
func TestShare(t *testing.T) {
	strikes := func(seed uint64, f hubspottest.Fault) (struck string) {
		s := hubspottest.New(hubspottest.Config{Seed: seed})
		f.Status, f.Body = 503, "<html>"
		s.Inject(f)
		for range 400 {
			status, _, _ := ask(t, s, batch(input("x", "a", when)))
			struck += map[int]string{200: ".", 503: "!"}[status]
		}
		return struck
	}
	first := strikes(1, hubspottest.Fault{Share: 0.25})
	if n := strings.Count(first, "!"); n < 60 || n > 140 || len(first) != 400 {
		t.Errorf("a share of 0.25 strikes %d of 400", n)
	}
	again, other := strikes(1, hubspottest.Fault{Share: 0.25}), strikes(2, hubspottest.Fault{Share: 0.25})
	if first != again || first == other {
		t.Error("the seed does not decide")
	}
	if n := strings.Count(strikes(1, hubspottest.Fault{Share: 0.25, Times: 7}), "!"); n != 7 {
		t.Errorf("seven times are %d", n)
	}
	if n := strings.Count(strikes(1, hubspottest.Fault{Share: 0.25, Match: hubspottest.Has("y")}), "!"); n != 0 {
		t.Errorf("%d requests without y are struck", n)
	}
}

// TestMatches: the ready-made matches look at the ids and properties of all inputs.
func TestMatches(t *testing.T) {
	in := []hubspottest.Input{{ID: "a"}, {ID: "b", Properties: map[string]string{"hs_task_type": "CALL", "empty": ""}}}
	for name, tc := range map[string]struct{ got, want bool }{
		"the id of the second": {hubspottest.Has("b")(in), true},
		"another id":           {hubspottest.Has("c")(in), false},
		"a value":              {hubspottest.Carries("hs_task_type", "CALL")(in), true},
		"another value":        {hubspottest.Carries("hs_task_type", "TODO")(in), false},
		"an empty value":       {hubspottest.Carries("empty", "")(in), true},
		"no value":             {hubspottest.Carries("absent", "")(in), false},
		"no inputs":            {hubspottest.Has("a")(nil), false},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %v", name, tc.got)
		}
	}
}

// TestBodies: the ready-made bodies are HubSpot's Error and a proxy's page.
func TestBodies(t *testing.T) {
	var e map[string]any
	body := hubspottest.JSONError(413, "PAYLOAD_TOO_LARGE", "too large", map[string][]string{"limit": {"1"}})
	if err := json.Unmarshal([]byte(body), &e); err != nil || e["status"] != "error" || e["message"] != "too large" ||
		e["category"] != "PAYLOAD_TOO_LARGE" || len(e["correlationId"].(string)) != 36 ||
		e["context"].(map[string]any)["limit"].([]any)[0] != "1" {
		t.Errorf("%v in %s", err, body)
	}
	e = nil
	body = hubspottest.JSONError(429, "DAILY", "no more", nil)
	if err := json.Unmarshal([]byte(body), &e); err != nil || e["policyName"] != "DAILY" ||
		e["errorType"] != "RATE_LIMIT" || e["category"] != nil || e["context"] != nil {
		t.Errorf("%v in %s", err, body)
	}
	page := hubspottest.Page(502, "Bad <Gateway>")
	if !strings.Contains(page, "<h1>502 Bad &lt;Gateway&gt;</h1>") || strings.Contains(page, "correlation") {
		t.Error(page)
	}
}

// TestWholeAnswers: what a fault makes of a request, on the wire, and whether the input is written.
func TestWholeAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		fault   hubspottest.Fault
		status  int
		kind    string
		body    string // its beginning
		written int
	}{
		"HubSpot's 413": {hubspottest.Fault{Status: 413, Body: hubspottest.JSONError(413, "PAYLOAD_TOO_LARGE", "too large", nil)}, 413, "application/json", `{"category":"PAYLOAD_TOO_LARGE"`, 0},
		"a page":        {hubspottest.Fault{Status: 502, Body: hubspottest.Page(502, "Bad Gateway")}, 502, "text/html", "<html>", 0},
		"a page after":  {hubspottest.Fault{Status: 524, Body: hubspottest.Page(524, "timeout"), AfterWrite: true}, 524, "text/html", "<html>", 1},
		"COMPLETE":      {hubspottest.Fault{BatchStatus: "COMPLETE"}, 200, "application/json", `{"completedAt":`, 0},
		"wrote nothing": {hubspottest.Fault{BatchStatus: "COMPLETE", AfterWrite: true}, 200, "application/json", `{"completedAt":`, 1},
		"CANCELED":      {hubspottest.Fault{BatchStatus: "CANCELED"}, 200, "application/json", `{"completedAt":`, 0},
		"PROCESSING":    {hubspottest.Fault{BatchStatus: "PROCESSING", AfterWrite: true}, 200, "application/json", `{"completedAt":`, 1},
		"204":           {hubspottest.Fault{Status: 204}, 204, "", "", 0},
		"{}":            {hubspottest.Fault{Status: 200, Body: "{}"}, 200, "application/json", "{}", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := hubspottest.New(hubspottest.Config{})
			s.Inject(tc.fault)
			status, header, body := post(t, s, batch(input("x", "a", when)))
			if kind := header.Get("Content-Type"); status != tc.status || !strings.HasPrefix(kind, tc.kind) ||
				(kind == "") != (tc.kind == "") || !strings.HasPrefix(body, tc.body) || (body == "") != (tc.body == "") {
				t.Errorf("%d %q %s", status, kind, body)
			}
			if want := tc.fault.BatchStatus; want != "" &&
				(!strings.Contains(body, `"status":"`+want+`"`) || !strings.Contains(body, `"results":[]`)) {
				t.Error(body)
			}
			if n := len(s.Journal()); n != tc.written {
				t.Errorf("%d writes, want %d", n, tc.written)
			}
		})
	}
}

// FuzzServer: whatever comes, it is answered, and answered with JSON.
func FuzzServer(f *testing.F) {
	for _, seed := range []string{``, `{}`, `null`, `{"inputs":null}`, `{"inputs":[null]}`,
		`{"inputs":[{"id":null,"properties":{}}]}`,
		`{"inputs":[{"id":"a","properties":{"a":null,"b":[],"c":{}}}]}`, batch(input("a", "t", when)), batch(input("A", "t", when), input(" a", "t", when)),
		batch(input("a", "", when), input("b", "", `"x":true`)), `{"inputs":[]} 1`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, fault := range []hubspottest.Fault{{Match: hubspottest.Has("none")},
			{Items: hubspottest.Every("CONFLICT"), ItemShare: 0.5},
			{Omit: func(hubspottest.Input) bool { return true }, AfterWrite: true}, {DropResults: 1}, {AfterWrite: true, Status: 500, Body: "{}"}} {
			s := hubspottest.New(hubspottest.Config{FoldIDs: true, Conditional: []hubspottest.Requirement{{If: "a", Then: "b"}}})
			s.Inject(fault)
			r := httptest.NewRequest(http.MethodPost, "/crm/objects/2026-09/tasks/batch/upsert", strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer x")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("%q is answered with %q", body, w.Body)
			}
		}
	})
}
