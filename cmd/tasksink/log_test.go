package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRepeatedErrors: the same error is told at once, and then once a minute with how many were left out; what carries
// no error is always told.
func TestRepeatedErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log, flush := openLog(&out, "info", "json")
		for i := range 150 { // one a second, but for the time's own
			log.Warn().Err(fmt.Errorf("dial 127.0.0.1:%d", i)).Msg("fetch")
			if i == 30 {
				log.Warn().Err(errors.New("refused")).Msg("fetch")
				log.Error().Msg("holding")
				log.Error().Msg("holding")
			}
			time.Sleep(time.Second)
		}
		flush()
		var fetches []string
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, "dial") {
				_, repeated, _ := strings.Cut(strings.TrimSuffix(line, "}\n"), `"message":"fetch"`)
				fetches = append(fetches, repeated)
			}
		}
		if got, want := fmt.Sprintf("%q", fetches), `["" ",\"repeated\":59" ",\"repeated\":59"]`; got != want {
			t.Errorf("the error is told %s, want %s", got, want)
		}
		if n := strings.Count(out.String(), "holding"); n != 2 {
			t.Errorf("a line without an error is told %d times, want 2", n)
		}
		if n := strings.Count(out.String(), "refused"); n != 1 {
			t.Errorf("another error is told %d times, want 1", n)
		}
	})
}

type stuck chan struct{}

func (s stuck) Write(b []byte) (int, error) { <-s; return len(b), nil }

// TestStuckLog: whoever logs never waits, and the end waits for a second at the most.
func TestStuckLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := make(stuck)
		began := time.Now()
		log, flush := openLog(out, "info", "json")
		for range 10_000 {
			log.Info().Msg("line")
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("logging took %v", took)
		}
		flush()
		if took := time.Since(began); took != logFlush {
			t.Errorf("the end took %v, want %v", took, logFlush)
		}
		close(out)
	})
}
