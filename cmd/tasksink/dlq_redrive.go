package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/tasksink/tasksink/dlq"
)

type dlqRedrive struct {
	kafkaSettings
	selection
	Letters     []string `arg:"" optional:"" help:"Letters to send: partition/offset, or topic/partition/offset. None: all that the filters select."`
	From        []string `placeholder:"PLACE" help:"Where to begin, one place a partition: partition/offset, or topic/partition/offset. A run ends by saying where the next one should."`
	Limit       int      `placeholder:"N" default:"0" help:"Send the first N; 0 sends all."`
	Rate        int      `placeholder:"N" default:"100" help:"Letters a second, at the most."`
	MaxRedrives int      `placeholder:"N" default:"3" help:"Refuse letters that were sent back so often before."`
	Force       bool     `help:"Do not look for newer events, and send stale letters, too: they overwrite what newer events of the same key have written."`
	AnyGroup    bool     `help:"Send the letters of all consumer groups, not only those of --kafka-group."`
	DryRun      bool     `help:"Only count, and list all stale letters."`
	Yes         bool     `help:"Do not ask; without a terminal to ask at this is needed."`
}

func (c *dlqRedrive) check() error {
	var wrong []error
	wrong = append(wrong, c.kafkaSettings.check())
	wrong = append(wrong, c.selection.check(c.KafkaTopics))
	for _, n := range []struct {
		flag         string
		value, least int
	}{{"--limit", c.Limit, 0}, {"--rate", c.Rate, 1}, {"--max-redrives", c.MaxRedrives, 1}} {
		if n.value < n.least {
			wrong = append(wrong, fmt.Errorf("%s=%d: at least %d is needed", n.flag, n.value, n.least))
		}
	}
	if _, err := c.places(c.Letters, ""); err != nil {
		wrong = append(wrong, err)
	}
	from, err := c.places(c.From, "--from=")
	if err != nil {
		wrong = append(wrong, err)
	}
	for i, p := range from {
		for _, q := range from[:i] {
			if p.Topic == q.Topic && p.Partition == q.Partition {
				wrong = append(wrong, fmt.Errorf("--from=%s and %s: name one place a partition", q, p))
			}
		}
	}
	return errors.Join(wrong...)
}

func (c *dlqRedrive) places(texts []string, flag string) (places []dlq.Place, err error) {
	topics := c.DeadLetterTopics()
	var all []error
	for _, text := range texts {
		p, err := dlq.ParsePlace(text, topics)
		switch {
		case err != nil:
			all = append(all, fmt.Errorf("%s%w", flag, err))
		case !slices.Contains(topics, p.Topic):
			all = append(all, fmt.Errorf("%s%s: the dead-letter topic is %s", flag, text, strings.Join(topics, " or ")))
		default:
			places = append(places, p)
		}
	}
	return places, errors.Join(all...)
}

func (c *dlqRedrive) run(ctx context.Context, s screen) error {
	reader, spans, err := open(ctx, c.Config, c.KafkaTopics...)
	if err != nil {
		return err
	}
	defer reader.Close()
	chosen, err := c.choose(spans)
	if err != nil {
		return err
	}
	stale := &staleList{s: s, most: listedStale, topics: c.DeadLetterTopics()}
	if c.DryRun {
		stale.most = math.MaxInt
	}
	redriver := &dlq.Redriver{Reader: reader, MaxRedrives: c.MaxRedrives, Rate: c.Rate, Stale: stale.add}
	if !c.AnyGroup {
		redriver.Group = c.KafkaGroup
	}
	if err := redriver.Know(ctx, c.KafkaTopics); err != nil {
		return err
	}
	plan, err := c.plan(ctx, s, redriver, spans, chosen)
	if err != nil {
		return err
	}
	stale.end()
	c.blind(s, plan)
	if would := plan.Ledger(c.Limit); c.DryRun || would.Sent == 0 {
		c.show(s, "would be sent", would)
		return c.incomplete(would, len(chosen.named))
	}
	if err := c.confirm(ctx, s, plan.Ledger(c.Limit)); err != nil {
		return err
	}
	return c.send(ctx, s, redriver, plan, stale, len(chosen.named))
}

// choice is the letters that the command line names, or selects.
type choice struct {
	spans  []dlq.Span // where they are
	named  map[dlq.Place]bool
	found  int // of those named
	filter dlq.Filter
}

func (c *dlqRedrive) choose(spans []dlq.Span) (*choice, error) {
	places, err := c.places(c.Letters, "")
	if err != nil {
		return nil, err
	}
	from, err := c.places(c.From, "--from=")
	if err != nil {
		return nil, err
	}
	chosen := &choice{spans: narrow(spans, from, places), named: map[dlq.Place]bool{}, filter: c.filter()}
	for _, p := range places {
		chosen.named[p] = true
	}
	return chosen, nil
}

func (c *choice) takes(l *dlq.Letter) bool {
	if len(c.named) == 0 {
		return !l.Foreign && c.filter.Takes(l)
	}
	if c.named[l.Place] {
		c.found++
	}
	return c.named[l.Place] && c.filter.Takes(l)
}

