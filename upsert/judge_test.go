package upsert_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/upsert"
)

var classes = map[upsert.Class]string{upsert.Judged: "Judged", upsert.Refused: "Refused", upsert.Conflict: "Conflict",
	upsert.Locked: "Locked", upsert.Limited: "Limited", upsert.Daily: "Daily", upsert.Auth: "Auth",
	upsert.Moving: "Moving", upsert.Failed: "Failed", upsert.TooLarge: "TooLarge"}

var verdicts = map[upsert.Verdict]string{upsert.Undecided: "?", upsert.Confirmed: "ok", upsert.Bad: "bad",
	upsert.Troubled: "troubled"}

// inputs are n of them: ids id-0, id-1, …; trace ids t-0-0, t-0-1, …
func inputs(t testing.TB, n int, more string) (all []upsert.Input) {
	t.Helper()
	d := upsert.Decoder{IDProperty: "ext", IDProperties: []string{"own"}}
	for i := range n {
		rec := &consumer.Record{Topic: "t", Offset: int64(i),
			Value: fmt.Appendf(nil, `{"id":"id-%d","properties":{}%s}`, i, more)}
		task, reason := d.Decode(rec)
		if reason != nil {
			t.Fatal(reason)
		}
		all = append(all, upsert.Input{task})
	}
	return all
}

