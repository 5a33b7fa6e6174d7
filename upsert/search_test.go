package upsert_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestSearchIsNoSilence: when the search for further bad records of a kind is paced, few answers come, and some of them
// in a row are refusals. They hold nothing but the search, which ends.
func TestSearchIsNoSilence(t *testing.T) {
	const events, bads = 1000, 40
	run(t, setup{hubspot: hubspottest.Config{Latency: 50 * time.Millisecond, IgnoreTrace: true}, inFlight: 4,
		letFlood: true}, func(r *rig) {
		for i, one := range many(events, 0) {
			if i%(events/bads) == 0 {
				one = strings.Replace(one, `"properties":{`, `"properties":{`+bad+`,`, 1)
			}
			r.produce(one)
		}
		searched := false
		for i := range 30 * 60 {
			time.Sleep(time.Second)
			holds := r.holds()
			searched = searched || strings.HasPrefix(holds, "search ")
			if i%20 == 0 || i < 30 {
				t.Logf("%d %d %d %s %v", i, len(r.hubspot.Objects()), len(r.letters), holds, r.sender.Status().Requests)
			}
		}
		if !searched || len(r.letters) != bads || len(r.hubspot.Objects()) != events-bads {
			t.Errorf("search: %v, %d letters, %d written; held: %s", searched, len(r.letters), len(r.hubspot.Objects()),
				r.holds())
		}
		r.settled(0)
	})
}
