package pace_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tasksink/tasksink/upsert/pace"
)

// account is HubSpot's side of the limit: it counts requests as they come.
type account struct {
	limit  int
	silent bool // no headers, as for OAuth apps
	daily  int  // calls in all; 0 = unlimited

	mu      sync.Mutex
	window  []time.Time
	all     []time.Time
	refused int

	rebalanced time.Time // nobody sends before
}

func (a *account) arrive() (h http.Header, limited bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for len(a.window) > 0 && now.Sub(a.window[0]) >= 10*time.Second {
		a.window = a.window[1:]
	}
	h = http.Header{}
	left := a.daily - len(a.all) - 1
	limited = len(a.window) >= a.limit || a.daily > 0 && left < 0
	if limited {
		a.refused++
	} else {
		a.window = append(a.window, now)
		a.all = append(a.all, now)
	}
	if a.daily > 0 {
		h.Set("X-HubSpot-RateLimit-Daily", strconv.Itoa(a.daily))
		h.Set("X-HubSpot-RateLimit-Daily-Remaining", strconv.Itoa(left))
	}
	if !a.silent {
		h.Set("X-HubSpot-RateLimit-Max", strconv.Itoa(a.limit))
		h.Set("X-HubSpot-RateLimit-Remaining", strconv.Itoa(a.limit-len(a.window)))
		h.Set("X-HubSpot-RateLimit-Interval-Milliseconds", "10000")
	}
	return h, limited
}

// replica sends as many requests as its pace lets it, each of which is answered after 100 ms.
func (a *account) replica(ctx context.Context, p *pace.Pace) {
	var flights sync.WaitGroup
	defer flights.Wait()
	for {
		ticket, err := p.Wait(ctx)
		if err != nil {
			return
		}
		ticket.Leave()
		flights.Go(func() {
			h, limited := a.arrive()
			time.Sleep(100 * time.Millisecond)
			ticket.Answered(h, limited, 0)
		})
	}
}

// departures renders when requests left: how many at which instant.
func departures(start time.Time, all []time.Time) string {
	var b strings.Builder
	for i := 0; i < len(all); {
		n := i
		for n < len(all) && all[n].Equal(all[i]) {
			n++
		}
		fmt.Fprintf(&b, "%v×%d ", all[i].Sub(start), n-i)
		i = n
	}
	return strings.TrimSpace(b.String())
}

func newPace(cfg pace.Config, own, total int) *pace.Pace {
	p := pace.New(cfg)
	p.Share(own, total, 0, nil)
	return p
}

// TestPaceDepartures holds the exact instants: a window is 10 s and the margin of 50 ms; half of the share leaves at
// once, the rest is spread a twentieth faster than the limit.
func TestPaceDepartures(t *testing.T) {
	for _, tc := range []struct {
		name  string
		cfg   pace.Config
		own   int
		total int
		limit int
		quiet bool
		until time.Duration
		want  string
	}{
		{"what HubSpot leaves, then the limit in each window", pace.Config{Auto: true}, 6, 6, 5, false, 25 * time.Second,
			"0s×1 100ms×2 2.004761904s×1 3.909523808s×1 10.05s×1 11.954761904s×1 13.859523808s×1 15.764285712s×1 17.669047616s×1 20.1s×1 22.004761904s×1 23.909523808s×1"},
		{"without headers the first window has one request", pace.Config{Rate: 5}, 6, 6, 5, true, 25 * time.Second,
			"0s×1 10.05s×3 11.954761904s×1 13.859523808s×1 20.1s×1 22.004761904s×1 23.909523808s×1"},
		{"a third", pace.Config{Rate: 6}, 2, 6, 6, true, 25 * time.Second,
			"0s×1 10.05s×1 14.811904761s×1 20.1s×1 24.861904761s×1"},
		{"less than one in a window", pace.Config{Rate: 1}, 2, 6, 1, true, 70 * time.Second,
			"0s×1 30.15s×1 1m0.3s×1"},
		{"no partitions", pace.Config{Rate: 5}, 0, 6, 5, false, time.Minute, ""},
		{"HubSpot allows less than was set", pace.Config{Rate: 100}, 1, 1, 3, false, 25 * time.Second,
			"0s×1 100ms×1 3.274603174s×1 10.05s×1 13.224603174s×1 16.399206348s×1 20.1s×1 23.274603174s×1"},
		{"HubSpot allows more than was set", pace.Config{Rate: 3}, 1, 1, 100, false, 25 * time.Second,
			"0s×1 100ms×1 3.274603174s×1 10.05s×1 13.224603174s×1 16.399206348s×1 20.1s×1 23.274603174s×1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, start := &account{limit: tc.limit, silent: tc.quiet}, time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), tc.until)
				defer cancel()
				a.replica(ctx, newPace(tc.cfg, tc.own, tc.total))
				if got := departures(start, a.all); got != tc.want || a.refused > 0 {
					t.Errorf("requests left at %s, %d were refused, want %s", got, a.refused, tc.want)
				}
			})
		})
	}
}

