package upsert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

var oddJSON = []string{`"a"`, `"\u00e4\ud83d\ude00\"\\\/\b\f\n\r\t"`, `"\ud800"`, `"\ude00\ud83d"`, `"\ud83d\u0041"`,
	`"\u12g4"`, `"\x"`, `"\`, `"`, `""`, "\"\xff\"",
	"\"\xed\xa0\x80\"", "\"a\nb\"", "\"seven..\x1f\"", "\"eight...\x7f\"", `"ääääääääää"`, "0", "-0", "01", "-", "1.", ".5", "1.5e+10", "1E-2", "1e", "1e+", "+1", "9007199254740993",
	"true", "tru", "truex", "false", "null", "nul", "NaN", " 1", "1 ", "1 2", "", "'a'", "\"\u2028\"", "\ufeff1"}

// FuzzScan: of a string, a number, true, false or null a scan says just what jsontext says of it.
func FuzzScan(f *testing.F) {
	for _, seed := range oddJSON {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := scan{text: text}
		raw, kind, ok := s.scalar()
		ok = ok && s.end()
		trimmed := bytes.Trim(text, " \t\r\n")
		v := jsontext.Value(trimmed)
		if want := v.IsValid() && v.Kind() != '{' && v.Kind() != '['; ok != want {
			t.Fatalf("%q: accepted %v, and jsontext %v", text, ok, want)
		}
		if ok && (kind != v.Kind() || !bytes.Equal(raw, trimmed) || !json.Valid(text)) {
			t.Fatalf("%q: kind %v, raw %q", text, kind, raw)
		}
		lax := scan{text: text, lax: true}
		if lax.skip(8) && lax.end() && !jsontext.Value(text).IsValid(lenient) {
			t.Fatalf("%q: skipped, and jsontext refuses it", text)
		}
	})
}

// FuzzPlain: what a scan takes for a plain event jsontext reads in the same way.
func FuzzPlain(f *testing.F) {
	for _, seed := range append(oddJSON, "a,1,true", "x\" : null , \"y", strings.Repeat("n", 300)) {
		for _, pattern := range []string{`{"id":"a","properties":{"x":%}}`,
			`{"id":%,"properties":{"x":"1", "y":2,"z" :null}}`, `{"id":"%","idProperty":"e","properties":{"%":"1","b":"2"},"more":1.5}`,
			`{"properties":{"a":1},"properties":{"%":"2"}}`, `{"properties":{"a":"1","%":"2"},"a":"%"}`, ` {"idProperty":%,"properties":{} } %`, `}%`, `{"id":"a",%}`} {
			f.Add([]byte(strings.ReplaceAll(pattern, "%", seed)))
		}
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		before := bytes.Clone(value)
		ev, ok := readPlain(value)
		if !ok {
			return
		}
		careful, reason := readAny(value, "the value")
		if reason != nil {
			t.Fatalf("%q: taken for an event, but %s: %s", value, reason.Code, reason.Message)
		}
		if string(ev.properties) != string(careful.properties) || (ev.properties == nil) != (careful.properties == nil) {
			t.Fatalf("%q: properties %q, want %q", value, ev.properties, careful.properties)
		}
		ev.properties, careful.properties = nil, nil
		if !reflect.DeepEqual(ev, careful) {
			t.Fatalf("%q: %+v, want %+v", value, ev, careful)
		}
		if !bytes.Equal(value, before) {
			t.Fatalf("%q was changed to %q", before, value)
		}
	})
}

