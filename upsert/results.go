package upsert

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// result is one element of an answer's results.
type result struct {
	id     []byte // HubSpot's
	trace  []byte // the trace id, if it echoes that
	key    []byte // the value of the input's idProperty, if it echoes that
	echoed bool   // it does

	warnings []byte // a JSON array, if it has any
}

// readResults reads the answer to a request that went well, as nearly all are: a status and results, and no errors. The
// results are appended to into, and alias body. It returns false for whatever else the answer may be.
func readResults(body []byte, property string, inputs int, into []result) (b answerBody, ok bool) {
	s := scan{text: body, lax: true}
	if !s.mark('{') {
		return b, false
	}
	for more := true; more; more = s.mark(',') {
		name, ok := s.name()
		if !ok {
			return b, false
		}
		switch string(name) {
		case "status":
			var status []byte
			status, ok = s.word()
			if ok = ok && b.Status == "" && len(status) <= maxWord; ok {
				b.Status = word(status)
			}
		case "results":
			ok = b.results == nil
			b.results, ok = s.results(property, most(inputs), into, ok)
		case "errors":
			ok = s.mark('[') && s.mark(']')
		default:
			ok = !mayMean(name, "status", "message", "correlationId", "category", "errorType", "policyName", "results", "errors",
				"context") && s.skip(8)
		}
		if !ok {
			return b, false
		}
	}
	return b, s.mark('}') && s.end()
}

func (s *scan) results(property string, most int, into []result, ok bool) ([]result, bool) {
	if !ok || !s.mark('[') {
		return nil, false
	}
	if s.mark(']') {
		return into, true
	}
	for more := true; more; more = s.mark(',') {
		r, ok := s.result(property)
		if !ok || len(into) == most {
			return nil, false
		}
		into = append(into, r)
	}
	return into, s.mark(']')
}

func (s *scan) result(property string) (r result, ok bool) {
	if !s.mark('{') {
		return r, false
	}
	properties := false
	for more := true; more; more = s.mark(',') {
		name, ok := s.name()
		if !ok {
			return r, false
		}
		switch string(name) {
		case "id":
			r.id, ok = s.word()
		case "objectWriteTraceId":
			r.trace, ok = s.word()
		case "properties":
			ok = !properties && s.echo(property, &r)
			properties = true
		case "warnings":
			s.space()
			begin := s.at
			ok = s.skip(8)
			r.warnings = s.text[begin:s.at]
		case "createdAt", "updatedAt", "archived", "new": // known to mean nothing here
			_, _, ok = s.scalar()
		default:
			ok = !mayMean(name, "id", "objectWriteTraceId", "properties") && s.skip(8)
		}
		if !ok {
			return r, false
		}
	}
	return r, s.mark('}')
}

// echo moves past a result's properties, and finds the wanted one among them.
func (s *scan) echo(property string, r *result) bool {
	if !s.mark('{') {
		return false
	}
	if s.mark('}') {
		return true
	}
	for more := true; more; more = s.mark(',') {
		name, ok := s.name()
		switch {
		case ok && string(name) == property && !r.echoed:
			r.key, ok = s.word()
			r.echoed = true
		case ok:
			_, _, ok = s.scalar()
		}
		if !ok {
			return false
		}
	}
	return s.mark('}')
}

// word moves past a string without escapes, or a number, and returns its text.
func (s *scan) word() (text []byte, ok bool) {
	s.space()
	raw, kind, ok := s.scalar()
	switch {
	case !ok:
		return nil, false
	case kind == '"':
		raw = raw[1 : len(raw)-1]
		return raw, bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw)
	default:
		return raw, kind == '0'
	}
}

// mayMean tells whether a member could be taken for one of the known ones, whose case, dashes and underscores do not
// matter. A name outside of ASCII could always be.
func mayMean(name []byte, known ...string) bool {
	for _, c := range name {
		if c >= utf8.RuneSelf || c == '-' || c == '_' {
			return true
		}
	}
	return slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, string(name)) })
}
