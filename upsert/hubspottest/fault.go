package hubspottest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// Fault is something that goes wrong. The first one that matches a request strikes; its answer is, in this order:
// nothing (Hang), a cut connection (Reset), Status with Header and Body, or a normal answer that is spoilt.
type Fault struct {
	Match func(in []Input) bool // nil: every request
	Times int                   // how often it strikes; 0: until it is removed

	Delay      time.Duration // before anything else
	AfterWrite bool          // what was sent is applied first: only the answer is lost
	Hang       bool          // no answer, until the client gives up
	Reset      bool          // the connection is cut
	Status     int           // the answer's
	Header     http.Header
	Body       string

	DropResults int           // so many results are left out
	BatchStatus string        // PENDING, PROCESSING or CANCELED: nothing is applied, no results
	CutBody     bool          // the body ends in its middle
	SlowBody    time.Duration // between two bytes of the body

	struck int
}

// Inject adds a fault; remove takes it back.
func (s *Server) Inject(f Fault) (remove func()) {
	fault := &f
	s.set(func() { s.faults = append(s.faults, fault) })
	return func() {
		s.set(func() { s.faults = slices.DeleteFunc(s.faults, func(x *Fault) bool { return x == fault }) })
	}
}

// strike answers a request with the fault that matches it, if there is one.
func (s *Server) strike(w http.ResponseWriter, r *http.Request, req int, inputs []wireInput) bool {
	f := s.matching(inputs)
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
	if f.AfterWrite || f.DropResults > 0 || f.CutBody || f.SlowBody > 0 || f.Status == 0 && f.BatchStatus == "" &&
		!f.Hang && !f.Reset {
		s.set(func() { normal = s.batch(req, inputs) })
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
		if w.Header().Get("Content-Type") == "" && !bytes.HasPrefix([]byte(f.Body), []byte("{")) {
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

func (s *Server) matching(inputs []wireInput) *Fault {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if (f.Times == 0 || f.struck < f.Times) && (f.Match == nil || f.Match(seen)) {
			f.struck++
			return f
		}
	}
	return nil
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
