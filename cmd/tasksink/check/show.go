package check

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/tasksink/tasksink/internal/terminal"
)

// A table is between so many columns wide, whatever the terminal is.
const narrowest, usual, widest = 80, 100, 120

var (
	marks  = map[Result]string{OK: "✓", Warning: "!", Failed: "✗", Skipped: "–"}
	colors = map[Result]text.Colors{OK: {text.FgGreen}, Warning: {text.FgYellow}, Failed: {text.FgRed},
		Skipped: {text.Faint}}
)

// show writes the rows: as JSON, or as a table with what to do below it. A remedy is one line however long, so that a
// command in it can be copied.
func show(out io.Writer, rows []Row, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(rows)
	}
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
	const checkWidth, subjectWidth = 18, 30
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.Options{SeparateColumns: false, DrawBorder: false, SeparateHeader: true}
	t.Style().Box.PaddingLeft = ""
	t.Style().Format.Header = text.FormatDefault
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, WidthMax: checkWidth, WidthMaxEnforcer: text.WrapText},
		{Number: 3, WidthMax: subjectWidth, WidthMaxEnforcer: wrap},
		{Number: 4, WidthMax: width - checkWidth - subjectWidth - 5, WidthMaxEnforcer: wrap}})
	t.AppendHeader(table.Row{"", "check", "of", "seen"})
	count := map[Result]int{}
	var remedies []string
	for _, r := range rows {
		count[r.Result]++
		t.AppendRow(table.Row{paint(r.Result, marks[r.Result]), r.Check, r.Subject, r.Seen})
		if r.Remedy != "" {
			of := strings.TrimSpace(r.Check + " " + r.Subject)
			remedies = append(remedies, paint(r.Result, marks[r.Result])+" "+of+": "+r.Remedy)
		}
	}
	var b strings.Builder
	for line := range strings.Lines(t.Render()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if len(remedies) > 0 {
		b.WriteString("\nWhat to do:\n" + strings.Join(remedies, "\n") + "\n")
	}
	_, err := fmt.Fprintf(out, "%s\n%d failed, %d warnings, %d not looked at, %d good\n", b.String(), count[Failed],
		count[Warning], count[Skipped], count[OK])
	return err
}

// wrap breaks between words, and within one only if it is longer than a line.
func wrap(s string, width int) string { return text.WrapSoft(s, width) }
