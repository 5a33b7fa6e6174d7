package main_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"gopkg.in/yaml.v3"

	"github.com/tasksink/tasksink/cmd/tasksink/worker"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// What each partition of the soak's topic gets.
const (
	soakHealthy    = 0 // and 1: small events, whose delay counts
	soakHostile    = 2 // small batches that inflate to 40 MiB, and records with 100,000 headers: all are dead letters
	soakLarge      = 3 // events of 1 MB, and some of 4 MB
	soakStuck      = 4 // records that HubSpot leaves out of its answers, among small events
	soakPartitions = 5
)

const (
	soakDelay = 5 * time.Second // of a healthy partition's event, from its producer to HubSpot: the README promises it
	soakNoise = 1.15            // by how much the memory of two equal parts of the soak may differ
	soakLive  = 16 << 20        // bytes of the heap that may be in use when nothing is left to do
	soakLong  = 3 * time.Minute // a soak from this length on is run by hand, with the machine to itself
)

// TestSoak: beside hostile batches, large records and records that HubSpot never answers for, the events of healthy
// partitions reach HubSpot within 5 s, and the worker's memory stays flat and within the chart's limit. The worker is
// built and set as the chart has it, without the race detector.
//
// It takes 20 s, or what TASKSINK_SOAK says, such as 10m. In a short one, which shares the machine with other tests,
// the delay may be four times as long, and there are too few samples to call the memory flat.
func TestSoak(t *testing.T) {
	length := 20 * time.Second
	if text := os.Getenv("TASKSINK_SOAK"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("TASKSINK_SOAK: %v; write a duration, such as 10m", err)
		}
	}
	s := newSoak(t, kafkatest.Kafka(t), length)
	until(t, "the worker has the partitions", time.Minute, func() bool {
		st := s.worker.status(t)
		return st.State == "running" && len(st.Partitions) == soakPartitions
	})
	memory := s.run(t, length)
	s.judgeMemory(t, memory, length >= soakLong)
	st := s.worker.status(t)
	if err := s.worker.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judgeRecords(t, st)
	s.judgeDelay(t, length >= soakLong)
}

// soak is a worker, what feeds it, and what was seen of it.
type soak struct {
	b       *kafkatest.Broker
	topic   string
	worker  *member
	limit   int64         // of the worker's memory, as the chart sets it
	pause   time.Duration // between two records that stick, and of an answer to a request that has only such records
	hubspot *hubspottest.Server
	hostile int // records; valid when run has ended

	mu   sync.Mutex
	well bool                       // HubSpot leaves nothing out any more
	sent map[string]time.Time       // by id: events that HubSpot has not confirmed yet
	took map[string][]time.Duration // by kind of event: from the producer's call until HubSpot has the request
}

func newSoak(t *testing.T, b *kafkatest.Broker, length time.Duration) *soak {
	t.Helper()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("no /proc to read the memory from")
	}
	s := &soak{b: b, limit: chartMemory(t), pause: min(length/60, 10*time.Second),
		sent: map[string]time.Time{}, took: map[string][]time.Duration{}}
	// The log does not fill the disk, and no partition comes near to what retention leaves.
	s.topic = b.Topic(t, soakPartitions, map[string]string{"max.message.bytes": "8388608", "segment.bytes": "33554432",
		"retention.bytes": "134217728", "retention.ms": "-1"})
	b.CreateTopic(t, s.topic+".dlq", 1, nil)
	s.hubspot = hubspottest.New(hubspottest.Config{Lean: true, Latency: 100 * time.Millisecond, Observe: s.observe})
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })

	path, err := plain()
	if err != nil {
		t.Fatal(err)
	}
	s.worker = startFrom(t, path, "soaked", []string{fmt.Sprintf("GOMEMLIMIT=%d", s.limit*85/100)},
		"--kafka-brokers="+strings.Join(b.Addrs, ","), "--kafka-topics="+s.topic, "--kafka-group="+s.topic,
		"--hubspot-url="+server.URL, "--hubspot-token=secret", "--hubspot-id-property=external_task_id",
		"--hubspot-rate=0", "--pprof=127.0.0.1:0")
	return s
}

// chartMemory is the limit that the chart sets by default. GOMEMLIMIT is 85 % of it.
func chartMemory(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("../../helm/tasksink/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		Resources struct{ Limits struct{ Memory string } }
	}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	mebibytes, err := strconv.ParseInt(strings.TrimSuffix(values.Resources.Limits.Memory, "Mi"), 10, 64)
	if err != nil {
		t.Fatalf("the chart's memory limit: %v", err)
	}
	return mebibytes << 20
}

