package upsert_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/hubspot"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// request is one with an input for each list of events, whose trace ids are t-0-0, t-0-1, …
func request(t testing.TB, events ...[]string) (inputs []upsert.Input) {
	t.Helper()
	d, offset := upsert.Decoder{IDProperty: "ext"}, int64(0)
	for _, of := range events {
		var in upsert.Input
		for _, value := range of {
			task, reason := d.Decode(&consumer.Record{Topic: "t", Offset: offset, Value: []byte(value)})
			if reason != nil {
				t.Fatalf("%s: %s", value, reason.Message)
			}
			in = append(in, task)
			offset++
		}
		inputs = append(inputs, in)
	}
	return inputs
}

func said(a upsert.Judgement) string {
	var all []string
	for _, v := range a.Verdicts {
		all = append(all, verdicts[v])
	}
	return strings.Join(all, " ")
}

// TestRenamedKey: an event may write another key than its own. A result that echoes this key is not taken for that of
// the input whose key it is.
func TestRenamedKey(t *testing.T) {
	const one = `{"status":"COMPLETE","results":[{"id":"1","properties":{"ext":"b"}}]}`
	plain := []string{`{"id":"b","properties":{"x":"1"}}`}
	for name, c := range map[string]struct {
		event, body, want string
	}{
		"renamed":             {`{"id":"a","properties":{"x":"1","ext":"b"}}`, one, "? ?"},
		"the name escaped":    {`{"id":"a","properties":{"\u0065xt":"b"}}`, one, "? ?"},
		"the value escaped":   {`{"id":"a","properties":{"ext":"\u0062"}}`, one, "? ?"},
		"escapes elsewhere":   {`{"id":"a","properties":{"x":"\n\"ext\":\"a\"","ext":"b","y":"\\"}}`, one, "? ?"},
		"another form":        {`{"id":"a","properties":{"ext":" B"}}`, one, "? ?"},
		"as a number":         {`{"id":"a","properties":{"ext":7}}`, strings.ReplaceAll(one, `"b"`, `"007"`), "? ?"},
		"to a longer key":     {`{"id":"a","properties":{"ext":"ab"}}`, strings.ReplaceAll(one, `"b"`, `"a"`), "ok ?"},
		"its own key":         {`{"id":"a","properties":{"ext":"a"}}`, one, "? ok"},
		"its own, escaped":    {`{"id":"a","properties":{"\u0065xt":"\u0061"}}`, one, "? ok"},
		"cleared":             {`{"id":"a","properties":{"ext":null}}`, one, "? ok"},
		"a name that ends so": {`{"id":"a","properties":{"\"ext":"b","next":"b"}}`, one, "? ok"},
		"both are there": {`{"id":"a","properties":{"ext":"b"}}`,
			`{"status":"COMPLETE","results":[{"id":"1","properties":{"ext":"b"}},{"id":"2","properties":{"ext":"b"}}]}`, "ok ok"},
		"the trace id says which": {`{"id":"a","properties":{"ext":"b"}}`,
			`{"status":"COMPLETE","results":[{"id":"1","objectWriteTraceId":"t-0-0","properties":{"ext":"b"}}]}`, "ok ?"},
	} {
		if got := said(upsert.Judge(request(t, []string{c.event}, plain), 200, nil, []byte(c.body))); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	merged := request(t, []string{`{"id":"a","properties":{"ext":"b"}}`, `{"id":"a","properties":{"x":"1"}}`}, plain)
	if got := said(upsert.Judge(merged, 200, nil, []byte(one))); got != "? ?" {
		t.Errorf("renamed by the older event of an input: %s", got)
	}
}

// TestLongWords: what HubSpot can make long is cut where it is read, at the border of a character, and a long message
// is searched for its code all the same.
func TestLongWords(t *testing.T) {
	long := strings.Repeat("é", 500)
	escaped := strings.Repeat(`\u00e9`, 500)
	array := `Property values were not valid: [{\"message\":\"` + strings.Repeat("quoted ", 10_000) +
		`\",\"error\":\"INVALID_OPTION\",\"name\":\"p\"},{\"error\":`
	for name, c := range map[string]struct{ item, category, code, property string }{
		"category":          {`"category":"x` + long + `","subCategory":"C"`, "x" + long[:126], "C", ""},
		"escaped category":  {`"category":"x` + escaped + `"`, "x" + long[:126], "", ""},
		"code":              {`"category":"A","subCategory":"` + long + `"`, "A", long[:128], ""},
		"inner code":        {`"category":"A","errors":[{"code":"x` + long + `"}]`, "A", "x" + long[:126], ""},
		"property":          {`"category":"A","context":{"propertyName":["x` + long + `"]}`, "A", "", "x" + long[:198]},
		"in the message":    {`"category":"A","message":"[{\"error\":\"` + long + `\",\"name\":\"` + long + `\"}]"`, "A", long[:128], long[:200]},
		"behind much":       {`"category":"A","message":"` + array + `"`, "A", "INVALID_OPTION", "p"},
		"required property": {`"category":"A","context":{"properties":["` + long + `"]}`, "A", "MISSING_REQUIRED_PROPERTY", long[:200]},
	} {
		item := `{` + c.item + `,"correlationId":"` + long + `"}`
		for _, a := range []upsert.Judgement{
			upsert.Judge(inputs(t, 1, ""), 400, nil, []byte(item)),
			upsert.Judge(inputs(t, 1, ""), 207, nil,
				[]byte(`{"status":"COMPLETE","results":[],"correlationId":"`+long+`","errors":[`+item+`]}`))} {
			r := a.Reason
			if a.Class == upsert.Judged {
				r = *a.Reasons[0]
			} else if name == "code" { // the refusal of a whole request has no code there
				continue
			}
			if name == "category" {
				r.Code = c.code
			}
			if r.Category != c.category || r.Code != c.code || r.Property != c.property || r.CorrelationID != long[:128] ||
				len(r.Message) > 1024 {
				t.Errorf("%s: %q/%q %q, correlation id %q, and %d bytes of a message", name, r.Category, r.Code, r.Property,
					r.CorrelationID, len(r.Message))
			}
		}
	}
}

// TestHostileAnswers: reading an answer costs no more memory than four times its bound, whatever it is full of.
func TestHostileAnswers(t *testing.T) {
	const inputs = 4
	bound := hubspot.AnswerBound(inputs, 0)
	var events [][]string
	for i := range inputs {
		events = append(events, []string{fmt.Sprintf(`{"id":"id-%d","properties":{"x":"1"}}`, i)})
	}
	in := request(t, events...)
	var names strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&names, `"%x":1,`, i)
	}
	for name, c := range map[string]struct{ before, each, after string }{
		"results":         {`{"results":[`, `{},`, `{}]}`},
		"plain results":   {`{"status":"COMPLETE","results":[`, `{"id":1},`, `{"id":1}]}`},
		"errors":          {`{"errors":[`, `{},`, `{}]}`},
		"numbers":         {`{"results":[`, `0,`, `0]}`},
		"names":           {`{"results":[],"errors":[{"context":{"ids":[`, `"b",`, `"b"]}}]}`},
		"empty names":     {`{"results":[],"errors":[{"context":{"ids":[`, `"",`, `"b"]}}]}`},
		"trace ids":       {`{"results":[],"errors":[{"context":{"objectWriteTraceId":[`, `10,`, `1]}}]}`},
		"properties":      {`{"results":[],"errors":[{"context":{"properties":[`, `"bc",`, `1]}}]}`},
		"contexts":        {`{"results":[],"errors":[{"context":{`, names.String(), `"a":1}}]}`},
		"lists":           {`{"results":[],"errors":[{"context":{`, `"a":[[]],`, `"a":1}}]}`},
		"members":         {`{"results":[],`, names.String(), `"a":1}`},
		"echoes":          {`{"results":[{"id":"\u0031","properties":{`, names.String(), `"a":1}}]}`},
		"nesting":         {`{"results":[],"errors":`, `[`, `]}`},
		"deep results":    {`{"results":[{"id":`, `{"a":`, `1}]}`},
		"inner errors":    {`{"results":[],"errors":[{"errors":[`, `{},`, `{}]}]}`},
		"inner contexts":  {`{"results":[],"errors":[{"errors":[`, `{"context":{"ids":[],"propertyName":[]}},`, `{}]}]}`},
		"category":        {`{"results":[],"errors":[{"category":"`, `abcd`, `"}]}`},
		"escapes":         {`{"results":[],"category":"`, `\u0061`, `"}`},
		"message":         {`{"results":[],"message":"`, `\u0061`, `"}`},
		"array inside":    {`{"results":[],"message":"[`, `{},`, `{}]"}`},
		"code inside":     {`{"results":[],"message":"[{\"error\":\"`, `abc`, `\"}]"}`},
		"a result's id":   {`{"results":[{"id":"`, `1`, `"}]}`},
		"an escaped id":   {`{"results":[{"id":"`, `\u0031`, `"}]}`},
		"an echoed key":   {`{"results":[{"id":"1","properties":{"ext":"`, `\u0031`, `"}}]}`},
		"not UTF-8":       {`{"results":[],"message":"`, "a\xff", `"}`},
		"nothing but air": {`{"results":[`, ` `, `]}`},
	} {
		n := (bound - len(c.before) - len(c.after)) / len(c.each)
		body := []byte(c.before + strings.Repeat(c.each, n) + c.after)
		for _, status := range []int{200, 400} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a := upsert.Judge(in, status, nil, body)
			runtime.ReadMemStats(&after)
			if took := int(after.TotalAlloc - before.TotalAlloc); took > 3*bound { // the body itself is the fourth part
				t.Errorf("%s, status %d: judging %d KiB took %d KiB", name, status, bound>>10, took>>10)
			}
			if slices.Contains(a.Verdicts, upsert.Confirmed) {
				t.Errorf("%s, status %d: something is confirmed", name, status)
			}
		}
	}
}

// TestEndlessAnswers: answers that are too long, or have too many elements, are an outage, which names them as
// unreadable. When it ends each record is written.
func TestEndlessAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"too long": `{"status":"COMPLETE","results":[]}` + strings.Repeat(" ", hubspot.AnswerBound(10, 0)),
		"too many": `{"status":"COMPLETE","results":[` + strings.Repeat(`{},`, 1000) + `{}]} `,
	} {
		t.Run(name, func(t *testing.T) {
			run(t, setup{}, func(r *rig) {
				mend := r.hubspot.Inject(hubspottest.Fault{Status: 200, Body: body})
				r.produce(many(10, 0)...)
				time.Sleep(time.Minute)
				if o := r.sender.Status().Outage; o == nil || o.Failure != "UNREADABLE_ANSWER" {
					t.Errorf("the outage is %+v", o)
				}
				mend()
				r.settled(time.Minute)
				r.deadLettered()
			})
		})
	}
}