// TestPaceUnlimited: nothing waits.
func TestPaceUnlimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, start := newPace(pace.Config{}, 1, 6), time.Now()
		for range 10_000 {
			ticket, err := p.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ticket.Leave()
		}
		if time.Since(start) > 0 {
			t.Errorf("10000 requests took %v", time.Since(start))
		}
	})
}

// TestPaceAfter429: nothing leaves for a window, then half, then more with each window.
func TestPaceAfter429(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, start := &account{limit: 10, silent: true}, time.Now()
		p := newPace(pace.Config{Rate: 10}, 1, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 65*time.Second)
		defer cancel()
		time.AfterFunc(15*time.Second, func() { // somebody else uses the account up
			a.mu.Lock()
			defer a.mu.Unlock()
			for range 10 {
				a.window = append(a.window, time.Now())
			}
		})
		a.replica(ctx, p)
		if a.refused != 1 {
			t.Errorf("%d requests were refused, want one", a.refused)
		}
		want := "0s×1 10.05s×5 11.002380952s×1 11.954761904s×1 12.907142856s×1 13.859523808s×1 14.81190476s×1 30.25s×5 " +
			"31.837301587s×1 40.3s×4 41.660544217s×1 43.021088434s×1 44.381632651s×1 50.35s×2 51.54047619s×1 52.73095238s×1 53.92142857s×1 55.11190476s×1 56.30238095s×1 57.49285714s×1 1m0.4s×1 1m1.458201058s×1 1m2.516402116s×1 1m3.574603174s×1 1m4.632804232s×1"
		if got := departures(start, a.all); got != want {
			t.Errorf("requests left at %s, want %s", got, want)
		}
		if st := p.Status(); st.Limit != 9 || st.Share != 1 {
			t.Errorf("status %+v", st)
		}
	})
}

// TestPaceReturns: a ticket that was given back, before its request left or after it got no answer, is counted right.
func TestPaceReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(pace.Config{Rate: 4}, 1, 1)
		take := func() *pace.Ticket {
			ticket, err := p.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return ticket
		}
		take().Return()
		time.Sleep(11 * time.Second) // the share is in force
		start := time.Now()
		take().Return()
		unanswered := take()
		unanswered.Leave()
		unanswered.Leave() // net/http may say so twice
		unanswered.Return()
		unanswered.Leave() // or late
		take().Leave()
		if took := time.Since(start); took != 0 {
			t.Errorf("two requests took %v", took)
		}
		take().Leave()
		take().Leave()
		take().Leave()
		if took := time.Since(start); took != 10_050*time.Millisecond {
			t.Errorf("the fifth request left after %v", took)
		}
	})
}

// TestPaceSharesMove: while partitions move between replicas, the guaranteed requests of all together never exceed the
// limit in any window.
func TestPaceSharesMove(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const partitions = 10
		replicas := rapid.IntRange(1, 4).Draw(rt, "replicas")
		limit := rapid.IntRange(partitions, 60).Draw(rt, "limit")
		moves := rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, replicas-1), partitions, partitions), 1, 8).Draw(rt,
			"owners of each partition")
		pauses := rapid.SliceOfN(rapid.IntRange(0, 15_000), len(moves), len(moves)).Draw(rt, "milliseconds")
		synctest.Test(t, func(*testing.T) {
			a := &account{limit: limit, silent: true}
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			paces := make([]*pace.Pace, replicas)
			for id := range paces {
				// The request that asks how much is left is beyond the share: it is not held against it here. And
				// every replica keeps a partition, so that none asks again.
				paces[id] = newPace(pace.Config{Rate: limit}, 1, partitions)
				ticket, _ := paces[id].Wait(ctx)
				ticket.Leave()
				ticket.Return()
				running.Go(func() { a.replica(ctx, paces[id]) })
			}
			for i, owners := range moves {
				own := make([]int, replicas)
				for n, owner := range owners {
					if n < replicas {
						owner = n
					}
					own[owner]++
				}
				for id, p := range paces {
					p.Share(own[id], partitions, id, nil)
				}
				time.Sleep(time.Duration(pauses[i]) * time.Millisecond)
			}
			time.Sleep(30 * time.Second)
			cancel()
			running.Wait()
			if a.refused > 0 {
				rt.Errorf("%d requests beyond the limit of %d", a.refused, limit)
			}
			recent := slices.IndexFunc(a.all, func(at time.Time) bool { return time.Since(at) <= 21*time.Second })
			if used := len(a.all) - recent; recent < 0 || used < limit { // half of it: shares are rounded down
				rt.Errorf("%d requests in the last 21 s, with a limit of %d in 10 s", used, limit)
			}
		})
	})
}

