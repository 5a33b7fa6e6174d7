package check

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/tasksink/tasksink/internal/terminal"
)

// showReport writes what a live check found: as JSON, or what it looked at before and the verdicts, as text.
func showReport(out io.Writer, r *report, asJSON bool) error {
	if asJSON {
		for _, list := range []*[]string{&r.NotArchived, &r.Doubtful} {
			*list = append([]string{}, *list...) // a list, and not null
		}
		r.Verdicts = append([]Verdict{}, r.Verdicts...)
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	}
	if err := show(out, r.Checks, false); err != nil || len(r.Verdicts) == 0 {
		return err
	}
	_, err := io.WriteString(out, "\n"+r.text(out))
	return err
}

// text is all but what was looked at before. A remedy is one line however long, as in the table.
func (r *report) text(out io.Writer) string {
	width, ok := terminal.Width(out)
	if !ok {
		width = usual
	}
	width = min(max(width, narrowest), widest)
	paint := func(r Result, s string) string {
		if !ok || os.Getenv("NO_COLOR") != "" {
			return s
		}
		return colors[r].EscapeSeq() + s + text.Reset.EscapeSeq()
	}
	var b strings.Builder
	part := func(who, says string) {
		const indent = len("  tasksink: ")
		if says == "" {
			return
		}
		lines := strings.Split(wrap(says, width-indent), "\n")
		for i, line := range lines {
			lines[i] = strings.TrimSpace(line)
		}
		fmt.Fprintf(&b, "  %-10s%s\n", who+":", strings.Join(lines, "\n"+strings.Repeat(" ", indent)))
	}
	fmt.Fprintf(&b, "Live check %s\n", r.Run)
	for _, v := range r.Verdicts {
		fmt.Fprintf(&b, "\n%s %s\n", paint(v.Result, marks[v.Result]), v.Question)
		part("HubSpot", v.Seen)
		part("tasksink", v.Tasksink)
		if v.Remedy != "" {
			fmt.Fprintf(&b, "  %-10s%s\n", "to do:", v.Remedy)
		}
	}
	b.WriteString("\n" + r.sums())
	return b.String()
}

// sums are the calls, what is left of them, and what became of the tasks.
func (r *report) sums() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to HubSpot.", plural(int(r.Calls), "call"))
	if l := r.Limits; l.Max != nil && l.Remaining != nil {
		fmt.Fprintf(&b, " %d of %d requests in 10 s are left.", *l.Remaining, *l.Max)
	}
	if l := r.Limits; l.Daily != nil && l.DailyRemaining != nil {
		fmt.Fprintf(&b, " %s of %s calls a day are left.", humanize.Comma(int64(*l.DailyRemaining)),
			humanize.Comma(int64(*l.Daily)))
	}
	if n := r.Limits.TooManyRequests; n > 0 {
		fmt.Fprintf(&b, " HubSpot limited the rate %s.", plural(n, "time"))
	}
	fmt.Fprintf(&b, "\n%s written, %d of them archived.\n", plural(r.Tasks, "task"), r.Archived)
	if n := len(r.NotArchived); n > 0 {
		fmt.Fprintf(&b, "\nNot archived, by HubSpot's ids: %s\n", strings.Join(r.NotArchived, ", "))
	}
	if n := len(r.Doubtful); n > 0 {
		fmt.Fprintf(&b, "\nNobody knows whether HubSpot has the tasks with these ids: %s\n", strings.Join(r.Doubtful, ", "))
	}
	if len(r.NotArchived)+len(r.Doubtful) > 0 {
		fmt.Fprintf(&b, "\nTo archive them: HubSpot, CRM > Tasks, search for \"tasksink check %s\", select all, Delete.\n",
			r.Run)
	}
	return b.String()
}
