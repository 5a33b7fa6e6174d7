package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// taskState is an event of a task that sets its subject.
func taskState(id, subject string, more string) kafka.Message {
	return kafka.Message{Key: []byte(id), Value: fmt.Appendf(nil,
		`{"id":%q,%s"properties":{"hs_timestamp":"2026-11-23T10:00:00Z","hs_task_subject":%q}}`, id, more, subject)}
}

const named = `"idProperty":"external_task_id",`

// TestOrderedRoundTrip: five states of one task are refused at different stages: by the decoder, by HubSpot by name, by
// HubSpot as a whole batch. When all causes are mended, a redrive sends them in the order of the events, and HubSpot
// holds the fifth.
func TestOrderedRoundTrip(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic, hubspot, args := world(t, b, 2, hubspottest.Config{Latency: 30 * time.Millisecond})
		b.CreateTopic(t, topic+".dlq", 2, nil)
		without := slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
			return strings.HasPrefix(arg, "--hubspot-id-property=")
		})
		mended := []func(){
			hubspot.Inject(hubspottest.Fault{Items: func(in hubspottest.Input) string {
				if in.Properties["hs_task_subject"] == "v2" {
					return "VALIDATION_ERROR"
				}
				return ""
			}}),
			hubspot.Inject(hubspottest.Fault{Status: 400, Body: hubspottest.JSONError(400, "VALIDATION_ERROR",
				`Property values were not valid: [{"isValid":false,"message":"no","error":"INVALID_OPTION","name":"hs_task_subject"}]`,
				nil), Match: func(all []hubspottest.Input) bool {
				return slices.ContainsFunc(all, func(in hubspottest.Input) bool { return in.Properties["hs_task_subject"] == "v4" })
			}}),
		}
		m := start(t, "worker", append(without, "--hubspot-id-properties=external_task_id")...)
		b.Produce(t, topic, taskState("task-77", "v1", ""), taskState("task-77", "v2", named), taskState("task-77", "v3", ""),
			taskState("task-77", "v4", named), taskState("task-77", "v5", ""))
		n := 0
		until(t, "all five are dead", 60*time.Second, func() bool {
			b.Produce(t, topic, taskState(fmt.Sprint("task-", n%50), "good", named)) // others pass
			n++
			return len(b.ReadAll(t, topic+".dlq")) == 5
		})
		for _, mend := range mended {
			mend()
		}
		if err := m.terminate(t); err != nil {
			t.Fatal(err)
		}
		start(t, "mended worker", args...)
		status, stdout, stderr := tasksink(t, nil, "dlq", "redrive", "--yes", "--kafka-brokers="+strings.Join(b.Addrs, ","),
			"--kafka-topics="+topic, "--kafka-group="+topic)
		if status != 0 || !strings.HasPrefix(stdout, "5  sent") {
			t.Fatalf("redrive: status %d: %s%s", status, stdout, stderr)
		}
		var wrote []string
		until(t, "the fifth state is written", 30*time.Second, func() bool {
			wrote = nil
			for _, write := range hubspot.Journal() {
				if write.ID == "task-77" {
					wrote = append(wrote, write.Properties["hs_task_subject"])
				}
			}
			return slices.Contains(wrote, "v5")
		})
		if !slices.IsSorted(wrote) || hubspot.Objects()["external_task_id\x00task-77"]["hs_task_subject"] != "v5" {
			t.Errorf("written are %q", wrote)
		}
		if letters := b.ReadAll(t, topic+".dlq"); len(letters) != 5 {
			t.Errorf("%d letters, want 5", len(letters))
		}
	})
}

