package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/visible"
)

type dlqList struct {
	kafkaSettings
	selection
	Limit int    `placeholder:"N" default:"100" help:"Show the newest N; 0 shows all."`
	By    string `placeholder:"reason" help:"Count by reason instead, and say what each means."`
	JSON  bool   `name:"json" help:"As JSON, one object a line."`
}

func (c *dlqList) check() error {
	var wrong []error
	wrong = append(wrong, c.kafkaSettings.check())
	wrong = append(wrong, c.selection.check(c.KafkaTopics))
	if c.Limit < 0 {
		wrong = append(wrong, fmt.Errorf("--limit=%d: at least 0 is needed", c.Limit))
	}
	if c.By != "" && c.By != "reason" {
		wrong = append(wrong, fmt.Errorf("--by=%s: write --by=reason", c.By))
	}
	return errors.Join(wrong...)
}

func (c *dlqList) run(ctx context.Context, s screen) error {
	reader, spans, err := open(ctx, c.Config)
	if err != nil {
		return err
	}
	defer reader.Close()
	bar := s.bar("reading", length(spans))
	var show printer
	switch {
	case c.By == "reason":
		show = &reasons{json: c.JSON, count: map[reason]*tally{}}
	case c.JSON && c.Limit == 0:
		show = jsonLines{s.out}
	default:
		show = &newest{limit: c.Limit, json: c.JSON, topics: c.DeadLetterTopics()}
	}
	read, taken, foreign, filter := 0, 0, 0, c.filter()
	for l, err := range reader.Letters(ctx, spans) {
		if err != nil {
			_ = bar.Clear() // only a picture
			return err
		}
		read++
		_ = bar.Add(1)
		switch {
		case l.Foreign:
			foreign++
		case filter.Takes(l):
			taken++
			l.Key, l.Value, l.Headers = nil, nil, nil // a list has no use for them, and may be long
			show.add(l)
		}
	}
	_ = bar.Finish()
	if err := show.end(s.out); err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	if n := taken - c.Limit; n > 0 && c.Limit > 0 && c.By == "" {
		s.report("%s older ones are left out; --limit=0 shows all, --by=reason counts", humanize.Comma(int64(n)))
	}
	s.report("%s of %s letters in %s", humanize.Comma(int64(taken)), humanize.Comma(int64(read-foreign)),
		strings.Join(c.DeadLetterTopics(), ", "))
	if foreign > 0 {
		s.report("other records there, which are no dead letters that this version knows: %s", humanize.Comma(int64(foreign)))
	}
	return nil
}

// printer is one of the forms of a list.
type printer interface {
	add(l *dlq.Letter)
	end(w io.Writer) error
}

// newest keeps the newest letters, and shows them from old to new.
type newest struct {
	limit  int
	json   bool
	topics []string
	kept   []*dlq.Letter
}

func (n *newest) add(l *dlq.Letter) {
	n.kept = append(n.kept, l)
	if n.limit > 0 && len(n.kept) >= 2*n.limit+100 {
		n.trim()
	}
}

func (n *newest) trim() {
	slices.SortFunc(n.kept, byTime)
	if n.limit > 0 && len(n.kept) > n.limit {
		n.kept = slices.Clone(n.kept[len(n.kept)-n.limit:])
	}
}

func (n *newest) end(w io.Writer) error {
	n.trim()
	if n.json {
		for _, l := range n.kept {
			if err := writeJSON(w, describeLetter(l)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(n.kept) == 0 {
		return nil
	}
	t := plainTable()
	t.AppendHeader(table.Row{"letter", "source", "group", "failed at", "stage", "category", "code", "about",
		"attempts", "redriven"})
	for _, l := range n.kept {
		t.AppendRow(table.Row{place(l.Place, n.topics), visible.Text(l.Source.String()), cell(l.Group),
			l.FailedAt.Format(time.RFC3339), cell(l.Reason.Stage),
			cell(l.Reason.Category), cell(l.Reason.Code), about(l), l.Reason.Attempts, l.Redrives})
	}
	_, err := fmt.Fprintln(w, t.Render())
	return err
}

// about is the property at fault, or the beginning of the message where none is named.
func about(l *dlq.Letter) string {
	if _, details, ok := strings.Cut(l.Reason.Message, "["); ok {
		var all []struct{ Name string }
		if err := json.NewDecoder(strings.NewReader("[" + details)).Decode(&all); err == nil && len(all) > 0 &&
			all[0].Name != "" {
			return cell(all[0].Name)
		}
	}
	return cut(visible.Text(l.Reason.Message), 60)
}

// cell is a word of HubSpot's; one that is no word shall not stretch its column.
func cell(text string) string { return cut(visible.Text(text), 48) }

type jsonLines struct{ w io.Writer }

func (j jsonLines) add(l *dlq.Letter)   { _ = writeJSON(j.w, describeLetter(l)) }
func (j jsonLines) end(io.Writer) error { return nil }

type reason struct{ Stage, Category, Code string }

type tally struct {
	Count       int
	First, Last time.Time
}

// reasons counts letters by reason.
type reasons struct {
	json  bool
	count map[reason]*tally
}

func (r *reasons) add(l *dlq.Letter) {
	why := reason{l.Reason.Stage, l.Reason.Category, l.Reason.Code}
	t := r.count[why]
	if t == nil {
		t = &tally{First: l.FailedAt, Last: l.FailedAt}
		r.count[why] = t
	}
	t.Count++
	if l.FailedAt.Before(t.First) {
		t.First = l.FailedAt
	}
	if l.FailedAt.After(t.Last) {
		t.Last = l.FailedAt
	}
}

func (r *reasons) end(w io.Writer) error {
	order := slices.SortedFunc(maps.Keys(r.count), func(a, b reason) int {
		return cmp.Or(r.count[b].Count-r.count[a].Count, strings.Compare(a.Category, b.Category),
			strings.Compare(a.Code, b.Code), strings.Compare(a.Stage, b.Stage))
	})
	if r.json {
		for _, why := range order {
			t := r.count[why]
			if err := writeJSON(w, struct {
				Count       int       `json:"count"`
				Stage       string    `json:"stage"`
				Category    string    `json:"category"`
				Code        string    `json:"code"`
				First       time.Time `json:"first_failed_at"`
				Last        time.Time `json:"last_failed_at"`
				Explanation string    `json:"explanation"`
			}{t.Count, why.Stage, why.Category, why.Code, t.First, t.Last, dlq.Explain(why.Category, why.Code)}); err != nil {
				return err
			}
		}
		return nil
	}
	if len(order) == 0 {
		return nil
	}
	t := plainTable()
	t.SetColumnConfigs([]table.ColumnConfig{{Name: "what it means", WidthMax: 70, WidthMaxEnforcer: text.WrapSoft}})
	t.AppendHeader(table.Row{"letters", "stage", "category", "code", "last failed at", "what it means"})
	for _, why := range order {
		t.AppendRow(table.Row{humanize.Comma(int64(r.count[why].Count)), cell(why.Stage), cell(why.Category), cell(why.Code),
			r.count[why].Last.Format(time.RFC3339), dlq.Explain(why.Category, why.Code)})
	}
	_, err := fmt.Fprintln(w, t.Render())
	return err
}

func plainTable() table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	return t
}

// cut shortens what is shown to n characters.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}