// serve is HubSpot's. It leaves the results of records that shall stick out of its answers. The worker gives up such a
// record after five answers. If each takes 10 s, the record keeps the partition's committed offset back for a minute,
// and the events behind it fill the common half of the room.
func (s *soak) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the worker went away
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	well := s.well
	s.mu.Unlock()
	if well || !bytes.Contains(body, []byte(`"stuck-`)) {
		s.hubspot.ServeHTTP(w, r)
		s.confirm(body)
		return
	}
	whole := httptest.NewRecorder()
	s.hubspot.ServeHTTP(whole, r)
	var answer struct {
		Status  string           `json:"status"`
		Results []map[string]any `json:"results"`
	}
	if err := json.Unmarshal(whole.Body.Bytes(), &answer); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	answer.Results = slices.DeleteFunc(answer.Results, func(result map[string]any) bool {
		properties, _ := result["properties"].(map[string]any)
		id, _ := properties["external_task_id"].(string)
		return kindOf(id) == "stuck"
	})
	if len(answer.Results) == 0 {
		select {
		case <-time.After(s.pause):
		case <-r.Context().Done():
		}
	}
	maps.Copy(w.Header(), whole.Header())
	_ = json.NewEncoder(w).Encode(answer) // a worker that went away is no concern of ours
}

// confirm takes down that an answer had the results of all records that used to stick. Only serve knows whether it left
// them out: meanwhile HubSpot may have become well.
func (s *soak) confirm(body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range stuckID.FindAllSubmatch(body, -1) {
		delete(s.sent, string(m[1]))
	}
}

var stuckID = regexp.MustCompile(`"(stuck-[0-9-]+)"`)

