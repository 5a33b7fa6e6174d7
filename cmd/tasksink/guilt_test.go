package main_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestOneTopicMisconfigured: a topic whose idProperty HubSpot does not know is held, and none of its records is
// dead-lettered; the other topic flows. When HubSpot has the property, both flow.
func TestOneTopicMisconfigured(t *testing.T) {
	t.Parallel()
	b := kafkatest.Kafka(t)
	topic, hubspot, args := world(t, b, 2, hubspottest.Config{Latency: 50 * time.Millisecond},
		"--hubspot-id-properties=invoice_id")
	other := b.Topic(t, 1, nil)
	b.CreateTopic(t, topic+".dlq", 1, nil)
	b.CreateTopic(t, other+".dlq", 1, nil)
	for i, arg := range args {
		if strings.HasPrefix(arg, "--kafka-topics=") {
			args[i] += "," + other
		}
	}
	m := start(t, "misconfigured", args...)
	until(t, "it has the partitions", time.Minute, func() bool { return len(m.status(t).Partitions) == 3 })
	healthy := publish(t, b, topic, 0, 1)
	const invoices = 500
	b.Produce(t, other, eventsBy("invoice_id", invoices)...)
	until(t, "a hold stands", 30*time.Second, func() bool { return len(m.status(t).Holds) > 0 })
	time.Sleep(10 * time.Second) // of the hold
	st := m.status(t)
	if len(st.Holds) != 1 || st.Holds[0].Reason != "config" || st.Holds[0].Scope != other+" by invoice_id" ||
		!strings.Contains(st.Holds[0].Remedy, "--hubspot-id-properties") || st.State != "running" {
		t.Errorf("the state is %s with the holds %+v", st.State, st.Holds)
	}
	hubspot.AddIDProperty("invoice_id")
	until(t, "all is written", 10*time.Second, func() bool { return writtenBy(hubspot, "invoice_id") == invoices })
	healthy.stop()
	until(t, "no hold stands", 10*time.Second, func() bool { return len(m.status(t).Holds) == 0 })
	if n := len(b.ReadAll(t, topic+".dlq")) + len(b.ReadAll(t, other+".dlq")); n > 0 {
		t.Errorf("%d dead letters", n)
	}
	healthy.judge(t, hubspot)
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

func eventsBy(idProperty string, n int) (msgs []kafka.Message) {
	for i := range n {
		msgs = append(msgs, kafka.Message{Key: fmt.Append(nil, i), Value: fmt.Appendf(nil,
			`{"id":"%d","idProperty":%q,"properties":{"hs_timestamp":"2026-11-23T10:00:00Z"}}`, i, idProperty)})
	}
	return msgs
}

func writtenBy(hubspot *hubspottest.Server, idProperty string) (n int) {
	for key := range hubspot.Objects() {
		if strings.HasPrefix(key, idProperty+"\x00") {
			n++
		}
	}
	return n
}

// TestPageAnswersEverything: while a proxy answers every request with a page and status 400, no record is
// dead-lettered. The hold says what came, and the flow goes on when HubSpot answers again.
func TestPageAnswersEverything(t *testing.T) {
	t.Parallel()
	b := kafkatest.Kafka(t)
	topic, hubspot, args := world(t, b, 3, hubspottest.Config{Latency: 50 * time.Millisecond})
	b.CreateTopic(t, topic+".dlq", 1, nil)
	end := hubspot.Inject(hubspottest.Fault{Status: 400, Header: http.Header{"Content-Type": {"text/html"}},
		Body: "<html><head><title>400 Bad Request</title></head><body>gateway</body></html>"})
	const events = 3000
	m := start(t, "behind a proxy", args...)
	until(t, "it has the partitions", time.Minute, func() bool { return len(m.status(t).Partitions) == 3 })
	b.Produce(t, topic, versions(0, events, events)...)
	until(t, "a hold stands", 10*time.Second, func() bool { return len(m.status(t).Holds) > 0 })
	for range 10 {
		time.Sleep(time.Second) // of the outage
		st := m.status(t)
		if len(st.Holds) != 1 || st.Holds[0].Reason != "outage" || st.Holds[0].Scope != "all" || st.State != "held" ||
			!strings.Contains(st.Holds[0].Detail, "HTTP 400") || !strings.Contains(st.Holds[0].Detail, "text/html") {
			t.Fatalf("the state is %s with the holds %+v", st.State, st.Holds)
		}
	}
	end()
	until(t, "all is written", 10*time.Second, func() bool { return len(hubspot.Objects()) == events })
	until(t, "no hold stands", 10*time.Second, func() bool { return len(m.status(t).Holds) == 0 })
	if n := len(b.ReadAll(t, topic+".dlq")); n > 0 {
		t.Errorf("%d dead letters", n)
	}
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

// TestRefusalThatQuotesTheRecord: one record among 300 sinks each batch that it is in, and HubSpot's message quotes its
// property idProperty. It alone becomes a dead letter, and the worker stops as fast as ever.
func TestRefusalThatQuotesTheRecord(t *testing.T) {
	t.Parallel()
	b := kafkatest.Kafka(t)
	topic, hubspot, args := world(t, b, 2, hubspottest.Config{Latency: 50 * time.Millisecond})
	b.CreateTopic(t, topic+".dlq", 1, nil)
	hubspot.Inject(hubspottest.Fault{Match: hubspottest.Carries("idProperty", "external_task_id"), Status: 400,
		Body: `{"status":"error","message":"Property values were not valid: [{\"isValid\":false,\"message\":\"Property ` +
			`\\\"idProperty\\\" does not exist\",\"error\":\"PROPERTY_DOESNT_EXIST\",\"name\":\"idProperty\"}]",` +
			`"correlationId":"00000000-0000-4000-8000-000000000001","category":"VALIDATION_ERROR","errors":[{"message":` +
			`"Property \"idProperty\" does not exist","code":"PROPERTY_DOESNT_EXIST","context":{"propertyName":["idProperty"]}}]}`})
	events := versions(0, 300, 300)
	events[141].Value = []byte(`{"id":"task-141","properties":{"idProperty":"external_task_id",` +
		`"hs_task_subject":"nested too deep","hs_timestamp":"2026-11-23T10:00:00Z"}}`)
	b.Produce(t, topic, events...)
	m := start(t, "refused", args...)
	until(t, "all is committed", time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
	if n := len(hubspot.Objects()); n != 299 {
		t.Errorf("%d objects are written", n)
	}
	letters := b.ReadAll(t, topic+".dlq")
	if len(letters) != 1 || string(letters[0].Key) != "task-141" || letterCode(letters[0]) != "PROPERTY_DOESNT_EXIST" {
		t.Errorf("%d letters: %+v", len(letters), letters)
	}
	if st := m.status(t); len(st.Holds) > 0 || st.State != "running" {
		t.Errorf("the state is %s with the holds %+v", st.State, st.Holds)
	}
	stopped := time.Now()
	if err := m.terminate(t); err != nil || time.Since(stopped) > healthyDelay {
		t.Errorf("SIGTERM: %v after %v", err, time.Since(stopped))
	}
}

func letterCode(letter kafka.Message) string {
	for _, h := range letter.Headers {
		if h.Key == "tasksink.dlq.code" {
			return string(h.Value)
		}
	}
	return ""
}

// TestRecordThatFailsAlone: an operator learns of one record that HubSpot fails for, on a quiet topic, from /status,
// the metrics and the log. The state is running, as nothing else is wrong.
func TestRecordThatFailsAlone(t *testing.T) {
	t.Parallel()
	b := kafkatest.Kafka(t)
	topic, hubspot, args := world(t, b, 1, hubspottest.Config{Latency: 50 * time.Millisecond})
	b.CreateTopic(t, topic+".dlq", 1, nil)
	hubspot.Inject(hubspottest.Fault{Match: hubspottest.Has("task-5"), Status: 500,
		Body: hubspottest.Page(500, "Internal Server Error")})
	m := start(t, "quiet", args...)
	until(t, "it has the partition", time.Minute, func() bool { return len(m.status(t).Partitions) == 1 })
	b.Produce(t, topic, versions(0, 30, 30)...)
	scope := topic + "/0/5"
	until(t, "the record is named", 30*time.Second, func() bool { return len(m.status(t).Holds) > 0 })
	time.Sleep(3 * time.Second)
	st := m.status(t)
	if len(st.Holds) != 1 || st.Holds[0].Reason != "record" || st.Holds[0].Scope != scope || st.State != "running" ||
		!strings.Contains(st.Holds[0].Detail, "HTTP 500") || strings.Contains(st.Holds[0].Detail, "HubSpot is down") {
		t.Errorf("the state is %s with the holds %+v", st.State, st.Holds)
	}
	if n := len(hubspot.Objects()); n != 29 {
		t.Errorf("%d objects are written", n)
	}
	families := m.scrape(t)
	if n, ok := seriesValue(families["tasksink_hold_scoped"], "reason=record"); !ok || n != 1 {
		t.Errorf("tasksink_hold_scoped is %v", n)
	}
	if n, _ := seriesValue(families["tasksink_hold"]); n > 0 {
		t.Errorf("tasksink_hold is %v", n)
	}
	lines := slices.DeleteFunc(strings.Split(m.log.String(), "\n"), func(line string) bool {
		return !strings.Contains(line, scope)
	})
	if len(lines) != 1 || !strings.Contains(lines[0], "1 record fails alone") {
		t.Errorf("the log names it in %d lines: %q", len(lines), lines)
	}
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}
