package pace_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasksink/tasksink/upsert/pace"
)

// member sends what its pace lets it: without a pause, or a request every so often. Way and answer take their time.
func (a *account) member(ctx context.Context, p *pace.Pace, every time.Duration, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	var flights sync.WaitGroup
	defer flights.Wait()
	for {
		if every > 0 {
			select {
			case <-time.After(time.Duration(float64(every) * r.ExpFloat64())):
			case <-ctx.Done():
				return
			}
		}
		a.mu.Lock()
		rebalance := time.Until(a.rebalanced)
		a.mu.Unlock()
		time.Sleep(rebalance)
		ticket, err := p.Wait(ctx)
		if err != nil {
			return
		}
		ticket.Leave()
		way, back := time.Duration(r.IntN(30))*time.Millisecond, time.Duration(50+r.IntN(150))*time.Millisecond
		flights.Go(func() {
			time.Sleep(way)
			h, limited := a.arrive()
			time.Sleep(back)
			ticket.Answered(h, limited, 0)
		})
	}
}

// used is the part of the account's limit that was used in five minutes, the first window left out, and how many
// requests in a thousand were refused.
func (a *account) used(start time.Time) (part, refused float64) {
	n := 0
	for _, at := range a.all {
		if at.Sub(start) >= 10*time.Second {
			n++
		}
	}
	return float64(n) / (30 * float64(a.limit)), 1000 * float64(a.refused) / float64(len(a.all)+a.refused)
}

// TestReplicas: replicas that know nothing of each other use the account's limit up, and do not exceed it, however
// the work is spread over them.
func TestReplicas(t *testing.T) {
	for _, tc := range []struct {
		name           string
		replicas, busy int
		others         time.Duration // the mean pause between the requests of those that are not busy
		least, refused float64
	}{
		{"one", 1, 1, 0, 0.98, 0},
		{"two", 2, 2, 0, 0.95, 1},
		{"four", 4, 4, 0, 0.95, 1},
		{"eight", 8, 8, 0, 0.95, 1},
		{"all work at one of two", 2, 1, time.Hour, 0.95, 1},
		{"all work at one of eight", 8, 1, time.Hour, 0.95, 1},
		{"half of eight", 8, 4, time.Hour, 0.9, 1},
		{"a backlog at one of eight, live traffic at the others", 8, 1, 5 * time.Second, 0.9, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, start := &account{limit: 100}, time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 310*time.Second)
				defer cancel()
				var members sync.WaitGroup
				for i := range tc.replicas {
					every := time.Duration(0)
					if i >= tc.busy {
						every = tc.others
					}
					p := pace.New(pace.Config{Auto: true})
					p.Share(3, 3*tc.replicas, 3*i, nil)
					members.Go(func() { a.member(ctx, p, every, uint64(i)) })
				}
				members.Wait()
				used, refused := a.used(start)
				t.Logf("%.1f %% of the limit used, %.2f in a thousand refused", 100*used, refused)
				if used < tc.least || refused > tc.refused {
					t.Errorf("%.1f %% of the limit used, want %.0f %%; %.2f in a thousand refused, want at most %.0f", 100*used,
						100*tc.least, refused, tc.refused)
				}
			})
		})
	}
}

// TestReplicasScale: the same while replicas come and go, with all work at the first one, or at all of them.
func TestReplicasScale(t *testing.T) {
	for _, tc := range []struct {
		name  string
		busy  int
		takes time.Duration // a rebalance
	}{
		{"even", 8, time.Second}, {"skewed", 1, time.Second}, {"even, quick rebalances", 8, 100 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, start := &account{limit: 100}, time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 310*time.Second)
				defer cancel()
				var members sync.WaitGroup
				paces := make([]*pace.Pace, 8)
				for i := range paces {
					paces[i] = pace.New(pace.Config{Auto: true})
				}
				started := 0
				for _, n := range []int{1, 4, 8, 2, 8, 1} {
					a.mu.Lock()
					a.rebalanced = time.Now().Add(tc.takes) // nobody sends while the group divides anew
					a.mu.Unlock()
					time.Sleep(tc.takes)
					notes := make([][]byte, n)
					for i, p := range paces[:n] {
						notes[i] = p.Note()
					}
					for _, p := range paces[n:] {
						p.Share(0, 24, 0, nil)
					}
					for i := range n {
						paces[i].Share(24/n, 24, i*24/n, slices.Concat(notes[:i], notes[i+1:]))
						if i >= started {
							every := time.Hour
							if i < tc.busy {
								every = 0
							}
							members.Go(func() { a.member(ctx, paces[i], every, uint64(i)) })
							started++
						}
					}
					time.Sleep(50 * time.Second)
				}
				cancel()
				members.Wait()
				used, refused := a.used(start)
				t.Logf("%.1f %% of the limit used, %.2f in a thousand refused", 100*used, refused)
				if used < 0.9 || refused > 3 { // a rebalance in each minute
					t.Errorf("%.1f %% of the limit used, want 88 %%; %.2f in a thousand refused, want at most 8", 100*used, refused)
				}
			})
		})
	}
}

// TestReplicaAfterAStart: what little others use while the share is not in force yet is left to them, and the window is
// not asked for more when it is known to be full.
func TestReplicaAfterAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &account{limit: 100}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		time.AfterFunc(300*time.Millisecond, func() { a.arrive() })
		a.member(ctx, newPace(pace.Config{Auto: true}, 6, 6), 0, 1)
		if a.refused > 0 || len(a.all) < 225 {
			t.Errorf("%d requests passed in 25s, %d were refused", len(a.all), a.refused)
		}
	})
}

// TestReplicaBesideAHog: another program takes the whole window for a while. What it leaves is found again.
func TestReplicaBesideAHog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, start := &account{limit: 20}, time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		var others sync.WaitGroup
		others.Go(func() {
			for time.Since(start) < 50*time.Second { // it has no pace of its own
				a.arrive()
				time.Sleep(50 * time.Millisecond)
			}
		})
		a.member(ctx, newPace(pace.Config{Auto: true}, 6, 6), 0, 1)
		others.Wait()
		late := 0
		for _, at := range a.all {
			if at.Sub(start) >= 75*time.Second {
				late++
			}
		}
		if late < 35 {
			t.Errorf("%d requests in the last 25s, long after the other program stopped", late)
		}
	})
}
