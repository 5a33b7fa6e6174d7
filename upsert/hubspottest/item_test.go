package hubspottest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// accounted is what an answer says: the ids in its results, and trace id → category of its errors, both sorted.
func accounted(t *testing.T, answer map[string]any) (ok, bad []string) {
	t.Helper()
	for _, r := range answer["results"].([]any) {
		ok = append(ok, r.(map[string]any)["properties"].(map[string]any)["external_task_id"].(string))
	}
	errs, _ := answer["errors"].([]any)
	for _, e := range errs {
		e := e.(map[string]any)
		context, _ := e["context"].(map[string]any)
		if e["message"] == "" || e["status"] != "error" || e["links"] != nil || context == nil {
			t.Errorf("error %v", e)
		}
		bad = append(bad, fmt.Sprint(context["objectWriteTraceId"], e["category"]))
	}
	if n, _ := answer["numErrors"].(float64); int(n) != len(errs) {
		t.Errorf("numErrors is %v of %d", n, len(errs))
	}
	slices.Sort(ok)
	slices.Sort(bad)
	return ok, bad
}

func written(s *hubspottest.Server) (ids []string) {
	for _, w := range s.Journal() {
		ids = append(ids, w.ID)
	}
	slices.Sort(ids)
	return ids
}

func only(id, category string) func(hubspottest.Input) string {
	return func(in hubspottest.Input) string {
		if in.ID == id {
			return category
		}
		return ""
	}
}

func omit(id string) func(hubspottest.Input) bool {
	return func(in hubspottest.Input) bool { return in.ID == id }
}

// TestItems: picked inputs are named or left out, and the rest is judged and written as usual, in the same answer.
func TestItems(t *testing.T) {
	type fault = hubspottest.Fault
	type list = []string
	const conflict, internal, invalid = "[t-a]CONFLICT", "[t-a]INTERNAL_ERROR", "[t-bad]VALIDATION_ERROR"
	for name, tc := range map[string]struct {
		faults           []fault
		ok, bad, written list
	}{
		"none":                               {nil, list{"a", "b"}, list{invalid}, list{"a", "b"}},
		"named":                              {[]fault{{Items: only("a", "CONFLICT")}}, list{"b"}, list{conflict, invalid}, list{"b"}},
		"named, written":                     {[]fault{{Items: only("a", "CONFLICT"), AfterWrite: true}}, list{"b"}, list{conflict, invalid}, list{"a", "b"}},
		"omitted":                            {[]fault{{Omit: omit("a")}}, list{"b"}, list{invalid}, list{"b"}},
		"omitted, written":                   {[]fault{{Omit: omit("a"), AfterWrite: true}}, list{"b"}, list{invalid}, list{"a", "b"}},
		"a bad one left out is not written":  {[]fault{{Omit: omit("bad"), AfterWrite: true}}, list{"a", "b"}, nil, list{"a", "b"}},
		"a bad one has the fault's category": {[]fault{{Items: only("bad", "X"), AfterWrite: true}}, list{"a", "b"}, list{"[t-bad]X"}, list{"a", "b"}},
		"they add up":                        {[]fault{{Items: only("a", "INTERNAL_ERROR")}, {Omit: omit("b")}}, nil, list{internal, invalid}, nil},
		"the first has the input":            {[]fault{{Items: only("a", "INTERNAL_ERROR")}, {Omit: omit("a")}}, list{"b"}, list{internal, invalid}, list{"b"}},
		"every":                              {[]fault{{Items: hubspottest.Every("X")}}, nil, list{"[t-a]X", "[t-b]X", "[t-bad]X"}, nil},
		"the match fails":                    {[]fault{{Items: hubspottest.Every("X"), Match: hubspottest.Has("c")}}, list{"a", "b"}, list{invalid}, list{"a", "b"}},
		"both in one":                        {[]fault{{Items: only("a", "CONFLICT"), Omit: omit("b")}}, nil, list{conflict, invalid}, nil},
		"after a fault that waits":           {[]fault{{Delay: time.Second}, {Items: only("a", "CONFLICT")}}, list{"b"}, list{conflict, invalid}, list{"b"}},
		"as a whole it comes second":         {[]fault{{Delay: time.Second}, {Delay: time.Second, Items: only("a", "CONFLICT")}}, list{"a", "b"}, list{invalid}, list{"a", "b"}},
		"and waits":                          {[]fault{{Delay: time.Second, Items: only("a", "CONFLICT")}}, list{"b"}, list{conflict, invalid}, list{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := hubspottest.New(hubspottest.Config{})
				for _, f := range tc.faults {
					s.Inject(f)
				}
				status, _, answer := ask(t, s, batch(input("a", "t-a", when), input("bad", "t-bad", when, `"colour":"red"`),
					input("b", "t-b", when)))
				ok, bad := accounted(t, answer)
				if want := map[bool]int{true: 207, false: 200}[len(tc.bad) > 0]; status != want || answer["status"] != "COMPLETE" ||
					!slices.Equal(ok, tc.ok) || !slices.Equal(bad, tc.bad) || !slices.Equal(written(s), tc.written) {
					t.Errorf("%d %v\n%v named, %v confirmed, %v written", status, answer, bad, ok, written(s))
				}
			})
		})
	}
}

