package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/schollz/progressbar/v3"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/terminal"
)

// dlqCommands read dead letters back, and send them back to where they came from. They need of the settings only
// Kafka's, join no group and commit nothing.
type dlqCommands struct {
	List    dlqList    `cmd:"" help:"List dead letters, or count them by reason. Shows no payload."`
	Show    dlqShow    `cmd:"" help:"Show one dead letter whole, what its reason means, and what to do."`
	Redrive dlqRedrive `cmd:"" help:"Send dead letters back to the topics they came from."`
}

// kafkaSettings are all the worker's settings, of which only Kafka's count.
type kafkaSettings struct{ settings }

// Help stands above the flags.
func (*kafkaSettings) Help() string {
	return `Needed is --kafka-brokers. The worker's file and variables serve: settings that have to do with HubSpot are left alone.`
}

// check names every mistake in what these commands need of the settings.
func (s *kafkaSettings) check() error { return s.CheckKafka() }

// selection is the flags that select letters.
type selection struct {
	Topic    string `placeholder:"TOPIC" help:"Only letters of records from this topic."`
	Stage    string `placeholder:"STAGE" help:"Only those that failed at this stage: decode or upsert."`
	Category string `placeholder:"CATEGORY" help:"Only those of this category, such as VALIDATION_ERROR."`
	Code     string `placeholder:"CODE" help:"Only those with this code, such as INVALID_OPTION."`
	Since    moment `placeholder:"WHEN" help:"Only those that failed then or later: a time such as 2026-11-23T10:00:00Z, or a duration ago such as 24h."`
	Until    moment `placeholder:"WHEN" help:"Only those that failed before."`
}

func (s selection) filter() dlq.Filter {
	return dlq.Filter{Topic: s.Topic, Stage: s.Stage, Category: s.Category, Code: s.Code, Since: s.Since.Time,
		Until: s.Until.Time}
}

func (s selection) check(topics []string) error {
	var all []error
	if s.Topic != "" && !slices.Contains(topics, s.Topic) {
		all = append(all, fmt.Errorf("--topic=%s: it is not among --kafka-topics=%s", s.Topic, strings.Join(topics, ",")))
	}
	if s.Stage != "" && s.Stage != dlq.StageDecode && s.Stage != dlq.StageUpsert {
		all = append(all, fmt.Errorf("--stage=%s: choose one of decode, upsert", s.Stage))
	}
	if !s.Since.IsZero() && !s.Until.IsZero() && !s.Since.Before(s.Until.Time) {
		all = append(all, fmt.Errorf("--since=%s is not before --until=%s, so nothing is between",
			s.Since.Format(time.RFC3339), s.Until.Format(time.RFC3339)))
	}
	return errors.Join(all...)
}

// moment is a point in time, given as such or as a duration ago.
type moment struct{ time.Time }

func parseMoment(text string) (moment, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return moment{time.Now().Add(-ago).UTC()}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return moment{}, errors.New("write a time such as 2026-11-23T10:00:00Z, or a duration ago such as 24h")
	}
	return moment{at.UTC()}, nil
}

// open returns a reader of the dead-letter topics and others, and what is in the dead-letter topics now.
func open(ctx context.Context, cfg config.Config, others ...string) (*dlq.Reader, []dlq.Span, error) {
	conn, err := cfg.Connection()
	if err != nil {
		return nil, nil, err
	}
	topics := cfg.DeadLetterTopics()
	reader := dlq.NewReader(conn, append(slices.Clone(topics), others...)...)
	var all []dlq.Span
	for _, topic := range topics {
		spans, err := reader.Spans(ctx, topic)
		if err != nil {
			reader.Close()
			return nil, nil, err
		}
		all = append(all, spans...)
	}
	return reader, all, nil
}

// bar is a progress bar on a terminal, and nothing elsewhere.
func (s screen) bar(what string, total int64) *progressbar.ProgressBar {
	if !terminal.Is(s.err) {
		return progressbar.DefaultSilent(total)
	}
	return progressbar.NewOptions64(total, progressbar.OptionSetWriter(s.err), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(40), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
}

func length(spans []dlq.Span) (n int64) {
	for _, s := range spans {
		n += s.Len()
	}
	return n
}

// place shortens a letter's place where there is only one topic that can be meant.
func place(p dlq.Place, topics []string) string {
	if len(topics) == 1 {
		return fmt.Sprintf("%d/%d", p.Partition, p.Offset)
	}
	return p.String()
}

// byTime orders letters by when they failed.
func byTime(a, b *dlq.Letter) int {
	return cmp.Or(a.FailedAt.Compare(b.FailedAt), a.Place.Compare(b.Place))
}

// hideOthers leaves out of the help of these commands the settings that they do not need. They may be given all the
// same, so that a worker's file or environment serves.
func hideOthers(parser *kong.Kong) {
	for _, node := range parser.Model.Leaves(true) {
		if node.Parent == nil || node.Parent.Name != "dlq" {
			continue
		}
		for _, flag := range node.Flags {
			flag.Hidden = flag.Hidden || flag.Group != nil && !strings.HasPrefix(flag.Group.Key, "kafka") &&
				flag.Name != "insecure"
		}
	}
}
