package pace_test

import (
	"context"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/upsert/pace"
)

// clocks are accounts whose clock is not ours, in zones with odd midnights: some leave one out in a year, or show it
// twice.
var clocks = []struct {
	zone        string
	skew, drift time.Duration // of HubSpot's clock against ours, and how much it grows in a day
}{
	{"UTC", time.Second, 0},
	{"UTC", -time.Second, 0},
	{"America/Santiago", -5 * time.Minute, 0},
	{"America/Havana", 5 * time.Minute, 0},
	{"America/Asuncion", 0, 0},
	{"Africa/Cairo", -5 * time.Minute, 1600 * time.Millisecond},
	{"Asia/Beirut", 5 * time.Minute, -1600 * time.Millisecond},
	{"Asia/Gaza", time.Minute, 0},
	{"Australia/Lord_Howe", -time.Minute, 0},
	{"Asia/Kathmandu", 3 * time.Second, 0},
	{"Pacific/Apia", 5 * time.Minute, 0},
}

// TestAYear: with 500 calls a day, and records that wait all the time, no day leaves more than two percent of the calls
// unused, whatever the account's clock says, and the calls are spread over the day.
func TestAYear(t *testing.T) {
	for _, tc := range clocks {
		t.Run(tc.zone+" "+tc.skew.String(), func(t *testing.T) {
			t.Parallel()
			zone, err := time.LoadLocation(tc.zone)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				const calls = 500
				time.Sleep(time.Until(time.Date(2026, 1, 1, 7, 0, 0, 0, time.UTC)))
				start := time.Now()
				backlog := func() (int64, int64) { return 1_000_000, 0 }
				p := newPace(pace.Config{Auto: true, Day: pace.DayConfig{Auto: true, Zone: zone, Load: backlog}}, 1, 1)
				used, hours, refused, last := map[string]int{}, map[string]int{}, 0, ""
				for time.Since(start) < 365*24*time.Hour {
					ticket, err := p.Wait(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					ticket.Leave()
					theirs := time.Now().Add(tc.skew + time.Duration(time.Since(start).Hours()/24*float64(tc.drift)))
					last = theirs.In(zone).Format(time.DateOnly)
					if used[last]++; used[last] > calls {
						used[last], refused = calls, refused+1
					} else if time.Since(start) > 24*time.Hour {
						hours[theirs.UTC().Format("2006-01-02 15")]++
					}
					ticket.Answered(http.Header{"X-Hubspot-Ratelimit-Daily": {strconv.Itoa(calls)},
						"X-Hubspot-Ratelimit-Daily-Remaining": {strconv.Itoa(calls - used[last])}}, false, 0)
				}
				delete(used, start.In(zone).Format(time.DateOnly)) // parts of days
				delete(used, last)
				for day, n := range used {
					if n < calls*98/100 {
						t.Errorf("%s: %d calls were used", day, n)
					}
				}
				for hour, n := range hours {
					if n > 3*calls/24 {
						t.Errorf("%s: %d calls in the hour", hour, n)
					}
				}
				if len(used) < 362 || refused > 6*len(used) {
					t.Errorf("%d days, %d calls were refused", len(used), refused)
				}
			})
		})
	}
}

// TestMidnights: the day's end is the first moment of another date in the account's zone.
func TestMidnights(t *testing.T) {
	for _, tc := range clocks {
		t.Run(tc.zone, func(t *testing.T) {
			zone, err := time.LoadLocation(tc.zone)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC)))
				p := newPace(pace.Config{Day: pace.DayConfig{Calls: 100, Zone: zone}}, 1, 1)
				for range 365 * 24 {
					now, end := time.Now(), p.Daily().ResetsAt
					date := func(at time.Time) string { return at.In(zone).Format(time.DateOnly) }
					if date(end) == date(now) || date(end.Add(-time.Second)) != date(now) || !end.After(now) {
						t.Fatalf("at %v the day ends at %v", now.In(zone), end.In(zone))
					}
					time.Sleep(time.Hour)
				}
			})
		})
	}
}

// TestACap: the operator's cap below the account's limit is kept, and nobody asks beyond it. From six o'clock on other
// programs have used it up.
func TestACap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(5 * time.Hour)
		backlog := func() (int64, int64) { return 1_000_000, 0 }
		p := newPace(pace.Config{Day: pace.DayConfig{Calls: 100, Zone: time.UTC, Load: backlog}}, 1, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 4*24*time.Hour)
		defer cancel()
		used := map[int]int{}
		for {
			ticket, err := p.Wait(ctx)
			if err != nil {
				break
			}
			ticket.Leave()
			today, others := time.Now().Day(), 0
			if time.Now().Hour() >= 6 {
				others = 200
			}
			used[today]++
			ticket.Answered(http.Header{"X-Hubspot-Ratelimit-Daily": {"1000"},
				"X-Hubspot-Ratelimit-Daily-Remaining": {strconv.Itoa(1000 - others - used[today])}}, false, 0)
		}
		for day, n := range used {
			if n > 30 || n < 20 && day > 1 && day < 5 {
				t.Errorf("day %d: %d calls", day, n)
			}
		}
	})
}

// TestARaisedLimit: calls that the account gets while they seem used up are found within ten minutes, and they are no
// new day.
func TestARaisedLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(5 * time.Hour)
		p := newPace(pace.Config{Day: pace.DayConfig{Auto: true}}, 1, 1)
		for _, word := range [][2]string{{"1000", "0"}, {"1000", "0"}, {"2000", "1000"}, {"2000", "999"}} {
			before := time.Now()
			ticket, err := p.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(before); took > 10*time.Minute {
				t.Errorf("asked after %v", took)
			}
			ticket.Leave()
			ticket.Answered(http.Header{"X-Hubspot-Ratelimit-Daily": word[:1],
				"X-Hubspot-Ratelimit-Daily-Remaining": word[1:]}, false, 0)
		}
		if st := p.Daily(); st.Zone != "assumed UTC" || st.Limit != 2000 || st.Ours < 900 {
			t.Errorf("status %+v", st)
		}
	})
}

// TestNobodysQuota: a replica without partitions has no calls, and holds nothing.
func TestNobodysQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board := hold.NewBoard(zerolog.Nop())
		p := newPace(pace.Config{Board: board, Day: pace.DayConfig{Calls: 1000}}, 0, 6)
		p.Daily()
		if list := board.List(); len(list) > 0 {
			t.Errorf("holds %+v", list)
		}
	})
}
