package main_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestAnswersThatInflate: while every answer is 16 kB that unpack to 16 MiB, for 32 requests at once, the worker's
// memory stays bounded. When HubSpot answers again, the flow goes on.
func TestAnswersThatInflate(t *testing.T) {
	t.Parallel()
	b := kafkatest.Kafka(t)
	const events, most = 10_000, 300 << 20
	topic, hubspot, args := world(t, b, 3, hubspottest.Config{})
	b.CreateTopic(t, topic+".dlq", 1, nil)
	b.Produce(t, topic, versions(0, events, events)...)
	answers := newInflating(t, hubspot)
	server := httptest.NewServer(answers)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	for i, arg := range args {
		if strings.HasPrefix(arg, "--hubspot-url=") {
			args[i] = "--hubspot-url=" + server.URL
		}
	}
	path, err := plain()
	if err != nil {
		t.Fatal(err)
	}
	m := startFrom(t, path, "inflating", nil, args...)
	until(t, "requests come", time.Minute, func() bool { return answers.flying.Load() > 0 })
	time.Sleep(20 * time.Second) // of such answers
	if n := answers.peak.Load(); n < 32 {
		t.Errorf("%d requests were in flight", n)
	}
	answers.well.Store(true)
	until(t, "all is written", 30*time.Second, func() bool { return len(hubspot.Objects()) == events })
	if n := len(b.ReadAll(t, topic+".dlq")); n > 0 {
		t.Errorf("%d dead letters", n)
	}
	peak := m.resident(t, "VmHWM")
	t.Logf("%d MiB were resident at the most; %d answers inflated", peak>>20, answers.given.Load())
	if peak > most {
		t.Errorf("%d MiB were resident", peak>>20)
	}
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

// inflating answers each request with a small body that unpacks to 16 MiB, until HubSpot is well.
type inflating struct {
	hubspot      http.Handler
	packed       []byte
	well         atomic.Bool
	flying, peak atomic.Int64
	given        atomic.Int64
}

func newInflating(t *testing.T, hubspot http.Handler) *inflating {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := fmt.Fprintf(w, `{"status":"COMPLETE","results":[%s{}]}`, strings.Repeat("{},", 16<<20/3)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &inflating{hubspot: hubspot, packed: packed.Bytes()}
}

func (s *inflating) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.well.Load() || !strings.HasSuffix(r.URL.Path, "/upsert") {
		s.hubspot.ServeHTTP(w, r)
		return
	}
	s.peak.Store(max(s.peak.Load(), s.flying.Add(1)))
	defer s.flying.Add(-1)
	// So that as many as may be in flight are answered at once.
	for deadline := time.Now().Add(time.Second); s.flying.Load() < 32 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	s.given.Add(1)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(s.packed) // a worker that went away is no concern of ours
}

// resident is a line of the member's status in /proc, in bytes.
func (m *member) resident(t *testing.T, line string) int64 {
	t.Helper()
	bytes, ok := residentOf(m.cmd.Process.Pid, line)
	if !ok {
		t.Skip("no /proc to read the memory from")
	}
	return bytes
}

// residentOf is a line of a process's /proc status, in bytes. The maximum that wait4 reports is no substitute: it has
// that of the parent, too.
func residentOf(pid int, line string) (bytes int64, ok bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	found := regexp.MustCompile(line + `:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		return 0, false
	}
	kB, err := strconv.ParseInt(string(found[1]), 10, 64)
	return kB << 10, err == nil
}
