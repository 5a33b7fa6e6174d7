package upsert

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tasksink/tasksink/dlq"
)

const maxRetryAfter = 24 * time.Hour // an account's move between regions takes that long at the most

// Judge says what an answer means for the inputs of its request. It judges the body, not the status alone: a 207 and
// a dated 200 can both carry refusals, and a 200 can leave results out.
func Judge(inputs []Input, idProperty string, status int, header http.Header, body []byte) Answer {
	b, readable := parse(body)
	reason := b.reason()
	after := retryAfter(header, time.Now())
	switch {
	case status == 200 || status == 201 || status == 207:
		if !readable {
			return Answer{Class: Failed, Reason: dlq.Reason{Code: "UNREADABLE_ANSWER", Message: "HubSpot answered " + strconv.Itoa(status) + " with a body that cannot be read"}}
		}
		return account(inputs, b)
	case status == http.StatusUnauthorized:
		return Answer{Class: Auth, Reason: reason}
	case status == http.StatusTooManyRequests:
		if b.PolicyName == "DAILY" {
			return Answer{Class: Daily, Reason: reason, RetryAfter: after}
		}
		return Answer{Class: Limited, Reason: reason, RetryAfter: after}
	case status == http.StatusLocked:
		return Answer{Class: Locked, Reason: reason, RetryAfter: max(2*time.Second, after)}
	case status == 477:
		return Answer{Class: Migrating, Reason: reason, RetryAfter: after}
	case status == http.StatusForbidden && b.fromHubSpot():
		return Answer{Class: Scope, Reason: reason}
	case status == http.StatusForbidden:
		// A firewall before HubSpot does not like some content: that is one record's, not the account's.
		return Answer{Class: Refused, Reason: dlq.Reason{Category: "FORBIDDEN_BY_FIREWALL", Code: "HTTP_403", Message: "refused with a page that is not HubSpot's JSON"}}
	case (status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status == http.StatusRequestURITooLong) && b.fromHubSpot(),
		status >= 300 && status < 400:
		if reason.Category == "" {
			reason.Category = "HTTP_" + strconv.Itoa(status)
		}
		return Answer{Class: Config, Reason: reason}
	case status == http.StatusConflict:
		return Answer{Class: Conflict, Reason: named(reason, status)}
	case status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge || status == http.StatusUnprocessableEntity:
		if !strings.Contains(string(b.Message), "non-unique") && !strings.Contains(string(b.Message), "idProperty") {
			return Answer{Class: Refused, Reason: named(reason, status)}
		}
		for _, in := range inputs {
			if !in[0].OwnKey || in[0].IDProperty == idProperty {
				return Answer{Class: Config, Reason: named(reason, status)}
			}
		}
		return Answer{Class: OwnConfig, Reason: named(reason, status)}
	default:
		return Answer{Class: Failed, Reason: dlq.Reason{Code: "HTTP_" + strconv.Itoa(status), Message: cut(string(b.Message), maxMessage), CorrelationID: string(b.CorrelationID)}}
	}
}

// named fills in the category of a refusal that HubSpot gave none, as it does for malformed JSON.
func named(r dlq.Reason, status int) dlq.Reason {
	if r.Category == "" {
		r.Category = "HTTP_" + strconv.Itoa(status)
	}
	return r
}

// account finds out what became of each input. Never by index: results come back shuffled.
func account(inputs []Input, b answerBody) Answer {
	a := Answer{Class: Judged, Verdicts: make([]Verdict, len(inputs)), Reasons: make([]dlq.Reason, len(inputs))}
	if b.Status == "PENDING" || b.Status == "PROCESSING" || b.Status == "CANCELED" {
		a.Pending = true
		return a
	}
	byTrace, byID := make(map[string]int, len(inputs)), make(map[string]int, len(inputs))
	for i, in := range inputs {
		newest := in[len(in)-1]
		byTrace[newest.Record.TraceID()] = i
		byID[newest.ID] = i
	}
	refused, foreign := refusals(inputs, b, byTrace, byID, a.Reasons)
	confirmed := make([]bool, len(inputs))
	seen := make(map[string]bool, len(b.Results)) // HubSpot's ids
	unnamed := 0                                  // results that speak for an input, but do not say for which
	for _, r := range b.Results {
		id := r.hubSpotID()
		if id == "" || seen[id] {
			continue // the same object twice is one result
		}
		seen[id] = true
		i, is := -1, false
		if trace := r.trace(); trace != "" {
			if i, is = byTrace[trace]; !is {
				foreign = true // it speaks for something that we did not send
				continue
			}
		} else if key, echoed := r.property(inputs[0][0].IDProperty); echoed {
			i, is = byID[key] // HubSpot may have normalised it; then only the count can tell
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
		case confirmed[i] && !refused[i]:
			a.Verdicts[i] = Confirmed
		case refused[i] && !confirmed[i]:
			a.Verdicts[i] = Bad
		case confirmed[i]: // named both ways: ask again
			foreign = true
		default:
			open++
		}
	}
	// As many results of distinct objects as inputs without a named error: they are all confirmed.
	if b.Status == "COMPLETE" && !foreign && open > 0 && unnamed == open {
		for i := range inputs {
			if !confirmed[i] && !refused[i] {
				a.Verdicts[i] = Confirmed
			}
		}
	}
	return a
}

// refusals marks the inputs that an error names, and fills in their reasons. foreign tells of an error that names
// something we did not send.
func refusals(inputs []Input, b answerBody, byTrace, byID map[string]int, reasons []dlq.Reason) (refused []bool, foreign bool) {
	refused = make([]bool, len(inputs))
	for _, e := range b.Errors {
		names, index := e.list("objectWriteTraceId"), byTrace
		if len(names) == 0 {
			names, index = e.list("ids"), byID
		}
		reason := e.reason(b.CorrelationID)
		for _, name := range names {
			i, is := index[name]
			if !is {
				foreign = true
				continue
			}
			refused[i], reasons[i] = true, reason
		}
		if len(names) == 0 && len(inputs) == 1 && len(b.Results) == 0 {
			refused[0], reasons[0] = true, reason // whom else
		}
	}
	return refused, foreign
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
