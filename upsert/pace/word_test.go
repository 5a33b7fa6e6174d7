package pace_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/upsert/pace"
)

const (
	headerMax      = "X-Hubspot-Ratelimit-Max"
	headerLeft     = "X-Hubspot-Ratelimit-Remaining"
	headerInterval = "X-Hubspot-Ratelimit-Interval-Milliseconds"
	headerDaily    = "X-Hubspot-Ratelimit-Daily"
	headerDayLeft  = "X-Hubspot-Ratelimit-Daily-Remaining"
)

// TestAbsurdHeaders: a header that cannot be right changes nothing but the log, and that once.
func TestAbsurdHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		p := newPace(pace.Config{Auto: true, Day: pace.DayConfig{Auto: true}, Log: zerolog.New(&log)}, 1, 1)
		answered := func(h http.Header) {
			t.Helper()
			ticket, err := p.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ticket.Leave()
			ticket.Answered(h, false, 0)
		}
		answered(http.Header{headerMax: {"100"}, headerLeft: {"99"}, headerInterval: {"10000"}, headerDaily: {"1000"},
			headerDayLeft: {"900"}})
		before, daily := p.Status(), *p.Daily()
		for range 3 {
			for _, value := range []string{"0", "-1", "1000000000", "99999999999999999999", "many", "1e3", " ", "100.5"} {
				for _, name := range []string{headerMax, headerInterval, headerDaily} {
					answered(http.Header{name: {value}})
				}
				for name, of := range map[string]string{headerLeft: headerMax, headerDayLeft: headerDaily} {
					if value != "0" {
						answered(http.Header{name: {value}})
						answered(http.Header{of: {map[string]string{headerMax: "100", headerDaily: "1000"}[of]}, name: {value}})
					}
				}
			}
			answered(http.Header{headerInterval: {"1"}})
		}
		time.Sleep(11 * time.Second)
		st, day := p.Status(), *p.Daily()
		if st.Limit != before.Limit || st.Window != before.Window || day.Limit != daily.Limit ||
			day.Remaining != daily.Remaining {
			t.Errorf("status %+v, day %+v; before: %+v, %+v", st, day, before, daily)
		}
		if n := strings.Count(log.String(), "\n"); n != 5 {
			t.Errorf("%d lines in the log, want one for each header: %s", n, log.String())
		}
	})
}

// FuzzHeaders: whatever headers say, in whatever order, before and after the first share, no request waits for longer
// than an hour where the day has calls, and nothing panics.
func FuzzHeaders(f *testing.F) {
	f.Add("100", "99", "10000", "1000", "10", true)
	f.Add("1", "1", "1", "1", "1", false)
	f.Add("-5", "1000000000", "3600001", "0", "-1", true)
	f.Fuzz(func(t *testing.T, limit, left, interval, daily, dayLeft string, shares bool) {
		synctest.Test(t, func(t *testing.T) {
			p := pace.New(pace.Config{Auto: true, Day: pace.DayConfig{Auto: true}})
			header := http.Header{headerMax: {limit}, headerLeft: {left}, headerInterval: {interval}, headerDaily: {daily},
				headerDayLeft: {dayLeft}}
			if !shares { // an answer of before the group divided anew
				p.Share(1, 1, 0, nil)
			}
			for i := range 4 {
				if i == 1 {
					p.Share(1, 1, 0, nil)
				}
				if i > 0 || !shares {
					before := time.Now()
					ticket, err := p.Wait(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if took := time.Since(before); took > 25*time.Hour {
						t.Errorf("a request waited for %v", took)
					}
					ticket.Leave()
					ticket.Answered(header, i == 2, 0)
				}
			}
			if st := p.Status(); st.Window < 1 || st.Window > 3600 || st.Limit <= 0 {
				t.Errorf("status %+v", st)
			}
		})
	})
}

// TestPauses: of several answers that ask for a pause the longest counts, also without a limit of our own; a long pause
// is a hold that says when it ends.
func TestPauses(t *testing.T) {
	for _, rate := range []int{0, 100} {
		synctest.Test(t, func(t *testing.T) {
			board := hold.NewBoard(zerolog.Nop())
			p := newPace(pace.Config{Rate: rate, Board: board}, 1, 1)
			time.Sleep(20 * time.Second)
			var out []*pace.Ticket
			for range 3 {
				ticket, err := p.Wait(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				ticket.Leave()
				out = append(out, ticket)
			}
			start := time.Now()
			out[0].Answered(nil, true, 5*time.Minute)
			out[1].Answered(nil, true, 0)
			out[2].Answered(http.Header{headerInterval: {"1"}}, true, 2*time.Second)
			list := board.List()
			if len(list) != 1 || list[0].Reason != "limited" || !strings.Contains(list[0].Detail,
				start.Add(5*time.Minute).Format(time.RFC3339)) {
				t.Errorf("holds %+v", list)
			}
			if _, err := p.Wait(t.Context()); err != nil || time.Since(start) != 5*time.Minute {
				t.Errorf("sending went on after %v: %v", time.Since(start), err)
			}
			if list := board.List(); len(list) > 0 {
				t.Errorf("holds %+v", list)
			}
		})
	}
}
