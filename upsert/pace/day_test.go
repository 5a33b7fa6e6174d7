package pace_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/upsert/pace"
)

// event of the simulated day.
type dayEvent struct {
	came time.Time
	live bool
}

// dayReplica is a replica as far as the day's quota goes: its queue, its pace, and what comes.
type dayReplica struct {
	t       *testing.T
	account *account
	pace    *pace.Pace
	queue   *batcher.Batcher[dayEvent]
	rand    *rand.Rand

	mu      sync.Mutex
	backlog int // waits in Kafka
	arrived int64
	settled int
	longest time.Duration // that a live record waited
	daily   int           // answers of 429 DAILY
	waits   time.Duration // the longest batch wait planned
}

func newDayReplica(t *testing.T, a *account, own, total, backlog int, cfg pace.DayConfig, seed uint64) *dayReplica {
	r := &dayReplica{t: t, account: a, backlog: backlog, rand: rand.New(rand.NewPCG(seed, 2))}
	r.queue = batcher.New(batcher.Config[dayEvent]{Size: 100, Bytes: 1 << 20, Wait: cfg.Wait})
	cfg.Load = func() (int64, int64) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return int64(r.backlog + r.queue.Len()), r.arrived
	}
	r.pace = newPace(pace.Config{Auto: true, Day: cfg}, own, total)
	return r
}

// comes lets live records arrive, so many a second.
func (r *dayReplica) comes(ctx context.Context, perSecond float64, name string) {
	for n := 0; ; n++ {
		select {
		case <-time.After(time.Duration(float64(time.Second) * r.rand.ExpFloat64() / perSecond)):
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		r.arrived++
		r.mu.Unlock()
		r.queue.Add("", name+strconv.Itoa(n), dayEvent{time.Now(), true}, 350, false)
	}
}

// fetches brings the backlog into memory, a thousand records at a time, as room allows.
func (r *dayReplica) fetches(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.backlog > 0 && r.queue.Len() < 2000 {
		for range min(1000, r.backlog) {
			r.queue.Add("", name+strconv.Itoa(r.backlog), dayEvent{time.Now(), false}, 350, true)
			r.backlog--
		}
	}
}

// sends is the Sender's loop, with the account for HubSpot.
func (r *dayReplica) sends(ctx context.Context) {
	var flights sync.WaitGroup
	defer flights.Wait()
	for {
		r.fetches("backlog-")
		wait := r.pace.BatchWait()
		r.waits = max(r.waits, wait)
		r.queue.SetWait(wait)
		if r.queue.Ripe(ctx) != nil {
			return
		}
		ticket, err := r.pace.Wait(ctx)
		if err != nil {
			return
		}
		batch := r.queue.Seal(100)
		ticket.Leave()
		flights.Go(func() {
			h, limited := r.account.arrive()
			time.Sleep(100 * time.Millisecond)
			daily := h.Get("X-HubSpot-RateLimit-Daily-Remaining") == "-1"
			ticket.Answered(h, limited && !daily, 0)
			r.mu.Lock()
			defer r.mu.Unlock()
			if daily {
				r.daily++
			}
			for _, s := range batch {
				if limited {
					r.queue.Back(s, batcher.Again{})
					continue
				}
				for _, e := range s.Records {
					r.settled++
					if e.live {
						r.longest = max(r.longest, time.Since(e.came))
					}
				}
				r.queue.Done(s)
			}
		})
	}
}

// TestADay: eight replicas share 250,000 calls. Live traffic comes to all of them, six records a second in all, which
// would take 500,000 calls if each batch left after half a second; a million records of backlog lie in partitions of
// three of them. The account's day is never used up, and live traffic never waits longer than the stated bound.
func TestADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		a := &account{limit: 100, daily: 250_000}
		ctx, cancel := context.WithTimeout(t.Context(), day)
		defer cancel()
		var running sync.WaitGroup
		var replicas []*dayReplica
		for i := range 8 {
			backlog := 0
			if i < 3 {
				backlog = 333_334
			}
			r := newDayReplica(t, a, 6, 48, backlog,
				pace.DayConfig{Auto: true, Wait: 500 * time.Millisecond, Zone: time.UTC}, uint64(i))
			replicas = append(replicas, r)
			running.Go(func() { r.comes(ctx, 0.75, "live-") })
			running.Go(func() { r.sends(ctx) })
		}
		running.Wait()
		settled, longest, waits := 0, time.Duration(0), time.Duration(0)
		for i, r := range replicas {
			settled, longest, waits = settled+r.settled, max(longest, r.longest), max(waits, r.waits)
			if r.daily > 0 {
				t.Errorf("replica %d met %d answers of 429 DAILY", i, r.daily)
			}
			if r.backlog > 0 {
				t.Errorf("replica %d has a backlog of %d left", i, r.backlog)
			}
		}
		t.Logf("%d records settled in %d calls, %d refused; a live record waited %v at the most, a batch was to wait %v",
			settled, len(a.all), a.refused, longest.Round(time.Millisecond), waits)
		const longestBatchWait = 30 * time.Second // as docs/scaling.md says
		if bound := longestBatchWait + 2*time.Second; longest > bound {
			t.Errorf("a live record waited %v, want at most %v", longest, bound)
		}
		if len(a.all) > a.daily || waits <= 500*time.Millisecond {
			t.Errorf("%d calls, want at most %d; the longest batch wait was %v", len(a.all), a.daily, waits)
		}
	})
}

