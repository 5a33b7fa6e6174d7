package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// event is one task event, and what should become of it.
type event struct {
	key, value string
	id         string // of the object it writes; a bad event has one of its own
	subject    string // what it sets, if it is good
	reason     string // why it is bad, as the dead letter's category and code; empty if it is good
}

// kinds are the ways in which an event is bad. Each takes an id and returns the event's JSON.
var kinds = []struct {
	reason string
	value  func(id string) string
}{
	{"INVALID_JSON SYNTAX", func(id string) string { return `{"id":"` + id + `","properties":{"hs_timestamp":` }},
	{"INVALID_EVENT PROPERTY_NOT_SCALAR", func(id string) string { return body(id, `"hs_task_subject":["a","b"]`) }},
	{"UNSUPPORTED_FIELD ASSOCIATIONS", func(id string) string {
		return strings.Replace(body(id, `"hs_task_subject":"a"`), `{"id"`, `{"associations":[{"to":{"id":"1"}}],"id"`, 1)
	}},
	{"VALIDATION_ERROR PROPERTY_DOESNT_EXIST", func(id string) string { return body(id, `"no_such_property":"a"`) }},
	{"VALIDATION_ERROR INVALID_OPTION", func(id string) string { return body(id, `"hs_task_status":"NONSENSE"`) }},
	{"VALIDATION_ERROR MISSING_REQUIRED_PROPERTY", func(id string) string {
		return `{"id":"` + id + `","properties":{"hs_task_subject":"no timestamp"}}`
	}},
	{"VALIDATION_ERROR PROPERTY_VALUE_TOO_LONG", func(id string) string {
		return body(id, `"hs_task_body":"`+strings.Repeat("x", 65_537)+`"`)
	}},
}

func body(id, property string) string {
	return fmt.Sprintf(`{"id":%q,"properties":{"hs_timestamp":"2026-11-23T10:00:00Z",%s}}`, id, property)
}

// generate makes n events, so many per cent of them bad. The same seed makes the same events. About one in ten good
// ones writes an object that an earlier one wrote.
func generate(n int, badPercent float64, seed uint64) []event {
	random := rand.New(rand.NewPCG(seed, seed))
	events := make([]event, n)
	objects, bad := 0, 0
	for i := range events {
		if random.Float64()*100 < badPercent {
			kind := kinds[bad%len(kinds)]
			bad++
			id := fmt.Sprintf("bad-%d", i)
			events[i] = event{key: id, id: id, value: kind.value(id), reason: kind.reason}
			continue
		}
		object := objects
		if objects > 0 && random.IntN(10) == 0 {
			object = random.IntN(objects)
		} else {
			objects++
		}
		id, subject := fmt.Sprintf("task-%d", object), fmt.Sprintf("version %d", i)
		events[i] = event{key: id, id: id, subject: subject,
			value: body(id, fmt.Sprintf(`"hs_task_subject":%q,"hs_task_status":"WAITING"`, subject))}
	}
	return events
}
