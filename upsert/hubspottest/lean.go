package hubspottest

import (
	"bytes"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The lean mode is for measuring: the simulator shares the machine with the worker that is measured. It checks what
// concerns a request as a whole (token, limit, syntax as far as it is read, required fields, 100 inputs, idProperty,
// repeated ids), in the usual order, and answers each input with a full result, in a random order. It judges no
// property, knows no Fault, MaxBody or FoldIDs, and keeps neither objects nor journal nor requests: Config.Observe is
// told instead. Strings are not unquoted: an id that is written in two ways counts as two.

// leanInput is an input as it stands in the body. Strings are without their quotes.
type leanInput struct {
	id, idProperty, trace, properties []byte
	hash                              uint64
}

// leanWork is the memory that a request needs; it is used again.
type leanWork struct {
	body   bytes.Buffer
	inputs []leanInput
	hashes []uint64
	ids    [][]byte
	out    []byte
}

var leanPool = sync.Pool{New: func() any { return &leanWork{} }}

func (s *Server) serveLean(w http.ResponseWriter, r *http.Request) {
	req := Request{Time: time.Now()}
	work := leanPool.Get().(*leanWork)
	defer leanPool.Put(work)
	work.body.Reset()
	a, admitted := s.admit(r, w.Header())
	if _, err := work.body.ReadFrom(r.Body); err != nil {
		return // the client is gone
	}
	if !s.wait(r) {
		return
	}
	var ids [][]byte
	if admitted {
		a, req.Inputs, ids = s.answerLean(r, work, w.Header())
	}
	req.Status = a.status
	if s.cfg.Observe != nil {
		s.cfg.Observe(req, ids)
	}
	write(w, a)
}

func (s *Server) answerLean(r *http.Request, work *leanWork, header http.Header) (a answer, inputs int,
	written [][]byte) {
	var err error
	work.inputs, err = scanInputs(work.body.Bytes(), work.inputs[:0])
	if a, served := s.serves(r, err, header); !served {
		return a, len(work.inputs), nil
	}
	if a, ok := s.checkLean(work); !ok {
		return a, len(work.inputs), nil
	}
	now := stamp(time.Now())
	rand.Shuffle(len(work.inputs), func(i, j int) { work.inputs[i], work.inputs[j] = work.inputs[j], work.inputs[i] })
	out := work.out[:0]
	out = append(out, `{"status":"COMPLETE","results":[`...)
	work.ids = work.ids[:0]
	for i, in := range work.inputs {
		if i > 0 {
			out = append(out, ',')
		}
		out = s.appendResult(out, in, now)
		work.ids = append(work.ids, in.id)
	}
	out = append(append(out, `],"startedAt":"`...), now...)
	out = append(append(append(out, `","completedAt":"`...), now...), `"}`...)
	work.out = out
	return answer{200, out}, len(work.inputs), work.ids
}

// checkLean makes the checks of a batch as a whole; those after the syntax.
func (s *Server) checkLean(work *leanWork) (refusal answer, ok bool) {
	if len(work.inputs) == 0 {
		return failure(400, "VALIDATION_ERROR", "Some required fields were not set: [inputs]", nil), false
	}
	work.hashes = work.hashes[:0]
	for i := range work.inputs {
		in := &work.inputs[i]
		if in.id == nil || in.properties == nil {
			return failure(400, "VALIDATION_ERROR", "Some required fields were not set: [id]", nil), false
		}
		in.hash = maphash.Bytes(s.seed, in.id)
		work.hashes = append(work.hashes, in.hash)
	}
	if len(work.inputs) > maxInputs {
		return tooMany(len(work.inputs)), false
	}
	for _, in := range work.inputs {
		if !slices.Contains(s.cfg.IDProperties, string(in.idProperty)) {
			return notUnique(string(in.idProperty)), false
		}
	}
	slices.Sort(work.hashes)
	for i := 1; i < len(work.hashes); i++ {
		if work.hashes[i] == work.hashes[i-1] {
			var twice []string
			for _, in := range work.inputs {
				if in.hash == work.hashes[i] {
					twice = []string{string(in.id)}
				}
			}
			return repeated(twice), false
		}
	}
	return answer{}, true
}

// appendResult appends what HubSpot answers to an input that it wrote. The same id always gets the same HubSpot id.
func (s *Server) appendResult(out []byte, in leanInput, now string) []byte {
	text := func(parts ...string) {
		for _, p := range parts {
			out = append(out, p...)
		}
	}
	var number [20]byte
	id := strconv.AppendUint(number[:0], 100_000_000_000+in.hash%900_000_000_000, 10)
	text(`{"id":"`)
	out = append(out, id...)
	text(`","properties":`)
	sent := bytes.TrimSpace(in.properties[1 : len(in.properties)-1])
	out = append(append(out, '{'), sent...)
	if len(sent) > 0 {
		text(`,`)
	}
	text(`"hs_object_id":"`)
	out = append(out, id...)
	text(`","hs_createdate":"`, now, `","hs_lastmodifieddate":"`, now, `"`)
	if s.cfg.EchoKey != "none" {
		text(`,"`)
		out = append(out, in.idProperty...)
		text(`":"`)
		out = append(out, in.id...)
		text(`"`)
	}
	text(`},"createdAt":"`, now, `","updatedAt":"`, now, `","archived":false,"new":true`)
	if s.cfg.EchoTrace {
		text(`,"objectWriteTraceId":"`)
		out = append(out, in.trace...)
		text(`"`)
	}
	return append(out, '}')
}
