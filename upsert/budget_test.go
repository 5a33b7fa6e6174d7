package upsert_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestTheSearchHasABudget: one record in twenty of a topic is refused with its whole batch, which is far more than the
// window can find. After twenty convictions the search for further ones uses five percent of the window's requests,
// goes on all the time, and other topics flow.
func TestTheSearchHasABudget(t *testing.T) {
	for _, inFlight := range []int{8, 1} {
		t.Run(fmt.Sprint(inFlight, " in flight"), func(t *testing.T) {
			config := hubspottest.Config{IgnoreTrace: true, Latency: 50 * time.Millisecond}
			run(t, setup{long: true, inFlight: inFlight, hubspot: config}, func(r *rig) {
				made := map[string]time.Time{}
				search := func(long int) (requests, letters int) {
					first, before := len(r.hubspot.Requests()), r.lettersNow()
					for second := range long {
						for i := range 100 {
							id := fmt.Sprintf("tasks-%d-%d-%d", first, second, i)
							if i%20 == 7 {
								r.arrive("tasks", 0, event(id, bad))
							} else {
								r.arrive("tasks", 0, event(id, subject("s")))
							}
						}
						for i := range 20 {
							id := fmt.Sprintf("notes-%d-%d-%d", first, second, i)
							made[id] = time.Now()
							r.arrive("notes", 0, event(id, subject("s")))
						}
						time.Sleep(time.Second)
					}
					return r.searchesSince(first), r.lettersNow() - before
				}
				free, long := 600, 900
				if underRace {
					free, long = 60, 100
				}
				search(free)
				requests, letters := search(long)
				t.Logf("%d requests, %d letters; holds %s", requests, letters, r.holds())
				// HubSpot's lowest limit is ten requests a second. In any time one more search may begin than the mean; one
				// takes 55 requests here.
				if most := 10*long/20 + 55; requests > most {
					t.Errorf("the search took %d requests in %d s, want at most %d", requests, long, most)
				}
				if letters < long/30 {
					t.Errorf("%d convictions in %d s", letters, long)
				}
				worst := time.Duration(0)
				for _, w := range r.hubspot.Journal() {
					if at, ok := made[w.ID]; ok {
						worst = max(worst, w.Time.Sub(at))
						delete(made, w.ID)
					}
				}
				if inFlight > 1 && worst > 5*time.Second || len(made) > 20 {
					t.Errorf("the other topic: %v at most, %d are not written", worst, len(made))
				}
			})
		})
	}
}

// searchesSince counts the requests, from the first on, that carried only a part of a batch of the sick topic.
func (r *rig) searchesSince(first int) (n int) {
	sick := map[int]bool{}
	for _, w := range r.hubspot.Journal() {
		sick[w.Request] = sick[w.Request] || strings.HasPrefix(w.ID, "tasks-")
	}
	for _, req := range r.hubspot.Requests()[first:] {
		if req.Inputs <= 50 && (req.Status == 400 || sick[req.Seq]) {
			n++
		}
	}
	return n
}
