package upsert_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/upsert"
)

// TestDecode holds what becomes of an event: the request that HubSpot sees, or the reason of its dead letter.
func TestDecode(t *testing.T) {
	var got strings.Builder
	headers := 0
	decode := func(name string, d upsert.Decoder, key string, value []byte) {
		rec := &consumer.Record{Topic: "tasks", Partition: 3, Offset: 17, Value: value, HeaderCount: headers}
		if key != "" {
			rec.Key = []byte(key)
		}
		task, reason := d.Decode(rec)
		fmt.Fprintf(&got, "# %s\n", name)
		if len(value) < 300 {
			fmt.Fprintf(&got, "%q key %q\n", value, key)
		}
		if reason != nil {
			fmt.Fprintf(&got, "-> %s/%s property %q: %s\n", reason.Category, reason.Code, reason.Property, reason.Message)
			if task.ID == "" {
				fmt.Fprint(&got, "   waits for nothing\n\n")
			} else {
				fmt.Fprintf(&got, "   waits behind %q of %q\n\n", task.ID, task.IDProperty)
			}
			return
		}
		body := upsert.AppendRequest(nil, []upsert.Input{{task}})
		fmt.Fprintf(&got, "-> %s\n\n", body)
		if size := upsert.InputSize(task); len(body)-len(`{"inputs":[]}`) > size {
			t.Errorf("%s: the input takes %d bytes, more than InputSize = %d", name, len(body), size)
		}
		if !json.Valid(body) {
			t.Errorf("%s: the request is not JSON", name)
		}
	}
	each := func(d upsert.Decoder, cases ...string) {
		for i := 0; i < len(cases); i += 3 {
			decode(cases[i], d, cases[i+1], []byte(cases[i+2]))
		}
	}
	each(upsert.Decoder{},
		"nothing is configured, and the event brings an idProperty", "key-1", `{"id":"a","idProperty":"ext","properties":{}}`,
		"nothing is configured, and the event brings none", "key-1", `{"id":"a","properties":{}}`)
	each(upsert.Decoder{IDProperties: []string{"ext"}},
		"plain", "", `{"id":"a","idProperty":"ext","properties":{"hs_task_subject":"Call"}}`,
		"no idProperty at all", "", `{"id":"a","properties":{}}`)
	ext := upsert.Decoder{IDProperty: "ext", IDProperties: []string{"own", "third"}}
	each(ext,
		"the configured idProperty", "", `{"id":"a","properties":{"x":"1"}}`,
		"its own idProperty wins", "", `{"id":"a","idProperty":"own","properties":{"x":"1"}}`,
		"its own idProperty is the configured one", "", `{"id":"a","idProperty":"ext","properties":{"x":"1"}}`,
		"a blank idProperty counts as none", "", `{"id":"a","idProperty":" ","properties":{}}`,
		"an idProperty that is not configured", "key-1", `{"id":"a","idProperty":"foreign","properties":{"x":"1"}}`,
		"an idProperty that is not configured, and no key", "", `{"id":"a","idProperty":"foreign","properties":{}}`,
		"an idProperty in other letters than the configured one", "key-1", `{"id":"a","idProperty":"Ext","properties":{}}`,
		"an idProperty that is not configured, of 64 characters", "key-1", `{"id":"a","idProperty":"`+strings.Repeat("ä", 64)+`","properties":{}}`,
		"an idProperty that is not configured, of 65 characters", "key-1", `{"id":"a","idProperty":"`+strings.Repeat("ä", 65)+`","properties":{}}`,
		"an idProperty that is not configured, in a CloudEvent", "key-1", `{"specversion":"1.0","id":"event-1","data":{"id":"a","idProperty":"foreign","properties":{}}}`,
		"idProperty null", "", `{"id":"a","idProperty":null,"properties":{}}`,
		"idProperty of a wrong type", "", `{"id":"a","idProperty":7,"properties":{}}`,
		"a number as id keeps its text", "", `{"id":9007199254740993.10,"properties":{}}`,
		"the key is the id", "key-1", `{"properties":{"x":"1"}}`,
		"id null: the key", "key-1", `{"id":null,"properties":{}}`,
		"the key is not UTF-8", "\xff", `{"properties":{}}`,
		"neither id nor key", "", `{"properties":{}}`,
		"a blank id", "key-1", "{\"id\":\" \\t\\u00a0\",\"properties\":{}}",
		"id of a wrong type", "key-1", `{"id":true,"properties":{}}`,
		"id is an object", "key-1", `{"id":{},"properties":{}}`,
		"id with escapes and zero", "", `{"id":"a\u0000\"\\\u00e4\ud83d\ude00<","properties":{}}`,
		"numbers as their text", "", `{"id":"a","properties":{"n":9007199254740993,"f":1.50,"e":1E+3,"z":-0.0}}`,
		"booleans as text, null as it is", "", `{"id":"a","properties":{"t":true,"f":false,"n":null,"e":""}}`,
		"strings byte for byte", "", `{"id":"a","properties":{"s":"\u0041\/\ud83d\ude00 <b>&amp;</b> \u2028\n","ü":"ü"}}`,
		"white space everywhere", "", " \n{ \"id\" :\t\"a\" , \"properties\" : { \"a\" : \"b\" , \"n\" : 1 } } \r\n",
		"an escaped name", "", `{"id":"a","properties":{"h\u0073_x":"1"}}`,
		"unknown fields are ignored", "", `{"id":"a","objectWriteTraceId":"theirs","deep":[{"a":[1,{"b":null}]}],"properties":{"x":"1"}}`,
		"associations", "", `{"id":"a","associations":[{"to":{"id":"1"}}],"properties":{"x":"1"}}`,
		"empty associations", "", `{"id":"a","associations":[],"properties":{}}`,
		"associations null", "", `{"id":"a","associations":null,"properties":{}}`,
		"a property that is an array", "", `{"id":"a","properties":{"x":"1","list":["a"]}}`,
		"a property that is an object", "", `{"id":"a","properties":{"o":{"a":"b"}}}`,
		"no properties", "", `{"id":"a"}`,
		"properties null", "", `{"id":"a","properties":null}`,
		"properties is a list", "", `{"id":"a","properties":[]}`,
		"a property twice", "", `{"id":"a","properties":{"x":"1","x":"2"}}`,
		"id twice", "", `{"id":"a","id":"b","properties":{}}`,
		"empty", "", ``,
		"white space", "", " \n",
		"no JSON", "", `hello`,
		"cut off", "", `{"id":"a","properties":{"x":"1"`,
		"two objects", "", `{"id":"a","properties":{}}{"id":"b"}`,
		"rubbish behind", "", `{"id":"a","properties":{}} x`,
		"an array", "", `[{"id":"a"}]`,
		"null", "", `null`,
		"a string", "", `"a"`,
		"not UTF-8", "", "{\"id\":\"a\",\"properties\":{\"x\":\"\xff\"}}",
		"half a surrogate pair", "", `{"id":"a","properties":{"x":"\ud800"}}`,
		"a raw control character", "", "{\"id\":\"a\",\"properties\":{\"x\":\"a\nb\"}}",
		"a byte order mark", "", "\ufeff{\"id\":\"a\",\"properties\":{}}",
		"NaN", "", `{"id":"a","properties":{"x":NaN}}`,
		"CloudEvent, structured", "", `{"specversion":"1.0","id":"event-1","type":"task","source":"s","data":{"id":"a","properties":{"x":"1"}}}`,
		"CloudEvent, base64", "", `{"specversion":"1.0","id":"event-1","data_base64":"eyJpZCI6ImEiLCJwcm9wZXJ0aWVzIjp7IngiOiIxIn19"}`,
		"CloudEvent, bad base64", "", `{"specversion":"1.0","id":"event-1","data_base64":"%%"}`,
		"CloudEvent, base64 that is no string", "", `{"specversion":"1.0","id":"event-1","data_base64":1}`,
		"CloudEvent, data is no object", "", `{"specversion":"1.0","id":"event-1","data":"text"}`,
		"CloudEvent, the data has a bad property", "key-1", `{"specversion":"1.0","id":"event-1","data":{"id":"a","properties":{"x":[]}}}`,
		"CloudEvent, cut off", "key-1", `{"id":"event-1","specversion":"1.0","data":{"id":"a"`,
		"a bad property, and an idProperty of its own", "key-1", `{"id":7,"idProperty":"own","properties":{"x":[]}}`,
		"a bad property, and an idProperty that is not configured", "key-1", `{"id":7,"idProperty":"foreign","properties":{"x":[]}}`,
		"a bad property, an idProperty of its own, and only the key", "key-1", `{"idProperty":"own","properties":{"x":[]}}`,
		"a bad property, and only the key", "key-1", `{"properties":{"x":[]}}`,
		"cut off before the id", "key-1", `{"properties":{"x":"1"`,
		"CloudEvent without data is an event", "", `{"specversion":"1.0","id":"a","properties":{}}`)
	decode("tombstone", ext, "key-1", nil)
	decode("deeper than JSON may be", ext, "", []byte(`{"id":"a","x":`+strings.Repeat("[", 20_000)+strings.Repeat("]",
		20_000)+`,"properties":{}}`))
	headers = consumer.MaxHeaders
	decode("as many headers as may be", ext, "key-1", []byte(`{"properties":{}}`))
	headers++
	decode("one header more", ext, "key-1", []byte(`{"properties":{}}`))
	decode("a tombstone with too many headers", ext, "key-1", nil)
	golden.Compare(t, "decode.golden", got.String())
}

