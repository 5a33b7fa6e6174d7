package upsert_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
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
	each(ext, keysAndIDs...)
	each(ext, misfits...)
	each(upsert.Decoder{}, "idProperty in other capitals", "", `{"id":"a","idproperty":"ext","properties":{}}`)
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

// keysAndIDs are ids that nobody means, and what serializers make of keys.
var keysAndIDs = []string{
	"an escaped id", "key-1", `{"\u0069d":"a","properties":{"x":"1"}}`,
	"every name escaped", "key-1", `{"\u0069\u0064":"a","id\u0050roperty":"own","\u0070roperties":{"x":"1"}}`,
	"an escaped id beside another", "key-1", `{"\u0069d":"a","id":"b","properties":{"x":"1"}}`,
	"escaped associations", "key-1", `{"id":"a","associ\u0061tions":[{}],"properties":{"x":"1"}}`,
	"a CloudEvent with escaped names", "key-1", `{"spec\u0076ersion":"1.0","id":"event-1","d\u0061ta":{"id":"a","properties":{"x":"1"}}}`,
	"a name that is no member's, escaped", "key-1", `{"\u0049d":"b","properties":{"x":"1"}}`,
	"the id undefined", "key-1", `{"id":"undefined","properties":{"x":"1"}}`,
	"the id null as text", "key-1", `{"id":"null","properties":{"x":"1"}}`,
	"the id NaN, with white space", "key-1", `{"id":" NaN\n","properties":{"x":"1"}}`,
	"the id undefined, and no key", "", `{"id":"undefined","properties":{"x":"1"}}`,
	"ids that are words like these", "", `{"id":"Null","properties":{"x":"1"}}`,
	"an id that contains such a word", "", `{"id":"null-7","properties":{"x":"1"}}`,
	"None is an id", "", `{"id":"None","properties":{"x":"1"}}`,
	"an id with a line break", "key-1", `{"id":"order-8\n","properties":{"x":"1"}}`,
	"an id with a control character beyond ASCII", "", `{"id":"order\u0085-8","properties":{"x":"1"}}`,
	"an id that is a quoted JSON string", "key-1", `{"id":"\"order-8\"","properties":{"x":"1"}}`,
	"an id that begins with a byte order mark", "", `{"id":"\ufefforder-8","properties":{"x":"1"}}`,
	"an id that is an object's text", "", `{"id":"{\"n\":8}","properties":{"x":"1"}}`,
	"an id with spaces, quotes and braces", "", `{"id":"{order} \"8\" ü","properties":{"x":"1"}}`,
	"ids differ by capitals", "", `{"id":"A-1","properties":{"x":"1"}}`,
	"an invalid id, and a bad property", "key-1", `{"id":"undefined","properties":{"x":[]}}`,
	"ID in other capitals, and no key", "", `{"ID":"order-8","properties":{"x":"1"}}`,

	"key: int32", "\x00\x01\x00\x07", `{"properties":{"x":"1"}}`,
	"key: a negative int32", "\xff\xff\xff\xf0", `{"properties":{"x":"1"}}`,
	"key: a large int32", "\x7f\xe0\x00\x01", `{"properties":{"x":"1"}}`,
	"key: int64", "\x00\x00\x00\x00\x00\x09\x61\x62", `{"properties":{"x":"1"}}`,
	"key: a negative int64", "\xff\xff\xff\xff\xff\xff\xff\xf0", `{"properties":{"x":"1"}}`,
	"key: four letters and a line break", "abc\n", `{"properties":{"x":"1"}}`,
	"key: null as text", "null", `{"properties":{"x":"1"}}`,
	"key: undefined", " undefined ", `{"properties":{"x":"1"}}`,
	"key: a quoted JSON string", `"order-8"`, `{"properties":{"x":"1"}}`,
	"key: a quoted JSON string and a line break", "\"order-8\"\n", `{"properties":{"x":"1"}}`,
	"key: quotes, and no JSON string", `"a" or "b"`, `{"properties":{"x":"1"}}`,
	"key: a JSON object", `{"order":8}`, `{"properties":{"x":"1"}}`,
	"key: a JSON array", `["order",8]`, `{"properties":{"x":"1"}}`,
	"key: a GUID in braces is text", "{0F3A54D1-0000-4000-8000-00000000000A}", `{"properties":{"x":"1"}}`,
	"key: Connect's envelope", `{"schema":{"type":"string"},"payload":"order-8"}`, `{"properties":{"x":"1"}}`,
	"key: a schema registry's header, Avro", "\x00\x00\x01\x86\xa3\x0eorder-8", `{"properties":{"x":"1"}}`,
	"key: a schema registry's header, Avro, eight bytes", "\x00\x00\x00\x00\x63\x04o8", `{"properties":{"x":"1"}}`,
	"key: a schema registry's header, JSON", "\x00\x00\x00\x00\x63{\"order\":8}", `{"properties":{"x":"1"}}`,
	"key: a schema registry's header of eight bytes", "\x00\x00\x00\x00\x00\x00\x00\x00\x63\x0eorder-8", `{"properties":{"x":"1"}}`,
	"key: AWS Glue's header", "\x03\x00\x0f\x3a\x54\xd1\x00\x00\x40\x00\x80\x00\x00\x00\x00\x00\x00\x0a\x0eorder-8", `{"properties":{"x":"1"}}`,
	"key: UTF-16, little endian", "o\x00r\x00d\x00-\x008\x00", `{"properties":{"x":"1"}}`,
	"key: UTF-16 with a mark", "\xfe\xff\x00o\x008", `{"properties":{"x":"1"}}`,
	"key: a byte order mark", "\ufefforder-8", `{"properties":{"x":"1"}}`,
	"key: gzip", "\x1f\x8b\x08\x00\x00", `{"properties":{"x":"1"}}`,
	"key: Latin-1", "\xfcber-8", `{"properties":{"x":"1"}}`,
	"key: none of it counts beside an id", "\x00\x01\x00\x07", `{"id":"a","properties":{"x":"1"}}`,
}

