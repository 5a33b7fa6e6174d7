package upsert_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestBadRecordsDoNotOpenTheBreaker: a record that fails at once takes its parts of the batch with it, one after the
// other, before their slower neighbours are written. That is not an outage.
func TestBadRecordsDoNotOpenTheBreaker(t *testing.T) {
	for _, latency := range []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 3 * time.Second} {
		for _, records := range []int{1, 3} {
			run(t, setup{hubspot: hubspottest.Config{Latency: latency}}, func(r *rig) {
				for i := range records {
					r.hubspot.Inject(hubspottest.Fault{Match: hubspottest.Has(fmt.Sprintf("task-%d", 7+19*i)), Status: 500})
				}
				r.produce(many(100, 0)...)
				for range 300 {
					time.Sleep(100 * time.Millisecond)
					if st := r.sender.Status(); st.Outage != nil {
						t.Errorf("with %d records and a latency of %v there is the outage %+v", records, latency, st.Outage)
						break
					}
				}
				if n, named := len(r.hubspot.Objects()), strings.Count(r.holds(), "record "); n != 100-records ||
					named != records {
					t.Errorf("with %d records and a latency of %v %d are written, and held: %s", records, latency, n, r.holds())
				}
			})
		}
	}
}

// TestOutageInWhichSomeHang: requests without an answer do not hide the failures of the others for long.
func TestOutageInWhichSomeHang(t *testing.T) {
	run(t, setup{hubspot: hubspottest.Config{Latency: 50 * time.Millisecond}}, func(r *rig) {
		r.produce(many(5000, 0)...)
		r.settled(time.Minute)
		r.hubspot.Inject(hubspottest.Fault{Hang: true, Share: 0.02})
		r.hubspot.SetDown(true)
		r.produce(many(5000, 5000)...)
		time.Sleep(8 * time.Second)
		if r.sender.Status().Outage == nil {
			t.Error("the breaker is closed")
		}
	})
}
