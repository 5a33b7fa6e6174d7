package upsert_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/upsert"
)

// TestHeldBack: what a flood holds back locks its object, until the flood ends or its partition is given up.
func TestHeldBack(t *testing.T) {
	for _, end := range []string{"flow", "drop"} {
		t.Run(end, func(t *testing.T) {
			var dropped atomic.Bool
			tune := func(q *batcher.Config[*upsert.Task], _ *upsert.SenderConfig) {
				q.Return = func(*upsert.Task) bool { return dropped.Load() }
			}
			run(t, setup{tune: tune}, func(r *rig) {
				for i := range 1100 {
					r.produce(fmt.Sprintf(`{"id":"task-%d","properties":{"x":[]}}`, i))
				}
				r.produce(event("task-1050", subject("later")))
				time.Sleep(time.Hour)
				if st := r.sender.Status(); st.HeldBack != 101 || st.Queued != 1 || len(r.hubspot.Requests()) > 0 {
					t.Fatalf("status %+v, %d requests", st, len(r.hubspot.Requests()))
				}
				if end == "drop" {
					dropped.Store(true)
					r.sender.Drop(func(rec *consumer.Record) bool { return !rec.Settled() })
					if st := r.sender.Status(); st.HeldBack != 0 || st.Queued != 0 {
						t.Errorf("status %+v after the drop", st)
					}
					dropped.Store(false)
					r.records = nil
					r.produce(event("task-1050", subject("later")))
				} else {
					r.produce(event("healthy"))
				}
				r.settled(time.Minute)
				r.holds("task-1050", "later")
				if want := map[string]int{"flow": 1100, "drop": 999}[end]; len(r.letters) != want {
					t.Errorf("%d dead letters, want %d", len(r.letters), want)
				}
			})
		})
	}
}

// TestALetterLocksItsObject: neither good nor bad events of an object go on before Kafka has the letter of an earlier
// one, and other objects do not wait for it.
func TestALetterLocksItsObject(t *testing.T) {
	for name, first := range map[string]string{"refused": event("a", bad), "no task event": `{"id":"a","properties":{"x":[]}}`} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var waiting []func(bool)
			tune := func(_ *batcher.Config[*upsert.Task], s *upsert.SenderConfig) {
				s.DeadLetter = func(rec *consumer.Record, _ dlq.Reason, done func(bool)) {
					mu.Lock()
					defer mu.Unlock()
					waiting = append(waiting, func(written bool) { rec.Settle(time.Now()); done(written) })
				}
			}
			run(t, setup{tune: tune}, func(r *rig) {
				r.produce(first)
				time.Sleep(time.Minute)
				r.produce(event("a", subject("second")), event("a", bad), `{"id":"a"}`, event("b"))
				time.Sleep(time.Minute)
				for i, rec := range r.records {
					if rec.Settled() != (i == 4) {
						t.Errorf("record %d: settled %v before the first letter is acknowledged", i, rec.Settled())
					}
				}
				for n := 1; n <= 3; n++ {
					mu.Lock()
					handed, acknowledge := len(waiting), waiting[len(waiting)-1]
					mu.Unlock()
					if handed != n {
						t.Fatalf("%d letters were handed over, want %d", handed, n)
					}
					acknowledge(true)
					time.Sleep(time.Minute)
				}
				r.settled(0)
				r.holds("a", "second")
			})
		})
	}
}
