package check_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tasksink/tasksink/cmd/tasksink/check"
	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// liveReport is what --json shows.
type liveReport struct {
	Run                   string
	Checks                []check.Row
	Verdicts              []check.Verdict
	Calls, Tasks          int
	Archived              int
	NotArchived, Doubtful []string
}

func (r *liveReport) UnmarshalJSON(b []byte) error {
	var wire struct {
		Run         string          `json:"run"`
		Checks      []check.Row     `json:"checks"`
		Verdicts    []check.Verdict `json:"verdicts"`
		Calls       int             `json:"calls"`
		Tasks       int             `json:"tasks"`
		Archived    int             `json:"archived"`
		NotArchived []string        `json:"not_archived"`
		Doubtful    []string        `json:"doubtful"`
	}
	err := json.Unmarshal(b, &wire)
	*r = liveReport(wire)
	return err
}

func agree(context.Context, string) error { return nil }

// liveCheck runs a live check to its end.
func (p *place) liveCheck(ctx context.Context) (liveReport, error) {
	p.t.Helper()
	var out, progress bytes.Buffer
	err := check.RunLive(ctx, p.cfg, true, agree, &out, &progress)
	p.told = out.String() + progress.String()
	if strings.Contains(p.told, canary) {
		p.t.Errorf("a secret is in %s", p.told)
	}
	var r liveReport
	if jsonErr := json.Unmarshal(out.Bytes(), &r); jsonErr != nil {
		p.t.Fatalf("%v: %s", jsonErr, p.told)
	}
	for _, v := range r.Verdicts {
		if (v.Result == check.Failed || v.Result == check.Warning) && (v.Remedy == "" || v.Tasksink == "") || v.Seen == "" ||
			strings.Contains(v.Remedy, "\n") {
			p.t.Errorf("what tasksink does and a remedy of one line are needed: %+v", v)
		}
	}
	return r, err
}

// clean holds what HubSpot has against what a live check promises.
func (p *place) clean(r liveReport) {
	p.t.Helper()
	made := map[string]bool{}
	for _, w := range p.hubspot.Journal() {
		made[w.HubSpotID] = true
		owner, owned := w.Properties["hubspot_owner_id"]
		if w.Properties["hs_task_status"] != "COMPLETED" || owned || w.Properties["hs_timestamp"] == "" ||
			!strings.Contains(w.Properties["hs_task_subject"], "tasksink check "+r.Run) {
			p.t.Errorf("a task is not marked as the check's, or has the owner %q: %+v", owner, w)
		}
	}
	if len(made) > 120 || len(made) != r.Tasks {
		p.t.Errorf("%d tasks were written, and the report says %d", len(made), r.Tasks)
	}
	if held := p.hubspot.Objects(); len(held) != len(r.NotArchived) {
		p.t.Errorf("HubSpot holds %d tasks, and the report says %v", len(held), r.NotArchived)
	}
	if n := len(p.hubspot.Archived()); n != r.Archived || r.Archived+len(r.NotArchived) != r.Tasks {
		p.t.Errorf("%d of %d tasks are archived, and the report says %d", n, len(made), r.Archived)
	}
}

var (
	latencies = regexp.MustCompile(`\b[0-9.]+m?s to (create|update)`)
	uptos     = regexp.MustCompile(`\d+ requests? (out|would)`)
	settings  = regexp.MustCompile(`(set --max-in-flight=|set --hubspot-timeout to )[0-9.ms]+`)
)

func (p *place) neutralLive(s, run string) string {
	s = strings.ReplaceAll(s, run, "RUN")
	s = latencies.ReplaceAllString(s, "TIME to $1")
	return p.neutral(settings.ReplaceAllString(uptos.ReplaceAllString(s, "N requests $1"), "${1}N"))
}

// withoutProperty lets HubSpot pass over the unknown property.
func withoutProperty(p *place) {
	p.rewritten(func(body []byte) []byte {
		return bytes.ReplaceAll(body, []byte(`,"tasksink_check_no_such_property":"x"`), nil)
	})
}

