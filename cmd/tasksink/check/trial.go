package check

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspot"
)

const (
	mostTasks = 120 // that a live check writes
	mostWaits = 6   // for one request, where HubSpot limits the rate
)

// trial is one live check: its requests, and the tasks that they made.
type trial struct {
	look     *hubspotLook
	property string // the idProperty
	name     string // of the run, in each id and each subject
	traces   int    // trace ids used

	keys       map[string]bool // ids sent, of tasks that are not known to be archived
	sent       int             // tasks that HubSpot may have made
	open       map[string]bool // HubSpot id → is to be archived
	order      []string        // the HubSpot ids, as they came
	unanswered [][]string      // ids of each request of which nobody knows what HubSpot did with it

	limits limits
	first  []result // of the first question
	spared []string // ids of the good tasks in batches that HubSpot refused
}

// limits are HubSpot's headers as they came last.
type limits struct {
	Max             *int `json:"max,omitempty"`
	Remaining       *int `json:"remaining,omitempty"`
	IntervalMS      *int `json:"interval_ms,omitempty"`
	Daily           *int `json:"daily,omitempty"`
	DailyRemaining  *int `json:"daily_remaining,omitempty"`
	TooManyRequests int  `json:"too_many_requests"` // answers with 429
}

func newTrial(h *hubspotLook) *trial {
	t := &trial{look: h, name: strings.ToLower(rand.Text()[:10]), keys: map[string]bool{}, open: map[string]bool{}}
	if names := h.cfg.IDProperties(); len(names) > 0 {
		t.property = names[0]
	}
	return t
}

// input is one task of an upsert.
type input struct {
	ID         string            `json:"id"`
	IDProperty string            `json:"idProperty"`
	TraceID    string            `json:"objectWriteTraceId,omitempty"`
	Properties map[string]string `json:"properties"`
}

// key is an id that only this run has.
func (t *trial) key(suffix string) string { return "Tasksink-Check-" + t.name + "-" + suffix }

// task is a completed task without an owner that carries a trace id.
func (t *trial) task(key string) input {
	t.traces++
	return input{ID: key, IDProperty: t.property, TraceID: fmt.Sprintf("tasksink-check-%s-%d", t.name, t.traces),
		Properties: map[string]string{"hs_task_subject": t.subject() + " (archived at its end)",
			"hs_task_status": "COMPLETED", "hs_timestamp": time.Now().UTC().Format(time.RFC3339)}}
}

// subject begins the subject of each task.
func (t *trial) subject() string { return "tasksink check " + t.name }

// upsert sends tasks, and keeps account of those that they make. Its error says why there is no answer.
func (t *trial) upsert(ctx context.Context, inputs ...input) (reply, error) {
	r, err := t.exchange(ctx, inputs)
	if !unsent(err) && !r.decides(len(ids(inputs))) {
		t.unanswered = append(t.unanswered, ids(inputs))
	}
	return r, err
}

// ids are those of the inputs, each once.
func ids(inputs []input) (ids []string) {
	for _, in := range inputs {
		if !slices.Contains(ids, in.ID) {
			ids = append(ids, in.ID)
		}
	}
	return ids
}

// exchange sends tasks and reads the answer. The tasks that it names are open from then on.
func (t *trial) exchange(ctx context.Context, inputs []input) (reply, error) {
	fresh := slices.DeleteFunc(ids(inputs), func(id string) bool { return t.keys[id] })
	if t.sent+len(fresh) > mostTasks {
		return reply{}, notSentError(fmt.Sprintf("it would take more than %d tasks", mostTasks))
	}
	body, err := json.Marshal(map[string]any{"inputs": inputs})
	if err != nil {
		return reply{}, notSentError(err.Error())
	}
	res, took, err := t.send(ctx, func(ctx context.Context) (hubspot.Answer, error) {
		return t.look.client.Post(ctx, slices.Clone(body), hubspot.AnswerBound(len(inputs), len(body)), always, func() {})
	})
	if unsent(err) {
		return reply{}, err
	}
	for _, key := range fresh {
		t.keys[key] = true
	}
	t.sent += len(fresh)
	if err != nil {
		return reply{}, err
	}
	defer res.Release()
	r := readReply(res, took)
	for _, id := range r.ids() {
		if _, known := t.open[id]; !known {
			t.order = append(t.order, id)
		}
		t.open[id] = true
	}
	if r.failed != "" {
		err = errors.New(r.failed)
	}
	return r, err
}

func always() bool { return true }

// openIDs are the HubSpot ids of the tasks that are not known to be archived.
func (t *trial) openIDs() []string {
	open := []string{}
	for _, id := range t.order {
		if t.open[id] {
			open = append(open, id)
		}
	}
	return open
}

// notSentError says why HubSpot got no request, or did nothing with it.
type notSentError string

func (e notSentError) Error() string { return string(e) }

func unsent(err error) bool {
	var e notSentError
	return errors.As(err, &e)
}

// send sends a request, again as often as HubSpot limits the rate. A request that is on the wire when ctx ends is
// finished, so that the tasks are known which it makes.
func (t *trial) send(ctx context.Context, post func(ctx context.Context) (hubspot.Answer, error)) (hubspot.Answer,
	time.Duration, error) {
	for range mostWaits {
		if ctx.Err() != nil {
			break
		}
		t.look.calls.Add(1)
		begun := time.Now()
		res, err := post(context.WithoutCancel(ctx))
		took := time.Since(begun)
		if err != nil {
			return res, took, errors.New(plain(err))
		}
		t.limits.note(res.Header)
		wait, limited := pause(res)
		if !limited {
			return res, took, nil
		}
		if res.Status == http.StatusTooManyRequests {
			t.limits.TooManyRequests++
		}
		res.Release()
		if wait < 0 {
			return hubspot.Answer{}, 0, notSentError("the day's calls of the account are used up")
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return hubspot.Answer{}, 0, notSentError("the check was interrupted")
	}
	return hubspot.Answer{}, 0, notSentError(fmt.Sprintf("it limits the rate, %d times in a row", mostWaits))
}

// pause is how long HubSpot wants to be left alone; less than 0: until midnight.
func pause(res hubspot.Answer) (wait time.Duration, limited bool) {
	const inDoubt = 10 * time.Second
	after, err := strconv.Atoi(res.Header.Get("Retry-After"))
	asked := time.Duration(after) * time.Second
	switch {
	case res.Status == http.StatusLocked:
		return max(asked, 2*time.Second), true
	case res.Status != http.StatusTooManyRequests:
		return 0, false
	}
	var f failure
	if json.Unmarshal(res.Body, &f) == nil && f.PolicyName == "DAILY" {
		return -1, true
	}
	if err == nil {
		return min(asked, time.Minute), true
	}
	if ms, err := strconv.Atoi(res.Header.Get("X-HubSpot-RateLimit-Interval-Milliseconds")); err == nil && ms > 0 {
		return min(time.Duration(ms)*time.Millisecond, time.Minute), true
	}
	return inDoubt, true
}

// note takes in what the headers say.
func (l *limits) note(header http.Header) {
	for name, to := range map[string]**int{"Max": &l.Max, "Remaining": &l.Remaining,
		"Interval-Milliseconds": &l.IntervalMS, "Daily": &l.Daily, "Daily-Remaining": &l.DailyRemaining} {
		if n, err := strconv.Atoi(header.Get("X-HubSpot-RateLimit-" + name)); err == nil {
			*to = &n
		}
	}
}
