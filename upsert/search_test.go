package upsert_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestManyBadRecordsAreFound: of a backlog, one record in twenty-five is refused with its whole batch, so that the
// first requests are all refused, and the lane is held. The probe of that hold passes, and the search goes on where it
// was. Paced, it brings few answers, of which some in a row are refusals: that is no hold of the lane. It ends, with
// its hold.
func TestManyBadRecordsAreFound(t *testing.T) {
	const events, bads = 1000, 40
	run(t, setup{hubspot: hubspottest.Config{Latency: 50 * time.Millisecond, IgnoreTrace: true}, inFlight: 4,
		letFlood: true}, func(r *rig) {
		for i, one := range many(events, 0) {
			if i%(events/bads) == 0 {
				one = strings.Replace(one, `"properties":{`, `"properties":{`+bad+`,`, 1)
			}
			r.produce(one)
		}
		began, blocked, searched := time.Now(), 0, false
		for len(r.hubspot.Objects()) < events-bads && time.Since(began) < 10*time.Minute {
			time.Sleep(time.Second)
			searched = searched || strings.Contains(r.holds(), "search ")
			if strings.Contains(r.holds(), "blocked ") {
				blocked++
			}
		}
		t.Logf("after %v: %v; the lane was held for %d s", time.Since(began), r.sender.Status().Requests, blocked)
		r.settled(time.Minute)
		for range 300 { // the hold ends at its next turn
			if time.Sleep(time.Second); r.holds() == "" {
				break
			}
		}
		if !searched || blocked > 15 || len(r.letters) != bads || r.holds() != "" {
			t.Errorf("search: %v, %d letters, the lane was held for %d s; held: %s", searched, len(r.letters), blocked,
				r.holds())
		}
	})
}