// TestLive: the account answers each question in every way, and each way has its verdict. Whatever HubSpot answers, no
// task is left.
func TestLive(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(p *place)
		fails bool
	}{
		{"as HubSpot is said to be", func(*place) {}, false},
		{"trace ids are echoed", func(p *place) { p.account(hubspottest.Config{EchoTrace: true}) }, false},
		{"the key is echoed in another spelling", func(p *place) { p.account(hubspottest.Config{EchoKey: "normalized"}) }, false},
		{"the key is not echoed", func(p *place) { p.account(hubspottest.Config{EchoKey: "none"}) }, false},
		{"neither the key is sent back as it was, nor is the trace id missing", func(p *place) {
			p.account(hubspottest.Config{EchoKey: "none", EchoTrace: true})
		}, false},
		{"trace ids are ignored", func(p *place) { p.account(hubspottest.Config{IgnoreTrace: true}) }, false},
		{"spellings are one id", func(p *place) { p.account(hubspottest.Config{FoldIDs: true}) }, false},
		{"an archived task is restored", func(p *place) { p.account(hubspottest.Config{OnArchived: "restore"}) }, false},
		{"an archived task is written where it is", func(p *place) { p.account(hubspottest.Config{OnArchived: "keep"}) }, false},
		{"an archived task is refused", func(p *place) { p.account(hubspottest.Config{OnArchived: "refuse"}) }, false},
		{"unknown properties are passed over", withoutProperty, false},
		{"a refused batch is written in part", func(p *place) { p.writtenInPart() }, false},
		{"items are named without a trace id", func(p *place) { p.unnamed() }, false},
		{"a dated path", func(p *place) { p.cfg.HubspotPath = "/crm/objects/2026-03/0-27/batch/upsert" }, false},
		{"an administrator requires more", func(p *place) {
			p.cfg.HubspotPath = "/crm/objects/2026-09/tasks/batch/upsert"
			p.account(hubspottest.Config{Conditional: []hubspottest.Requirement{
				{If: "hs_task_status", Is: "COMPLETED", Then: "hs_task_body"}}})
		}, true},
		{"another scope to write is granted, and does not suffice", func(p *place) {
			p.account(hubspottest.Config{Scopes: []string{"crm.objects.contacts.read", "crm.objects.tasks.write"}})
		}, true},
		{"the property is not unique, and its definition may not be read", func(p *place) {
			p.account(hubspottest.Config{Scopes: []string{"crm.objects.contacts.write"}})
			p.cfg.HubspotIDProperty = "hs_task_subject"
		}, true},
		{"slow, and with little in flight", func(p *place) {
			p.account(hubspottest.Config{Limit: 1000})
			p.slowWhenFull(100 * time.Millisecond)
			p.cfg.MaxInFlight = 1
		}, false},
		{"nearly too slow", func(p *place) {
			p.slowWhenFull(600 * time.Millisecond)
			p.cfg.HubspotTimeout = time.Second
		}, false},
	}
	var got strings.Builder
	seen := map[string]bool{}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t, nil)
			tc.spoil(p)
			r, err := p.liveCheck(t.Context())
			p.clean(r)
			if (err != nil) != tc.fails || len(r.NotArchived)+len(r.Doubtful) > 0 {
				t.Errorf("%v: %s", err, p.told)
			}
			fmt.Fprintf(&got, "# %s\n", tc.name)
			for _, v := range r.Verdicts {
				line := fmt.Sprintf("%s %s\n  HubSpot: %s\n", v.Result, v.Question, v.Seen)
				if v.Tasksink != "" {
					line += "  tasksink: " + v.Tasksink + "\n"
				}
				if v.Remedy != "" {
					line += "  to do: " + v.Remedy + "\n"
				}
				if line = p.neutralLive(line, r.Run); !seen[line] { // the golden has each verdict once
					got.WriteString(line)
				}
				seen[line] = true
			}
			got.WriteString("\n")
		})
	}
	golden.Compare(t, "live.golden", got.String())
}