// TestPlain: which events are read without jsontext.
func TestPlain(t *testing.T) {
	long := strings.Repeat("Ünder no circumstances ", 20)
	for value, want := range map[string]bool{
		`{"id":"a","properties":{"x":"1","y":null}}`:                                                true,
		"{\n\"id\" : 1.5e3 , \"idProperty\" : \"e\", \"properties\" : { \"x\" : true } , \"v\":2 }": true,
		`{"properties":{"x":"` + long + `\"\n\ud83d\ude00"},"id":"` + long + `"}`:                   true,
		`{"id":"a","properties":{}}`:                                                                false,
		`{"id":"a","properties":{"x":[]}}`:                                                          false,
		`{"\u0069d":"a","properties":{"x":"1"}}`:                                                    false,
		`{"id":"a","id":"a","properties":{"x":"1"}}`:                                                false,
		`{"id":"a","properties":{"x":"1","x":"1"}}`:                                                 false,
		`{"id":"a","properties":{"x":"1"},"associations":null}`:                                     false,
		`{"specversion":"1.0","data":"a","properties":{"x":"1"}}`:                                   false,
	} {
		if _, got := readPlain([]byte(value)); got != want {
			t.Errorf("%s: plain is %v", value, got)
		}
	}
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"n` + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + string(rune('a'+i/26)) + `":"1"`)
		}
		return `{"properties":{` + b.String()[1:] + `}}`
	}
	for n, want := range map[int]bool{1: true, 32: true, 33: false} {
		if _, got := readPlain([]byte(many(n))); got != want {
			t.Errorf("%d properties: plain is %v", n, got)
		}
	}
}

// FuzzResults: what a scan takes for the answer to a request that went well jsontext reads in the same way.
func FuzzResults(f *testing.F) {
	for _, seed := range append(oddJSON, "7", "a\",\"ID\":\"b", `{"a":[1,{"b":null}]}`, "[]", "{}") {
		for _, pattern := range []string{`{"status":"COMPLETE","results":[{"id":"%","properties":{"ext":"%","x":"1"},"new":true},{"id":%,"objectWriteTraceId":"t"}],"startedAt":"2026"}`,
			`{"results":[{"id":"1","properties":{"ext":%,"ext":"2"}}],"status":%}`, `{"results":[],"errors":%}`, `{"results":[{%:"1"}],%:"PENDING"}`, `{"results":[{"id":"1","more":%,"%":"2"}],"%":1}`,
			`{"results":[{"id":"1"}],"results":[{"id":"%"}],"re-sults":[]}`, ` {"results":[{"properties":{},"properties":{"ext":"%"}}] } %`, `{"status":"A","status":"B","results":%}`} {
			f.Add([]byte(strings.ReplaceAll(pattern, "%", seed)))
		}
	}
	for _, seed := range []string{`{"Status":"PENDING","results":[{"id":"1"}]}`, `{"results":[{"id":"1","ID":"2"}]}`,
		`{"results":[{"id":"1","i-d":"2"}]}`,
		`{"results":[{"id":"1","i_d":"2"}]}`, `{"results":[{"id":"1","id":"2"}]}`, `{"results":[{"id":"1"}],"results":[{"id":"2"}]}`, `{"results":[],"er_rors":[{}]}`,
		`{"results":[{"id":"1","objectWriteTraceId":"a","objectWriteTraceId":"b","properties":{"ext":"a"},"properties":{"ext":"b"}}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := readResults(body, "ext", len(body), nil)
		if !ok {
			return
		}
		want, readable := parse(body, "ext", 200, len(body))
		if !readable {
			t.Fatalf("%q: taken for an answer, and jsontext refuses it", body)
		}
		show := func(b answerBody) string {
			all := fmt.Sprintf("%q", b.Status)
			for _, r := range b.results {
				all += fmt.Sprintf(" %q/%q/%q/%v", r.id, r.trace, r.key, r.echoed)
			}
			return all
		}
		if show(got) != show(want) {
			t.Fatalf("%q:\ngot  %s\nwant %s", body, show(got), show(want))
		}
		if len(want.Errors.items) > 0 || !reflect.DeepEqual(want.Context, errorContext{}) {
			t.Fatalf("%q: passed over %+v", body, want)
		}
		want.Status, want.Results, want.results, want.Errors = "", list[resultItem]{}, nil, list[errorItem]{}
		if !reflect.DeepEqual(want, answerBody{}) {
			t.Fatalf("%q: passed over %+v", body, want)
		}
	})
}
