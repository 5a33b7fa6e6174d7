package hubspottest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault is something that goes wrong.
//
// A fault strikes a request as a whole, unless it has nothing but Items or Omit. The first such fault that matches a
// request strikes; its answer is, in this order: nothing (Hang), a cut connection (Reset), Status with Header and Body,
// or a normal answer that is spoilt.
//
// Items and Omit strike inputs in a normal answer. They add up: each input has the first fault that picks it. A fault
// with nothing else does not reach a request that is refused before its inputs are judged.
type Fault struct {
	Match func(in []Input) bool // nil: every request
	Times int                   // how often it strikes; 0: until it is removed
	For   time.Duration         // it is over when so much time has passed since Inject; 0: never
	Share float64               // it strikes so much of what matches, at random, as 0.1; 0: all

	Delay      time.Duration // before anything else
	AfterWrite bool          // what was sent is applied first: only the answer is lost, or wrong about what was picked
	Hang       bool          // no answer, until the client gives up; the end of For releases nobody
	Reset      bool          // the connection is cut
	Status     int           // the answer's
	Header     http.Header
	Body       string // see JSONError and Page

	DropResults int           // so many results are left out
	BatchStatus string        // COMPLETE, PENDING, PROCESSING or CANCELED: nothing is applied, no results
	CutBody     bool          // the body ends in its middle
	SlowBody    time.Duration // between two bytes of the body

	Items     func(in Input) (category string) // named with it among the errors of a 207; empty: not picked
	Omit      func(in Input) bool              // in neither list of the answer
	ItemShare float64                          // of the inputs that Items or Omit pick, at random; 0: all

	injected time.Time
	struck   int
}

// whole tells whether the fault strikes a request as a whole.
func (f *Fault) whole() bool {
	return f.Items == nil && f.Omit == nil || f.Delay > 0 || f.Hang || f.Reset || f.Status > 0 || f.DropResults > 0 ||
		f.BatchStatus != "" || f.CutBody || f.SlowBody > 0
}

// applies tells whether the inputs are judged and written although the fault strikes the request as a whole.
func (f *Fault) applies() bool {
	return f.AfterWrite || f.DropResults > 0 || f.CutBody || f.SlowBody > 0 ||
		f.Status == 0 && f.BatchStatus == "" && !f.Hang && !f.Reset
}

// Input is one element of a request, as a fault sees it.
type Input struct {
	ID, IDProperty, TraceID string
	Properties              map[string]string
}

// Inject adds a fault; remove takes it back.
func (s *Server) Inject(f Fault) (remove func()) {
	fault := &f
	fault.injected = time.Now()
	s.set(func() { s.faults = append(s.faults, fault) })
	return func() {
		s.set(func() { s.faults = slices.DeleteFunc(s.faults, func(x *Fault) bool { return x == fault }) })
	}
}

// strike answers a request with the fault that matches it, if there is one.
func (s *Server) strike(w http.ResponseWriter, r *http.Request, c *call) bool {
	s.set(func() { c.fault = s.matching(c.seen) })
	f, req := c.fault, c.seq
	if f == nil {
		return false
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			return true
		}
	}
	normal := answer{}
	if f.applies() {
		s.set(func() { normal = s.batch(c) })
	}
	switch {
	case f.Hang:
		<-r.Context().Done()
	case f.Reset:
		panic(http.ErrAbortHandler)
	case f.Status > 0:
		for name, values := range f.Header {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
		if w.Header().Get("Content-Type") == "" && !strings.HasPrefix(f.Body, "{") && f.Status != http.StatusNoContent {
			w.Header().Set("Content-Type", "text/html")
		}
		s.send(w, req, f.Status, []byte(f.Body))
	case f.BatchStatus != "":
		a := jsonAnswer(200, map[string]any{"status": f.BatchStatus, "results": []any{}, "startedAt": stamp(time.Now()),
			"completedAt": stamp(time.Now())})
		s.send(w, req, a.status, a.body)
	case f.DropResults > 0:
		s.send(w, req, normal.status, dropResults(normal.body, f.DropResults))
	case f.CutBody:
		s.send(w, req, normal.status, normal.body[:len(normal.body)/2])
	case f.SlowBody > 0:
		s.dribble(w, r, req, normal, f.SlowBody)
	default:
		s.send(w, req, normal.status, normal.body)
	}
	return true
}

// see returns the inputs as a fault sees them.
func see(inputs []wireInput) []Input {
	seen := make([]Input, len(inputs))
	for i, in := range inputs {
		values, err := in.values()
		if err != nil {
			values = nil
		}
		seen[i] = Input{IDProperty: in.IDProperty, TraceID: in.ObjectWriteTraceID, Properties: values}
		if in.ID != nil {
			seen[i].ID = *in.ID
		}
	}
	return seen
}

// matching finds the fault that strikes a request as a whole; s.mu is held.
func (s *Server) matching(inputs []Input) *Fault {
	for _, f := range s.faults {
		if f.whole() && s.strikes(f, inputs) {
			f.struck++
			return f
		}
	}
	return nil
}

// strikes decides whether a fault strikes a request; s.mu is held.
func (s *Server) strikes(f *Fault, inputs []Input) bool {
	return (f.For == 0 || time.Since(f.injected) < f.For) && (f.Times == 0 || f.struck < f.Times) &&
		(f.Match == nil || f.Match(inputs)) && s.chance(f.Share)
}

func dropResults(body []byte, n int) []byte {
	var b map[string]any
	if err := json.Unmarshal(body, &b); err != nil {
		return body
	}
	results, ok := b["results"].([]any)
	if !ok {
		return body
	}
	b["results"] = results[min(n, len(results)):]
	return jsonAnswer(200, b).body
}

func (s *Server) dribble(w http.ResponseWriter, r *http.Request, req int, a answer, pause time.Duration) {
	s.set(func() { s.requests[req].Status = a.status })
	w.WriteHeader(a.status)
	for i := range a.body {
		if _, err := w.Write(a.body[i : i+1]); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(pause):
		case <-r.Context().Done():
			return
		}
	}
}