// TestLiveText: what people see is what docs/live-check.md shows. -update writes it there.
func TestLiveText(t *testing.T) {
	p := newPlace(t, nil)
	p.account(hubspottest.Config{Limit: 100, Daily: 250_000})
	var out, progress bytes.Buffer
	var asked string
	err := check.RunLive(t.Context(), p.cfg, false, func(_ context.Context, question string) error {
		asked = question
		if n := len(p.hubspot.Journal()); n > 0 {
			t.Errorf("%d tasks were written before the question", n)
		}
		return nil
	}, &out, &progress)
	if err != nil || progress.Len() > 0 {
		t.Errorf("%v, %s", err, progress.String())
	}
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(line)); n > 101 && !strings.Contains(line, "to do:") {
			t.Errorf("a line has %d columns: %s", n, line)
		}
	}
	run := regexp.MustCompile(`Live check (\S+)`).FindStringSubmatch(out.String())
	shown := ports.ReplaceAllString(strings.ReplaceAll(out.String(), run[1], "0123456789"), "127.0.0.1:54321")
	shown = uptos.ReplaceAllString(latencies.ReplaceAllString(shown, "1ms to $1"), "1 request $1")
	const question = "Write at most 120 tasks to HubSpot account 123456 by the property external_task_id, and " +
		"archive them?"
	if asked != question {
		t.Errorf("it asks %q", asked)
	}
	doc, err := os.ReadFile("../../../docs/live-check.md")
	const begin, end = "<!-- run: written by go test ./cmd/tasksink/check -update -->\n", "<!-- end of run -->\n"
	before, rest, begins := strings.Cut(string(doc), begin)
	_, after, ends := strings.Cut(rest, end)
	if err != nil || !begins || !ends {
		t.Fatalf("docs/live-check.md has no place for the run: %v", err)
	}
	golden.Compare(t, "../../../../docs/live-check.md", before+begin+"\n```\n"+shown+"```\n\n"+end+after)
}

// TestLiveWritesNothing: without a good id property, an agreement or a path of tasks nothing is written.
func TestLiveWritesNothing(t *testing.T) {
	no := func(context.Context, string) error { return errors.New("the answer was not y") }
	for name, tc := range map[string]struct {
		spoil   func(p *place)
		confirm check.Confirm
		says    string
	}{
		"no":                    {func(*place) {}, no, "nothing was written: the answer was not y"},
		"no property":           {func(p *place) { p.cfg.HubspotIDProperty = "" }, agree, "1 of 6 checks failed"},
		"a missing property":    {func(p *place) { p.cfg.HubspotIDProperty = "task_number" }, agree, "1 of 6 checks failed"},
		"not unique":            {func(p *place) { p.cfg.HubspotIDProperty = "hs_task_subject" }, agree, "1 of 6 checks failed"},
		"another object":        {func(p *place) { p.cfg.HubspotPath = "/crm/v3/objects/contacts/batch/upsert" }, agree, "checks failed"},
		"no upsert":             {func(p *place) { p.cfg.HubspotPath = "/crm/v3/objects/tasks/batch/create" }, agree, "no batch upsert of tasks"},
		"the token is refused":  {func(p *place) { p.hubspot.SetToken("another") }, agree, "1 of 6 checks failed"},
		"the day is used up":    {func(p *place) { p.account(hubspottest.Config{Daily: 1}); p.spend() }, agree, "checks failed"},
		"the scope is missing":  {func(p *place) { p.account(hubspottest.Config{Scopes: []string{"crm.objects.contacts.read"}}) }, agree, "1 of 6"},
		"the file is not there": {func(p *place) { p.cfg.HubspotToken, p.cfg.HubspotTokenFile = "", "/none" }, agree, "nothing was written"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, nil)
			tc.spoil(p)
			var out, progress bytes.Buffer
			err := check.RunLive(t.Context(), p.cfg, true, tc.confirm, &out, &progress)
			if err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "nothing was written") {
				t.Errorf("the error is %v", err)
			}
			for _, r := range p.hubspot.Requests() {
				if r.Inputs > 0 {
					t.Errorf("an upsert was sent: %+v", r)
				}
			}
			var r liveReport
			if out.Len() > 0 {
				if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Verdicts == nil || len(r.Checks) == 0 {
					t.Errorf("%v: %s", err, out.String())
				}
			}
		})
	}
}

// batchPath is that of an upsert or of archiving.
func batchPath(r *http.Request) string {
	if i := strings.Index(r.URL.Path, "/batch/"); i >= 0 {
		return r.URL.Path[i+len("/batch/"):]
	}
	return ""
}
