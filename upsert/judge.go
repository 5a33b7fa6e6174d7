package upsert

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
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
		if b, ok := readResults(body, property, len(inputs), books.results[:0]); ok {
			books.results = b.results
			return books.account(inputs, b)
		}
	}
	b, readable := parse(body, property, status, len(inputs))
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
