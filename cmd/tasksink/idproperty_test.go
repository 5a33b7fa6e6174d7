package main_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestIDProperties: an event is written by a configured idProperty only. Without one the program starts, says so at
// once, and makes each event a dead letter.
func TestIDProperties(t *testing.T) {
	t.Parallel()
	const warning = "no idProperty is configured: every event becomes a dead letter; set --hubspot-id-property"
	b := kafkatest.Fake(t)
	event := func(key, idProperty string) kafka.Message {
		return kafka.Message{Key: []byte(key), Value: []byte(`{"id":"` + key + `"` + idProperty +
			`,"properties":{"hs_timestamp":"2026-11-23T10:00:00Z"}}`)}
	}
	for name, tc := range map[string]struct {
		more    []string
		written []string
		reasons []string
	}{
		"configured": {[]string{"--hubspot-id-property=external_task_id", "--hubspot-id-properties=invoice_id,ticket_id"},
			[]string{"external_task_id none", "invoice_id further"}, []string{"UNKNOWN_ID_PROPERTY"}},
		"only further ones": {[]string{"--hubspot-id-properties=invoice_id"},
			[]string{"invoice_id further"}, []string{"MISSING_ID_PROPERTY", "UNKNOWN_ID_PROPERTY"}},
		"none": {nil, nil, []string{"MISSING_ID_PROPERTY", "UNKNOWN_ID_PROPERTY", "UNKNOWN_ID_PROPERTY"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic, hubspot, args := world(t, b, 1, hubspottest.Config{IDProperties: []string{"external_task_id", "invoice_id",
				"ticket_id", "foreign_id"}})
			args = slices.DeleteFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--hubspot-id-property=") })
			b.CreateTopic(t, topic+".dlq", 1, nil)
			b.Produce(t, topic, event("none", ""), event("further", `,"idProperty":"invoice_id"`),
				event("foreign", `,"idProperty":"foreign_id"`))
			m := start(t, name, append(args, tc.more...)...)
			until(t, "all is committed", time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
			var written, reasons []string
			for _, w := range hubspot.Journal() {
				written = append(written, w.IDProperty+" "+w.ID)
			}
			for _, letter := range b.ReadAll(t, topic+".dlq") {
				for _, h := range letter.Headers {
					if h.Key == "tasksink.dlq.code" {
						reasons = append(reasons, string(h.Value))
					}
				}
			}
			slices.Sort(written)
			slices.Sort(reasons)
			if !slices.Equal(written, tc.written) || !slices.Equal(reasons, tc.reasons) {
				t.Errorf("written: %q, letters: %q", written, reasons)
			}
			if warned := strings.Contains(m.log.String(), warning); warned != (tc.more == nil) {
				t.Errorf("it warns that no idProperty is configured: %v", warned)
			}
			if err := m.terminate(t); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
		})
	}
}
