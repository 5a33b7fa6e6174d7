package upsert_test

import (
	"sync"
	"testing"
	"time"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/upsert"
)

// TestALetterLocksItsObject: neither good nor bad events of an object go on before Kafka has the letter of an earlier
// one, and other objects do not wait for it.
func TestALetterLocksItsObject(t *testing.T) {
	for name, first := range map[string]string{"refused": event("a", bad),
		"no task event": `{"id":"a","properties":{"x":[]}}`} {
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
				r.keeps("a", "second")
			})
		})
	}
}
