package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/terminal"
	"github.com/tasksink/tasksink/internal/visible"
)

type dlqShow struct {
	kafkaSettings
	Letter string `arg:"" help:"Where the letter is: partition/offset, or topic/partition/offset."`
	Raw    bool   `help:"Write the bytes of the value, and nothing else."`
	Force  bool   `help:"Do so even on a terminal, which they may confuse."`
	JSON   bool   `name:"json" help:"As JSON. Key, value and headers that are not UTF-8 are in base64."`
}

func (c *dlqShow) check() error {
	var wrong []error
	wrong = append(wrong, c.kafkaSettings.check())
	if _, err := dlq.ParsePlace(c.Letter, c.DeadLetterTopics()); err != nil {
		wrong = append(wrong, err)
	}
	if c.Raw && c.JSON {
		wrong = append(wrong, errors.New("--raw and --json: choose one of them"))
	}
	return errors.Join(wrong...)
}

func (c *dlqShow) run(ctx context.Context, s screen) error {
	where, err := dlq.ParsePlace(c.Letter, c.DeadLetterTopics())
	if err != nil {
		return err
	}
	if c.Raw && !c.Force && terminal.Is(s.out) {
		return errors.New("--raw: the value's bytes may confuse a terminal; send them to a file or a pipe, or add --force")
	}
	l, err := c.find(ctx, where)
	if err != nil {
		return err
	}
	switch {
	case c.Raw && l.Value == nil:
		return fmt.Errorf("letter %s has no value", where)
	case c.Raw:
		_, err = s.out.Write(l.Value)
	case c.JSON:
		err = writeJSON(s.out, describeWhole(l))
	default:
		_, err = io.WriteString(s.out, page(l))
	}
	if err != nil {
		return fmt.Errorf("write the letter: %w", err)
	}
	return nil
}

func (c *dlqShow) find(ctx context.Context, where dlq.Place) (*dlq.Letter, error) {
	conn, err := c.Connection()
	if err != nil {
		return nil, err
	}
	reader := dlq.NewReader(conn, where.Topic)
	defer reader.Close()
	spans, err := reader.Spans(ctx, where.Topic)
	if err != nil {
		return nil, err
	}
	for _, span := range spans {
		if span.Partition != where.Partition {
			continue
		}
		if where.Offset >= span.First && where.Offset < span.End {
			for l, err := range reader.Letters(ctx, []dlq.Span{{Topic: where.Topic, Partition: where.Partition,
				First: where.Offset, End: where.Offset + 1}}) {
				return l, err
			}
		}
		return nil, fmt.Errorf("there is no letter %s; the partition has the offsets from %d to before %d", where, span.First,
			span.End)
	}
	return nil, fmt.Errorf("there is no letter %s; the topic has %d partitions", where, len(spans))
}

// page is a letter as people read it. Lines of the payload are indented, so that none can pass for one of ours.
func page(l *dlq.Letter) string {
	var b strings.Builder
	line := func(name, value string) {
		fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("%-15s %s", name, value), " "))
	}
	line("letter", l.Place.String())
	line("written", l.Written.Format(time.RFC3339Nano))
	if l.Foreign {
		line("", "This record is no dead letter that this version of tasksink knows.")
	} else {
		line("source", fmt.Sprintf("%s of %s", visible.Text(l.Source.String()), l.SourceTime.Format(time.RFC3339Nano)))
		line("group", visible.Text(l.Group))
		line("failed at", l.FailedAt.Format(time.RFC3339Nano))
		line("stage", visible.Text(l.Reason.Stage))
		line("category", visible.Text(l.Reason.Category))
		line("code", visible.Text(l.Reason.Code))
		line("message", visible.Text(l.Reason.Message))
		line("correlation id", visible.Text(l.Reason.CorrelationID))
		line("attempts", strconv.Itoa(l.Reason.Attempts))
		line("redriven", strconv.Itoa(l.Redrives))
		line("what it means", wrap(dlq.Explain(l.Reason.Category, l.Reason.Code), 80, 16))
		switch l.Truncated {
		case "":
			line("redrive", "tasksink dlq redrive "+l.Place.String())
		case dlq.TruncatedHeaders:
			line("redrive", "not possible: the record has too many headers, and they are not here")
		default:
			line("redrive", "not possible: the record was too large for this topic, and its value is not here")
		}
	}
	payload := func(name string, value []byte) {
		if value == nil {
			fmt.Fprintf(&b, "\n%s: none\n", name)
			return
		}
		lines := strings.Split(string(value), "\n")
		for i := range lines {
			lines[i] = visible.Text(lines[i])
		}
		fmt.Fprintf(&b, "\n%s, %d bytes\n%s\n", name, len(value), indent(strings.Join(lines, "\n"), 2))
	}
	payload("key", l.Key)
	for _, h := range l.Headers {
		payload("header "+visible.Text(h.Key), h.Value)
	}
	payload("value", l.Value)
	return b.String()
}