// TestLettersInOrder: letters of one task stand in the order of its events, with a request in flight as they are
// refused, and a redrive writes the last state last.
func TestLettersInOrder(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic, hubspot, args := world(t, b, 1, hubspottest.Config{Latency: 500 * time.Millisecond})
		b.CreateTopic(t, topic+".dlq", 3, nil)
		without := slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
			return strings.HasPrefix(arg, "--hubspot-id-property=")
		})
		msgs := []kafka.Message{taskState("task-5", "names its idProperty", named)}
		for i := range 5 {
			msgs = append(msgs, taskState("task-77", fmt.Sprint("v", i+1), ""))
		}
		b.Produce(t, topic, msgs...)
		m := start(t, "worker", append(without, "--hubspot-id-properties=external_task_id")...)
		until(t, "all five are dead", 60*time.Second, func() bool { return len(b.ReadAll(t, topic+".dlq")) == 5 })
		var order []string
		for _, letter := range b.ReadAll(t, topic+".dlq") {
			for _, h := range letter.Headers {
				if h.Key == "tasksink.dlq.offset" {
					order = append(order, string(h.Value))
				}
			}
		}
		if !slices.Equal(order, []string{"1", "2", "3", "4", "5"}) {
			t.Errorf("letters of the offsets %q", order)
		}
		if err := m.terminate(t); err != nil {
			t.Fatal(err)
		}
		start(t, "mended worker", args...)
		if status, stdout, stderr := tasksink(t, nil, "dlq", "redrive", "--yes", "--kafka-brokers="+
			strings.Join(b.Addrs, ","), "--kafka-topics="+topic, "--kafka-group="+topic); status != 0 {
			t.Fatalf("redrive: status %d: %s%s", status, stdout, stderr)
		}
		until(t, "the fifth state is written", 30*time.Second, func() bool {
			return hubspot.Objects()["external_task_id\x00task-77"]["hs_task_subject"] == "v5"
		})
	})
}

// TestRedriveLarge: a redrive over many source records takes memory for its letters, and not for the records.
// TASKSINK_TEST_REDRIVE=1000000 measures so many, against Apache Kafka.
func TestRedriveLarge(t *testing.T) {
	t.Parallel()
	n, b := 50_000, kafkatest.Fake(t)
	if text := os.Getenv("TASKSINK_TEST_REDRIVE"); text != "" {
		more, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		n, b = more, kafkatest.Kafka(t)
	}
	letters := n / 50
	topic := b.Topic(t, 4, nil)
	b.CreateTopic(t, topic+".dlq", 2, nil)
	value := []byte(`{"id":"task","properties":{"hs_timestamp":"2026-11-23T10:00:00Z","hs_task_subject":"` +
		strings.Repeat("x", 200) + `"}}`)
	for partition := range 4 {
		for from := 0; from < n/4; from += 10_000 {
			var msgs []kafka.Message
			for i := from; i < min(from+10_000, n/4); i++ {
				msgs = append(msgs, kafka.Message{Key: fmt.Appendf(nil, "task-%d-%d", partition, i%(n/8)), Value: value})
			}
			b.ProduceTo(t, topic, partition, msgs...)
		}
	}
	var dead []kafka.Message
	for i := range letters { // of the first half of the keys, so that each has a newer event, and of the newest events
		offset := i * 2
		if i%2 == 1 {
			offset = n/4 - 1 - i
		}
		dead = append(dead, letter(topic, offset-100, fmt.Appendf(nil, "task-0-%d", offset%(n/8)), value))
	}
	b.Produce(t, topic+".dlq", dead...)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "dlq", "redrive", "--dry-run", "--kafka-brokers="+strings.Join(b.Addrs, ","),
		"--kafka-topics="+topic)
	var out log
	cmd.Stdout = &out
	started := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	peak, looked := int64(0), false
	for ended != nil {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			ended = nil
		case <-time.After(20 * time.Millisecond):
			if now, ok := residentOf(cmd.Process.Pid, "VmHWM"); ok {
				peak, looked = now, true
			}
		}
	}
	t.Logf("%d records, %d letters: %v, %d MiB at the most", n, letters, time.Since(started).Round(10*time.Millisecond),
		peak>>20)
	if most := int64(192); peak>>20 > most || !looked {
		t.Errorf("it took %d MiB (looked: %v), want at most %d", peak>>20, looked, most)
	}
	said := strings.ReplaceAll(out.String(), ",", "")
	if want := fmt.Sprintf("%d  refused: stale", letters/2); !strings.Contains(said, want) {
		t.Errorf("it says %q, want %q", said, want)
	}
}
