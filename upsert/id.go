package upsert

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tasksink/tasksink/dlq"
)

const (
	codeInvalidID = "INVALID_ID"
	codeCapitals  = "CAPITALS" // a member's name is ours but for its capitals
)

// object says which object an event is about: its id, else the record's key. A wrong id would make a second task
// beside the real one, so text that cannot be meant as an id is refused. The text is the event's own.
func (ev *event) object(key, text []byte) (id string, reason *dlq.Reason) {
	switch ev.id.Kind() {
	case '"':
		id = unquote(ev.id)
		if fault := faultOf(id); fault != "" {
			return "", undecodable(categoryInvalidEvent, codeInvalidID, "id", "the event's id "+fault)
		}
	case '0':
		id = string(ev.id)
	case 0, 'n':
		if len(key) > maxPlace {
			return "", tooLong()
		}
		if fault := faultOfKey(key); fault != "" {
			return "", undecodable(categoryInvalidEvent, codeInvalidID, "id",
				"the event has no id, and the record's key cannot stand in for it: it "+fault)
		}
		id = string(key)
	default:
		return "", undecodable(categoryInvalidEvent, codeInvalidID, "id", "id is neither a string nor a number")
	}
	if !plainID(id) && strings.TrimSpace(id) == "" {
		if other := capitals(text, "id"); other != "" && ev.id == nil {
			return "", undecodable(categoryInvalidEvent, codeCapitals, "id",
				"the event has "+other+", and no id: tasksink tells capitals from small letters. The record has no key")
		}
		return "", undecodable(categoryInvalidEvent, "BLANK_ID", "id",
			"the id is blank or missing, and so is the record's key")
	}
	if len(id) > maxID && utf8.RuneCountInString(id) > maxID {
		return "", tooLong()
	}
	return id, nil
}

func tooLong() *dlq.Reason {
	return undecodable(categoryInvalidEvent, "ID_TOO_LONG", "id",
		"the id is longer than the 65,536 characters of a HubSpot property")
}

// plainID tells whether text is an id of the ordinary kind, as nearly all are: there is nothing to find in it.
func plainID(id string) bool {
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || c == '"' {
			return false
		}
	}
	return id != "" && id[0] != '{' && id[0] != '[' && !isNothing(id)
}

// isNothing tells whether text is what programs make of a value that they do not have.
func isNothing(text string) bool { return text == "null" || text == "undefined" || text == "NaN" }

// faultOf says why text is no id, as a verb and what follows it; empty: nothing is wrong.
func faultOf(id string) string {
	if plainID(id) {
		return ""
	}
	trimmed := strings.TrimSpace(id)
	switch {
	case trimmed == "":
		return "" // blank, which has a code of its own
	case isNothing(trimmed):
		return "is the text " + trimmed + ", which programs write for a value that they do not have"
	case strings.HasPrefix(id, byteOrderMark):
		return "begins with a byte order mark"
	case isJSON(trimmed, `"`):
		return "is a JSON string with its quotes"
	}
	if at := strings.IndexFunc(id, unicode.IsControl); at >= 0 {
		char, _ := utf8.DecodeRuneInString(id[at:])
		return fmt.Sprintf("has a control character, %U", char)
	}
	return ""
}

// faultOfKey says why a record's key is no id, and what it looks like instead. It repeats nothing of the key but
// numbers.
func faultOfKey(key []byte) string {
	text := string(key)
	trimmed := strings.TrimSpace(text)
	switch {
	case plainID(text):
		return ""
	case isJSON(trimmed, "{"):
		if s := shapeOf([]byte(trimmed)); s.schema && s.payload != nil {
			return "is the envelope of Connect's JSON converter, with schema and payload"
		}
		return "is a JSON object"
	case isJSON(trimmed, "["):
		return "is a JSON array"
	}
	fault := faultOf(text)
	if !utf8.Valid(key) {
		fault = "is not UTF-8"
	}
	if fault == "" || isNothing(trimmed) || isJSON(trimmed, `"`) {
		return fault
	}
	if looks := number(key); looks != "" {
		return fault + "; it looks like " + looks
	}
	if _, looks := disguise(key); looks != "" {
		return looks
	}
	return fault
}

// isJSON tells whether text is one JSON value of the kind that begins with the given character.
func isJSON(text, begin string) bool {
	return strings.HasPrefix(text, begin) && jsontext.Value(text).IsValid(lenient)
}

// capitals is the name of the member that would be the given one, but for its capitals; empty if there is none.
func capitals(object []byte, name string) (other string) {
	for own := range fields(object) {
		if own != name && strings.EqualFold(own, name) {
			return own
		}
	}
	return ""
}
