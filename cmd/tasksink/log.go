package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/rs/zerolog/diode"

	"github.com/tasksink/tasksink/internal/terminal"
	"github.com/tasksink/tasksink/internal/visible"
)

const (
	logLines    = 1000        // that wait for whoever reads them; then the oldest are dropped
	logFlush    = time.Second // for what is left at the end
	repeatEvery = time.Minute // the same error is told
	maxErrors   = 500         // that are told apart
)

// openLog returns the logger, and what writes the last lines at the end. Whoever logs never waits for whoever reads: a
// terminal that is stopped or a pipe that is full must not stop the worker.
func openLog(w io.Writer, level, format string) (log zerolog.Logger, flush func()) {
	out := io.Writer(onlyWriter{w})
	if format == "console" {
		out = onlyWriter{console(w)}
	}
	parsed, err := zerolog.ParseLevel(level)
	if err != nil {
		parsed = zerolog.InfoLevel // Check has refused it already
	}
	lines := diode.NewWriter(out, logLines, 0, func(missed int) {
		// nobody is left to tell
		_, _ = fmt.Fprintf(out, `{"level":"warn","dropped":%d,"message":"nobody read the log fast enough"}`+"\n", missed)
	})
	return zerolog.New(&once{out: lines, told: map[string]*telling{}}).Level(parsed).With().Timestamp().Logger(), func() {
		closed := make(chan struct{})
		go func() { _ = lines.Close(); close(closed) }()
		select {
		case <-closed:
		case <-time.After(logFlush):
		}
	}
}

// console writes lines for people.
func console(w io.Writer) zerolog.ConsoleWriter {
	return zerolog.ConsoleWriter{Out: w, NoColor: !terminal.Is(w), FormatPrepare: func(event map[string]any) error {
		if text, ok := event[zerolog.MessageFieldName].(string); ok {
			event[zerolog.MessageFieldName] = visible.Text(text) // zerolog quotes fields, but not the message
		}
		return nil
	}}
}

// onlyWriter hides Close: standard error is not ours to close.
type onlyWriter struct{ io.Writer }

// once tells an error at once, and while it repeats once a minute, with how many were left out. Only lines that carry
// an error count; they are alike if they say the same with other numbers.
type once struct {
	out io.Writer

	mu   sync.Mutex
	told map[string]*telling
}

type telling struct {
	at      time.Time
	omitted int
}

func (o *once) Write(line []byte) (int, error) { return o.WriteLevel(zerolog.NoLevel, line) }

// WriteLevel writes a line, or leaves it out.
func (o *once) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	if level != zerolog.WarnLevel && level != zerolog.ErrorLevel {
		return o.out.Write(line)
	}
	var said struct{ Message, Error string }
	if err := json.Unmarshal(line, &said); err != nil || said.Error == "" {
		return o.out.Write(line)
	}
	tell, omitted := o.tell(said.Message + "\x00" + strings.Map(noDigit, said.Error))
	if !tell {
		return len(line), nil
	}
	if omitted > 0 {
		end := strings.LastIndexByte(string(line), '}')
		line = append(line[:end:end], `,"repeated":`+strconv.Itoa(omitted)+"}\n"...)
	}
	return o.out.Write(line)
}

func (o *once) tell(what string) (tell bool, omitted int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t, now := o.told[what], time.Now()
	switch {
	case t == nil:
		if len(o.told) >= maxErrors {
			clear(o.told)
		}
		o.told[what] = &telling{at: now}
		return true, 0
	case now.Sub(t.at) < repeatEvery:
		t.omitted++
		return false, 0
	}
	omitted = t.omitted
	t.at, t.omitted = now, 0
	return true, omitted
}

func noDigit(r rune) rune {
	if r >= '0' && r <= '9' {
		return -1
	}
	return r
}