// TestDaySpent: what others used up is not waited for in vain, and the count that begins anew tells when the day ends.
func TestDaySpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(5 * time.Hour) // UTC's midnight is not the account's
		board := hold.NewBoard(zerolog.Nop())
		p := newPace(pace.Config{Board: board, Day: pace.DayConfig{Auto: true}}, 1, 1)
		daily := func(remaining int) {
			t.Helper()
			ticket, err := p.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ticket.Leave()
			ticket.Answered(http.Header{"X-Hubspot-Ratelimit-Daily": {"1000"},
				"X-Hubspot-Ratelimit-Daily-Remaining": {strconv.Itoa(remaining)}}, false, 0)
		}
		daily(500)
		if st := p.Daily(); st == nil || st.Limit != 1000 || st.Remaining != 500 || st.Zone != "assumed UTC" ||
			time.Until(st.ResetsAt) != 19*time.Hour {
			t.Errorf("status %+v", st)
		}
		daily(1) // somebody else was busy
		start := time.Now()
		if p.Daily(); !board.Stands("quota", hold.All) {
			t.Error("nothing says that the day's calls are used up")
		}
		daily(1000) // one asks every ten minutes: the account's midnight is past
		if took := time.Since(start); took < 9*time.Minute || took > 12*time.Minute {
			t.Errorf("asked again after %v", took)
		}
		st := p.Daily()
		if st.Zone != "observed" || time.Until(st.ResetsAt) < 23*time.Hour+50*time.Minute {
			t.Errorf("status %+v", st)
		}
		if board.Stands("quota", hold.All) {
			t.Error("the hold stands in the new day")
		}
	})
}

// TestDayOfItsOwn: without headers a replica counts its own calls, up to its share of what is set.
func TestDayOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(pace.Config{Day: pace.DayConfig{Calls: 100}}, 1, 4)
		ctx, cancel := context.WithTimeout(t.Context(), 36*time.Hour)
		defer cancel()
		n := map[int]int{}
		for {
			ticket, err := p.Wait(ctx)
			if err != nil {
				break
			}
			n[time.Now().Day()]++
			ticket.Leave()
			ticket.Answered(http.Header{}, false, 0)
		}
		if n[1] < 24 || n[1] > 25 || n[2] < 24 || n[2] > 25 {
			t.Errorf("calls by day: %v, want a quarter of 100 on each", n)
		}
	})
}