// TestItemsInPart: Times counts the answers in which an input was picked, and no others. For and ItemShare hold, too.
func TestItemsInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hubspottest.New(hubspottest.Config{Latency: time.Second})
		named := func(inputs ...string) int {
			_, _, answer := ask(t, s, batch(inputs...))
			_, bad := accounted(t, answer)
			return len(bad)
		}
		a, b := input("a", "t-a", when), input("b", "t-b", when)
		s.Inject(hubspottest.Fault{Items: only("a", "CONFLICT"), Times: 1})
		s.Inject(hubspottest.Fault{Status: 503, Times: 1})
		if status, _, _ := ask(t, s, batch(a)); status != 503 {
			t.Errorf("%d, want the fault of the whole request first", status)
		}
		if got := fmt.Sprint(named(b), named(a, b), named(a, b)); got != "0 1 0" {
			t.Errorf("named %s, want 0 1 0", got)
		}
		s.Inject(hubspottest.Fault{Items: hubspottest.Every("CONFLICT"), For: 3 * time.Second})
		begun := time.Now()
		if got := fmt.Sprint(named(a, b), named(a, b), named(a, b)); got != "2 2 0" || time.Since(begun) != 3*time.Second {
			t.Errorf("named %s in %v, want 2 2 0 in 3 s", got, time.Since(begun))
		}
		s.Inject(hubspottest.Fault{Items: hubspottest.Every("INTERNAL_ERROR"), ItemShare: 0.2})
		var many []string
		for i := range 100 {
			many = append(many, input(fmt.Sprint(i), fmt.Sprint("t-", i), when))
		}
		n := 0
		for range 10 {
			n += named(many...)
		}
		if n < 120 || n > 280 {
			t.Errorf("%d of 1000 inputs are named, want a fifth", n)
		}
	})
}

// TestItemsSink: without trace ids of their own, an input that a fault names sinks the batch.
func TestItemsSink(t *testing.T) {
	for category, want := range map[string]int{"VALIDATION_ERROR": 400, "CONFLICT": 409, "OBJECT_ALREADY_EXISTS": 409,
		"OBJECT_NOT_FOUND": 404, "RATE_LIMITS": 429, "INTERNAL_ERROR": 500, "SERVICE_UNAVAILABLE": 503, "OTHER": 400} {
		s := hubspottest.New(hubspottest.Config{IgnoreTrace: true})
		s.Inject(hubspottest.Fault{Items: only("b", category)})
		status, _, answer := ask(t, s, batch(input("a", "t-a", when), input("b", "t-b", when)))
		if status != want || want != 429 && answer["category"] != category || answer["message"] == "" ||
			len(s.Journal()) != 0 {
			t.Errorf("%s: %d %v, %d writes; want %d", category, status, answer, len(s.Journal()), want)
		}
	}
}

// TestConflict: the existing object is named, and it is that of the id.
func TestConflict(t *testing.T) {
	s := hubspottest.New(hubspottest.Config{})
	_, _, first := ask(t, s, batch(input("a", "t-a", when)))
	id := first["results"].([]any)[0].(map[string]any)["id"].(string)
	s.Inject(hubspottest.Fault{Items: hubspottest.Every("CONFLICT")})
	_, _, answer := ask(t, s, batch(input("a", "t-a", when)))
	if said := fmt.Sprint(answer["errors"]); !strings.Contains(said, "existingId:["+id+"]") ||
		!strings.Contains(said, "Existing ID: "+id) {
		t.Errorf("%s, want the existing id %s", said, id)
	}
}
