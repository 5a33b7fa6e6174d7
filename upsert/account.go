package upsert

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/tasksink/tasksink/dlq"
)

// books are what accounting for an answer needs. They are kept from one answer to the next.
type books struct {
	results []result
	byID    map[string]int // inputs
	byTrace map[string]int // inputs; filled when an answer names a trace id
	seen    map[string]bool
	renamed map[string]bool // keys, folded, that an input writes and that are not its own
	looked  bool            // renamed is filled
	quoted  []byte          // how a property begins on the wire
}

var booksPool = sync.Pool{New: func() any {
	return &books{byID: map[string]int{}, byTrace: map[string]int{}, seen: map[string]bool{}, renamed: map[string]bool{}}
}}

// close leaves nothing in the books that would keep an answer or its request in memory.
func (k *books) close() {
	clear(k.results[:cap(k.results)])
	clear(k.byID)
	clear(k.byTrace)
	clear(k.seen)
	clear(k.renamed)
	k.looked = false
	booksPool.Put(k)
}

// traced finds an input by its trace id.
func (k *books) traced(inputs []input, id []byte) (i int, ok bool) {
	if len(k.byTrace) == 0 {
		for i, in := range inputs {
			k.byTrace[in[len(in)-1].Record.TraceID()] = i
		}
	}
	i, ok = k.byTrace[string(id)]
	return i, ok
}

// ambiguous tells whether an input writes the key, in whatever form HubSpot gives it, as another one than its own. Then
// a result that echoes the key may be that of this input, or of the one that the key names.
func (k *books) ambiguous(inputs []input, key []byte) bool {
	if !k.looked {
		k.looked = true
		property := inputs[0][0].IDProperty
		k.quoted = append(appendString(k.quoted[:0], property), ':')
		for _, in := range inputs {
			for _, t := range in {
				if value, ok := k.rename(t, property); ok {
					k.renamed[folded(value)] = true
				}
			}
		}
	}
	return len(k.renamed) > 0 && k.renamed[folded(key)]
}

// rename is the key that an event gives to its own object, if that is another one than its id.
func (k *books) rename(t *Task, property string) (value []byte, ok bool) {
	if bytes.IndexByte(t.Properties, '\\') < 0 { // what is searched stands there as it is
		at := bytes.Index(t.Properties, k.quoted)
		if at < 0 {
			return nil, false
		}
		rest := t.Properties[at+len(k.quoted)+1:]
		if own := len(t.ID); len(rest) > own && rest[own] == '"' && string(rest[:own]) == t.ID {
			return nil, false
		}
	}
	for name, member := range members(t.Properties) {
		if string(name) == property {
			s := scan{text: member}
			_, _, _ = s.string()
			s.mark(':')
			value, _ = plain(member[s.at:], len(member))
			return value, string(value) != t.ID
		}
	}
	return nil, false
}

// folded is what a key and the forms have in common that HubSpot may give it: "007" and "7", "A " and "a".
func folded(key []byte) string {
	return string(bytes.ToLower(bytes.TrimLeft(bytes.TrimSpace(key), "0")))
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
	results := k.distinct(b.results)
	a.warnings = readWarnings(results)
	confirmed, unnamed, strange := k.confirmations(inputs, results, false)
	// If each input has a result, and each result an input, it does not matter which is whose.
	if b.Status != "COMPLETE" || len(b.Errors.items) > 0 || unnamed > 0 || strange || slices.Contains(confirmed, false) {
		confirmed, unnamed, strange = k.confirmations(inputs, results, true)
	}
	foreign = foreign || strange
	open := 0
	for i := range inputs {
		switch {
		case confirmed[i] && a.Reasons[i] == nil:
			a.Verdicts[i] = verdictConfirmed
		case a.Reasons[i] != nil && !confirmed[i]:
			a.Verdicts[i] = blamed(a.Reasons[i])
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

// distinct is results without those that have no id of HubSpot's, or have that of an earlier one: the same object twice
// is one result.
func (k *books) distinct(results []result) []result {
	return slices.DeleteFunc(results, func(r result) bool {
		if len(r.id) == 0 || k.seen[string(r.id)] {
			return true
		}
		k.seen[string(r.id)] = true
		return false
	})
}

// confirmations finds the inputs that results name, by the trace id or the key; if it is careful, not by a key that is
// ambiguous. unnamed are the results that speak for an input, but do not say for which; foreign tells of one that names
// something we did not send.
func (k *books) confirmations(inputs []input, results []result, careful bool) (confirmed []bool, unnamed int,
	foreign bool) {
	confirmed = make([]bool, len(inputs))
	for _, r := range results {
		i, ok := -1, false
		switch {
		case len(r.trace) > 0:
			if i, ok = k.traced(inputs, r.trace); !ok {
				foreign = true
				continue
			}
		case r.echoed && (!careful || !k.ambiguous(inputs, r.key)):
			i, ok = k.byID[string(r.key)] // HubSpot may have normalised it; then only the count can tell
		}
		if !ok || confirmed[i] {
			unnamed++
			continue
		}
		confirmed[i] = true
	}
	return confirmed, unnamed, foreign
}

// permanent are the categories that speak of the record: it would be refused again. With any other category HubSpot
// had trouble that another try may not meet.
var permanent = []string{"VALIDATION_ERROR", "OBJECT_NOT_FOUND", "BAD_REQUEST", "USER_DEFINED"}

// blamed is the verdict on an input that an error names.
func blamed(r *dlq.Reason) verdict {
	if slices.ContainsFunc(permanent, func(category string) bool { return strings.EqualFold(category, r.Category) }) {
		return verdictBad
	}
	return verdictTroubled
}

// refusals fills in the reason of each input that an error names; of several reasons, a permanent one. foreign tells of
// an error that names something we did not send.
func (k *books) refusals(inputs []input, b answerBody, reasons []*dlq.Reason) (foreign bool) {
	for _, e := range b.Errors.items {
		reason, names := e.reason(b.CorrelationID), 0
		blame := func(i int, ok bool) {
			names++
			switch {
			case !ok:
				foreign = true
			case reasons[i] == nil || blamed(reasons[i]) != verdictBad:
				reasons[i] = &reason
			}
		}
		for trace := range e.Context.all("objectWriteTraceId") {
			blame(k.traced(inputs, trace))
		}
		if names == 0 {
			for id := range e.Context.all("ids") {
				i, ok := k.byID[string(id)]
				blame(i, ok)
			}
		}
		if names == 0 && len(inputs) == 1 && len(b.results) == 0 {
			blame(0, true) // whom else
		}
	}
	return foreign
}
