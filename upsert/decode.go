package upsert

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
)

// Categories of records that are no task events. The code beside them is finer.
const (
	categoryInvalidJSON      = "INVALID_JSON"      // not JSON as RFC 8259 has it: names once, UTF-8, nothing behind it
	categoryInvalidEvent     = "INVALID_EVENT"     // JSON, but not the endpoint's input object
	categoryUnsupportedField = "UNSUPPORTED_FIELD" // a field that upsert does not take, and whose loss would be silent
	categoryTombstone        = "TOMBSTONE"         // no value; upsert cannot delete
	categoryTooManyHeaders   = "TOO_MANY_HEADERS"  // more than consumer.MaxHeaders
)

const (
	maxMessage = 1024   // bytes of a dead letter's message
	maxID      = 65_536 // characters of an id: HubSpot's limit for a property
	// maxMembers is how many an event or its properties may have: no account has so many properties, and to look for
	// names that are there twice takes time and memory for each.
	maxMembers = 10_000
)

var errMembers = errors.New("too many members")

// Decoder turns Kafka records into tasks. The zero value is ready; it is safe for concurrent use.
//
// An event is the endpoint's own input object, `{"id", "idProperty", "properties"}`, or a CloudEvent whose data is
// that object: structured (a JSON object with specversion and data or data_base64) or binary (the value is the data).
// Its idProperty is one of the Decoder's, or missing.
type Decoder struct {
	IDProperty   string         // for events that carry none; empty: they must
	IDProperties []string       // the further ones that events may carry; an event with any other is refused
	Log          zerolog.Logger // the zero value logs nothing
}

// decoders are jsontext's, with their buffers.
var decoders = sync.Pool{New: func() any { return jsontext.NewDecoder(bytes.NewReader(nil)) }}

// Decode reads one record. The reason is nil if it is a task event. If it is none, the Task has only what its dead
// letter needs: the record, and its place among those of its object.
func (d *Decoder) Decode(rec *consumer.Record) (task *Task, reason *dlq.Reason) {
	defer func() {
		if p := caught(recover()); p != nil {
			p.log(d.Log, rec, dlq.StageDecode)
			task, reason = d.place(rec, event{}), p.reason(dlq.StageDecode)
		}
	}()
	inspect(dlq.StageDecode, rec)
	ev, text, reason := readRecord(rec.Value)
	if rec.HeaderCount > consumer.MaxHeaders {
		reason = undecodable(categoryTooManyHeaders, "", "", fmt.Sprintf("the record has %d headers, and tasksink takes "+
			"%d at the most; let the producer write fewer", rec.HeaderCount, consumer.MaxHeaders))
	}
	if reason == nil {
		task, reason = d.task(rec, ev, text)
	}
	if reason != nil {
		task = d.place(rec, ev)
	}
	return task, reason
}

// readRecord finds the event in a record's value, also in that of a CloudEvent, and returns the event's own text with
// it. With a reason, the event is as much as can be read.
func readRecord(value []byte) (ev event, text []byte, reason *dlq.Reason) {
	if value == nil {
		return ev, nil, undecodable(categoryTombstone, "", "", "the record has no value, and upsert cannot delete")
	}
	ev, reason = read(value, "the value")
	if reason != nil || !ev.isCloud() {
		return ev, value, reason
	}
	if text, reason = ev.cloudData(); reason != nil {
		return event{}, nil, reason
	}
	ev, reason = read(text, "the CloudEvent's data")
	return ev, text, reason
}

