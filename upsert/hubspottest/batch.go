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

// call is one request for an upsert.
type call struct {
	seq     int    // Request.Seq
	version string // of the API: v3, or a date
	inputs  []wireInput
	seen    []Input // the inputs, as a fault sees them
	fault   *Fault  // the one that strikes the request as a whole; nil: none
}

// batch judges and applies the inputs; s.mu is held.
func (s *Server) batch(c *call) answer {
	inputs := c.inputs
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
		if seen[s.fold(*in.ID)] {
			twice = append(twice, *in.ID)
		}
		seen[s.fold(*in.ID)] = true
	}
	if twice != nil {
		return repeated(twice)
	}
	return s.each(c)
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
func (s *Server) each(c *call) answer {
	traced := s.traced(c.inputs)
	begun := time.Now()
	errs, results := []any{}, []map[string]any{}
	good, picked := make([]map[string]string, len(c.inputs)), s.picks(c)
	for i, in := range c.inputs {
		values, bad := s.judged(c.version, in)
		if bad == nil && (picked[i] == (pick{}) || picked[i].written) {
			good[i] = values
		}
		if picked[i].category != "" {
			bad = s.namedWith(picked[i].category, in)
		}
		switch {
		case bad == nil, picked[i].omitted:
		case traced:
			errs = append(errs, bad.item(in.ObjectWriteTraceID))
		default:
			return bad.sink()
		}
	}
	for i, values := range good {
		if values == nil {
			continue
		}
		if result := s.write(c.seq, c.inputs[i], values); picked[i] == (pick{}) {
			results = append(results, s.noted(result, c.seen[i]))
		}
	}
	s.rand.Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
	body := map[string]any{"status": "COMPLETE", "results": results, "startedAt": stamp(begun),
		"completedAt": stamp(time.Now())}
	if len(errs) == 0 {
		return jsonAnswer(200, body)
	}
	body["numErrors"], body["errors"] = len(errs), errs
	if s.cfg.ErrorsIn200 && c.version == newest {
		return jsonAnswer(200, body)
	}
	return jsonAnswer(207, body)
}

// noted adds the warning that the input gets.
func (s *Server) noted(result map[string]any, in Input) map[string]any {
	if s.cfg.Warn == nil {
		return result
	}
	if category := s.cfg.Warn(in); category != "" {
		result["warnings"] = []any{map[string]any{"category": category,
			"message": "look at " + in.Properties["hs_task_subject"],
			"context": map[string]string{"propertyName": "hs_task_subject"}}}
	}
	return result
}

// traced tells whether every input has a trace id of its own.
func (s *Server) traced(inputs []wireInput) bool {
	traces := map[string]bool{}
	for _, in := range inputs {
		if in.ObjectWriteTraceID != "" {
			traces[in.ObjectWriteTraceID] = true
		}
	}
	return len(traces) == len(inputs) && !s.cfg.IgnoreTrace
}

// judged is what the input writes, or why it is bad; s.mu is held.
func (s *Server) judged(version string, in wireInput) (values map[string]string, bad *refusal) {
	values, err := in.values()
	if err != nil {
		return nil, &refusal{category: "VALIDATION_ERROR", message: "Property values were not valid: " + err.Error()}
	}
	return values, s.check(version, in, values)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
