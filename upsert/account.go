package upsert

import (
	"sync"

	"github.com/tasksink/tasksink/dlq"
)

// books are what accounting for an answer needs. They are kept from one answer to the next.
type books struct {
	results []result
	byID    map[string]int // inputs
	byTrace map[string]int // inputs; filled when an answer names a trace id
	seen    map[string]bool
}

var booksPool = sync.Pool{New: func() any {
	return &books{byID: map[string]int{}, byTrace: map[string]int{}, seen: map[string]bool{}}
}}

// close leaves nothing in the books that would keep an answer or its request in memory.
func (k *books) close() {
	clear(k.results[:cap(k.results)])
	clear(k.byID)
	clear(k.byTrace)
	clear(k.seen)
	booksPool.Put(k)
}

// traced finds an input by its trace id.
func (k *books) traced(inputs []input, id string) (i int, is bool) {
	if len(k.byTrace) == 0 {
		for i, in := range inputs {
			k.byTrace[in[len(in)-1].Record.TraceID()] = i
		}
	}
	i, is = k.byTrace[id]
	return i, is
}

// account finds out what became of each input. Never by index: results come back shuffled.
func (k *books) account(inputs []input, b answerBody) judgement {
	a := judgement{Class: classJudged, Verdicts: make([]verdict, len(inputs)), Reasons: make([]*dlq.Reason, len(inputs))}
	if b.Status == "PENDING" || b.Status == "PROCESSING" || b.Status == "CANCELED" {
		a.What = string("status " + b.Status)
		return a
	}
	for i, in := range inputs {
		k.byID[in[len(in)-1].ID] = i
	}
	foreign := k.refusals(inputs, b, a.Reasons)
	confirmed := make([]bool, len(inputs))
	unnamed := 0 // results that speak for an input, but do not say for which
	for _, r := range b.results {
		if len(r.id) == 0 || k.seen[string(r.id)] {
			continue // the same object twice is one result
		}
		k.seen[string(r.id)] = true
		i, is := -1, false
		if len(r.trace) > 0 {
			if i, is = k.traced(inputs, string(r.trace)); !is {
				foreign = true // it speaks for something that we did not send
				continue
			}
		} else if r.echoed {
			i, is = k.byID[string(r.key)] // HubSpot may have normalised it; then only the count can tell
		}
		if !is || confirmed[i] {
			unnamed++
			continue
		}
		confirmed[i] = true
	}
	open := 0
	for i := range inputs {
		switch {
		case confirmed[i] && a.Reasons[i] == nil:
			a.Verdicts[i] = verdictConfirmed
		case a.Reasons[i] != nil && !confirmed[i]:
			a.Verdicts[i] = verdictBad
		case confirmed[i]: // named both ways: ask again
			foreign = true
		default:
			open++
		}
	}
	// As many results of distinct objects as inputs without a named error: they are all confirmed.
	if b.Status == "COMPLETE" && !foreign && open > 0 && unnamed == open {
		for i := range inputs {
			if !confirmed[i] && a.Reasons[i] == nil {
				a.Verdicts[i] = verdictConfirmed
			}
		}
	}
	return a
}

// refusals fills in the reason of each input that an error names. foreign tells of an error that names something we
// did not send.
func (k *books) refusals(inputs []input, b answerBody, reasons []*dlq.Reason) (foreign bool) {
	for _, e := range b.Errors {
		names, traced := e.list("objectWriteTraceId"), true
		if len(names) == 0 {
			names, traced = e.list("ids"), false
		}
		reason := e.reason(b.CorrelationID)
		for _, name := range names {
			i, is := k.byID[name]
			if traced {
				i, is = k.traced(inputs, name)
			}
			if !is {
				foreign = true
				continue
			}
			reasons[i] = &reason
		}
		if len(names) == 0 && len(inputs) == 1 && len(b.results) == 0 {
			reasons[0] = &reason // whom else
		}
	}
	return foreign
}
