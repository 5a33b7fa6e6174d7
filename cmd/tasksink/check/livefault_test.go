package check_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasksink/tasksink/cmd/tasksink/check"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// rewritten lets HubSpot read other upserts than were sent.
func (p *place) rewritten(rewrite func(body []byte) []byte) {
	p.before(func(w http.ResponseWriter, r *http.Request) {
		if batchPath(r) == "upsert" {
			body, _ := io.ReadAll(r.Body)
			body = rewrite(body)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
		p.hubspot.ServeHTTP(w, r)
	})
}

// slowWhenFull delays each batch of 100 tasks.
func (p *place) slowWhenFull(by time.Duration) {
	p.rewritten(func(body []byte) []byte {
		if bytes.Contains(body, []byte("-Full-0")) {
			time.Sleep(by)
		}
		return body
	})
}

// writtenInPart lets HubSpot write the good task of a batch that it refuses.
func (p *place) writtenInPart() {
	p.account(hubspottest.Config{IgnoreTrace: true})
	p.before(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		serve := func(w http.ResponseWriter, body []byte) {
			again := r.Clone(r.Context())
			again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			p.hubspot.ServeHTTP(w, again)
		}
		if i := bytes.Index(body, []byte(`,{"id":`)); i > 0 && bytes.Contains(body, []byte("Traced-bad")) {
			serve(httptest.NewRecorder(), append(bytes.Clone(body[:i]), "]}"...))
		}
		serve(w, body)
	})
}

// unnamed takes the trace ids out of HubSpot's answers.
func (p *place) unnamed() {
	p.before(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		p.hubspot.ServeHTTP(rec, r)
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(bytes.ReplaceAll(rec.Body.Bytes(), []byte(`"objectWriteTraceId"`), []byte(`"other"`)))
	})
}

// TestLiveHalfway: a live check that ends half-way archives what it wrote, also where the answer was lost. It names
// what it could not archive.
func TestLiveHalfway(t *testing.T) {
	outage := hubspottest.Fault{Status: 503, Body: hubspottest.Page(503, "Service Unavailable")}
	at := func(f hubspottest.Fault, suffix string, times int) func(*place) {
		return func(p *place) {
			f.Match = func(in []hubspottest.Input) bool { return strings.HasSuffix(in[0].ID, suffix) }
			f.Times = times
			p.hubspot.Inject(f)
		}
	}
	for name, tc := range map[string]struct {
		spoil          func(p *place)
		left, doubtful int
		says           string
	}{
		"an outage in the middle":    {at(outage, "-Unknown-good", 1), 0, 0, "7 of 12 questions have no answer"},
		"an answer is lost":          {at(hubspottest.Fault{Reset: true, AfterWrite: true}, "-Full-0", 1), 0, 0, "3 of 12"},
		"two answers are lost":       {at(hubspottest.Fault{Reset: true, AfterWrite: true}, "-Full-0", 2), 0, 0, "3 of 12"},
		"an answer says nothing":     {at(hubspottest.Fault{BatchStatus: "PENDING"}, "-A", 1), 0, 0, "questions"},
		"a lock":                     {at(hubspottest.Fault{Status: 423, Body: hubspottest.JSONError(423, "LOCKED", "locked", nil)}, "-A", 1), 0, 0, ""},
		"HubSpot keeps the tasks":    {func(p *place) { p.keepsTasks(http.StatusForbidden, -1) }, 107, 0, "107 tasks may still be in HubSpot"},
		"archiving fails once":       {func(p *place) { p.keepsTasks(http.StatusBadGateway, 1) }, 0, 0, ""},
		"lost, and not to be learnt": {at(outage, "-Unknown-good", 0), 0, 2, "2 tasks may still be in HubSpot"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, nil)
			tc.spoil(p)
			r, err := p.liveCheck(t.Context())
			p.clean(r)
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("the error is %v", err)
			}
			if len(r.NotArchived) != tc.left || len(r.Doubtful) != tc.doubtful {
				t.Errorf("not archived: %v, doubtful: %v", r.NotArchived, r.Doubtful)
			}
		})
	}
}

// keepsTasks lets HubSpot refuse so many requests to archive; less than 0: all.
func (p *place) keepsTasks(status, times int) {
	var refused atomic.Int64
	p.before(func(w http.ResponseWriter, r *http.Request) {
		if batchPath(r) == "archive" && (times < 0 || refused.Add(1) <= int64(times)) {
			w.WriteHeader(status)
			return
		}
		p.hubspot.ServeHTTP(w, r)
	})
}

// TestLiveInterrupt: a signal ends the questions. The request on the wire is finished, and all is archived.
func TestLiveInterrupt(t *testing.T) {
	for upserts := range 12 {
		t.Run(fmt.Sprint(upserts), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var came atomic.Int64
			p.before(func(w http.ResponseWriter, r *http.Request) {
				if batchPath(r) == "upsert" && came.Add(1) == int64(upserts)+1 {
					cancel()
				}
				p.hubspot.ServeHTTP(w, r)
			})
			r, err := p.liveCheck(ctx)
			p.clean(r)
			if err == nil || !strings.Contains(err.Error(), "context canceled") || r.Tasks == 0 || r.Archived != r.Tasks {
				t.Errorf("%v, %s", err, p.told)
			}
			if n := came.Load(); n != int64(upserts)+1 {
				t.Errorf("%d upserts were sent after the signal", n-int64(upserts)-1)
			}
			if !strings.Contains(p.told, "the tasks are being archived; a second signal leaves them in HubSpot") {
				t.Errorf("it does not say what it waits for: %s", p.told)
			}
		})
	}
}

// TestLiveLimits: where HubSpot limits the rate, it is waited for; when the day's calls are used up, nothing more is
// asked.
func TestLiveLimits(t *testing.T) {
	p := newPlace(t, nil)
	p.account(hubspottest.Config{Limit: 6, Window: 150 * time.Millisecond})
	r, err := p.liveCheck(t.Context())
	p.clean(r)
	limited := slices.ContainsFunc(p.hubspot.Requests(), func(r hubspottest.Request) bool { return r.Status == 429 })
	if err != nil || !limited || !strings.Contains(p.told, `"max": 6`) {
		t.Errorf("%v, limited: %v, %s", err, limited, p.told)
	}
	p.account(hubspottest.Config{Daily: 9})
	if r, err = p.liveCheck(t.Context()); err == nil || len(r.NotArchived) == 0 || r.Calls > 14 ||
		!strings.Contains(p.told, "the day's calls of the account are used up") {
		t.Errorf("%v, %s", err, p.told)
	}
	p.clean(r)
}

// TestLiveOAuth: access tokens are replaced until the last task is archived, also after an interruption.
func TestLiveOAuth(t *testing.T) {
	t.Parallel()
	const life = 2 * time.Second
	p := newPlace(t, nil)
	p.oauth("app", canary+"-secret", canary+"-refresh")
	p.account(hubspottest.Config{App: &hubspottest.App{ClientID: "app", ClientSecret: canary + "-secret",
		RefreshToken: canary + "-refresh", Life: life}})
	ctx, cancel := context.WithCancel(t.Context())
	server := p.hubspot
	p.before(func(w http.ResponseWriter, r *http.Request) {
		if batchPath(r) == "upsert" {
			cancel()
			defer time.Sleep(life)
		}
		server.ServeHTTP(w, r)
	})
	r, err := p.liveCheck(ctx)
	p.clean(r)
	if err == nil || r.Archived == 0 || r.Archived != r.Tasks || r.Verdicts[0].Result != check.OK {
		t.Errorf("%v, %s", err, p.told)
	}
}