// wrap breaks text into lines of so many characters, those after the first indented.
func wrap(words string, width, n int) string {
	lines := strings.Split(text.WrapSoft(words, width), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.TrimLeft(indent(strings.Join(lines, "\n"), n), " ")
}

func indent(text string, n int) string {
	pad := strings.Repeat(" ", n)
	return pad + strings.ReplaceAll(text, "\n", "\n"+pad)
}

// described is a letter as JSON.
type described struct {
	Topic         string    `json:"topic"`
	Partition     int       `json:"partition"`
	Offset        int64     `json:"offset"`
	Written       time.Time `json:"written_at"`
	Foreign       bool      `json:"foreign,omitempty"`
	Source        origin    `json:"source"`
	Group         string    `json:"group"`
	FailedAt      time.Time `json:"failed_at"`
	Stage         string    `json:"stage"`
	Category      string    `json:"category"`
	Code          string    `json:"code"`
	Message       string    `json:"message"`
	CorrelationID string    `json:"correlation_id"`
	Attempts      int       `json:"attempts"`
	Redrives      int       `json:"redrive_count"`
	Truncated     bool      `json:"truncated"`
	Explanation   string    `json:"explanation"`
}

type origin struct {
	Topic     string    `json:"topic"`
	Partition int       `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"timestamp"`
}

// describedWhole has the record, too.
type describedWhole struct {
	described
	Key     *payload `json:"key"`
	Value   *payload `json:"value"`
	Headers []header `json:"headers"`
}

type header struct {
	Name  string   `json:"name"`
	Value *payload `json:"value"`
}

// payload is {"text": …}, or {"base64": …} where the bytes are not UTF-8.
type payload struct {
	Text   *string `json:"text,omitempty"`
	Base64 *string `json:"base64,omitempty"`
}

func describeLetter(l *dlq.Letter) described {
	d := described{Topic: l.Place.Topic, Partition: l.Place.Partition, Offset: l.Place.Offset, Written: l.Written,
		Foreign: l.Foreign,
		Source:  origin{l.Source.Topic, l.Source.Partition, l.Source.Offset, l.SourceTime}, Group: l.Group,
		FailedAt: l.FailedAt,
		Stage:    l.Reason.Stage, Category: l.Reason.Category, Code: l.Reason.Code, Message: l.Reason.Message,
		CorrelationID: l.Reason.CorrelationID,
		Attempts:      l.Reason.Attempts, Redrives: l.Redrives, Truncated: l.Truncated != ""}
	if !l.Foreign {
		d.Explanation = dlq.Explain(l.Reason.Category, l.Reason.Code)
	}
	return d
}

func describeWhole(l *dlq.Letter) describedWhole {
	w := describedWhole{described: describeLetter(l), Key: payloadOf(l.Key), Value: payloadOf(l.Value),
		Headers: []header{}}
	for _, h := range l.Headers {
		w.Headers = append(w.Headers, header{h.Key, payloadOf(h.Value)})
	}
	return w
}

func payloadOf(b []byte) *payload {
	if b == nil {
		return nil
	}
	if utf8.Valid(b) {
		s := string(b)
		return &payload{Text: &s}
	}
	s := base64.StdEncoding.EncodeToString(b)
	return &payload{Base64: &s}
}

// writeJSON writes one line.
func writeJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = w.Write(append(visible.JSON(b), '\n'))
	}
	return err
}
