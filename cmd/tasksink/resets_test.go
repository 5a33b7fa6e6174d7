package main_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/cmd/tasksink/worker"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestLogResets: /status counts a partition whose topic was created again, and one whose log was truncated, and agrees
// with the metric.
func TestLogResets(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t, kfake.NumBrokers(2))
	topic, _, args := world(t, b, 1, hubspottest.Config{})
	b.Produce(t, topic, versions(0, 100, 100)...)
	m := start(t, "reset", args...)
	counts := func(restarted, truncated int64) bool {
		t.Helper()
		var shown struct {
			Records map[string]int64 `json:"records"`
		}
		_, body := m.get(t, "/status")
		if err := json.Unmarshal([]byte(body), &shown); err != nil {
			t.Fatal(err)
		}
		if _, ok := shown.Records["restarted_partitions"]; !ok {
			t.Fatalf("/status has no restarted_partitions: %s", body)
		}
		families := m.scrape(t)
		recreated, _ := seriesValue(families["tasksink_log_resets_total"], "cause=recreated")
		cut, _ := seriesValue(families["tasksink_log_resets_total"], "cause=truncated")
		return shown.Records["restarted_partitions"] == restarted && shown.Records["truncated_partitions"] == truncated &&
			int64(recreated) == restarted && int64(cut) == truncated
	}
	until(t, "the first records are committed", 30*time.Second, func() bool { return b.Lag(t, topic, topic) == 0 })
	if !counts(0, 0) {
		t.Error("a reset is counted, and there was none")
	}
	b.DeleteTopic(t, topic)
	b.CreateTopic(t, topic, 1, nil)
	b.Produce(t, topic, versions(100, 100, 100)...)
	until(t, "the new topic counts as recreated", 30*time.Second, func() bool { return counts(1, 0) })
	until(t, "its records are committed", 30*time.Second, func() bool {
		return b.Committed(t, topic, topic)[topic][0] == 100
	})

	// The next leader says that it has only the first half of what was read.
	b.Fake.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(asked kmsg.Request) (kmsg.Response, error, bool) {
		res := asked.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		part := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
		part.EndOffset = 50
		res.Topics = []kmsg.OffsetForLeaderEpochResponseTopic{{Topic: topic,
			Partitions: []kmsg.OffsetForLeaderEpochResponseTopicPartition{part}}}
		return res, nil, true
	})
	if err := b.Fake.MoveTopicPartition(topic, 0, 1-b.Fake.LeaderFor(topic, 0)); err != nil {
		t.Fatal(err)
	}
	until(t, "the log counts as truncated", 30*time.Second, func() bool { return counts(1, 1) })
	var last worker.Status
	until(t, "all records are read again", 30*time.Second, func() bool {
		_, body := m.get(t, "/status")
		return json.Unmarshal([]byte(body), &last) == nil && len(last.Partitions) == 1 && last.Partitions[0].Position == 100
	})
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}