// misfits are values that somebody means as an event.
var misfits = []string{
	"an array of events", "key-1", `[{"id":"a","properties":{"x":"1"}}]`,
	"an array that is cut off", "key-1", `[{"id":"a"`,
	"a line of a log", "key-1", `[main] started`,
	"a number", "key-1", ` 17 `,
	"true", "key-1", `true`,
	"null with white space", "key-1", "null\n",
	"a word that begins like null", "key-1", "nothing",
	"JSON in a string", "key-1", `"{\"id\":\"a\",\"properties\":{\"x\":\"1\"}}"`,
	"JSON in a string in a string", "key-1", `"\"{\\\"id\\\":\\\"a\\\"}\""`,
	"properties in a string", "key-1", `{"id":"a","properties":"{\"x\":\"1\"}"}`,
	"properties that are text", "key-1", `{"id":"a","properties":"x=1"}`,
	"the endpoint's own body", "key-1", `{"inputs":[{"id":"a","properties":{"x":"1"}}]}`,
	"inputs that are no array", "key-1", `{"inputs":3}`,
	"Connect's envelope", "key-1", `{"schema":null,"payload":{"id":"a","properties":{"x":"1"}}}`,
	"a payload alone", "key-1", `{"payload":{"id":"a","properties":{"x":"1"}}}`,
	"Debezium in Connect's envelope", "key-1", `{"schema":{"type":"struct"},"payload":{"before":{"n":1},"after":null,"op":"d"}}`,
	"Debezium without schemas", "key-1", `{"before":null,"after":{"id":"a"},"source":{"db":"crm"},"op":"c","ts_ms":1}`,
	"before and after, and no op", "key-1", `{"before":null,"after":{"id":"a"}}`,
	"Properties with a capital", "key-1", `{"id":"a","Properties":{"x":"1"}}`,
	"PROPERTIES and ID in capitals", "key-1", `{"ID":"a","PROPERTIES":{"x":"1"}}`,
	"properties that are not in properties", "key-1", `{"id":"a","hs_task_subject":"Ring up"}`,
	"a byte order mark before a good event", "key-1", "\ufeff{\"id\":\"a\",\"properties\":{\"x\":\"1\"}}",
	"a schema registry's header, JSON Schema", "key-1", "\x00\x00\x01\x86\xa3{\"id\":\"a\",\"properties\":{}}",
	"a schema registry's header, Protobuf", "key-1", "\x00\x00\x00\x00\x63\x00\x0a\x01a",
	"zero bytes", "key-1", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	"UTF-16, little endian", "key-1", "{\x00\"\x00i\x00d\x00\"\x00}\x00",
	"UTF-16, big endian, an array", "key-1", "\x00[\x00{\x00}\x00]",
	"UTF-16, little endian, an array", "key-1", "[\x00{\x00}\x00]\x00",
	"UTF-16 with a mark, little endian", "key-1", "\xff\xfe{\x00}\x00",
	"UTF-16 with a mark, big endian", "key-1", "\xfe\xff\x00{\x00}",
	"gzip", "key-1", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00",
	"zstd", "key-1", "\x28\xb5\x2f\xfd\x04\x00\x11\x00\x00{}",
	"snappy, framed", "key-1", "\xff\x06\x00\x00sNaPpY\x01\x06\x00\x00",
	"lz4", "key-1", "\x04\x22\x4d\x18\x64\x40\xa7",
	"CloudEvent, the data is JSON in a string", "key-1", `{"specversion":"1.0","id":"event-1","data":"{\"id\":\"a\",\"properties\":{}}"}`,
	"CloudEvent, the data is an array", "key-1", `{"specversion":"1.0","id":"event-1","data":[{"id":"a"}]}`,
	"CloudEvent, the data is null", "key-1", `{"specversion":"1.0","id":"event-1","data":null}`,
	"CloudEvent, the data has Properties", "key-1", `{"specversion":"1.0","id":"event-1","data":{"id":"a","Properties":{}}}`,
	"CloudEvent, base64 of gzip", "key-1", `{"specversion":"1.0","id":"event-1","data_base64":"H4sIAAAAAAAAA6uuBQA="}`,
	"CloudEvent, base64 of nothing", "key-1", `{"specversion":"1.0","id":"event-1","data_base64":""}`,
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
		{"a million elements", "k", "[" + strings.Repeat("{},", 1_000_000) + "{}]", "INVALID_EVENT/ARRAY"},
		{"a string of 10 MB that holds JSON", "k", `"[` + strings.Repeat(`\"a\",`, 1<<20) + `1]"`, "INVALID_EVENT/JSON_IN_A_STRING"},
		{"nine thousand levels in the payload of an envelope", "k", `{"schema":1,"payload":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + "}", "INVALID_EVENT/CONNECT_ENVELOPE"},
		{"a million names in the payload of an envelope", "k", `{"schema":1,"payload":{"a":1` + members(1_000_000, `,"k%d":"v"`) + "}}", "INVALID_EVENT/CONNECT_ENVELOPE"},
		{"a key of 10 MB that is JSON", `["` + strings.Repeat("x", 10<<20) + `"]`, `{"properties":{}}`, "INVALID_EVENT/ID_TOO_LONG"},
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
		{"a key with a NUL and an escape sequence", "a\x00\x1b[2J", `{"properties":{}}`, "INVALID_EVENT/INVALID_ID"},
		{"NUL", "k", "{\"properties\":{\"a\":\"\x00\"}}", "INVALID_JSON/SYNTAX"},
		{"NUL behind the object", "k", "{\"properties\":{}}\x00", "INVALID_JSON/SYNTAX"},
		{"a lone high surrogate", "k", `{"properties":{"a":"\ud83d"}}`, "INVALID_JSON/SYNTAX"},
		{"a lone low surrogate", "k", `{"properties":{"a":"\ude00\ud83d"}}`, "INVALID_JSON/SYNTAX"},
		{"a lone surrogate as a name", "k", `{"properties":{"\udead":"a"}}`, "INVALID_JSON/SYNTAX"},
		{"overlong UTF-8", "k", "{\"properties\":{\"a\":\"\xc0\x80\"}}", "INVALID_JSON/INVALID_UTF8"},
		{"a byte order mark", "k", "\ufeff{\"properties\":{}}", "INVALID_JSON/BYTE_ORDER_MARK"},
		{"UTF-16", "k", "\xff\xfe{\x00}\x00", "INVALID_JSON/UTF16"},
		{"Avro's magic byte", "k", "\x00\x00\x00\x00\x07{}", "INVALID_JSON/SCHEMA_REGISTRY"},
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
			if grown := after.TotalAlloc - before.TotalAlloc; grown > uint64(4<<20+20*len(tc.value)+2*len(tc.key)) {
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
		`{"\u0069d":"undefined","properties":{}}`, `{"id":"\"a\"","properties":{"x":[]}}`, `"{\"a\":1}"`, `{"schema":1,"payload":{"op":"c","after":{}}}`, `{"Properties":{}}`, "\x1f\x8b{",
		`{"x":` + strings.Repeat("[", 10_000), `{"properties":{"a":` + strings.Repeat(`{"a":`, 100)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		rec := &consumer.Record{Topic: "t", Key: []byte("key"), Value: value}
		d := upsert.Decoder{IDProperty: "ext", IDProperties: []string{"own"}}
		task, reason := d.Decode(rec)
		if task, reason := d.Decode(&consumer.Record{Key: value, Value: []byte(`{"properties":{}}`)}); reason == nil &&
			(task.ID != string(value) || !ordinary(task.ID) && !strings.Contains(task.ID, `"`) || jsonKey(value)) {
			t.Fatalf("accepted the key %q", value)
		}
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
			if named = named && strings.TrimSpace(id) != "" && ordinary(id) && err == nil && reason.Category != "INVALID_JSON" &&
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
		if !ordinary(in.ID) && !strings.Contains(in.ID, `"`) {
			t.Fatalf("accepted the id %q", in.ID)
		}
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

// ordinary tells of an id that no rule can find anything wrong with.
func ordinary(id string) bool {
	return !slices.Contains([]string{"null", "undefined", "NaN"}, strings.TrimSpace(id)) &&
		!strings.ContainsFunc(id, unicode.IsControl) && !strings.Contains(id, `"`) && !strings.HasPrefix(id, "\ufeff")
}

// jsonKey tells of a key that is an object, an array or a string of JSON.
func jsonKey(key []byte) bool {
	text := bytes.TrimSpace(key)
	return json.Valid(text) && strings.ContainsRune(`{["`, rune(text[0]))
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