// observe takes down which of the other events HubSpot has confirmed.
func (s *soak) observe(req hubspottest.Request, ids [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range ids {
		id := string(b)
		if at, ok := s.sent[id]; ok && kindOf(id) != "stuck" {
			s.took[kindOf(id)] = append(s.took[kindOf(id)], req.Time.Sub(at))
			delete(s.sent, id)
		}
	}
}

// kindOf is what an event's id begins with.
func kindOf(id string) string {
	kind, _, _ := strings.Cut(id, "-")
	return kind
}

// run feeds the worker for so long, and returns its resident memory in bytes, second by second. Then HubSpot is well,
// and the worker settles what is left.
func (s *soak) run(t *testing.T, length time.Duration) (memory []int64) {
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	var feeders sync.WaitGroup
	for p := range 2 {
		feeders.Go(func() {
			feed(ctx, 100*time.Millisecond, func(n int) { s.produce(t, soakHealthy+p, "healthy", n, 5, "") })
		})
	}
	feeders.Go(func() { s.hostile = s.feedHostile(ctx, t) })
	feeders.Go(func() { s.feedLarge(ctx, t) })
	feeders.Go(func() { feed(ctx, s.pause, func(n int) { s.produce(t, soakStuck, "stuck", n, 1, "") }) })
	feeders.Go(func() {
		feed(ctx, 100*time.Millisecond, func(n int) { s.produce(t, soakStuck, "beside", n, 50, "") })
	})
	feed(ctx, time.Second, func(int) { memory = append(memory, s.worker.resident(t, "VmRSS")) })
	if s.lag(t, soakStuck) == 0 {
		t.Error("no record is stuck")
	}
	feeders.Wait()
	s.mu.Lock()
	s.well = true
	s.mu.Unlock()
	until(t, "all is settled", 2*time.Minute, func() bool { return s.b.Lag(t, s.topic, s.topic) == 0 })
	return memory
}

// lag is what the worker says of a partition; -1 while it does not know.
func (s *soak) lag(t *testing.T, partition int) int64 {
	t.Helper()
	if lag := s.worker.status(t).Partitions[partition].Lag; lag != nil {
		return *lag
	}
	return -1
}

// feed produces at a steady pace until ctx ends. n counts the calls.
func feed(ctx context.Context, every time.Duration, produce func(n int)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		produce(n)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// feedLarge publishes an event of 1 MB each second, but for each fifth, which has 4 MB. Their bytes hardly compress.
func (s *soak) feedLarge(ctx context.Context, t *testing.T) {
	noise := make([]byte, 2_000_000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	text := hex.EncodeToString(noise)
	feed(ctx, time.Second, func(n int) {
		size := 1_000_000
		if n%5 == 4 {
			size = len(text)
		}
		s.produce(t, soakLarge, "large", n, 1, text[:size])
	})
}

// feedHostile publishes small batches that inflate to 40 MiB, in each codec, and records with 100,000 headers. It
// returns how many it has published.
func (s *soak) feedHostile(ctx context.Context, t *testing.T) (records int) {
	blanks, headers := bytes.Repeat([]byte(" "), 40<<20), make([]kafka.Header, 100_000)
	codecs := []kafka.Compression{kafka.Zstd, kafka.Gzip, kafka.Lz4, kafka.Snappy}
	feed(ctx, 2*time.Second, func(n int) {
		s.compress(t, codecs[n%len(codecs)], kafka.Message{Value: blanks})
		s.compress(t, kafka.Zstd, kafka.Message{Value: []byte("{}"), Headers: headers})
		records += 2
	})
	return records
}

// produce publishes some events of a kind to a partition. Their delay counts from now on.
func (s *soak) produce(t *testing.T, partition int, kind string, n, events int, body string) {
	var msgs []kafka.Message
	s.mu.Lock()
	for i := range events {
		id := fmt.Sprintf("%s-%d-%d", kind, partition, n*events+i)
		msgs = append(msgs, event(id, body))
		s.sent[id] = time.Now()
	}
	s.mu.Unlock()
	s.b.ProduceTo(t, s.topic, partition, msgs...)
}

func event(id, body string) kafka.Message {
	return kafka.Message{Key: []byte(id), Value: fmt.Appendf(nil,
		`{"id":%q,"properties":{"hs_timestamp":"2026-11-23T10:00:00Z","hs_task_subject":"s","hs_task_body":%q}}`, id, body)}
}

// compress publishes a hostile record in a batch of its own.
func (s *soak) compress(t *testing.T, codec kafka.Compression, msg kafka.Message) {
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	w := &kafka.Writer{Addr: kafka.TCP(s.b.Addrs...), Topic: s.topic, Compression: codec, BatchSize: 1,
		BatchBytes: 128 << 20, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, Transport: transport,
		Balancer: kafka.BalancerFunc(func(kafka.Message, ...int) int { return soakHostile })}
	if err := w.WriteMessages(context.WithoutCancel(t.Context()), msg); err != nil {
		t.Errorf("produce a hostile record: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("produce a hostile record: %v", err)
	}
}

// judgeMemory logs what was resident in each minute, and holds it against the chart's limit. When all is settled, the
// heap is nearly empty. In a long soak, too, what is resident does not grow: the last third is held against the most of
// the middle one, as the collector lets memory grow in steps, depending on what it finds in use.
func (s *soak) judgeMemory(t *testing.T, samples []int64, long bool) {
	t.Helper()
	for minute := range slices.Chunk(samples, 60) {
		t.Logf("resident: %3d MiB on average, %3d at the most", mean(minute)>>20, slices.Max(minute)>>20)
	}
	third := len(samples) / 3
	middle, last := samples[third:2*third], samples[2*third:]
	peak, live := s.worker.resident(t, "VmHWM"), s.live(t)
	t.Logf("resident: %d MiB on average in the middle third, %d in the last, %d at the most; the chart's limit is %d",
		mean(middle)>>20, mean(last)>>20, peak>>20, s.limit>>20)
	t.Logf("of the heap %.1f MiB are in use at the end", float64(live)/(1<<20))
	if peak > s.limit {
		t.Errorf("%d MiB were resident, and the chart's limit is %d", peak>>20, s.limit>>20)
	}
	if live > soakLive {
		t.Errorf("%d MiB of the heap are in use at the end", live>>20)
	}
	if most := slices.Max(middle); long && float64(mean(last)) > soakNoise*float64(most) {
		t.Errorf("memory grows: at most %d MiB in the middle third, %d on average in the last", most>>20, mean(last)>>20)
	}
}

// live is what of the worker's heap is in use. A sync.Pool lets go of what it has after two collections.
func (s *soak) live(t *testing.T) int64 {
	t.Helper()
	addr := s.worker.listening(t, "pprof server")
	for range 3 {
		status, _, body := ask(t, addr, "GET /debug/pprof/heap?gc=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if status != http.StatusOK {
			t.Fatalf("collect the worker's garbage: status %d, %s", status, body)
		}
	}
	live, ok := seriesValue(s.worker.scrape(t)["go_memstats_heap_alloc_bytes"])
	if !ok {
		t.Fatal("/metrics has no go_memstats_heap_alloc_bytes")
	}
	return int64(live)
}

func mean(samples []int64) (sum int64) {
	for _, n := range samples {
		sum += n
	}
	return sum / int64(max(len(samples), 1))
}

// judgeRecords holds the dead letters against what is bad: the hostile records, and those that HubSpot left out until
// the worker gave them up.
func (s *soak) judgeRecords(t *testing.T, st worker.Status) {
	t.Helper()
	t.Logf("%d records are dead letters; requests by status: %v", st.Records.DeadLettered, st.Sender.Requests)
	if want := s.hostile + len(s.sent); st.Records.DeadLettered != want || st.Records.Lost > 0 {
		t.Errorf("%d records are dead letters, want %d; %d records are lost", st.Records.DeadLettered, want, st.Records.Lost)
	}
	for id := range s.sent {
		if kindOf(id) != "stuck" {
			t.Errorf("HubSpot did not confirm %s", id)
		}
	}
}

// judgeDelay logs how long the events of each kind took to HubSpot, and holds that of the healthy partitions against
// what is promised.
func (s *soak) judgeDelay(t *testing.T, long bool) {
	t.Helper()
	most := soakDelay
	if !long {
		most *= 4
	}
	for _, kind := range []string{"healthy", "beside", "large"} {
		took := s.took[kind]
		if len(took) == 0 {
			t.Errorf("no event %s reached HubSpot", kind)
			continue
		}
		slices.Sort(took)
		at := func(part float64) time.Duration {
			return took[int(part*float64(len(took)-1))].Round(time.Millisecond)
		}
		t.Logf("%-7s %6d events, in HubSpot after %v (p50), %v (p99), %v at the most", kind, len(took), at(0.5), at(0.99),
			at(1))
		if kind == "healthy" && at(1) > most {
			t.Errorf("an event of a healthy partition was in HubSpot after %v; at most %v are promised", at(1), most)
		}
	}
}
