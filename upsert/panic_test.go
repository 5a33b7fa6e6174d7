package upsert_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/upsert"
)

// TestPanic: a record on which tasksink's own code panics is a dead letter, and in the log once, with the stack and
// nothing of the record. Its neighbours flow, also those of its own object that travelled with it.
func TestPanic(t *testing.T) {
	for _, stage := range []string{dlq.StageDecode, dlq.StageUpsert} {
		t.Run(stage, func(t *testing.T) {
			defer upsert.Inspect(func(at string, rec *consumer.Record) {
				if at == stage && strings.Contains(string(rec.Value), "poison") {
					panic(fmt.Sprintf("cannot work on %s", rec.Value))
				}
			})()
			var log bytes.Buffer
			tune := func(_ *batcher.Config[*upsert.Task], s *upsert.SenderConfig) {
				s.Log = zerolog.New(zerolog.SyncWriter(&log)).Level(zerolog.WarnLevel)
			}
			run(t, setup{tune: tune}, func(r *rig) {
				r.decoder.Log = zerolog.New(zerolog.SyncWriter(&log))
				events := append(many(100, 0), event("a", subject("first")), event("a", subject("second")),
					event("a", subject("poison")), event("a", subject("fourth")), event("a", subject("last")),
					event("b", subject("poison")))
				r.produce(events...)
				r.settled(time.Minute)
				letters := r.deadLettered(102, 105)
				if reason := letters[102]; reason.Category != "PANIC" || reason.Stage != stage ||
					!strings.Contains(reason.Message, "cannot work on") {
					t.Errorf("reason %+v", reason)
				}
				r.keeps("a", "last")
				if n := len(r.hubspot.Objects()); n != 101 {
					t.Errorf("HubSpot holds %d objects, want 101", n)
				}
				if stage == dlq.StageUpsert {
					r.once()
				}
			})
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			if len(lines) != 2 || strings.Contains(log.String(), "poison") {
				t.Fatalf("the log is\n%s", log.String())
			}
			for _, line := range lines {
				var got struct {
					Level, Stage, Panic, Stack string
					Offset                     int64
				}
				if err := json.Unmarshal([]byte(line), &got); err != nil || got.Level != "error" || got.Stage != stage ||
					got.Panic != "string" || got.Offset != 102 && got.Offset != 105 || !strings.Contains(got.Stack, "upsert.") {
					t.Errorf("logged %s: %v", line, err)
				}
			}
		})
	}
}
