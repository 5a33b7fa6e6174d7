package main_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"gopkg.in/yaml.v3"

	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestScale does with processes what Kubernetes does with the chart's pods, while events come in at four fifths of what
// the account takes: 1, 4, 8 and 2 replicas, and a rollout. No event is lost or written twice, the writes of an object
// are in order, no committed offset moves back, and every pod ends with status 0 within its grace period. How long each
// step kept HubSpot waiting it logs (-v); docs/operations.md has that.
func TestScale(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		each := 8000 // events that HubSpot takes after a step, before the next one: 4 s of load
		if b.Fake != nil || testing.Short() {
			each = 2000
		}
		d := deploy(t, b, each)
		ctx, stop := context.WithCancel(t.Context())
		var load sync.WaitGroup
		load.Go(func() { watchCommits(ctx, t, b, d.topic) })
		load.Go(func() { d.produce(ctx, t, b) })

		d.step(t, "0 → 1", func() { d.scale(t, 1) })
		d.step(t, "1 → 4", func() { d.scale(t, 4) })
		d.step(t, "4 → 8", func() { d.scale(t, 8) })
		d.step(t, "8 → 2", func() { d.scale(t, 2) })
		d.step(t, "rollout, first of 2", func() { d.replace(t) })
		d.step(t, "rollout, second of 2", func() { d.replace(t) })
		d.step(t, "nothing", func() {})
		stop()
		load.Wait()
		until(t, "the group has no lag", time.Minute, func() bool { return b.Lag(t, d.topic, d.topic) == 0 })
		d.scale(t, 0)
		d.stopping.Wait()
		d.judge(t)
		if letters := b.ReadAll(t, d.topic+".dlq"); len(letters) > 0 {
			t.Errorf("%d events are dead-lettered", len(letters))
		}
	})
}

const (
	scaleSession = 15 * time.Second // of the consumer: who is silent for so long is taken for dead
	scaleRate    = 250              // requests per 10 s: HubSpot's largest account
	scaleLoad    = scaleRate * 8    // events/s: four fifths of that, in full batches
	scaleStall   = 60 * time.Second // without progress for so long, a step has failed
)

// deployment is what the chart makes, of processes.
type deployment struct {
	topic   string
	args    []string
	each    int
	grace   time.Duration
	hubspot *hubspottest.Server

	pods     []*pod
	started  int
	stopping sync.WaitGroup
	events   int // that were produced; valid when produce has ended

	mu      sync.Mutex
	answers []answered
	left    []time.Duration // what pods took to end
}

type pod struct {
	*member
	name string
}

// answered is a request to HubSpot, when it came, and what it was answered.
type answered struct {
	pod    string
	at     time.Time
	status int
}

// deploy takes the grace period from the chart; all other settings are the program's defaults, as they are the chart's.
func deploy(t *testing.T, b *kafkatest.Broker, each int) *deployment {
	t.Helper()
	if _, err := program(); err != nil { // built first, or its time would be the first step's
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../helm/tasksink/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		Grace int `yaml:"terminationGracePeriodSeconds"`
	}
	if err := yaml.Unmarshal(text, &values); err != nil || values.Grace == 0 {
		t.Fatalf("the chart's terminationGracePeriodSeconds: %d, %v", values.Grace, err)
	}
	d := &deployment{topic: b.Topic(t, 24, nil), each: each, grace: time.Duration(values.Grace) * time.Second,
		hubspot: hubspottest.New(hubspottest.Config{Limit: scaleRate, Latency: 150 * time.Millisecond})}
	b.CreateTopic(t, d.topic+".dlq", 1, nil)
	server := httptest.NewServer(http.HandlerFunc(d.serve))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	d.args = []string{"--kafka-brokers=" + strings.Join(b.Addrs, ","), "--kafka-topics=" + d.topic, "--kafka-group=" +
		d.topic,
		"--hubspot-url=" + server.URL, "--hubspot-id-property=external_task_id"}
	return d
}

// serve is HubSpot's, and takes down who asked: each pod has a token of its own.
func (d *deployment) serve(w http.ResponseWriter, r *http.Request) {
	a := answered{pod: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), at: time.Now()}
	answer := &told{ResponseWriter: w}
	d.hubspot.ServeHTTP(answer, r)
	if a.status = answer.status; r.Method != http.MethodPost {
		return // it asked for the account's time zone
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers = append(d.answers, a)
}

type told struct {
	http.ResponseWriter
	status int
}

func (w *told) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// produce publishes at a steady pace. Nine of ten events have an object of their own, so that each must be written, and
// just once; the tenth is the next version of one of 200 objects, for their order.
func (d *deployment) produce(ctx context.Context, t *testing.T, b *kafkatest.Broker) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			var msgs []kafka.Message
			for due := int(now.Sub(begun).Seconds() * scaleLoad); d.events < due; d.events++ {
				id := d.id(d.events)
				msgs = append(msgs, kafka.Message{Key: []byte(id), Value: fmt.Appendf(nil,
					`{"id":%q,"properties":{"hs_timestamp":"2026-11-23T10:00:00Z","hs_task_subject":"%d"}}`, id, d.events)})
			}
			b.Produce(t, d.topic, msgs...)
		}
	}
}

func (d *deployment) id(event int) string {
	if event%10 == 0 {
		return fmt.Sprintf("hot-%d", event/10%200)
	}
	return fmt.Sprintf("task-%d", event)
}

