package upsert

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tasksink/tasksink/dlq"
)

const maxRetryAfter = 24 * time.Hour // an account's move between regions takes that long at the most

// judge says what an answer means for the inputs of its request. It judges the body, not the status alone: a 207 and
// a dated 200 can both carry refusals, and a 200 can leave results out.
func judge(inputs []input, idProperty string, status int, header http.Header, body []byte) judgement {
	// A request has inputs of one idProperty only.
	property, books := inputs[0][0].IDProperty, booksPool.Get().(*books)
	defer books.close()
	if status == 200 || status == 201 || status == 207 {
		if b, ok := readResults(body, property, books.results[:0]); ok {
			books.results = b.results
			return books.account(inputs, b)
		}
	}
	b, readable := parse(body, property)
	reason := b.reason()
	after := retryAfter(header, time.Now())
	switch {
	case status == 200 || status == 201 || status == 207:
		if !readable {
			return judgement{Class: classFailed, Reason: dlq.Reason{Code: "UNREADABLE_ANSWER",
				Message: "HubSpot answered " + strconv.Itoa(status) + " with a body that cannot be read"}}
		}
		return books.account(inputs, b)
	case status == http.StatusUnauthorized:
		return judgement{Class: classAuth, Reason: reason}
	case status == http.StatusTooManyRequests:
		if b.PolicyName == "DAILY" {
			return judgement{Class: classDaily, Reason: reason, RetryAfter: after}
		}
		return judgement{Class: classLimited, Reason: reason, RetryAfter: after}
	case status == http.StatusLocked:
		return judgement{Class: classLocked, Reason: reason, RetryAfter: max(2*time.Second, after)}
	case status == 477:
		return judgement{Class: classMigrating, Reason: reason, RetryAfter: after}
	case status == http.StatusForbidden && b.fromHubSpot():
		return judgement{Class: classScope, Reason: reason}
	case status == http.StatusForbidden:
		// A firewall before HubSpot does not like some content: that is one record's, not the account's.
		return judgement{Class: classRefused, Reason: dlq.Reason{Category: "FORBIDDEN_BY_FIREWALL", Code: "HTTP_403",
			Message: "refused with a page that is not HubSpot's JSON"}}
	case (status == http.StatusNotFound || status == http.StatusMethodNotAllowed ||
		status == http.StatusRequestURITooLong) && b.fromHubSpot(),
		status >= 300 && status < 400:
		if reason.Category == "" {
			reason.Category = "HTTP_" + strconv.Itoa(status)
		}
		return judgement{Class: classConfig, Reason: reason}
	case status == http.StatusConflict:
		return judgement{Class: classConflict, Reason: named(reason, status)}
	case status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge ||
		status == http.StatusUnprocessableEntity:
		if !strings.Contains(string(b.Message), "non-unique") && !strings.Contains(string(b.Message), "idProperty") {
			return judgement{Class: classRefused, Reason: named(reason, status)}
		}
		for _, in := range inputs {
			if !in[0].OwnKey || in[0].IDProperty == idProperty {
				return judgement{Class: classConfig, Reason: named(reason, status)}
			}
		}
		return judgement{Class: classOwnConfig, Reason: named(reason, status)}
	default:
		return judgement{Class: classFailed, Reason: dlq.Reason{Code: "HTTP_" + strconv.Itoa(status),
			Message: cut(string(b.Message), maxMessage), CorrelationID: string(b.CorrelationID)}}
	}
}

// named fills in the category of a refusal that HubSpot gave none, as it does for malformed JSON.
func named(r dlq.Reason, status int) dlq.Reason {
	if r.Category == "" {
		r.Category = "HTTP_" + strconv.Itoa(status)
	}
	return r
}

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
		a.Pending = true
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

// retryAfter reads Retry-After, in seconds or as a date; 0 if it is absent or makes no sense.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	var d time.Duration
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		d = time.Duration(min(max(n, 0), int64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// detail is what stands in the JSON array that HubSpot puts into a message.
type detail struct {
	Error string `json:"error"`
	Name  string `json:"name"`
}

// explain finds the code and the property of a refusal.
func explain(r *dlq.Reason, context func(string) []string) {
	if required := context("properties"); len(required) > 0 {
		r.Code, r.Property = "MISSING_REQUIRED_PROPERTY", required[0]
		return
	}
	if names := context("propertyName"); len(names) > 0 {
		r.Property = names[0]
	}
	at := strings.IndexByte(r.Message, '[')
	if at < 0 {
		return
	}
	if d, ok := firstDetail([]byte(r.Message[at:])); ok {
		r.Code, r.Property = d.Error, d.Name
	}
}

// jsonObject tells whether the body looks like one.
func jsonObject(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
}

func clean(list []string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}
