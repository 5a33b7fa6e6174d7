package upsert_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestTheSearchHasABudget: one record in twenty of a topic is refused with its whole batch. After twenty convictions the
// search for further ones uses five percent of the window's requests, and other topics flow.
func TestTheSearchHasABudget(t *testing.T) {
	run(t, setup{long: true, hubspot: hubspottest.Config{IgnoreTrace: true, Latency: 100 * time.Millisecond}}, func(r *rig) {
		made := map[string]time.Time{}
		for second := range 300 {
			for i := range 100 {
				value := event(fmt.Sprintf("tasks-%d-%d", second, i), subject("s"))
				if i%20 == 7 {
					value = event(fmt.Sprintf("bad-%d-%d", second, i), bad)
				}
				r.arrive("tasks", 0, value)
			}
			for i := range 20 {
				id := fmt.Sprintf("notes-%d-%d", second, i)
				made[id] = time.Now()
				r.arrive("notes", 0, event(id, subject("s")))
			}
			time.Sleep(time.Second)
			if second%20 == 19 {
				st := r.sender.Status()
				t.Logf("%d s: %v, upserted %d, letters %d, holds %s", second, st.Requests, st.Upserted, r.lettersNow(), r.holds())
			}
		}
		worst, written := time.Duration(0), 0
		for _, w := range r.hubspot.Journal() {
			if at, ok := made[w.ID]; ok {
				worst, written = max(worst, w.Time.Sub(at)), written+1
			}
		}
		t.Logf("notes: %d of %d, worst %v", written, len(made), worst)
	})
}