// scale starts what is missing, all at once, or asks the newest to stop, all at once: as a Deployment does.
func (d *deployment) scale(t *testing.T, replicas int) {
	t.Helper()
	for len(d.pods) < replicas {
		d.started++
		name := fmt.Sprintf("pod-%d", d.started)
		d.pods = append(d.pods, &pod{start(t, name, append(d.args, "--hubspot-token="+name)...), name})
	}
	for _, p := range d.pods[replicas:] {
		d.stopping.Go(func() { d.stop(t, p) })
	}
	d.pods = d.pods[:replicas]
}

// stop ends a pod as the kubelet does.
func (d *deployment) stop(t *testing.T, p *pod) {
	t.Helper()
	asked := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stop %s: %v", p.name, err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			t.Errorf("%s ended with %v, want status 0", p.name, err)
		}
	case <-time.After(d.grace):
		t.Errorf("%s has not ended within its grace period of %v", p.name, d.grace)
		p.kill()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = append(d.left, time.Since(asked))
}

// replace is a step of the chart's rollout, with maxSurge 0: the new pod is started when the old one is gone. The next
// step comes when the new one is ready, and minReadySeconds are over; instead of these the test waits for its writes.
func (d *deployment) replace(t *testing.T) {
	t.Helper()
	d.stop(t, d.pods[0])
	replicas := len(d.pods)
	d.pods = d.pods[1:]
	d.scale(t, replicas)
	until(t, "the new pod is ready", scaleStall, func() bool {
		status, _ := d.pods[replicas-1].get(t, "/readyz")
		return status == http.StatusOK
	})
}

// step makes a change, waits until each pod has written since and HubSpot has taken some seconds of load, and logs what
// the change cost.
func (d *deployment) step(t *testing.T, name string, change func()) {
	t.Helper()
	begun, written := time.Now(), d.written()
	change()
	for ; ; time.Sleep(50 * time.Millisecond) {
		silent, events := d.silent(begun), d.written()-written
		if len(silent) == 0 && events >= d.each {
			break
		}
		if time.Since(begun) > scaleStall {
			t.Fatalf("%s: %v later HubSpot has %d events more, want %d; nothing came from %v", name, scaleStall, events, d.each,
				silent)
		}
	}
	d.stopping.Wait()
	d.report(t, name, begun)
}

// written is how much HubSpot has accepted.
func (d *deployment) written() (inputs int) {
	for _, r := range d.hubspot.Requests() {
		if r.Status == http.StatusOK {
			inputs += r.Inputs
		}
	}
	return inputs
}

// silent are the pods of which HubSpot has accepted nothing since then.
func (d *deployment) silent(since time.Time) (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.pods {
		if !slices.ContainsFunc(d.answers, func(a answered) bool {
			return a.pod == p.name && a.status == http.StatusOK &&
				a.at.After(since)
		}) {
			names = append(names, p.name)
		}
	}
	return names
}

// report logs the longest time without an accepted request, when the last of the new pods sent its first, and how long
// the stopped ones took to end.
func (d *deployment) report(t *testing.T, name string, begun time.Time) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.SortFunc(d.answers, func(a, b answered) int { return a.at.Compare(b.at) })
	first := map[string]time.Time{}
	var before, last time.Time
	var pause, joined time.Duration
	for _, a := range d.answers {
		if a.status != http.StatusOK {
			continue
		}
		if _, known := first[a.pod]; !known {
			first[a.pod] = a.at
			joined = max(joined, a.at.Sub(begun))
		}
		if a.at.After(begun) && !before.IsZero() {
			pause = max(pause, a.at.Sub(before))
		}
		before, last = a.at, a.at
	}
	line := fmt.Sprintf("%-20s no request for %4d ms", name, pause.Milliseconds())
	if joined > 0 {
		line += fmt.Sprintf(", all new ones had sent after %d ms", joined.Milliseconds())
	}
	if len(d.left) > 0 {
		line += fmt.Sprintf(", the last one stopped was gone after %d ms", slices.Max(d.left).Milliseconds())
	}
	t.Logf("%s, %v in all", line, last.Sub(begun).Round(100*time.Millisecond))
	if pause >= scaleSession {
		t.Errorf("%s: the group has waited for a member that was gone: it left without saying so", name)
	}
	d.left = nil
}

// judge compares what HubSpot was sent with what was produced.
func (d *deployment) judge(t *testing.T) {
	t.Helper()
	traces, newest := map[string]int{}, map[string]int{}
	for _, w := range d.hubspot.Journal() {
		version, err := strconv.Atoi(w.Properties["hs_task_subject"])
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := newest[w.ID]; ok && version < before {
			t.Errorf("version %d of %s was written after %d", version, w.ID, before)
		}
		newest[w.ID] = version
		traces[w.TraceID]++
	}
	lost, twice := 0, 0
	for i := range d.events {
		// A newer version of an object may have taken an older one along, in the same request.
		if written, ok := newest[d.id(i)]; !ok || written < i {
			lost++
		}
	}
	for _, n := range traces {
		if n > 1 {
			twice++
		}
	}
	statuses := map[int]int{} // 0: the pod did not wait for the answer
	for _, a := range d.answers {
		statuses[a.status]++
	}
	refused := statuses[http.StatusTooManyRequests]
	if answered := statuses[http.StatusOK] + refused; answered != len(d.answers) {
		t.Errorf("requests by status: %v, want 200, or 429 now and then", statuses)
	}
	if lost > 0 || twice > 0 {
		t.Errorf("of %d events %d were lost, and %d written twice", d.events, lost, twice)
	}
	t.Logf("%d events, %d lost, %d written twice; %d requests, %d of them answered 429", d.events, lost, twice,
		len(d.answers), refused)
}