// TestJudge holds what each kind of answer means for a request with three inputs.
func TestJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is 2000-01-01 00:00 UTC
		var got strings.Builder
		judge := func(in []upsert.Input, name string, status int, header http.Header, body string) {
			a := upsert.Judge(in, status, header, []byte(body))
			fmt.Fprintf(&got, "# %s\n%d %v %s\n-> %s", name, status, header, body, classes[a.Class])
			for i, v := range a.Verdicts {
				fmt.Fprintf(&got, " %s", verdicts[v])
				if r := a.Reasons[i]; v == upsert.Bad || v == upsert.Troubled {
					fmt.Fprintf(&got, "(%s/%s %s %q)", r.Category, r.Code, r.Property, r.Message)
				}
			}
			if r := a.Reason; r.Category+r.Code+r.Message != "" {
				fmt.Fprintf(&got, " %s/%s %s %q %s", r.Category, r.Code, r.Property, r.Message, r.CorrelationID)
			}
			if a.RetryAfter > 0 {
				fmt.Fprintf(&got, " after %v", a.RetryAfter)
			}
			got.WriteString("\n\n")
		}
		each := func(status int, cases ...string) {
			for i := 0; i < len(cases); i += 2 {
				judge(inputs(t, 3, ""), cases[i], status, nil, cases[i+1])
			}
		}
		const three = `{"id":"1","properties":{"ext":"id-0"}},{"id":"2","properties":{"ext":"id-1"}},{"id":"3","properties":{"ext":"id-2"}}`
		each(200,
			"keys echoed, shuffled", `{"status":"COMPLETE","results":[{"id":"3","properties":{"ext":"id-2"}},{"id":"1","properties":{"ext":"id-0"}},{"id":"2","properties":{"ext":"id-1"}}]}`,
			"trace ids echoed", `{"status":"COMPLETE","results":[{"id":"3","objectWriteTraceId":"t-0-2"},{"id":"1","objectWriteTraceId":"t-0-0"},{"id":"2","objectWriteTraceId":"t-0-1"}]}`,
			"nothing echoed, but as many distinct objects", `{"status":"COMPLETE","results":[{"id":"1"},{"id":"2"},{"id":"3"}]}`,
			"keys normalised", `{"status":"COMPLETE","results":[{"id":"1","properties":{"ext":"ID 0"}},{"id":"2","properties":{"ext":"ID 1"}},{"id":"3","properties":{"ext":"ID 2"}}]}`,
			"one normalised", `{"status":"COMPLETE","results":[{"id":"1","properties":{"ext":"id-0"}},{"id":"2","properties":{"ext":"ID 1"}},{"id":"3","properties":{"ext":"id-2"}}]}`,
			"the same object three times", `{"status":"COMPLETE","results":[{"id":"1"},{"id":"1"},{"id":"1"}]}`,
			"one left out, keys echoed", `{"status":"COMPLETE","results":[{"id":"1","properties":{"ext":"id-0"}},{"id":"3","properties":{"ext":"id-2"}}]}`,
			"one left out, nothing echoed", `{"status":"COMPLETE","results":[{"id":"1"},{"id":"3"}]}`,
			"one too many", `{"status":"COMPLETE","results":[{"id":"1"},{"id":"2"},{"id":"3"},{"id":"4"}]}`,
			"no status, nothing echoed", `{"results":[{"id":"1"},{"id":"2"},{"id":"3"}]}`,
			"no status, keys echoed", `{"results":[`+three+`]}`,
			"a foreign trace id", `{"status":"COMPLETE","results":[{"id":"1"},{"id":"2"},{"id":"3","objectWriteTraceId":"t-0-9"}]}`,
			"results without an id", `{"status":"COMPLETE","results":[{},{},{}]}`,
			"results and errors that are no arrays", `{"status":"COMPLETE","results":{"id":"1"},"errors":"none"}`,
			"PENDING", `{"status":"PENDING","results":[]}`,
			"PROCESSING with results", `{"status":"PROCESSING","results":[`+three+`]}`,
			"CANCELED", `{"status":"CANCELED"}`,
			"a dated version's refusal in a 200", `{"status":"COMPLETE","results":[{"id":"1"},{"id":"3"}],"numErrors":1,"errors":[{"status":"error","category":"VALIDATION_ERROR","message":"Property values were not valid: [{\"isValid\":false,\"message\":\"x\",\"error\":\"INVALID_OPTION\",\"name\":\"hs_task_status\"}]","context":{"objectWriteTraceId":["t-0-1"]}}]}`,
			"empty", ``, "a page", `<html>fine</html>`, "cut off", `{"status":"COMPLETE","results":[{"id"`, "an array", `[]`)
		each(207,
			"one refused by trace id", `{"status":"COMPLETE","results":[{"id":"1","properties":{"ext":"id-0"}},{"id":"3","properties":{"ext":"id-2"}}],"numErrors":1,"errors":[{"category":"VALIDATION_ERROR","message":"m","context":{"objectWriteTraceId":["t-0-1"]}}]}`,
			"one refused by ids", `{"status":"COMPLETE","results":[{"id":"1"},{"id":"3"}],"errors":[{"category":"OBJECT_ALREADY_EXISTS","message":"m","context":{"ids":["id-1"]}}]}`,
			"a required property", `{"status":"COMPLETE","results":[],"errors":[{"category":"VALIDATION_ERROR","message":"Error creating TASK. Some required properties were not set.","context":{"objectWriteTraceId":["t-0-0"],"properties":["hs_timestamp"]}}]}`,
			"two in one error", `{"status":"COMPLETE","results":[{"id":"1"}],"errors":[{"category":"C","message":"m","context":{"objectWriteTraceId":["t-0-1","t-0-2"]}}]}`,
			"the context is a single string", `{"status":"COMPLETE","results":[{"id":"1"},{"id":"2"}],"errors":[{"category":"C","message":"m","context":{"objectWriteTraceId":"t-0-2"}}]}`,
			"an error that names nobody", `{"status":"COMPLETE","results":[{"id":"1"},{"id":"2"}],"errors":[{"category":"C","message":"m"}]}`,
			"an error that names a stranger", `{"status":"COMPLETE","results":[{"id":"1"},{"id":"2"},{"id":"3"}],"errors":[{"category":"C","context":{"objectWriteTraceId":["t-0-7"]}}]}`,
			"confirmed and refused", `{"status":"COMPLETE","results":[`+three+`],"errors":[{"category":"C","context":{"objectWriteTraceId":["t-0-1"]}}]}`,
			"no category", `{"status":"COMPLETE","results":[],"errors":[{"context":{"ids":["id-0"]}}]}`,
			"permanent, in whatever case", `{"status":"COMPLETE","results":[],"errors":[{"category":"object_not_found","context":{"ids":["id-0"]}},{"category":"BAD_REQUEST","context":{"ids":["id-1"]}},{"category":"User_Defined","context":{"ids":["id-2"]}}]}`,
			"trouble", `{"status":"COMPLETE","results":[],"errors":[{"category":"CONFLICT","context":{"ids":["id-0"]}},{"category":"RATE_LIMITS","context":{"ids":["id-1"]}},{"category":"VALIDATION_ERRORS","context":{"ids":["id-2"]}}]}`,
			"named twice, once for good", `{"status":"COMPLETE","results":[],"errors":[{"category":"INTERNAL_ERROR","context":{"ids":["id-0"]}},{"category":"VALIDATION_ERROR","context":{"ids":["id-0","id-1"]}},{"category":"CONFLICT","context":{"ids":["id-1"]}}]}`,
			"the reason of a dated path", `{"status":"COMPLETE","results":[],"errors":[{"category":"VALIDATION_ERROR","message":"m","context":{"ids":["id-0"]},"errors":["odd",{"message":"n"},{"code":"INVALID_ALPHA","context":{"propertyName":["p"]}},{"code":"LATER"}]},{"category":"VALIDATION_ERROR","subCategory":{"a":1},"context":{"ids":["id-1"],"propertyName":["own"]},"errors":[{"code":"MISSING_CONDITIONAL_REQUIRED_PROPERTY","context":{"propertyName":["q"]}}]}]}`,
			"six errors", `{"results":[],"errors":[{},{},{},{},{},{}]}`, "seven errors", `{"results":[],"errors":[{},{},{},{},{},{},{}]}`,
			"seven results", `{"status":"COMPLETE","results":[{"id":"1"},{"id":"2"},{"id":"3"},{"id":"4"},{"id":"5"},{"id":"6"},{"id":"7"}]}`,
			"seven results and an error", `{"results":[{},{},{},{},{},{},{}],"errors":[{}]}`)
		judge(inputs(t, 1, ""), "alone: an error that names nobody", 207, nil,
			`{"status":"COMPLETE","results":[],"errors":[{"category":"C","message":"m"}]}`)
		judge(inputs(t, 1, ""), "alone: both a result and an error that names nobody", 207, nil,
			`{"status":"COMPLETE","results":[{"id":"1"}],"errors":[{"category":"C","message":"m"}]}`)

		const problem = `{"status":"error","message":"Property values were not valid: [{\"isValid\":false,\"message\":\"Property \\\"x\\\" does not exist\",\"error\":\"PROPERTY_DOESNT_EXIST\",\"name\":\"x\"}]","correlationId":"c-1","category":"VALIDATION_ERROR"}`
		each(400, "a bad property", problem, "malformed",
			`{"status":"error","message":"Invalid input JSON on line 1","correlationId":"c-2"}`, "a page", `<html>`,
			"the reasons of a dated path, more than inputs", `{"status":"error","message":"m","correlationId":"c","category":"VALIDATION_ERROR","errors":[{"message":"n"},{"code":"INVALID_ALPHA","context":{"propertyName":["p"]}},{},{},{},{},{},{}]}`,
			"not unique, configured", `{"status":"error","message":"Unable to perform update/upsert by non-unique 0-27 property ext in portal ID 1","category":"VALIDATION_ERROR"}`)
		own := inputs(t, 2, `,"idProperty":"own"`)
		const notUnique = `{"status":"error","message":"Unable to perform update/upsert by non-unique 0-27 property own in portal ID 1","category":"VALIDATION_ERROR"}`
		judge(own, "not unique, the events' own", 400, nil, notUnique)
		judge(append(own, inputs(t, 1, "")...), "not unique, mixed", 400, nil, notUnique)
		const plain = `{"status":"error","message":"m","correlationId":"c","category":"X"}`
		for _, status := range []int{301, 307, 401, 403, 404, 405, 408, 409, 413, 414, 418, 422, 423, 429, 431, 477, 500, 502,
			503, 504, 521, 524, 599} {
			each(status, "HubSpot's JSON", plain, "a page", "<html>")
		}
		judge(inputs(t, 3, ""), "a window that is full", 429, http.Header{"Retry-After": {"7"}},
			`{"errorType":"RATE_LIMIT","policyName":"TEN_SECONDLY_ROLLING"}`)
		judge(inputs(t, 3, ""), "the day is used up", 429, nil, `{"errorType":"RATE_LIMIT","policyName":"DAILY"}`)
		for _, after := range []string{"-1", "0", "3.5", "99999999999999999999", "90000", "Sat, 01 Jan 2000 00:01:00 GMT",
			"Fri, 31 Dec 1999 23:00:00 GMT", "soon"} {
			judge(inputs(t, 3, ""), "Retry-After", 423, http.Header{"Retry-After": {after}}, plain)
		}
		golden.Compare(t, "judge.golden", got.String())
	})
}

