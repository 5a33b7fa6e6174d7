package hubspottest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// wireInput is an element of a request's inputs.
type wireInput struct {
	ID                 *string                    `json:"id"`
	IDProperty         string                     `json:"idProperty"`
	ObjectWriteTraceID string                     `json:"objectWriteTraceId"`
	Properties         map[string]json.RawMessage `json:"properties"`
}

// parse reads a request's body.
func parse(body []byte) ([]wireInput, error) {
	var req struct {
		Inputs []wireInput `json:"inputs"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&req); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, errors.New("something follows the object")
	}
	return req.Inputs, nil
}

func (in wireInput) values() (map[string]string, error) {
	values := make(map[string]string, len(in.Properties))
	for name, raw := range in.Properties {
		switch raw[0] {
		case '"':
			var v string
			if err := json.Unmarshal(raw, &v); err != nil {
				return nil, err
			}
			values[name] = v
		case '{', '[':
			return nil, fmt.Errorf("property %s is no string", name)
		case 'n':
			values[name] = "" // like an empty string, it clears the property
		default:
			values[name] = string(raw) // numbers and booleans are taken as their text
		}
	}
	return values, nil
}

// batch judges and applies the inputs; s.mu is held.
func (s *Server) batch(req int, inputs []wireInput) answer {
	if len(inputs) == 0 {
		return failure(400, "VALIDATION_ERROR", "Some required fields were not set: [inputs]", nil)
	}
	for _, in := range inputs {
		if in.ID == nil || in.Properties == nil {
			return failure(400, "VALIDATION_ERROR", "Some required fields were not set: [id]", nil)
		}
	}
	if len(inputs) > maxInputs {
		return tooMany(len(inputs))
	}
	for _, in := range inputs {
		if !slices.Contains(s.cfg.IDProperties, in.IDProperty) {
			return notUnique(in.IDProperty)
		}
	}
	seen, twice := map[string]bool{}, []string(nil)
	for _, in := range inputs {
		if seen[*in.ID] {
			twice = append(twice, *in.ID)
		}
		seen[*in.ID] = true
	}
	if twice != nil {
		return repeated(twice)
	}
	return s.each(req, inputs)
}

const maxInputs = 100 // of a request

func tooMany(n int) answer {
	return failure(400, "VALIDATION_ERROR",
		"The maximum number of inputs supported in a batch is 100. Received "+strconv.Itoa(n), nil)
}

func notUnique(property string) answer {
	return failure(400, "VALIDATION_ERROR",
		"Unable to perform update/upsert by non-unique 0-27 property "+property+" in portal ID 123456", nil)
}

func repeated(ids []string) answer {
	return failure(400, "VALIDATION_ERROR", fmt.Sprintf("Duplicate IDs found in batch input: [%s]. IDs must be unique",
		strings.Join(ids, ", ")), map[string][]string{"ids": ids})
}

// each applies the good inputs and names the bad ones, if all have a trace id of their own; otherwise one bad input
// sinks the batch.
func (s *Server) each(req int, inputs []wireInput) answer {
	traces := map[string]bool{}
	for _, in := range inputs {
		if in.ObjectWriteTraceID != "" {
			traces[in.ObjectWriteTraceID] = true
		}
	}
	traced := len(traces) == len(inputs) && !s.cfg.IgnoreTrace
	begun := time.Now()
	errs, results := []any{}, []map[string]any{}
	good := make([]map[string]string, len(inputs))
	for i, in := range inputs {
		values, err := in.values()
		var bad *refusal
		if err != nil {
			bad = &refusal{message: "Property values were not valid: " + err.Error()}
		} else {
			bad = s.check(in, values)
		}
		if bad == nil {
			good[i] = values
			continue
		}
		if !traced {
			return failure(400, "VALIDATION_ERROR", bad.message, bad.context)
		}
		context := map[string][]string{"objectWriteTraceId": {in.ObjectWriteTraceID}}
		for name, list := range bad.context {
			context[name] = list
		}
		errs = append(errs, map[string]any{"status": "error", "category": "VALIDATION_ERROR", "message": bad.message,
			"context": context})
	}
	for i, values := range good {
		if values != nil {
			results = append(results, s.write(req, inputs[i], values))
		}
	}
	s.rand.Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
	body := map[string]any{"status": "COMPLETE", "results": results, "startedAt": stamp(begun),
		"completedAt": stamp(time.Now())}
	if len(errs) == 0 {
		return jsonAnswer(200, body)
	}
	body["numErrors"], body["errors"] = len(errs), errs
	return jsonAnswer(207, body)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// write applies one input and returns its result.
func (s *Server) write(req int, in wireInput, values map[string]string) map[string]any {
	now := time.Now()
	key := in.IDProperty + "\x00" + *in.ID
	o, old := s.objects[key]
	if !old {
		s.lastID++
		o = &object{id: strconv.Itoa(s.lastID), properties: map[string]string{in.IDProperty: *in.ID}, created: now}
		s.objects[key] = o
	}
	for name, v := range values {
		o.properties[name] = v
	}
	s.journal = append(s.journal, Write{Seq: len(s.journal), Time: now, Request: req, IDProperty: in.IDProperty,
		ID:        *in.ID,
		HubSpotID: o.id, TraceID: in.ObjectWriteTraceID, Properties: values, New: !old})
	echo := make(map[string]string, len(values)+4)
	for name, v := range values {
		echo[name] = v
	}
	echo["hs_object_id"], echo["hs_createdate"], echo["hs_lastmodifieddate"] = o.id, stamp(o.created), stamp(now)
	switch s.cfg.EchoKey {
	case "none":
		delete(echo, in.IDProperty)
	case "normalized":
		echo[in.IDProperty] = strings.ToLower(strings.TrimLeft(strings.TrimSpace(*in.ID), "0"))
	default:
		echo[in.IDProperty] = *in.ID
	}
	result := map[string]any{"id": o.id, "properties": echo, "createdAt": stamp(o.created), "updatedAt": stamp(now),
		"archived": false, "new": !old}
	if s.cfg.EchoTrace {
		result["objectWriteTraceId"] = in.ObjectWriteTraceID
	}
	return result
}
