package upsert_test

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestFindZone: the account's time zone is asked for, and waited for in an outage.
func TestFindZone(t *testing.T) {
	run(t, setup{hubspot: hubspottest.Config{TimeZone: "America/New_York"}}, func(r *rig) {
		found := make(chan *time.Location, 1)
		r.client.FindZone(r.t.Context(), func(z *time.Location) { found <- z }, zerolog.Nop())
		if zone := <-found; zone.String() != "America/New_York" {
			t.Errorf("zone %v", zone)
		}
	})
}
