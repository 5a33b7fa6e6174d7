package main_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	dto "github.com/prometheus/client_model/go"

	"github.com/tasksink/tasksink/cmd/tasksink/worker"
	"github.com/tasksink/tasksink/cmd/tasksink/worker/page"
	"github.com/tasksink/tasksink/consumer/offsetmap"
	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// scrape reads a member's /metrics, as Prometheus does.
func (m *member) scrape(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	_, body := m.get(t, "/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("%v in\n%s", err, body)
	}
	return families
}

// seriesValue is that of the series with all the given labels, written as name=value; the sum, if several have them.
func seriesValue(f *dto.MetricFamily, labels ...string) (sum float64, found bool) {
	for _, m := range f.GetMetric() {
		has := map[string]bool{}
		for _, l := range m.GetLabel() {
			has[l.GetName()+"="+l.GetValue()] = true
		}
		if slices.ContainsFunc(labels, func(l string) bool { return !has[l] }) {
			continue
		}
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		found = true
	}
	return sum, found
}

// TestMetrics: the names, types, labels and bounds on /metrics are what dashboards and alerts rely on, and the numbers
// are right, after records of each outcome, an outage, and a hold.
func TestMetrics(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	var warned atomic.Bool // one result has a warning
	warn := func(hubspottest.Input) string {
		if warned.Swap(true) {
			return ""
		}
		return "OWNER_DEACTIVATED"
	}
	topic, hubspot, args := world(t, b, 2, hubspottest.Config{Limit: 100, Daily: 250_000, Warn: warn}, "--tombstones=skip",
		"--hubspot-rate=auto", "--hubspot-timezone=UTC", "--max-pending=100")
	b.CreateTopic(t, topic+".dlq", 1, nil)
	var troubled atomic.Bool // one input is
	hubspot.Inject(hubspottest.Fault{Items: func(hubspottest.Input) string {
		if troubled.Swap(true) {
			return ""
		}
		return "CONFLICT"
	}})
	mend := hubspot.Inject(hubspottest.Fault{Status: 401, Body: `{"status":"error","category":"INVALID_AUTHENTICATION"}`})
	b.Produce(t, topic, append(versions(0, 300, 300), kafka.Message{Key: []byte("worse"), Value: []byte("{")},
		kafka.Message{Key: []byte("none")})...)
	m := start(t, "measured", args...)
	until(t, "the hold is shown", 20*time.Second, func() bool {
		held, _ := seriesValue(m.scrape(t)["tasksink_hold"], "reason=auth")
		return held == 1
	})
	if age, _ := seriesValue(m.scrape(t)["tasksink_consumer_lag_seconds"]); age <= 0 {
		t.Errorf("a lag of %v seconds while held", age)
	}
	b.Produce(t, topic, versions(300, 50, 300)...)
	until(t, "the lag grows while held, and there is no room to fetch", 20*time.Second, func() bool {
		lag, _ := seriesValue(m.scrape(t)["tasksink_consumer_lag"])
		return lag >= 349
	})
	var open map[string]*dto.MetricFamily
	until(t, "the topic's retention is known", 20*time.Second, func() bool {
		open = m.scrape(t)
		left, ok := seriesValue(open[openRetention])
		return ok && left > 6*86400
	})
	mend()
	until(t, "all is committed", time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
	until(t, "the lag is gone", 20*time.Second, func() bool {
		lag,
			ok := seriesValue(m.scrape(t)["tasksink_consumer_lag"])
		return ok && lag == 0
	})

	families := m.scrape(t)
	for _, want := range []struct {
		metric string
		labels []string
		value  float64
	}{
		{"tasksink_records_total", []string{"outcome=upserted"}, 350},
		{"tasksink_records_total", []string{"outcome=dead_lettered"}, 1},
		{"tasksink_records_total", []string{"outcome=skipped"}, 1},
		{"tasksink_record_age_seconds", nil, 352},
		{"tasksink_dead_letters_total", []string{"stage=decode", "category=INVALID_JSON"}, 1},
		{"tasksink_requests_total", []string{"status=200"}, float64(len(hubspot.Requests()) - refused(hubspot) - 1)},
		{"tasksink_requests_total", []string{"status=207"}, 1},
		{"tasksink_troubled_inputs_total", []string{"category=CONFLICT"}, 1},
		{"tasksink_warnings_total", []string{"category=OWNER_DEACTIVATED"}, 1},
		{"tasksink_requests_total", []string{"status=401"}, float64(refused(hubspot))},
		{"http_client_request_duration_seconds", []string{"http_response_status_code=401", "error_type=401"}, float64(refused(hubspot))},
		{"tasksink_batch_records", nil, float64(len(hubspot.Requests()))},
		{"tasksink_rate_wait_seconds", nil, float64(len(hubspot.Requests()))},
		{"messaging_process_duration_seconds", []string{"messaging_destination_name=" + topic}, float64(len(hubspot.Requests()))},
		{"messaging_client_consumed_messages_total", []string{"messaging_destination_name=" + topic}, 352},
		{"messaging_client_sent_messages_total", []string{"messaging_destination_name=" + topic + ".dlq"}, 1},
		{"tasksink_consumer_lag_seconds", nil, 0},
		{"tasksink_consumer_committed_offset", nil, 352},
		{"tasksink_assigned_partitions", nil, 2},
		{"tasksink_consumer_settled_beyond", nil, 0},
		{"tasksink_skipped_settled_total", nil, 0},
		{"tasksink_rebalances_total", nil, 1},
		{"tasksink_log_resets_total", []string{"cause=recreated"}, 0},
		{"tasksink_log_resets_total", []string{"cause=truncated"}, 0},
		{"tasksink_hold", []string{"reason=auth"}, 0},
		{"tasksink_breaker_state", []string{"state=closed"}, 1},
		{"tasksink_breaker_state", []string{"state=open"}, 0},
		{"tasksink_rate_limit", nil, 100},
		{"tasksink_rate_share", nil, 100},
		{"tasksink_daily_limit", nil, 250_000},
		{"tasksink_daily_remaining", nil, float64(250_000 - len(hubspot.Requests()))},
		{"tasksink_pending_records", nil, 0},
		{"tasksink_in_flight_requests", nil, 0},
		{"tasksink_max_pending_records", nil, 100},
	} {
		if got, ok := seriesValue(families[want.metric], want.labels...); !ok || got != want.value {
			t.Errorf("%s%v is %v (there: %v), want %v", want.metric, want.labels, got, ok, want.value)
		}
	}
	breakDisk(b, topic)
	until(t, "a partition is sick, and held", 40*time.Second, func() bool {
		families = m.scrape(t)
		sick, _ := seriesValue(families["tasksink_partition_problem"], "topic="+topic, "partition=1", "cause=storage")
		held, _ := seriesValue(families["tasksink_hold_scoped"], "reason=partition")
		return sick == 1 && held == 1
	})
	if n, _ := seriesValue(families["tasksink_partition_problem"]); n != 1 {
		t.Errorf("%v partitions are sick, want 1", n)
	}
	if n, _ := seriesValue(families["tasksink_hold"]); n != 0 {
		t.Error("a sick partition counts as a hold of everything")
	}
	if left, ok := seriesValue(families[openRetention]); ok {
		t.Errorf("no record is open, and %v s are left", left)
	}
	families[openRetention] = open[openRetention]
	flowsBesideHold(t, m)
	golden.Compare(t, "metrics.golden", shape(families))
	lintMetrics(t, m)
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if !strings.Contains(m.log.String(), `"sick":1,`) {
		t.Errorf("the last summary does not count the sick partition")
	}
	if last := m.log.String(); !strings.Contains(last, `"upserted":350,"dead_lettered":1,"skipped":1,"requests":{`) ||
		!strings.Contains(last, `"message":"summary"`) {
		t.Errorf("the log ends without a summary")
	}
}

// openRetention is shown only while a record is open.
const openRetention = "tasksink_oldest_open_retention_seconds"

// TestSkippedSettled: what an earlier owner settled beyond the committed offset is not sent, and /metrics and /status
// count it.
func TestSkippedSettled(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic, _, args := world(t, b, 1, hubspottest.Config{})
	b.CreateTopic(t, topic+".dlq", 1, nil)
	b.Produce(t, topic, versions(0, 60, 60)...)
	place := offsetmap.Place{Cluster: b.Cluster(t), Group: topic, Topic: b.Fake.TopicInfo(topic).TopicID}
	metadata, _ := new(offsetmap.Encoder).Encode(place, offsetmap.Map{Committed: 5, Epoch: 1 << 20,
		Settled: []offsetmap.Span{{From: 10, To: 50}}}, 4096)
	b.Commit(t, topic, topic, 0, 5, metadata)
	m := start(t, "next", args...)
	until(t, "all is committed", 20*time.Second, func() bool { return b.Lag(t, topic, topic) == 0 })
	families := m.scrape(t)
	skipped, _ := seriesValue(families["tasksink_skipped_settled_total"])
	sent, _ := seriesValue(families["tasksink_records_total"], "outcome=upserted")
	var status worker.Status
	_, body := m.get(t, "/status")
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatal(err)
	}
	if skipped != 40 || sent != 15 || status.Records.SkippedSettled != 40 {
		t.Errorf("%v were skipped, %v in /status, and %v sent; want 40, 40 and 15", skipped,
			status.Records.SkippedSettled, sent)
	}
	for _, key := range []string{"open", "settled_beyond"} {
		if !strings.Contains(body, fmt.Sprintf("%q: 0", key)) {
			t.Errorf("/status has no %s of the partition:\n%s", key, body)
		}
	}
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

// flowsBesideHold: while only a hold of a smaller scope stands, neither the state nor the history is held.
func flowsBesideHold(t *testing.T, m *member) {
	t.Helper()
	var status worker.Status
	_, body := m.get(t, "/status")
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatal(err)
	}
	if len(status.Holds) != 1 || status.Holds[0].Scope == hold.All || status.State != "running" {
		t.Errorf("the state is %s with the holds %+v", status.State, status.Holds)
	}
	var last page.Sample
	until(t, "a sample is taken beside the hold", 20*time.Second, func() bool {
		var history struct{ Samples []page.Sample }
		_, body := m.get(t, "/history")
		if err := json.Unmarshal([]byte(body), &history); err != nil {
			t.Fatal(err)
		}
		last = history.Samples[len(history.Samples)-1]
		return last.At.After(status.Holds[0].Since)
	})
	if last.Held {
		t.Error("the history says that everything is held")
	}
}

