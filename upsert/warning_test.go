package upsert_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestWarnings: what HubSpot notes about tasks that it wrote is counted by category, and logged once a kind, without
// HubSpot's words, which may quote the record.
func TestWarnings(t *testing.T) {
	warn := func(in hubspottest.Input) string {
		switch {
		case strings.HasPrefix(in.ID, "owner"):
			return "OWNER_DEACTIVATED"
		case strings.HasPrefix(in.ID, "many"):
			return strings.ToUpper(in.ID)
		}
		return ""
	}
	var log bytes.Buffer
	tune := func(_ *batcher.Config[*upsert.Task], s *upsert.SenderConfig) {
		s.Log = zerolog.New(zerolog.SyncWriter(&log)).Level(zerolog.WarnLevel)
	}
	run(t, setup{hubspot: hubspottest.Config{Warn: warn}, tune: tune}, func(r *rig) {
		r.produce(event("owner-1", subject("secret words")), event("fine-1", subject("s")))
		r.produce(event("owner-2", subject("secret words")))
		r.settled(time.Minute)
		status := r.sender.Status()
		if got := fmt.Sprint(status.Warnings); got != "map[OWNER_DEACTIVATED:2]" || len(r.letters) > 0 {
			t.Errorf("warnings %s, %d letters", got, len(r.letters))
		}
		written := log.String()
		if n := strings.Count(written, `"kind":"OWNER_DEACTIVATED hs_task_subject"`); n != 1 ||
			strings.Contains(written, "secret words") {
			t.Errorf("%d lines, want one without HubSpot's words: %s", n, written)
		}
		for i := range 100 {
			r.produce(event(fmt.Sprint("many-", i), subject("s")))
		}
		r.settled(time.Minute)
		if warnings := r.sender.Status().Warnings; len(warnings) != 51 || warnings["other"] != 51 {
			t.Errorf("%d categories, %d others", len(warnings), warnings["other"])
		}
	})
}
