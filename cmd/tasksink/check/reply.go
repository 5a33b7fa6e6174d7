package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tasksink/tasksink/internal/visible"
	"github.com/tasksink/tasksink/upsert/hubspot"
)

// reply is HubSpot's answer to an upsert.
type reply struct {
	status   int
	took     time.Duration
	results  []result
	errs     []itemError
	complete bool   // the status in the body is COMPLETE
	refused  string // why HubSpot refused the whole batch; empty if it did not
	misfit   bool   // the idProperty does not fit the account
	failed   string // why there is neither a result nor a refusal
}

// result is a task that HubSpot has written.
type result struct {
	ID         string         `json:"id"`
	Properties map[string]any `json:"properties"`
	TraceID    string         `json:"objectWriteTraceId"`
	New        *bool          `json:"new"`
	Archived   bool           `json:"archived"`
}

// itemError is a task that HubSpot has not written.
type itemError struct {
	Category string         `json:"category"`
	Message  string         `json:"message"`
	Context  map[string]any `json:"context"`
	Errors   []struct {
		Message string `json:"message"`
	} `json:"errors"` // the reasons, on the path 2026-09
}

// names tells whether the error is about the input with the trace id.
func (e itemError) names(traceID string) bool {
	traces, _ := e.Context["objectWriteTraceId"].([]any)
	return slices.Contains(traces, any(traceID))
}

// quoteLength is how much of HubSpot's words is shown, in characters.
const quoteLength = 240

func quote(words ...string) string {
	text := []rune(visible.Text(strings.TrimSpace(strings.Join(words, " "))))
	if len(text) > quoteLength {
		return string(text[:quoteLength]) + "…"
	}
	return strings.TrimRight(string(text), ".") // a sentence goes on, or has its own
}

func readReply(res hubspot.Answer, took time.Duration) reply {
	var body struct {
		Status   string      `json:"status"`
		Results  []result    `json:"results"`
		Errors   []itemError `json:"errors"`
		Category string      `json:"category"`
		Message  string      `json:"message"`
		ID       string      `json:"correlationId"`
	}
	unreadable := json.Unmarshal(res.Body, &body)
	r := reply{status: res.Status, took: took}
	switch {
	case res.Login:
		r.failed = fmt.Sprintf("HubSpot's token endpoint refuses an access token, with status %d", res.Status)
	case res.Status/100 == 2 && unreadable != nil:
		r.failed = fmt.Sprintf("the answer with status %d cannot be read", res.Status)
	case res.Status/100 == 2:
		r.results, r.errs, r.complete = body.Results, body.Errors, body.Status == "COMPLETE"
	case unreadable == nil && cmp.Or(body.Category, body.ID) != "" && slices.Contains([]int{http.StatusBadRequest,
		http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity},
		res.Status):
		r.misfit = strings.HasPrefix(body.Message, "Unable to perform update/upsert by non-unique ") ||
			strings.HasPrefix(body.Message, "Cannot upsert a ")
		r.refused = fmt.Sprintf("status %d, %s", res.Status, quote(body.Category, body.Message))
	case unreadable == nil && body.Message != "":
		r.failed = fmt.Sprintf("status %d, %s", res.Status, quote(body.Category, body.Message))
	default:
		r.failed = fmt.Sprintf("status %d", res.Status)
	}
	return r
}

// decides tells whether the reply to a request with so many ids says of each whether HubSpot wrote it.
func (r reply) decides(ids int) bool {
	switch {
	case r.refused != "", r.status/100 == 4 && r.status != http.StatusRequestTimeout:
		return true
	case r.failed != "":
		return false
	default:
		return r.complete && len(r.ids())+len(r.errs) >= ids
	}
}

// ids are HubSpot's, each once.
func (r reply) ids() (ids []string) {
	for _, result := range r.results {
		if result.ID != "" && !slices.Contains(ids, result.ID) {
			ids = append(ids, result.ID)
		}
	}
	return ids
}

// outcome is what became of the only task in a request: its result, or why there is none.
func (r reply) outcome() (made result, why string) {
	switch {
	case r.refused != "":
		return result{}, r.refused
	case len(r.errs) > 0:
		return result{}, r.error()
	case len(r.results) == 0 || r.results[0].ID == "":
		return result{}, fmt.Sprintf("status %d without a result", r.status)
	default:
		return r.results[0], ""
	}
}

// error is the first error that names an input.
func (r reply) error() string {
	words := []string{r.errs[0].Category, r.errs[0].Message}
	for _, detail := range r.errs[0].Errors {
		words = append(words, detail.Message)
	}
	return fmt.Sprintf("status %d, %s", r.status, quote(words...))
}