// task makes a task of a scanned input object. The text is the object's own.
func (d *Decoder) task(rec *consumer.Record, ev event, text []byte) (*Task, *dlq.Reason) {
	if ev.associations {
		return nil, undecodable(categoryUnsupportedField, "ASSOCIATIONS", "associations",
			"upsert takes no associations; set them by a call of their own")
	}
	switch {
	case ev.propertiesKind == 0:
		return nil, withoutProperties(text)
	case ev.propertiesKind != '{':
		return nil, badProperties(text)
	case ev.badProperty != "":
		return nil, undecodable(categoryInvalidEvent, "PROPERTY_NOT_SCALAR", ev.badProperty,
			"a property's value is an array or an object; HubSpot takes strings")
	}
	id, reason := ev.object(rec.Key, text)
	if reason != nil {
		return nil, reason
	}
	property, reason := d.idProperty(ev)
	if reason != nil {
		if other := capitals(text, "idProperty"); other != "" && reason.Code == codeMissingIDProperty {
			reason.Message = cut(reason.Message+"; it has "+other+", and tasksink tells capitals from small letters", maxMessage)
		}
		return nil, reason
	}
	return &Task{Record: rec, ID: id, IDProperty: property, Properties: ev.properties}, nil
}

// event is what one pass over a JSON object finds.
type event struct {
	id, idProperty jsontext.Value
	properties     []byte        // their members as they go on the wire
	propertiesKind jsontext.Kind // 0: there is none
	badProperty    string        // the first one whose value is no scalar
	associations   bool

	spec       bool // it has specversion
	data       jsontext.Value
	dataBase64 jsontext.Value
}

// isCloud tells whether it is a structured CloudEvent.
func (ev *event) isCloud() bool { return ev.spec && (ev.data != nil || ev.dataBase64 != nil) }

// read finds the event in a record's value. What it returns aliases the value. With a reason, it is as much as can be
// read. The subject is what the reason calls the value.
func read(value []byte, subject string) (event, *dlq.Reason) {
	if ev, ok := readPlain(value); ok {
		return ev, nil
	}
	return readAny(value, subject)
}

// readPlain reads a plain event, as nearly all are: an object of scalars, and one of scalars that is its properties.
func readPlain(value []byte) (ev event, ok bool) {
	s := scan{text: value}
	if !s.mark('{') {
		return ev, false
	}
	var seen names
	for more := true; more; more = s.mark(',') {
		name, ok := s.name()
		if !ok || !seen.add(name) {
			return ev, false
		}
		switch string(name) {
		case "id":
			ev.id, _, ok = s.scalar()
		case "idProperty":
			ev.idProperty, _, ok = s.scalar()
		case "properties":
			ev.propertiesKind = '{'
			ev.properties, ok = s.properties(false)
		case "specversion", "associations":
			ok = false
		default:
			_, _, ok = s.scalar()
		}
		if !ok {
			return ev, false
		}
	}
	return ev, s.mark('}') && s.end()
}

// readAny reads what is no plain event, and explains what is no event at all.
func readAny(value []byte, subject string) (ev event, reason *dlq.Reason) {
	dec := decoders.Get().(*jsontext.Decoder)
	defer decoders.Put(dec)
	dec.Reset(bytes.NewBuffer(value))
	if kind := dec.PeekKind(); kind != '{' && kind != 0 {
		return ev, notAnObject(value, subject)
	}
	if err := ev.read(dec, value); err != nil {
		if ev.spec || ev.data != nil || ev.dataBase64 != nil {
			ev = event{} // its id is not the task's
		}
		return ev, invalid(err, value, subject)
	}
	if _, err := dec.ReadToken(); err == nil {
		return ev, undecodable(categoryInvalidJSON, "TRAILING_DATA", "", "something follows the JSON object")
	} else if len(bytes.TrimLeft(value[dec.InputOffset():], " \t\r\n")) > 0 {
		return ev, invalid(err, value, subject)
	}
	return ev, nil
}

