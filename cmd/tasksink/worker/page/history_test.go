package page_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tasksink/tasksink/cmd/tasksink/worker/page"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestHistory: a sample at once and then one each step, oldest first, and no more than fit into the span.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, taken := time.Now(), int64(0)
		h := page.NewHistory(func() page.Sample { taken++; return page.Sample{At: time.Now(), Lag: taken} })
		if got := h.Samples(); got == nil || len(got) != 0 {
			t.Errorf("before it runs: %v", got)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { h.Run(ctx) })
		for _, tc := range []struct {
			after    time.Duration
			from, to time.Duration
			n        int
		}{
			{0, 0, 0, 1},
			{page.Step - 1, 0, 0, 1},
			{page.Step, 0, page.Step, 2},
			{page.Span, 0, page.Span, 181},
			{page.Span + page.Step, page.Step, page.Span + page.Step, 181},
			{3*page.Span + 7*page.Step, 2*page.Span + 7*page.Step, 3*page.Span + 7*page.Step, 181},
		} {
			time.Sleep(time.Until(began.Add(tc.after)))
			synctest.Wait()
			got := h.Samples()
			if len(got) != tc.n || !got[0].At.Equal(began.Add(tc.from)) || !got[len(got)-1].At.Equal(began.Add(tc.to)) {
				t.Errorf("after %v: %d samples, from %v to %v; want %d, from %v to %v", tc.after, len(got),
					got[0].At.Sub(began), got[len(got)-1].At.Sub(began), tc.n, tc.from, tc.to)
			}
			for i := range got[1:] {
				if got[i+1].Lag != got[i].Lag+1 {
					t.Fatalf("after %v: sample %d follows %d", tc.after, got[i+1].Lag, got[i].Lag)
				}
			}
		}
		stop()
		running.Wait()
	})
}