// FuzzJudge: whatever HubSpot answers, what is confirmed is backed by a result of its own, and nothing is both.
// The twin counts with encoding/json alone.
func FuzzJudge(f *testing.F) {
	for _, seed := range []string{`{"status":"COMPLETE","results":[{"id":"1","objectWriteTraceId":"t-0-0"},{"id":"2","properties":{"ext":"id-1"}}],"errors":[{"category":"c","context":{"ids":["id-2"]}}]}`,
		`{"status":"COMPLETE","results":[{"id":"1"},{"id":2},{"id":"3"}]}`, `{"STATUS":"PENDING"}`, `{"errors":[{"context":{"objectWriteTraceId":"t-0-1"}}]}`, "[]", "{"} {
		f.Add(uint8(3), false, seed)
	}
	f.Add(uint8(1), false, `{"results":[{"id":"1"},{"id":"2"},{"id":"3"},{"id":"4"},{"id":"5"}]}`)
	f.Add(uint8(1), true, `{"results":[{"id":"1","properties":{"ext":"id-0"}}]}`)
	f.Add(uint8(2), true, `{"status":"COMPLETE","results":[{"id":"1","properties":{"ext":"id-0"}},{"id":"2","properties":{"ext":"id-0"}}]}`)
	f.Fuzz(func(t *testing.T, n uint8, renames bool, body string) {
		var events [][]string
		for i := range int(n%5) + 1 {
			properties := ""
			if renames && i > 0 { // to the key of the first
				properties = `"ext":"id-0"`
			}
			events = append(events, []string{fmt.Sprintf(`{"id":"id-%d","properties":{%s}}`, i, properties)})
		}
		in := request(t, events...)
		a := upsert.Judge(in, 207, nil, []byte(body))
		if a.Class == upsert.Failed {
			return
		}
		if a.Class != upsert.Judged || len(a.Verdicts) != len(in) || len(a.Reasons) != len(in) {
			t.Fatalf("%+v", a)
		}
		var confirmed, bad int
		for i, v := range a.Verdicts {
			switch v {
			case upsert.Confirmed:
				confirmed++
			case upsert.Bad, upsert.Troubled:
				bad++
				if a.Reasons[i].Category == "" {
					t.Fatal("a refusal without a category")
				}
			case upsert.Undecided:
			}
		}
		var plain struct {
			Status  any
			Results []struct{ ID any }
			Errors  []any
		}
		if err := json.Unmarshal([]byte(body), &plain); err != nil {
			return // encoding/json is stricter
		}
		if len(plain.Results) > 2*len(in) && strings.Count(strings.ToLower(body), `"results"`) == 1 &&
			!strings.Contains(body, `\u`) {
			t.Fatalf("%d results for %d inputs were read", len(plain.Results), len(in))
		}
		if plainly := !strings.Contains(strings.ToLower(body), "trace") && !strings.Contains(body, `\u`) &&
			!strings.Contains(body, "COMPLETE"); plainly && renames && len(in) > 1 && a.Verdicts[0] == upsert.Confirmed {
			t.Fatal("confirmed by a key that another input writes")
		}
		var ids []string
		for _, r := range plain.Results {
			if id := fmt.Sprint(r.ID); r.ID != nil && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		if confirmed > len(ids) && strings.Count(strings.ToLower(body), `"results"`) == 1 &&
			strings.Count(strings.ToLower(body), `"id"`) == len(plain.Results) {
			t.Fatalf("%d confirmed by %d results of distinct objects", confirmed, len(ids))
		}
		if bad > 0 && len(plain.Errors) == 0 && !strings.Contains(body, `\u`) &&
			strings.Count(strings.ToLower(body), `"errors"`) == 1 {
			t.Fatalf("%d refused, without an error", bad)
		}
		if p, is := plain.Status.(string); is && slices.Contains([]string{"PENDING", "PROCESSING", "CANCELED"}, p) &&
			strings.Count(strings.ToLower(body), `"status"`) == 1 && confirmed+bad > 0 {
			t.Fatal("judged, though HubSpot is not done")
		}
	})
}

// BenchmarkJudge: the answer to a hundred events, also of such that have their key among the properties.
func BenchmarkJudge(b *testing.B) {
	for name, key := range map[string]string{"id only": "", "key among the properties": `"ext":"id-%d",`} {
		b.Run(name, func(b *testing.B) {
			var events [][]string
			var results []string
			for i := range 100 {
				properties := strings.ReplaceAll(key, "%d", fmt.Sprint(i)) + `"hs_task_subject":"Call the customer back",` +
					`"hs_task_body":"<p>They asked for an offer on Monday.</p>","hs_task_status":"NOT_STARTED"`
				events = append(events, []string{fmt.Sprintf(`{"id":"id-%d","properties":{%s}}`, i, properties)})
				results = append(results, fmt.Sprintf(`{"id":"%d","properties":{"ext":"id-%d","hs_task_subject":"Call the customer back","hs_object_id":"%d","hs_createdate":"2026-11-23T10:00:00.000Z","hs_lastmodifieddate":"2026-11-23T10:00:00.000Z"},"createdAt":"2026-11-23T10:00:00.000Z","updatedAt":"2026-11-23T10:00:00.000Z","archived":false,"new":true}`, 1000+i, i, 1000+i))
			}
			in := request(b, events...)
			body := []byte(`{"status":"COMPLETE","results":[` + strings.Join(results, ",") +
				`],"startedAt":"2026-11-23T10:00:00.000Z","completedAt":"2026-11-23T10:00:00.000Z"}`)
			b.ReportAllocs()
			start := time.Now()
			for b.Loop() {
				if a := upsert.Judge(in, 200, nil, body); a.Verdicts[99] != upsert.Confirmed {
					b.Fatal("not confirmed")
				}
			}
			b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(100*b.N), "ns/record")
		})
	}
}
