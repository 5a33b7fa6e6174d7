package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// report is the bench's JSON.
type report struct {
	Time    time.Time `json:"time"`
	Machine machine   `json:"machine"`
	Runs    int       `json:"runs"`
	Results []*result `json:"results"`
	Profile []share   `json:"profile,omitempty"`
}

func (r report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}

// figures is one row's table: a line for each case and worker, a column for each figure.
func (r report) figures(row string) table.Writer {
	var names, lines []string
	units, cells := map[string]string{}, map[string]map[string]*result{}
	for _, res := range r.Results {
		if res.Row != row {
			continue
		}
		if !slices.Contains(names, res.Figure) {
			names = append(names, res.Figure)
			units[res.Figure] = res.Unit
		}
		line := res.Case + "\x00" + res.Worker
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
			cells[line] = map[string]*result{}
		}
		cells[line][res.Figure] = res
	}
	if len(lines) == 0 {
		return nil
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	header := table.Row{"case", "worker"}
	var columns []table.ColumnConfig
	for i, name := range names {
		header = append(header, heading(name, units[name]))
		columns = append(columns, table.ColumnConfig{Number: i + 3, Align: text.AlignRight})
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(columns)
	for _, line := range lines {
		name, worker, _ := strings.Cut(line, "\x00")
		out := table.Row{name, worker}
		for _, figure := range names {
			out = append(out, cells[line][figure].String())
		}
		t.AppendRow(out)
	}
	return t
}

// heading is a figure's name without the unit, and the unit.
func heading(figure, unit string) string {
	for _, suffix := range []string{"_percent", "_mib", "_ms", "_s"} {
		figure = strings.TrimSuffix(figure, suffix)
	}
	figure = strings.ReplaceAll(strings.ReplaceAll(figure, "_us_", " "), "_", " ")
	if unit == "" || unit == "records" {
		return figure
	}
	return figure + ", " + unit
}

// String is the median, the least and the most of the runs, and the goal.
func (r *result) String() string {
	if r == nil {
		return ""
	}
	s := short(r.Median)
	if least, most := short(slices.Min(r.Runs)), short(slices.Max(r.Runs)); len(r.Runs) > 1 && least != most {
		s += " [" + least + "–" + most + "]"
	}
	if r.Met != nil {
		mark := " ✗ "
		if *r.Met {
			mark = " ✓ "
		}
		s += mark + r.Goal
	}
	return s
}

// short is a number with three digits that say something.
func short(v float64) string {
	digits := 0
	if a := math.Abs(v); a > 0 && a < 100 {
		digits = max(0, 2-int(math.Floor(math.Log10(a))))
	}
	text := strconv.FormatFloat(v, 'f', min(digits, 4), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// print shows all tables.
func (r report) print() {
	fmt.Printf("%s\nEach figure is the median of %d runs, [the least and the most of them], and the goal where there is "+
		"one: ✓ met, ✗ missed.\n", r.Machine, r.Runs)
	if t := r.figures("aa"); t != nil {
		fmt.Printf("\nA/A: the same worker twice\n%s\n", t.Render())
	}
	for _, row := range rows {
		if t := r.figures(row.name); t != nil {
			fmt.Printf("\n%s. %s\n%s\n", row.name, row.title, t.Render())
		}
	}
	if r.Profile != nil {
		fmt.Printf("\nWhere the worker's CPU goes in row a at 0 ms\n%s\n", profileTable(r.Profile).Render())
	}
}

// page writes the tables into a Markdown page: what stands between <!-- bench:ROW --> and <!-- bench:end -->. Rows that
// were not run stay.
func (r report) page(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	said := fmt.Sprintf("%s. Measured on %s.\n", r.Machine, r.Time.Format("2 January 2006"))
	doc := replace(string(b), "machine", said)
	for _, name := range append([]string{"aa"}, rowNames()...) {
		if t := r.figures(name); t != nil {
			doc = replace(doc, name, fmt.Sprintf("%s\n\nRuns: %d.\n", t.RenderMarkdown(), r.Runs))
		}
	}
	if r.Profile != nil {
		doc = replace(doc, "profile", profileTable(r.Profile).RenderMarkdown()+"\n")
	}
	return os.WriteFile(path, []byte(doc), 0o600)
}

// replace puts new text into a named place of a page.
func replace(doc, place, with string) string {
	begin, end := "<!-- bench:"+place+" -->\n", "<!-- bench:end -->"
	before, rest, found := strings.Cut(doc, begin)
	if !found {
		return doc
	}
	_, after, found := strings.Cut(rest, end)
	if !found {
		return doc
	}
	return before + begin + with + end + after
}

func rowNames() (names []string) {
	for _, r := range rows {
		names = append(names, r.name)
	}
	return names
}
