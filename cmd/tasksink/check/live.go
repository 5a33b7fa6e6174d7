package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
)

// Confirm asks the operator a question, and returns an error if the answer is no.
type Confirm func(ctx context.Context, question string) error

// RunLive asks the account that cfg names how it answers upserts. It looks at HubSpot as Run does, and writes nothing
// if a look failed or confirm returns an error. Then it writes tasks, archives them, also if ctx ends meanwhile, and
// shows one verdict for each question on out. RunLive returns an error if a look or a question failed, if a question
// has no answer, if a task may still be there, or if ctx ended.
func RunLive(ctx context.Context, cfg config.Config, asJSON bool, confirm Confirm, out, progress io.Writer) error {
	w := &waiting{names: map[string]bool{}}
	h, failed, closed := connect(ctx, cfg, w)
	if h == nil {
		return errors.Join(showReport(out, &report{Checks: []Row{failed}}, asJSON), errors.New("nothing was written"))
	}
	defer closed()
	stop := w.show(progress)
	looking, cancel := context.WithTimeout(ctx, allTime)
	rows, account := h.rows(looking)
	cancel()
	stop()
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted, and nothing was written: %w", ctx.Err())
	}
	t := newTrial(h)
	if why := unfit(cfg, rows); why != "" {
		rows := &report{Checks: rows, Version: config.ReadBuild().Version, Path: cfg.HubspotPath, Calls: h.calls.Load()}
		return errors.Join(showReport(out, rows, asJSON), fmt.Errorf("nothing was written: %s", why))
	}
	whose := "a HubSpot account"
	if account.id != "" {
		whose = "HubSpot account " + account.id
	}
	if err := confirm(ctx, fmt.Sprintf("Write at most %d tasks to %s by the property %s, and archive them?", mostTasks,
		whose, t.property)); err != nil {
		return fmt.Errorf("nothing was written: %w", err)
	}
	stop = w.show(progress)
	verdicts := t.run(ctx, progress)
	stop()
	r := t.report(rows, verdicts)
	return errors.Join(showReport(out, r, asJSON), r.wrong(), ctx.Err())
}

// unfit says why the account cannot be asked; empty if it can.
func unfit(cfg config.Config, rows []Row) string {
	failed := 0
	for _, r := range rows {
		if r.Result == Failed {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Sprintf("%d of %d checks failed", failed, len(rows))
	}
	object := upsertPath.FindStringSubmatch(cfg.HubspotPath)
	if object == nil || object[1] != "tasks" && object[1] != "0-27" {
		return "--hubspot-path=" + cfg.HubspotPath + " is no batch upsert of tasks"
	}
	return ""
}

// run asks the questions, and archives what that wrote.
func (t *trial) run(ctx context.Context, progress io.Writer) []Verdict {
	defer t.tidy(context.WithoutCancel(ctx)) // also in a panic
	verdicts := t.ask(ctx)
	if ctx.Err() != nil && t.untidy() {
		_, _ = fmt.Fprintln(progress, "interrupted: the tasks are being archived; a second signal leaves them in HubSpot")
	}
	return verdicts
}

// ask asks one question after the other. When HubSpot does not answer one, no other is asked.
func (t *trial) ask(ctx context.Context) (verdicts []Verdict) {
	because := ""
	for _, q := range questions {
		v := Verdict{Question: q.text, Result: Skipped, Seen: "It was not asked, because " + because + "."}
		if because == "" {
			t.look.waiting.begin(q.text)
			answered, err := q.ask(t, ctx)
			t.look.waiting.end(q.text)
			switch {
			case ctx.Err() != nil && err != nil:
				because = "the check was interrupted"
				v.Seen = "It was not asked, because " + because + "."
			case err != nil:
				because = "HubSpot did not answer an earlier question"
				v.Seen = "HubSpot does not answer: " + err.Error() + "."
			default:
				v = answered
				v.Question = q.text
			}
			if len(verdicts) == 0 && v.Result != OK && because == "" {
				because = "the id property does not work"
			}
		}
		verdicts = append(verdicts, v)
	}
	return verdicts
}

// Verdict is what the account answers to a question.
type Verdict struct {
	Question string `json:"question"`
	Result   Result `json:"result"`
	Seen     string `json:"seen"`
	Tasksink string `json:"tasksink"` // what tasksink does with such an account; empty if nobody knows the answer
	Remedy   string `json:"remedy"`   // one line; empty if there is nothing to do
}

// report is what a live check found.
type report struct {
	Run         string    `json:"run"`      // stands in the subject of each task
	Version     string    `json:"version"`  // of tasksink
	Path        string    `json:"path"`     // of the upsert
	Checks      []Row     `json:"checks"`   // what was looked at before
	Verdicts    []Verdict `json:"verdicts"` // none if nothing was written
	Calls       int64     `json:"calls"`
	Limits      limits    `json:"limits"`
	Tasks       int       `json:"tasks"`        // that HubSpot says it holds, or held
	Archived    int       `json:"archived"`     // of these
	NotArchived []string  `json:"not_archived"` // HubSpot ids of the others
	Doubtful    []string  `json:"doubtful"`     // values of the id property: nobody knows whether HubSpot has the tasks
}

func (t *trial) report(rows []Row, verdicts []Verdict) *report {
	open := t.openIDs()
	return &report{Run: t.name, Version: config.ReadBuild().Version, Path: t.look.cfg.HubspotPath, Checks: rows,
		Verdicts: verdicts, Calls: t.look.calls.Load(), Limits: t.limits, Tasks: len(t.order),
		Archived: len(t.order) - len(open), NotArchived: open, Doubtful: slices.Concat(t.unanswered...)}
}

// wrong is an error if something needs a person.
func (r *report) wrong() error {
	var all []string
	failed, skipped := 0, 0
	for _, v := range r.Verdicts {
		switch {
		case v.Result == Failed:
			failed++
		case v.Result == Skipped && v.Tasksink == "":
			skipped++
		}
	}
	if failed > 0 {
		all = append(all, fmt.Sprintf("%d of %d questions failed", failed, len(r.Verdicts)))
	}
	if skipped > 0 {
		all = append(all, fmt.Sprintf("%d of %d questions have no answer", skipped, len(r.Verdicts)))
	}
	if n := len(r.NotArchived) + len(r.Doubtful); n > 0 {
		all = append(all, plural(n, "task")+" may still be in HubSpot")
	}
	if all == nil {
		return nil
	}
	return errors.New(strings.Join(all, ", and "))
}
