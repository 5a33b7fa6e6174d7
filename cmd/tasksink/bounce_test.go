package main_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestBounce is the promise under load: two members, a third joins, one is stopped, one is killed. No event is lost,
// no committed offset moves back, the writes of an object are in order, and until the kill nothing is written twice.
func TestBounce(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		events := 100_000
		if b.Fake != nil || testing.Short() {
			events = 20_000
		}
		const partitions, objects = 12, 10_000
		topic := b.Topic(t, partitions, nil)
		b.CreateTopic(t, topic+".dlq", 1, nil)
		hubspot := hubspottest.New(hubspottest.Config{Latency: 30 * time.Millisecond})
		server := httptest.NewServer(hubspot)
		defer server.Close()
		args := []string{"--kafka-brokers=" + strings.Join(b.Addrs, ","), "--kafka-topics=" + topic, "--kafka-group=" + topic,
			"--hubspot-url=" + server.URL, "--hubspot-token=secret", "--hubspot-id-property=external_task_id", "--hubspot-rate=0",
			"--max-in-flight=4"}

		ctx, cancel := context.WithCancel(t.Context())
		var watch sync.WaitGroup
		watch.Go(func() { watchCommits(ctx, t, b, topic) })

		bad := map[string]bool{}        // ids of events that HubSpot refuses
		last := map[string]int{}        // the newest version of each object
		produce := func(from, to int) { // at a steady pace, so that each change meets a load
			for chunk := from; chunk < to; chunk += 500 {
				var msgs []kafka.Message
				for i := chunk; i < min(chunk+500, to); i++ {
					id := fmt.Sprintf("task-%d", rand.IntN(objects))
					status := "WAITING"
					if i%500 == 499 {
						id, status = fmt.Sprintf("bad-%d", i), "NONSENSE"
						bad[id] = true
					} else {
						last[id] = i
					}
					msgs = append(msgs, kafka.Message{Key: []byte(id), Value: fmt.Appendf(nil,
						`{"id":%q,"properties":{"hs_timestamp":"2026-11-23T10:00:00Z","hs_task_status":%q,"hs_task_subject":"%d"}}`, id, status, i)})
				}
				b.Produce(t, topic, msgs...)
				time.Sleep(20 * time.Millisecond)
			}
		}
		a, second := start(t, "a", args...), start(t, "b", args...)
		produce(0, events/4)
		third := start(t, "c", args...)
		produce(events/4, events/2)
		if err := a.terminate(t); err != nil {
			t.Errorf("a, stopped by SIGTERM: %v", err)
		}
		produce(events/2, events*3/4)
		killed := time.Now()
		second.kill()
		produce(events*3/4, events)

		deadline := time.Now().Add(2 * time.Minute)
		for lag := int64(-1); lag != 0; lag = b.Lag(t, topic, topic) {
			if time.Now().After(deadline) {
				t.Fatalf("a lag of %d is left", lag)
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("drained %v after the kill", time.Since(killed).Round(100*time.Millisecond))
		if err := third.terminate(t); err != nil {
			t.Errorf("c, stopped by SIGTERM: %v", err)
		}
		cancel()
		watch.Wait()

		written, order, again := map[string]bool{}, map[string]int{}, 0
		for _, w := range hubspot.Journal() {
			version, err := strconv.Atoi(w.Properties["hs_task_subject"])
			if err != nil {
				t.Fatal(err)
			}
			if before, ok := order[w.ID]; ok && version < before && w.Time.Before(killed) {
				t.Errorf("object %s: version %d was written after %d", w.ID, version, before)
			}
			order[w.ID] = version
			if written[w.TraceID] {
				again++
				if w.Time.Before(killed) {
					t.Errorf("record %s was written twice before the kill", w.TraceID)
				}
			}
			written[w.TraceID] = true
		}
		t.Logf("%d events, %d writes in %d requests, %d of them again after the kill", events, len(written),
			len(hubspot.Requests()), again)
		held := hubspot.Objects()
		for id, version := range last {
			if got := held["external_task_id\x00"+id]["hs_task_subject"]; got != strconv.Itoa(version) {
				t.Errorf("HubSpot holds version %q of %s, want %d", got, id, version)
			}
		}
		letters := map[string]int{}
		for _, m := range b.ReadAll(t, topic+".dlq") {
			letters[string(m.Key)]++
			if !bad[string(m.Key)] {
				t.Errorf("healthy record %s is dead-lettered", m.Key)
			}
		}
		if len(letters) != len(bad) {
			t.Errorf("%d records are dead-lettered, want %d", len(letters), len(bad))
		}
	})
}

// watchCommits fails the test when a committed offset of the group moves back.
func watchCommits(ctx context.Context, t *testing.T, b *kafkatest.Broker, topic string) {
	before := map[int]int64{}
	for ctx.Err() == nil {
		for partition, offset := range b.Committed(t, topic)[topic] {
			if offset < before[partition] {
				t.Errorf("the committed offset of partition %d moved from %d back to %d", partition, before[partition], offset)
			}
			before[partition] = offset
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}