// TestHostileValues: what a producer can think of to take a decoder's time or memory, or to be read in two ways, has
// its reason, within bounds that go with the value's size.
func TestHostileValues(t *testing.T) {
	members := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	long := strings.Repeat("x", 65_536)
	for _, tc := range []struct{ name, key, value, want string }{
		{"ten thousand levels", "k", `{"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `,"properties":{}}`, "INVALID_JSON/SYNTAX"},
		{"ten thousand levels of objects", "k", `{"x":` + strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000) + `,"properties":{}}`, "INVALID_JSON/SYNTAX"},
		{"a million levels, never closed", "k", strings.Repeat("[", 1_000_000), "INVALID_EVENT/NOT_AN_OBJECT"},
		{"a million levels in a property", "k", `{"properties":{"x":` + strings.Repeat("[", 1_000_000), "INVALID_JSON/SYNTAX"},
		{"a million properties", "k", `{"properties":{"a":"b"` + members(1_000_000, `,"k%d":"v"`) + `}}`, "INVALID_EVENT/TOO_MANY_MEMBERS"},
		{"a million fields", "k", `{"a":"b"` + members(1_000_000, `,"k%d":"v"`) + `,"properties":{}}`, "INVALID_EVENT/TOO_MANY_MEMBERS"},
		{"a million names in a field that is ignored", "k", `{"x":{"a":"b"` + members(1_000_000, `,"k%d":"v"`) + `},"properties":{}}`, ""},
		{"a name a million times", "k", `{"properties":{"a":"b"` + members(1_000_000, `,"a":"%d"`) + `}}`, "INVALID_JSON/DUPLICATE_NAME"},
		{"the same name, written in two ways", "k", `{"properties":{"a":"1","\u0061":"2"}}`, "INVALID_JSON/DUPLICATE_NAME"},
		{"id twice, written in two ways", "", `{"id":"a","\u0069d":"b","properties":{}}`, "INVALID_JSON/DUPLICATE_NAME"},
		{"as many properties as may be", "k", `{"properties":{"a":"b"` + members(9_999, `,"k%d":"v"`) + `}}`, ""},
		{"a property of 10 MB", "k", `{"properties":{"x":"` + strings.Repeat("x", 10<<20) + `"}}`, ""}, // HubSpot's to refuse
		{"a number of 10 MB", "k", `{"properties":{"x":` + strings.Repeat("9", 10<<20) + `}}`, ""},
		{"names of a megabyte", "k", `{"` + strings.Repeat("k", 1<<20) + `":{"` + strings.Repeat("y", 1<<20) + `":[}}`, "INVALID_JSON/SYNTAX"},
		{"an id of 65,536 characters", "", `{"id":"` + long + `","properties":{}}`, ""},
		{"one more", "", `{"id":"` + long + `x","properties":{}}`, "INVALID_EVENT/ID_TOO_LONG"},
		{"as many, of several bytes each", "", `{"id":"` + strings.Repeat("ä", 65_536) + `","properties":{}}`, ""},
		{"a key that is too long for an id", long + "x", `{"properties":{}}`, "INVALID_EVENT/ID_TOO_LONG"},
		{"an idProperty of 10 MB", "k", `{"id":"a","idProperty":"` + strings.Repeat("ä", 5<<20) + `","properties":{}}`, "INVALID_EVENT/UNKNOWN_ID_PROPERTY"},
		{"a key with a NUL and an escape sequence", "a\x00\x1b[2J", `{"properties":{}}`, ""},
		{"NUL", "k", "{\"properties\":{\"a\":\"\x00\"}}", "INVALID_JSON/SYNTAX"},
		{"NUL behind the object", "k", "{\"properties\":{}}\x00", "INVALID_JSON/SYNTAX"},
		{"a lone high surrogate", "k", `{"properties":{"a":"\ud83d"}}`, "INVALID_JSON/SYNTAX"},
		{"a lone low surrogate", "k", `{"properties":{"a":"\ude00\ud83d"}}`, "INVALID_JSON/SYNTAX"},
		{"a lone surrogate as a name", "k", `{"properties":{"\udead":"a"}}`, "INVALID_JSON/SYNTAX"},
		{"overlong UTF-8", "k", "{\"properties\":{\"a\":\"\xc0\x80\"}}", "INVALID_JSON/INVALID_UTF8"},
		{"a byte order mark", "k", "\ufeff{\"properties\":{}}", "INVALID_JSON/SYNTAX"},
		{"UTF-16", "k", "\xff\xfe{\x00}\x00", "INVALID_JSON/"},
		{"Avro's magic byte", "k", "\x00\x00\x00\x00\x07{}", "INVALID_JSON/SYNTAX"},
		{"CloudEvents in CloudEvents", "k", `{"specversion":"1.0","data":{"specversion":"1.0","data":{"properties":{}}}}`, "INVALID_EVENT/MISSING_PROPERTIES"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			d := upsert.Decoder{IDProperty: "ext"}
			_, reason := d.Decode(&consumer.Record{Topic: "t", Key: []byte(tc.key), Value: []byte(tc.value)})
			runtime.ReadMemStats(&after)
			got := ""
			if reason != nil {
				got = reason.Category + "/" + reason.Code
				if len(reason.Message) > 1024 || !utf8.ValidString(reason.Message) || len(reason.Property) > 200 {
					t.Errorf("reason %+v", reason)
				}
			}
			if got != tc.want && (tc.want == "" || !strings.HasPrefix(got, tc.want)) {
				t.Errorf("%q, want %q", got, tc.want)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > uint64(4<<20+20*len(tc.value)) {
				t.Errorf("%d bytes were allocated for %d", grown, len(tc.value))
			}
		})
	}
}

// TestUnknownIDProperty: a letter has the name that the event brought as it is, but for its length.
func TestUnknownIDProperty(t *testing.T) {
	d := upsert.Decoder{IDProperty: "ext"}
	_, reason := d.Decode(&consumer.Record{Topic: "t", Key: []byte("k"),
		Value: []byte(`{"id":"a","idProperty":"a\"\n\u001b[31m\u202e","properties":{}}`)})
	if reason == nil || reason.Code != "UNKNOWN_ID_PROPERTY" || !strings.Contains(reason.Message, "a\"\n\x1b[31m\u202e") {
		t.Errorf("reason %+v", reason)
	}
}

// TestMerged: the versions of an object that travel together are one input, newer properties over older.
func TestMerged(t *testing.T) {
	d := upsert.Decoder{IDProperty: "ext"}
	var in upsert.Input
	for i, value := range []string{`{"id":"a","properties":{"x":"1","y":1,"z":null}}`,
		`{"id":"a","properties":{"\u0079":"2"}}`, `{"id":"a","properties":{"w":"3","z":"now"}}`} {
		task, reason := d.Decode(&consumer.Record{Topic: "t", Offset: int64(i), Value: []byte(value)})
		if reason != nil {
			t.Fatal(reason)
		}
		in = append(in, task)
	}
	want := `{"inputs":[{"id":"a","idProperty":"ext","objectWriteTraceId":"t-0-2","properties":{"x":"1","\u0079":"2","z":"now","w":"3"}}]}`
	if got := upsert.AppendRequest(nil, []upsert.Input{in}); string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// FuzzDecode holds the decoder against encoding/json: what it accepts is what that reads, value by value, and it
// accepts every plain event. No event chooses an idProperty that is not configured, not even for its place.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"id":"a","properties":{"x":"1","n":1.50,"b":true,"z":null}}`,
		`{"id":1e5,"properties":{"\u0078":"\ud83d\ude00"}} `,
		`{"specversion":"1.0","data":{"id":"a","properties":{}}}`, `{"id":"a","associations":[1],"properties":{}}`, `{"properties":{"a":{}}}`, "", "null",
		`{"id":"a","idProperty":"own","properties":{}}`, `{"id":"a","idProperty":"foreign","properties":{"x":[]}}`,
		`{"properties":{"a":"1","\u0061":"2"}}`, `{"properties":{"a":"\ude00\ud83d"}}`, "\ufeff{}", "{\"properties\":{\"a\":\"\xc0\x80\x00\"}}", "\xff\xfe{\x00}\x00", "\x00\x00\x00\x00\x07{}",
		`{"x":` + strings.Repeat("[", 10_000), `{"properties":{"a":` + strings.Repeat(`{"a":`, 100)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		rec := &consumer.Record{Topic: "t", Key: []byte("key"), Value: value}
		d := upsert.Decoder{IDProperty: "ext", IDProperties: []string{"own"}}
		task, reason := d.Decode(rec)
		if task.IDProperty != "ext" && task.IDProperty != "own" {
			t.Fatalf("%q is among the records of %q, which is not configured", value, task.IDProperty)
		}
		if task.Record != rec || reason != nil && task.Properties != nil {
			t.Fatalf("the task is %+v", task)
		}
		var plain struct {
			ID         any
			Properties map[string]any
		}
		dec := json.NewDecoder(bytes.NewReader(value))
		dec.UseNumber()
		err := dec.Decode(&plain)
		if reason != nil {
			if len(reason.Message) > 1024 || !utf8.ValidString(reason.Message) || reason.Category == "" {
				t.Fatalf("reason %+v", reason)
			}
			id, named := plain.ID.(string)
			if named = named && strings.TrimSpace(id) != "" && err == nil && reason.Category != "INVALID_JSON" &&
				!bytes.Contains(value, []byte("specversion")) && !bytes.Contains(value, []byte("idProperty")) &&
				!caseFolds(value); named && task.ID != id || task.ID == "" {
				t.Fatalf("the letter of %q waits behind %q", value, task.ID)
			}
			return
		}
		if err != nil && !json.Valid(value) {
			t.Fatalf("accepted %q, which encoding/json refuses: %v", value, err)
		}
		body := upsert.AppendRequest(nil, []upsert.Input{{task}})
		if len(body)-len(`{"inputs":[]}`) > upsert.InputSize(task) {
			t.Fatalf("%d bytes, more than InputSize = %d", len(body), upsert.InputSize(task))
		}
		var sent struct {
			Inputs []struct {
				ID, IDProperty, ObjectWriteTraceID string
				Properties                         map[string]*string
			}
		}
		if err := json.Unmarshal(body, &sent); err != nil {
			t.Fatalf("the request %q: %v", body, err)
		}
		in := sent.Inputs[0]
		if in.ID != task.ID || in.IDProperty != task.IDProperty || in.ObjectWriteTraceID != "t-0-0" {
			t.Fatalf("the request %q for %+v", body, task)
		}
		if bytes.Contains(value, []byte("specversion")) || err != nil || caseFolds(value) {
			return // the twin knows neither CloudEvents nor exact names
		}
		if len(in.Properties) != len(plain.Properties) {
			t.Fatalf("%d properties of %d: %q", len(in.Properties), len(plain.Properties), body)
		}
		for name, v := range plain.Properties {
			got := in.Properties[name]
			switch {
			case v == nil && got == nil:
			case v != nil && got != nil && *got == fmt.Sprint(v):
			default:
				t.Fatalf("property %q is %v, and was %v", name, got, v)
			}
		}
	})
}

// caseFolds tells of a name that encoding/json would take for ours: it ignores case.
func caseFolds(value []byte) bool {
	var names map[string]json.RawMessage
	if json.Unmarshal(value, &names) != nil {
		return true
	}
	for name := range names {
		for _, ours := range []string{"id", "properties"} {
			if name != ours && strings.EqualFold(name, ours) {
				return true
			}
		}
	}
	return false
}

func BenchmarkDecode(b *testing.B) {
	value := []byte(`{"id":"task-123456","properties":{"hs_timestamp":"2026-11-23T10:00:00Z","hs_task_subject":"Call the customer back about the offer","hs_task_status":"NOT_STARTED","hs_task_priority":"HIGH","hs_task_type":"CALL","hubspot_owner_id":1234567,"hs_task_body":"They asked for a new offer with twenty seats, and want to hear from us before the end of the week."}}`)
	d := upsert.Decoder{IDProperty: "ext"}
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		if _, reason := d.Decode(&consumer.Record{Topic: "tasks", Value: value}); reason != nil {
			b.Fatal(reason)
		}
	}
}

// BenchmarkEncode is what a request costs, without the growth of its buffer.
func BenchmarkEncode(b *testing.B) {
	in := inputs(b, 100, `,"more":1`)
	for i := range in {
		in[i][0].Properties = bytes.Repeat([]byte(`,"hs_task_subject":"Call back about offer 4711"`), 7)[1:]
	}
	var body []byte
	b.ReportAllocs()
	start := time.Now()
	for b.Loop() {
		body = upsert.AppendRequest(body[:0], in)
	}
	b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(100*b.N), "ns/record")
}
