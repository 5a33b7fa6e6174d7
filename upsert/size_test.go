package upsert_test

import (
	"testing"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestABoundOfTheSize: something before HubSpot refuses requests above a size, then above a lower one, then lets all
// through. Each bound costs a few requests to learn, and is kept; the last one is forgotten.
func TestABoundOfTheSize(t *testing.T) {
	run(t, setup{long: true, hubspot: hubspottest.Config{Latency: 50 * time.Millisecond}}, func(r *rig) {
		above := func(n int) (remove func()) {
			return r.hubspot.Inject(hubspottest.Fault{Status: 413, Body: hubspottest.Page(413, "Request Entity Too Large"),
				Match: func(in []hubspottest.Input) bool { return len(in) > n }}) // all records have the same size
		}
		phase := func(name string, atMost int) {
			t.Helper()
			before := len(r.hubspot.Requests())
			for range 60 {
				r.produce(many(100, 100_000+len(r.records))...)
				time.Sleep(time.Second)
			}
			r.settled(10 * time.Second)
			requests := r.hubspot.Requests()[before:]
			refused := 0
			for _, req := range requests {
				if req.Status == 413 {
					refused++
				}
			}
			if len(requests) > atMost || refused > 25 {
				t.Errorf("%s: %d requests for 6000 records, want at most %d; %d refused, want at most 25", name,
					len(requests), atMost, refused)
			}
		}
		phase("no bound", 60)
		remove := above(60)
		phase("above 60", 140)
		remove()
		remove = above(20)
		phase("above 20", 600) // a bound is at least half of what would pass
		remove()
		time.Sleep(45 * time.Minute) // it doubles every ten
		phase("no bound any more", 70)
		r.deadLettered()
		r.once()
	})
}