// plan reads the letters, and looks for newer events of their keys.
func (c *dlqRedrive) plan(ctx context.Context, s screen, redriver *dlq.Redriver, all []dlq.Span,
	chosen *choice) (*dlq.Plan, error) {
	if c.Force {
		all = nil
	}
	total := length(chosen.spans)
	if all != nil {
		total = length(all)
	}
	bar := s.bar("reading letters", total)
	plan, err := redriver.Collect(ctx, all, chosen.spans, chosen.takes, func() { _ = bar.Add(1) })
	_ = bar.Finish() // only a picture
	if err != nil {
		return nil, err
	}
	if named := len(chosen.named); chosen.found < named {
		s.report("%d of the %d letters named are not in the topic (any more)", named-chosen.found, named)
	}
	if c.Force {
		return plan, nil
	}
	bar = s.bar("looking for newer events", 0)
	err = redriver.Check(ctx, plan, func(seen, all int64) {
		bar.ChangeMax64(all)
		_ = bar.Set64(seen)
	})
	_ = bar.Finish()
	return plan, err
}

// send sends what was planned, and says where the next run should begin.
func (c *dlqRedrive) send(ctx context.Context, s screen, redriver *dlq.Redriver, plan *dlq.Plan, stale *staleList,
	named int) error {
	stale.n, stale.most = 0, math.MaxInt // what becomes stale meanwhile
	bar := s.bar("sending", int64(plan.Ledger(c.Limit).Sent))
	ledger, err := redriver.Send(ctx, plan, c.Limit, func(sent int) { _ = bar.Set(sent) })
	_ = bar.Finish()
	c.show(s, "sent", ledger)
	if ledger.Doubtful != nil {
		s.report("letter %s may have been sent, or not: look for it in its topic, or accept that it is written twice",
			ledger.Doubtful)
	}
	if err != nil {
		s.report("to go on: tasksink dlq redrive with the same flags and --from=%s", frontier(ledger.Left))
		return err
	}
	if named == 0 {
		s.report("the letters stay in their topic; to begin behind those that this run has seen: --from=%s",
			frontier(ledger.Left))
	}
	return c.incomplete(ledger, named)
}

// incomplete is an error if letters were named and not all of them were, or would be, sent.
func (c *dlqRedrive) incomplete(l dlq.Ledger, named int) error {
	if l.Sent < named && c.Limit == 0 {
		return fmt.Errorf("%d of the %d letters named cannot be sent", named-l.Sent, named)
	}
	return nil
}

// confirm asks, on a terminal. Elsewhere --yes must have been given.
func (c *dlqRedrive) confirm(ctx context.Context, s screen, plan dlq.Ledger) error {
	if c.Yes {
		return nil
	}
	if !s.asks() {
		c.show(s, "would be sent", plan)
		return errors.New("nothing was sent: there is no terminal to ask at, so add --yes")
	}
	for why, n := range plan.Refused {
		s.report("%s refused: %s", humanize.Comma(int64(n)), why)
	}
	s.report("A redriven record is written after all that came since. If a newer event of the same task was written " +
		"under another key or in another partition, the old values replace the new ones.")
	if err := s.confirm(ctx, fmt.Sprintf("Send %s letters back, in about %v?", humanize.Comma(int64(plan.Sent)),
		(time.Duration(plan.Sent)*time.Second/time.Duration(c.Rate)).Round(time.Second))); err != nil {
		return fmt.Errorf("nothing was sent: %w", err)
	}
	return nil
}

// show prints the ledger.
func (c *dlqRedrive) show(s screen, done string, l dlq.Ledger) {
	t := plainTable()
	t.AppendRow(table.Row{humanize.Comma(int64(l.Sent)), done})
	for _, why := range slices.SortedFunc(maps.Keys(l.Refused),
		func(a, b string) int { return cmp.Or(l.Refused[b]-l.Refused[a], strings.Compare(a, b)) }) {
		t.AppendRow(table.Row{humanize.Comma(int64(l.Refused[why])), "refused: " + why})
	}
	_, _ = fmt.Fprintln(s.out, t.Render())
}

// narrow leaves of the spans what lies at and behind the given places, and of that only what holds the letters named,
// if any are.
func narrow(spans []dlq.Span, from, named []dlq.Place) (narrowed []dlq.Span) {
	for _, s := range spans {
		for _, p := range from {
			if p.Topic == s.Topic && p.Partition == s.Partition {
				s.First = max(s.First, p.Offset)
			}
		}
		if len(named) > 0 {
			first, end := s.End, s.First
			for _, p := range named {
				if p.Topic == s.Topic && p.Partition == s.Partition && p.Offset >= s.First && p.Offset < s.End {
					first, end = min(first, p.Offset), max(end, p.Offset+1)
				}
			}
			s.First, s.End = first, end
		}
		if s.Len() > 0 || len(named) == 0 {
			narrowed = append(narrowed, s)
		}
	}
	return narrowed
}

// frontier is where to go on, as --from takes it.
func frontier(spans []dlq.Span) string {
	var places []string
	for _, s := range spans {
		places = append(places, dlq.Place{Topic: s.Topic, Partition: s.Partition, Offset: s.First}.String())
	}
	return strings.Join(places, ",")
}
