package hubspottest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestLeanAnswers: the lean mode answers good inputs as the full one does, but for ids, times and order.
func TestLeanAnswers(t *testing.T) {
	body := ` { "more" : [1, {"a":"]}"}], "inputs" : [ ` +
		input("a", "t-1", when, `"hs_task_subject":"say \"hi\" {[} \\"`, `"hs_task_body":"b"`) + " , " +
		`{"properties":{ },"objectWriteTraceId":"t-2","idProperty":"external_task_id","id":"\u00fc b"}` + "," +
		input("c", "t-3", when, `"hs_task_body":""`) + " ] } "
	byKey := func(s *hubspottest.Server) map[string]map[string]any {
		status, _, answer := ask(t, s, body)
		if status != 200 || answer["status"] != "COMPLETE" || answer["startedAt"] == nil || answer["completedAt"] == nil {
			t.Fatalf("%d %v", status, answer)
		}
		found := map[string]map[string]any{}
		for _, r := range answer["results"].([]any) {
			result := r.(map[string]any)
			props := result["properties"].(map[string]any)
			if result["id"] == "" || result["id"] != props["hs_object_id"] {
				t.Errorf("id %v, hs_object_id %v", result["id"], props["hs_object_id"])
			}
			for _, varies := range []string{"hs_object_id", "hs_createdate", "hs_lastmodifieddate"} {
				if props[varies] == nil {
					t.Errorf("no %s in %v", varies, props)
				}
				delete(props, varies)
			}
			for _, varies := range []string{"id", "createdAt", "updatedAt"} {
				if result[varies] == nil {
					t.Errorf("no %s in %v", varies, result)
				}
				delete(result, varies)
			}
			found[props["external_task_id"].(string)] = result
		}
		return found
	}
	// The full one refuses an input without a date, so that it has the object already.
	full := hubspottest.New(hubspottest.Config{EchoTrace: true})
	ask(t, full, batch(input("ü b", "t-0", when)))
	want := byKey(full)
	want["ü b"]["new"] = true
	if got := byKey(hubspottest.New(hubspottest.Config{EchoTrace: true, Lean: true})); !reflect.DeepEqual(got, want) {
		t.Errorf("lean: %v\nfull: %v", got, want)
	}
}

// TestLeanSameID: an object keeps its HubSpot id, and two objects have two.
func TestLeanSameID(t *testing.T) {
	s := hubspottest.New(hubspottest.Config{Lean: true})
	id := func(key string) any {
		_, _, answer := ask(t, s, batch(input(key, "t", when)))
		return answer["results"].([]any)[0].(map[string]any)["id"]
	}
	if a, again, b := id("a"), id("a"), id("b"); a != again || a == b {
		t.Errorf("a is %v, then %v; b is %v", a, again, b)
	}
}

// TestLeanObserve: each answer is told, with the ids that it wrote; down, spent and slow work as in the full mode.
func TestLeanObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		begun := time.Now()
		s := hubspottest.New(hubspottest.Config{Lean: true, Limit: 100, Latency: time.Second,
			Observe: func(req hubspottest.Request, ids [][]byte) {
				written := []string{}
				for _, id := range ids {
					written = append(written, string(id))
				}
				slices.Sort(written)
				told = append(told, fmt.Sprint(req.Time.Sub(begun), " ", req.Status, " ", req.Inputs, " ", written))
			}})
		two := batch(input("1", "a", when), input("2", "b", when))
		ask(t, s, two)
		s.SetDown(true)
		ask(t, s, two)
		s.SetDown(false)
		s.SetSpent(true)
		if _, h, answer := ask(t, s, two); h.Get("X-HubSpot-RateLimit-Remaining") != "0" ||
			answer["policyName"] != "TEN_SECONDLY_ROLLING" {
			t.Errorf("%v %v", h, answer)
		}
		s.SetSpent(false)
		s.SetLatency(0)
		ask(t, s, two)
		want := []string{"0s 200 2 [1 2]", "1s 503 2 []", "2s 429 0 []", "3s 200 2 [1 2]"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

// FuzzLean: nothing breaks it, and what is JSON is answered with JSON.
func FuzzLean(f *testing.F) {
	for _, seed := range []string{`{}`, `{"inputs":[]}`, `{"inputs":[{}]}`, batch(input("a", "t", when)),
		batch(input("a", "t")), `{"inputs":[{"id":"\\"}]}`, `{"inputs":[1]}`, `[`, `{"`, `{"a":"\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer x")
		w := httptest.NewRecorder()
		hubspottest.New(hubspottest.Config{Lean: true}).ServeHTTP(w, r)
		if json.Valid([]byte(body)) && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q is answered with %q", body, w.Body)
		}
	})
}

// BenchmarkLean is what the simulator costs a request of 100 inputs.
func BenchmarkLean(b *testing.B) {
	var inputs []string
	for i := range 100 {
		inputs = append(inputs, input(fmt.Sprint("task-", i), fmt.Sprint("tasks-0-", i), when,
			`"hs_task_subject":"Call back","hs_task_body":"`+strings.Repeat("word ", 50)+`"`))
	}
	body := batch(inputs...)
	s := hubspottest.New(hubspottest.Config{Lean: true})
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer x")
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
}