func (ev *event) read(dec *jsontext.Decoder, value []byte) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for n := 0; dec.PeekKind() != '}'; n++ {
		if n == maxMembers {
			return errMembers
		}
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		name := raw[1 : len(raw)-1] // its bytes are only good until the next read
		if bytes.IndexByte(name, '\\') >= 0 {
			name = []byte(unquote(raw))
		}
		var target *jsontext.Value
		switch string(name) {
		case "id":
			target = &ev.id
		case "idProperty":
			target = &ev.idProperty
		case "data":
			target = &ev.data
		case "data_base64":
			target = &ev.dataBase64
		case "specversion":
			ev.spec = true
		case "associations":
			v, err := dec.ReadValue()
			if err != nil {
				return err
			}
			ev.associations = v.Kind() != 'n' && string(v) != "[]" && string(v) != "{}"
			continue
		case "properties":
			if ev.propertiesKind = dec.PeekKind(); ev.propertiesKind == '{' {
				if err := ev.readProperties(dec, value); err != nil {
					return err
				}
				continue
			}
		}
		if target == nil {
			if err := dec.SkipValue(); err != nil {
				return err
			}
			continue
		}
		if *target, err = readOwn(dec, value); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

func (ev *event) readProperties(dec *jsontext.Decoder, value []byte) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	from := dec.InputOffset()
	for n := 0; dec.PeekKind() != '}'; n++ {
		if n == maxMembers {
			return errMembers
		}
		name, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if kind := dec.PeekKind(); (kind == '{' || kind == '[') && ev.badProperty == "" {
			ev.badProperty = cut(unquote(name), 200)
		}
		if err := dec.SkipValue(); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	if err == nil && ev.badProperty == "" {
		s := scan{text: value[from-1 : dec.InputOffset()]}
		ev.properties, _ = s.properties(true)
	}
	return err
}

// readOwn reads the next value as a part of the record's own bytes, which stay when the decoder goes on.
func readOwn(dec *jsontext.Decoder, value []byte) (jsontext.Value, error) {
	v, err := dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := int(dec.InputOffset())
	return value[end-len(v) : end : end], nil
}

// cloudData is the data of a structured CloudEvent.
func (ev *event) cloudData() ([]byte, *dlq.Reason) {
	if ev.dataBase64 == nil {
		return ev.data, nil
	}
	if ev.dataBase64.Kind() != '"' {
		return nil, undecodable(categoryInvalidEvent, "INVALID_DATA_BASE64", "data_base64", "data_base64 is not a string")
	}
	data, err := base64.StdEncoding.DecodeString(unquote(ev.dataBase64))
	if err != nil {
		return nil, undecodable(categoryInvalidEvent, "INVALID_DATA_BASE64", "data_base64", "data_base64: "+err.Error())
	}
	return data, nil
}

func unquote(v jsontext.Value) string {
	if own := v[1 : len(v)-1]; bytes.IndexByte(own, '\\') < 0 && utf8.Valid(own) {
		return string(own)
	}
	s, _ := jsontext.AppendUnquote(nil, v) // the decoder has checked it
	return string(s)
}

// invalid explains what is wrong with JSON that cannot be read.
func invalid(err error, value []byte, subject string) *dlq.Reason {
	if errors.Is(err, errMembers) {
		return undecodable(categoryInvalidEvent, "TOO_MANY_MEMBERS", "",
			fmt.Sprintf("the event, or its properties, has more than %d members", maxMembers))
	}
	if len(value) == 0 {
		return undecodable(categoryInvalidJSON, "EMPTY", "", subject+" is empty")
	}
	if code, what := disguise(value); code != "" {
		return undecodable(categoryInvalidJSON, code, "", subject+" "+what)
	}
	code := "SYNTAX"
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		code = "DUPLICATE_NAME"
	case errors.As(err, &syntax) && strings.Contains(syntax.Error(), "UTF-8"):
		code = "INVALID_UTF8"
	}
	return undecodable(categoryInvalidJSON, code, "", fmt.Sprintf("%s is not JSON: %v", subject, err))
}

func undecodable(category, code, property, message string) *dlq.Reason {
	return &dlq.Reason{Stage: dlq.StageDecode, Category: category, Code: code, Property: property,
		Message: cut(message, maxMessage)}
}

// cut shortens s to at most n bytes, at the border of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
