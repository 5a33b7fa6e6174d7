package main

import (
	"fmt"
	"io"
	"os"
	"sort"
	"time"

	"github.com/alecthomas/kong"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/schollz/progressbar/v3"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
)

// defaults fills in the worker's settings as the program itself would.
func defaults(cfg *config.Config) error {
	parser, err := kong.New(cfg)
	if err != nil {
		return fmt.Errorf("read the worker's defaults: %w", err)
	}
	if _, err := parser.Parse(nil); err != nil {
		return fmt.Errorf("read the worker's defaults: %w", err)
	}
	return nil
}

// progress shows how far the records are: a bar on a terminal, a line a second elsewhere.
type progress struct {
	bar   *progressbar.ProgressBar
	total int
	told  *time.Time
}

func newProgress(total int, terminal bool) progress {
	p := progress{total: total, told: &time.Time{}}
	if terminal {
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionShowCount(),
			progressbar.OptionSetWidth(40),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString("records"))
	}
	return p
}

func (p progress) show(done int, state string) {
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("%-16s", state))
		_ = p.bar.Set(done) // only a picture
		return
	}
	if time.Since(*p.told) >= time.Second {
		*p.told = time.Now()
		fmt.Fprintf(os.Stderr, "%d of %d records settled %s\n", done, p.total, state)
	}
}

func (p progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish() // only a picture
		fmt.Fprintln(os.Stderr)
	}
}

// show prints the ledger as a table.
func show(w io.Writer, l ledger) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"ledger", ""})
	t.AppendRows([]table.Row{{"produced", l.Produced}, {"upserted", l.Upserted}, {"merged into a newer one", l.Merged}})
	reasons := make([]string, 0, len(l.DeadLettered))
	for reason := range l.DeadLettered {
		reasons = append(reasons, reason)
	}
	sort.Strings(reasons)
	for _, reason := range reasons {
		t.AppendRow(table.Row{"dead: " + reason, l.DeadLettered[reason]})
	}
	t.AppendRow(table.Row{"lost", l.Lost})
	t.AppendSeparator()
	t.AppendRows([]table.Row{{"duplicates", l.Duplicates}, {"order violations", l.OrderViolations},
		{"objects in a wrong state", l.WrongState},
		{"wrong dead letters", l.WrongLetters}})
	t.AppendSeparator()
	t.AppendRows([]table.Row{{"requests", l.Requests}, {"mean fill of a batch", fmt.Sprintf("%.1f %%", 100*l.MeanFill)},
		{"answers 429", l.RateLimited},
		{"quota used, of a window that began empty", fmt.Sprintf("%.1f %%", 100*l.QuotaUsed)},
		{"flowing again after", fmt.Sprintf("%.1f s", l.RecoveredAfter)}, {"seconds", l.Seconds}})
	t.AppendFooter(table.Row{"balanced", l.Balanced})
	t.Render()
}