// breakDisk makes the broker answer each fetch of the topic's partition 1 with a storage error.
func breakDisk(b *kafkatest.Broker, topic string) {
	id := b.Fake.TopicInfo(topic).TopicID // newer fetches have no names
	b.Fake.ControlKey(int16(kmsg.Fetch), func(asked kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		req, ok := asked.(*kmsg.FetchRequest)
		if !ok {
			return nil, nil, false
		}
		for _, of := range req.Topics {
			for _, p := range of.Partitions {
				if of.Topic != topic && of.TopicID != id || p.Partition != 1 {
					continue
				}
				res := req.ResponseKind().(*kmsg.FetchResponse)
				broken := kmsg.NewFetchResponseTopicPartition()
				broken.Partition, broken.ErrorCode = 1, kerr.KafkaStorageError.Code
				res.Topics = []kmsg.FetchResponseTopic{{Topic: topic, TopicID: of.TopicID,
					Partitions: []kmsg.FetchResponseTopicPartition{broken}}}
				return res, nil, true
			}
		}
		return nil, nil, false
	})
}

func refused(hubspot *hubspottest.Server) (n int) {
	for _, r := range hubspot.Requests() {
		if r.Status == 401 {
			n++
		}
	}
	return n
}

// shape is what of /metrics is an interface. Of the collectors of Go and the process only one is named.
func shape(families map[string]*dto.MetricFamily) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(families)) {
		f := families[name]
		if (strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_")) && name != "go_goroutines" &&
			name != "process_cpu_seconds_total" {
			continue
		}
		labels := map[string]bool{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		fmt.Fprintf(&out, "%s %s {%s}\n  %s\n", name, strings.ToLower(f.GetType().String()),
			strings.Join(slices.Sorted(maps.Keys(labels)), ","), f.GetHelp())
		if f.GetType() == dto.MetricType_HISTOGRAM {
			for _, bucket := range f.GetMetric()[0].GetHistogram().GetBucket() {
				fmt.Fprintf(&out, " %v", bucket.GetUpperBound())
			}
			fmt.Fprintln(&out)
		}
	}
	return out.String()
}

// lintMetrics lets promtool look, where it is installed.
func lintMetrics(t *testing.T, m *member) {
	t.Helper()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("promtool is not installed (Debian: prometheus)")
		return
	}
	_, body := m.get(t, "/metrics")
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(body)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
