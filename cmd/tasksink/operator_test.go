package main_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestAWayOutAtNight: a record that HubSpot fails on stands alone on a quiet topic, so nothing decides on it. An
// operator lists it, and within 3 s it is a dead letter, its hold has ended, and its offset is committed.
func TestAWayOutAtNight(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	file := filepath.Join(t.TempDir(), "records.txt")
	topic, hubspot, args := world(t, b, 1, hubspottest.Config{}, "--dead-letter-file="+file)
	b.CreateTopic(t, topic+".dlq", 1, nil)
	hubspot.Inject(hubspottest.Fault{Status: 500, Match: func(in []hubspottest.Input) bool {
		return slices.ContainsFunc(in, func(i hubspottest.Input) bool { return i.ID == "poison" })
	}})
	b.Produce(t, topic, versions(0, 3, 3)...)
	m := start(t, "at night", args...)
	until(t, "the healthy ones are committed", 30*time.Second, func() bool { return b.Lag(t, topic, topic) == 0 })
	b.Produce(t, topic, kafka.Message{Key: []byte("poison"),
		Value: []byte(`{"id":"poison","properties":{"hs_timestamp":"2026-11-23T10:00:00Z"}}`)})
	record := topic + "/0/3"
	until(t, "the board names the record", 30*time.Second, func() bool {
		holds := m.status(t).Holds
		return len(holds) == 1 && holds[0].Reason == "record" && holds[0].Scope == record
	})
	if err := os.WriteFile(file, []byte("# an order from the on-call engineer\n"+record+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "it is a dead letter, and nothing is open", 3*time.Second, func() bool {
		st := m.status(t)
		return len(st.Holds) == 0 && st.DeadLetters.Written["OPERATOR"] == 1
	})
	until(t, "its offset is committed", 3*time.Second, func() bool { return b.Lag(t, topic, topic) == 0 })
	letters := b.ReadAll(t, topic+".dlq")
	if len(letters) != 1 {
		t.Fatalf("%d letters, want 1", len(letters))
	}
	headers := map[string]string{}
	for _, h := range letters[0].Headers {
		headers[h.Key] = string(h.Value)
	}
	if headers["tasksink.dlq.category"] != "OPERATOR" || headers["tasksink.dlq.stage"] != "upsert" ||
		headers["tasksink.dlq.offset"] != "3" || !strings.Contains(headers["tasksink.dlq.message"], "HTTP 500") {
		t.Errorf("the letter's headers are %v", headers)
	}
	if want := "record " + record + ": it becomes a dead letter"; !strings.Contains(m.log.String(), want) {
		t.Errorf("the log does not say %q", want)
	}
	if _, metrics := m.get(t, "/metrics"); !strings.Contains(metrics, `category="OPERATOR"`) {
		t.Error("/metrics does not count the letter")
	}
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}
