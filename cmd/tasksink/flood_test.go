package main_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

const (
	healthyDelay = 5 * time.Second  // of a healthy event, from its producer to HubSpot
	afterStop    = 10 * time.Second // until another worker has the partitions of one that left
	afterKill    = 45 * time.Second // or of one that was killed
)

// TestFloodOfOnePartition: 30,000 records of one byte in one partition stop neither the other five nor the worker:
// their events reach HubSpot within 5 s before, during and after the hold, also when the worker is restarted or killed
// meanwhile.
func TestFloodOfOnePartition(t *testing.T) {
	t.Parallel()
	b := kafkatest.Kafka(t)
	topic, hubspot, args := world(t, b, 6, hubspottest.Config{Latency: 50 * time.Millisecond})
	b.CreateTopic(t, topic+".dlq", 1, nil)
	m := start(t, "flooded", args...)
	until(t, "it has the partitions", time.Minute, func() bool { return len(m.status(t).Partitions) == 6 })
	healthy := publish(t, b, topic, 1, 2, 3, 4, 5)
	until(t, "healthy events are written", 20*time.Second, func() bool { return len(hubspot.Journal()) > 100 })

	b.ProduceTo(t, topic, 0, slices.Repeat([]kafka.Message{{Value: []byte("x")}}, 30_000)...)
	floods(t, m, topic)
	before := b.Committed(t, topic, topic)[topic]
	time.Sleep(5 * time.Second) // of the hold
	for p, offset := range b.Committed(t, topic, topic)[topic] {
		if p != 0 && offset <= before[p] {
			t.Errorf("the commits of partition %d stand at %d", p, offset)
		}
	}

	healthy.interrupted(func() {
		if err := m.terminate(t); err != nil {
			t.Errorf("SIGTERM: %v", err)
		}
		m = start(t, "restarted", args...)
		until(t, "it has the partitions again", afterStop, func() bool { return len(m.status(t).Partitions) == 6 })
	})
	floods(t, m, topic)
	healthy.interrupted(func() {
		m.kill()
		m = start(t, "started after a crash", args...)
		until(t, "it has the partitions again", afterKill, func() bool { return len(m.status(t).Partitions) == 6 })
	})
	floods(t, m, topic)
	time.Sleep(5 * time.Second) // of the hold
	healthy.stop()
	healthy.judge(t, hubspot)
	if letters := len(b.ReadAll(t, topic+".dlq")); letters < 3*200 || letters > 3*1100 {
		t.Errorf("%d of 30,000 records are dead letters", letters)
	} else {
		t.Logf("%d dead letters", letters)
	}
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

// floods waits until the member holds partition 0, and nothing else.
func floods(t *testing.T, m *member, topic string) {
	t.Helper()
	until(t, "the flood is held", 20*time.Second, func() bool { return len(m.status(t).Holds) > 0 })
	st := m.status(t)
	if len(st.Holds) != 1 || st.Holds[0].Reason != "flood" || st.Holds[0].Scope != topic+"/0" || st.State != "running" {
		t.Errorf("the state is %s with the holds %+v", st.State, st.Holds)
	}
	if status, _ := m.get(t, "/readyz"); status != 200 {
		t.Errorf("/readyz: %d", status)
	}
}

// publisher publishes healthy events at a steady pace, and knows when.
type publisher struct {
	end  context.CancelFunc
	done sync.WaitGroup

	mu   sync.Mutex
	sent map[string]time.Time
	gaps []gap
}

// gap is a time without a worker.
type gap struct{ from, to time.Time }

// publish begins to publish two events to each of the partitions every 200 ms.
func publish(t *testing.T, b *kafkatest.Broker, topic string, partitions ...int) *publisher {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	p := &publisher{end: end, sent: map[string]time.Time{}}
	for _, partition := range partitions {
		p.done.Go(func() {
			feed(ctx, 200*time.Millisecond, func(n int) {
				ids := []string{fmt.Sprintf("good-%d-%d", partition, 2*n), fmt.Sprintf("good-%d-%d", partition, 2*n+1)}
				p.mu.Lock()
				p.sent[ids[0]], p.sent[ids[1]] = time.Now(), time.Now()
				p.mu.Unlock()
				b.ProduceTo(t, topic, partition, event(ids[0], ""), event(ids[1], ""))
			})
		})
	}
	t.Cleanup(p.stop)
	return p
}

func (p *publisher) stop() {
	p.end()
	p.done.Wait()
}

// interrupted notes that there is no worker while it replaces one.
func (p *publisher) interrupted(replace func()) {
	g := gap{from: time.Now()}
	replace()
	g.to = time.Now()
	p.gaps = append(p.gaps, g)
}

// judge holds the delays of all events against what is promised. An event that met a time without a worker is due when
// the next worker has had its partition for as long.
func (p *publisher) judge(t *testing.T, hubspot *hubspottest.Server) {
	t.Helper()
	until(t, "the last events are written", healthyDelay, func() bool { return len(hubspot.Objects()) >= len(p.sent) })
	written := map[string]time.Time{}
	for _, w := range hubspot.Journal() {
		if _, again := written[w.ID]; !again {
			written[w.ID] = w.Time
		}
	}
	var longest time.Duration
	late := 0
	for id, sent := range p.sent {
		for _, g := range p.gaps {
			if sent.After(g.from.Add(-healthyDelay)) && sent.Before(g.to) && written[id].After(g.from) {
				sent = g.to
			}
		}
		took := written[id].Sub(sent)
		longest = max(longest, took)
		if took > healthyDelay {
			late++
		}
	}
	t.Logf("%d healthy events, in HubSpot after %v at the most; times without a worker: %v", len(p.sent), longest,
		p.gaps)
	if late > 0 {
		t.Errorf("%d of %d healthy events were in HubSpot later than %v", late, len(p.sent), healthyDelay)
	}
}

func (g gap) String() string { return g.to.Sub(g.from).Round(time.Millisecond).String() }
