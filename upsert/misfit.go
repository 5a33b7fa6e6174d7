package upsert

import (
	"bytes"
	"iter"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tasksink/tasksink/dlq"
)

const codeJSONInAString = "JSON_IN_A_STRING"

// shape is what can be seen of a JSON object that is no event.
type shape struct {
	inputs         bool           // it has inputs, an array
	schema         bool           // it has schema
	payload        jsontext.Value // nil: it has none
	op, image      bool           // it has op; it has before or after
	capitals, flat string         // the name of a member that would be properties but for its capitals; that of a property
}

func shapeOf(object []byte) (s shape) {
	for name, value := range fields(object) {
		switch name {
		case "inputs":
			s.inputs = value.Kind() == '['
		case "schema":
			s.schema = true
		case "payload":
			s.payload = value
		case "op":
			s.op = value.Kind() == '"'
		case "before", "after":
			s.image = true
		default:
			if strings.EqualFold(name, "properties") {
				s.capitals = name
			} else if s.flat == "" && (strings.HasPrefix(name, "hs_") || strings.HasPrefix(name, "hubspot_")) {
				s.flat = name
			}
		}
	}
	return s
}

// withoutProperties explains an object that has no properties: it may be a whole request, an envelope that somebody
// left around the event, or an event by other names.
func withoutProperties(object []byte) *dlq.Reason {
	refuse := func(code, message string) *dlq.Reason {
		return undecodable(categoryInvalidEvent, code, "properties", message)
	}
	s := shapeOf(object)
	inner := s
	if s.payload != nil {
		inner = shapeOf(s.payload)
	}
	switch {
	case s.inputs:
		return refuse("ENDPOINT_BODY", "the event is the body of a whole request to HubSpot, with inputs; "+
			"tasksink takes one of them a record")
	case inner.op && inner.image:
		return refuse("DEBEZIUM", "the event is Debezium's envelope, with op, before and after, and not the row in it")
	case s.schema && s.payload != nil:
		return refuse("CONNECT_ENVELOPE", "the event is the envelope of Connect's JSON converter, with schema and payload")
	case s.capitals != "":
		return refuse(codeCapitals, "the event has "+s.capitals+", and no properties: "+
			"tasksink tells capitals from small letters")
	case s.flat != "":
		return refuse("MISSING_PROPERTIES", "the event has no properties: its member "+begin(s.flat, maxForeign)+
			" belongs into properties")
	}
	return refuse("MISSING_PROPERTIES", "the event has no properties")
}

// notAnObject explains a value that begins like JSON, but not like an object. The subject is what the message calls it.
func notAnObject(value []byte, subject string) *dlq.Reason {
	refuse := func(code, what string) *dlq.Reason {
		return undecodable(categoryInvalidEvent, code, "", subject+" "+what)
	}
	v := jsontext.Value(bytes.Trim(value, " \t\r\n"))
	if !v.IsValid(lenient) {
		if code, what := disguise(value); code != "" {
			return undecodable(categoryInvalidJSON, code, "", subject+" "+what)
		}
		return refuse("NOT_AN_OBJECT", "is not a JSON object")
	}
	switch v.Kind() {
	case '[':
		return refuse("ARRAY", "is a JSON array; tasksink takes one event a record")
	case '"':
		if holdsJSON(v) {
			return refuse(codeJSONInAString, "is a JSON string that holds JSON: it was serialized twice")
		}
		return refuse("NOT_AN_OBJECT", "is a JSON string")
	case 'n':
		return refuse("NOT_AN_OBJECT", "is JSON null")
	case '0':
		return refuse("NOT_AN_OBJECT", "is a number")
	}
	return refuse("NOT_AN_OBJECT", "is true or false")
}

// badProperties explains properties that are no object.
func badProperties(object []byte) *dlq.Reason {
	code, what := "PROPERTIES_NOT_AN_OBJECT", "properties is not an object"
	for name, value := range fields(object) {
		if name != "properties" {
			continue
		}
		switch {
		case value.Kind() == 'n':
			what = "properties is null"
		case value.Kind() == '"' && holdsJSON(value):
			code, what = codeJSONInAString, "properties is a JSON string that holds JSON: it was serialized twice"
		}
	}
	return undecodable(categoryInvalidEvent, code, "properties", what)
}

// holdsJSON tells whether a string's text is an object, an array or a string of JSON.
func holdsJSON(v jsontext.Value) bool {
	text := strings.Trim(unquote(v), " \t\r\n")
	return isJSON(text, "{") || isJSON(text, "[") || isJSON(text, `"`)
}

// fields walks over a JSON object's members. Values alias the object. The walk ends where the text is no JSON, or no
// object.
func fields(object []byte) iter.Seq2[string, jsontext.Value] {
	return func(yield func(string, jsontext.Value) bool) {
		dec := decoders.Get().(*jsontext.Decoder)
		defer decoders.Put(dec)
		dec.Reset(bytes.NewBuffer(object), lenient)
		if dec.PeekKind() != '{' {
			return
		}
		_, _ = dec.ReadToken()
		for dec.PeekKind() == '"' {
			raw, err := dec.ReadValue()
			if err != nil {
				return
			}
			name := unquote(raw)
			value, err := readOwn(dec, object)
			if err != nil || !yield(name, value) {
				return
			}
		}
	}
}
