package upsert_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tasksink/tasksink/internal/watchdog"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// watched plays a story with the watchdog running.
func watched(t *testing.T, c setup, story func(r *rig)) {
	t.Helper()
	run(t, c, func(r *rig) {
		ctx, stop := context.WithCancel(r.t.Context())
		var running sync.WaitGroup
		running.Go(func() { c.watch.Run(ctx) })
		story(r)
		stop()
		running.Wait()
	})
}

// TestWedged: a sender that does not come back from the queue, and a request whose answer is never settled, are named
// until they go on.
func TestWedged(t *testing.T) {
	for _, name := range []string{"sender", "request to HubSpot"} {
		t.Run(name, func(t *testing.T) {
			var release chan struct{} // made in the story: what waits for a channel of its own bubble lets time pass
			stuck := func() { <-release }
			c := setup{watch: watchdog.New(5 * time.Second), writing: stuck}
			if name == "sender" {
				c.sealing, c.writing = stuck, nil
			}
			watched(t, c, func(r *rig) {
				release = make(chan struct{})
				r.produce(event("a", bad))
				time.Sleep(10 * time.Second)
				if names := c.watch.Wedged(); !slices.Equal(names, []string{name}) {
					t.Errorf("wedged: %q, want %s", names, name)
				}
				close(release)
				r.settled(10 * time.Second)
				if names := c.watch.Wedged(); names != nil {
					t.Errorf("wedged after it went on: %q", names)
				}
			})
		})
	}
}

// TestHubSpotNeverWedges: whatever HubSpot does, and however long, each attempt ends in time, and to wait is no fault.
func TestHubSpotNeverWedges(t *testing.T) {
	const refusal = `{"status":"error","message":"no","correlationId":"c","category":"INVALID_AUTHENTICATION"}`
	for name, fault := range map[string]hubspottest.Fault{
		"no answer":              {Hang: true},
		"an answer without end":  {SlowBody: time.Second},
		"a cut connection":       {Reset: true},
		"the token is refused":   {Status: 401, Body: refusal},
		"it answers with a page": {Status: 503, Body: "<html>busy</html>"},
	} {
		t.Run(name, func(t *testing.T) {
			c := setup{watch: watchdog.New(30 * time.Second)}
			watched(t, c, func(r *rig) {
				remove := r.hubspot.Inject(fault)
				r.produce(many(250, 0)...)
				for range 10 * 60 {
					time.Sleep(time.Second)
					if names := c.watch.Wedged(); names != nil {
						t.Fatalf("wedged: %q", names)
					}
				}
				remove()
				r.settled(time.Minute)
			})
		})
	}
}
