package main_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tasksink/tasksink/consumer/offsetmap"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestKills kills one replica of three after the other, as a node does that fails, at four fifths of what the account
// takes. No event is lost. What is written again was not covered by a commit that Kafka had accepted: all commits are
// read from Kafka's own topic. TASKSINK_KILLS=5m does it for so long, with a kill each 20 s.
func TestKills(t *testing.T) {
	b := kafkatest.Kafka(t)
	lasts, pause := 24*time.Second, 8*time.Second
	if text := os.Getenv("TASKSINK_KILLS"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("TASKSINK_KILLS: %v; write a duration, such as 5m", err)
		}
		pause = 20 * time.Second
	}
	d := deploy(t, b, 0)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() { watchCommits(ctx, t, b, d.topic) })
	load.Go(func() { d.produce(ctx, t, b) })
	d.scale(t, 3)
	begun := time.Now()
	until(t, "HubSpot has events", scaleStall, func() bool { return d.written() > 0 })
	var kills []time.Time
	for time.Since(begun) < lasts {
		time.Sleep(pause) // of load
		killed := d.pods[0]
		killed.kill()
		kills = append(kills, time.Now())
		d.pods = d.pods[1:]
		d.scale(t, 3)
	}
	stop()
	load.Wait()
	until(t, "the group has no lag", 2*time.Minute, func() bool { return b.Lag(t, d.topic, d.topic) == 0 })
	d.scale(t, 0)
	d.stopping.Wait()

	stored := b.Commits(t, d.topic)
	bytes, metadata := 0, 0
	for _, c := range stored {
		bytes, metadata = bytes+c.Bytes, max(metadata, len(c.Metadata))
	}
	t.Logf("%d kills in %v; %d commits of partitions with %d bytes in all, the longest metadata has %d", len(kills),
		time.Since(begun).Round(time.Second), len(stored), bytes, metadata)
	d.lost(t)
	again, covered := repeats(t, d.hubspot.Journal(), stored)
	t.Logf("%d of %d events were written again", again, d.events)
	for _, line := range covered {
		t.Error(line)
	}
}

// lost fails the test if an event, or a newer one of its object, is not in HubSpot.
func (d *deployment) lost(t *testing.T) {
	t.Helper()
	newest := map[string]int{}
	for _, w := range d.hubspot.Journal() {
		version, err := strconv.Atoi(w.Properties["hs_task_subject"])
		if err != nil {
			t.Fatal(err)
		}
		newest[w.ID] = version // the last write counts
	}
	lost := 0
	for i := range d.events {
		if written, ok := newest[d.id(i)]; !ok || written < i {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("of %d events %d were lost, or an older state was written over them", d.events, lost)
	}
}

// repeats counts the events that were written again, and names those that a commit covered which Kafka had stored
// before.
func repeats(t *testing.T, journal []hubspottest.Write, stored []kafkatest.StoredCommit) (again int, covered []string) {
	t.Helper()
	byPartition, written := map[int][]kafkatest.StoredCommit{}, map[string]bool{}
	for _, c := range stored {
		byPartition[c.Partition] = append(byPartition[c.Partition], c)
	}
	for _, w := range journal {
		if !written[w.TraceID] {
			written[w.TraceID] = true
			continue
		}
		again++
		parts := strings.Split(w.TraceID, "-")
		partition, err := strconv.Atoi(parts[len(parts)-2])
		if err != nil {
			t.Fatal(err)
		}
		offset, err := strconv.ParseInt(parts[len(parts)-1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range byPartition[partition] {
			if c.Time.Before(w.Time) && covers(t, c, offset) {
				covered = append(covered, fmt.Sprintf("%s was written again at %s, and a commit covered it at %s", w.TraceID,
					w.Time.Format("15:04:05.000"), c.Time.Format("15:04:05.000")))
				break
			}
		}
	}
	return again, covered
}

// covers tells whether a commit says that an offset is settled.
func covers(t *testing.T, c kafkatest.StoredCommit, offset int64) bool {
	t.Helper()
	if offset < c.Offset {
		return true
	}
	m, err := offsetmap.Decode(c.Metadata)
	if err != nil {
		t.Fatalf("the metadata of a commit: %v", err)
	}
	return slices.ContainsFunc(m.Settled, func(s offsetmap.Span) bool { return s.From <= offset && offset < s.To })
}