// TestPaceNotes: members that tell each other what they sent need no window to pass. However the partitions move
// between them, and whoever joins, all that is free is used at once, and the limit is never exceeded.
func TestPaceNotes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const partitions = 8
		limit := rapid.IntRange(2*partitions, 60).Draw(rt, "limit")
		members := rapid.SliceOfN(rapid.IntRange(0, 3), 1, 6).Draw(rt, "members that join each time")
		pauses := rapid.SliceOfN(rapid.IntRange(0, 15_000), len(members), len(members)).Draw(rt, "milliseconds")
		synctest.Test(t, func(*testing.T) {
			a := &account{limit: limit, silent: true}
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			// The first one has the account to itself, so long that it knows the window wholly.
			first := newPace(pace.Config{Rate: limit}, partitions, partitions)
			paces := []*pace.Pace{first}
			running.Go(func() { a.replica(ctx, first) })
			time.Sleep(11 * time.Second)
			for i, n := range members {
				for range n {
					p := pace.New(pace.Config{Rate: limit})
					paces = append(paces, p)
					running.Go(func() { a.replica(ctx, p) })
				}
				synctest.Wait() // what is due now leaves before the group divides
				var notes [][]byte
				for _, p := range paces {
					notes = append(notes, p.Note())
				}
				for id, p := range paces {
					own := partitions / len(paces)
					if id < partitions%len(paces) {
						own++
					}
					p.Share(own, partitions, id, slices.Concat(notes[:id], notes[id+1:]))
				}
				time.Sleep(time.Duration(pauses[i]) * time.Millisecond)
			}
			a.mu.Lock()
			before := len(a.all)
			a.mu.Unlock()
			time.Sleep(21 * time.Second)
			cancel()
			running.Wait()
			if a.refused > 0 {
				rt.Errorf("%d requests beyond the limit of %d", a.refused, limit)
			}
			// half of it: shares are rounded down
			if got, want := len(a.all)-before, limit; len(paces) <= partitions && got < want {
				rt.Errorf("%d requests in the 21 s after the group divided, want %d", got, want)
			}
		})
	})
}

// TestPaceForgedNotes: whatever another member writes holds us up for a window at the most.
func TestPaceForgedNotes(t *testing.T) {
	for _, forged := range []string{"", "{", "[]", `{"share":-1}`, `{"share":1e300,"fog_ms":9000000000000000000}`,
		`{"share":0,"sent_ms":[-9000000000000000000,9000000000000000000]}`,
		`{"share":0,"sent_ms":[` + strings.Repeat("-30000,", 20) + `1]}`,
		`{"share":0,"sent_ms":[` + strings.Repeat("1,", 100_000) + `1]}`} {
		synctest.Test(t, func(t *testing.T) {
			a := &account{limit: 10, silent: true}
			ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
			defer cancel()
			p := pace.New(pace.Config{Rate: 10})
			p.Share(1, 1, 0, [][]byte{[]byte(forged)})
			a.replica(ctx, p)
			if len(a.all) < 20 || a.refused > 0 {
				t.Errorf("%.40s: %d requests in 35 s, %d refused", forged, len(a.all), a.refused)
			}
		})
	}
}

// TestPaceLosesAll: who lost its partitions and has them again starts over: others had the window meanwhile.
func TestPaceLosesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, start := &account{limit: 4, silent: true}, time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		p := newPace(pace.Config{Rate: 4}, 1, 1)
		time.AfterFunc(15*time.Second, func() { p.Share(0, 1, 0, nil); p.Share(1, 1, 0, nil) })
		a.replica(ctx, p)
		if got, want := departures(start, a.all), "0s×1 10.05s×2 12.43095238s×1 14.81190476s×1 24.86190476s×1 25.05s×1 "+
			"27.43095238s×1 29.81190476s×1 34.91190476s×1 37.29285714s×1 39.67380952s×1"; got != want {
			t.Errorf("requests left at %s, want %s", got, want)
		}
	})
}

// TestPaceBorrows: what an idle replica leaves unused, HubSpot's own count gives to who needs it.
func TestPaceBorrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &account{limit: 100}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a.replica(ctx, newPace(pace.Config{Auto: true}, 3, 6))
		if used := float64(len(a.all)) / 600; used < 0.9 || a.refused > 0 {
			t.Errorf("half of the partitions used %.0f %% of the account, and %d requests were refused", 100*used, a.refused)
		}
		if !slices.IsSortedFunc(a.all, time.Time.Compare) {
			t.Error("time runs backwards")
		}
	})
}
