package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/cmd/tasksink/worker"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// program is the built tasksink, made once for all tests; plain is without the race detector, whose memory is its own.
var (
	program = sync.OnceValues(func() (string, error) { return build("-race") })
	plain   = sync.OnceValues(func() (string, error) { return build() })
)

func build(flags ...string) (string, error) {
	dir, err := os.MkdirTemp("", "tasksink-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tasksink")
	out, err := exec.Command("go", slices.Concat([]string{"build", "-o", path}, flags, []string{"."})...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build tasksink: %w\n%s", err, out)
	}
	return path, nil
}

// member is one running tasksink.
type member struct {
	cmd  *exec.Cmd
	log  *log
	done chan error
}

// log is what a member said so far.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start runs tasksink as a user would, as a process of its own.
func start(t *testing.T, name string, args ...string) *member {
	t.Helper()
	return startIn(t, name, nil, args...)
}

// startIn is start with more environment variables.
func startIn(t *testing.T, name string, environ []string, args ...string) *member {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return startFrom(t, path, name, environ, args...)
}

// startFrom is startIn for a program that somebody else built.
func startFrom(t *testing.T, path, name string, environ []string, args ...string) *member {
	t.Helper()
	m := &member{cmd: exec.Command(path, append([]string{"run", "--listen=127.0.0.1:0"}, args...)...), log: &log{},
		done: make(chan error, 1)}
	m.cmd.Stdout, m.cmd.Stderr, m.cmd.Env = m.log, m.log, append(os.Environ(), environ...)
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { m.done <- m.cmd.Wait() }()
	t.Cleanup(func() {
		_ = m.cmd.Process.Kill()
		if t.Failed() {
			log := m.log.String()
			t.Logf("%s said:\n%s", name, log[max(0, len(log)-6000):])
		}
	})
	return m
}

// terminate sends SIGTERM and returns how the member ended.
func (m *member) terminate(t *testing.T) error {
	t.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-m.done:
		return err
	case <-time.After(40 * time.Second):
		t.Fatal("not gone 40s after SIGTERM")
		return nil
	}
}

var listens = regexp.MustCompile(`"address":"([^"]+)","time":"[^"]*","message":"admin server listens"`)

// get asks the member's admin server.
func (m *member) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	until(t, "the admin server listens", 10*time.Second, func() bool { return listens.MatchString(m.log.String()) })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		"http://"+listens.FindStringSubmatch(m.log.String())[1]+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// status is the member's /status.
func (m *member) status(t *testing.T) (st worker.Status) {
	t.Helper()
	_, body := m.get(t, "/status")
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return st
}

func until(t *testing.T, what string, limit time.Duration, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// kill ends the member as a crash does.
func (m *member) kill() {
	_ = m.cmd.Process.Kill()
	if err := <-m.done; err != nil {
		return // killed, as it says
	}
}

// TestKafkaUnreachable: it waits and says so, and SIGTERM ends it cleanly.
func TestKafkaUnreachable(t *testing.T) {
	t.Parallel()
	m := start(t, "lonely", "--kafka-brokers=127.0.0.1:1", "--hubspot-token=t")
	if status, _ := m.get(t, "/livez"); status != 200 {
		t.Errorf("/livez: %d", status)
	}
	if status, _ := m.get(t, "/readyz"); status != 503 {
		t.Errorf("/readyz: %d, want 503", status)
	}
	until(t, "it says what is wrong", 20*time.Second, func() bool {
		_, body := m.get(t, "/status")
		var st worker.Status
		if err := json.Unmarshal([]byte(body), &st); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		return st.State == "held" && len(st.Holds) == 1 && st.Holds[0].Reason == "kafka" &&
			strings.Contains(st.Holds[0].Remedy, "--kafka-brokers")
	})
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

// world is a topic, a simulator, and the arguments of a member that works between them.
func world(t *testing.T, b *kafkatest.Broker, partitions int, cfg hubspottest.Config, more ...string) (topic string,
	hubspot *hubspottest.Server, args []string) {
	t.Helper()
	topic = b.Topic(t, partitions, nil)
	hubspot = hubspottest.New(cfg)
	server := httptest.NewServer(hubspot)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return topic, hubspot, append([]string{"--kafka-brokers=" + strings.Join(b.Addrs, ","), "--kafka-topics=" + topic,
		"--kafka-group=" + topic,
		"--hubspot-url=" + server.URL, "--hubspot-token=secret", "--hubspot-id-property=external_task_id", "--hubspot-rate=0"}, more...)
}

// versions are events from the given version on: the version of an object is its subject.
func versions(from, n, objects int) (msgs []kafka.Message) {
	for i := range n {
		id := fmt.Sprintf("task-%d", (from+i)%objects)
		msgs = append(msgs, kafka.Message{Key: []byte(id), Value: fmt.Appendf(nil,
			`{"id":%q,"properties":{"hs_timestamp":"2026-11-23T10:00:00Z","hs_task_subject":"%d"}}`, id, from+i)})
	}
	return msgs
}

// TestStops: how it ends when HubSpot answers nothing, and how when it does.
func TestStops(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	for _, tc := range []struct {
		name   string
		hangs  bool
		twice  bool
		status int
	}{
		{"drained", false, false, 0},
		{"no request is answered", true, false, 0},
		{"a second signal", true, true, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			drain := "--drain-timeout=4s"
			if tc.twice {
				drain = "--drain-timeout=60s"
			}
			topic, hubspot, args := world(t, b, 2, hubspottest.Config{Latency: 50 * time.Millisecond}, "--hubspot-timeout=2s",
				drain)
			if tc.hangs {
				hubspot.Inject(hubspottest.Fault{Hang: true})
			}
			b.Produce(t, topic, versions(0, 300, 300)...)
			m := start(t, tc.name, args...)
			until(t, "a request came", 20*time.Second, func() bool { return len(hubspot.Requests()) > 0 })
			if status, _ := m.get(t, "/readyz"); status != 200 {
				t.Errorf("/readyz: %d", status)
			}
			asked := time.Now()
			if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if tc.twice {
				until(t, "it drains", 10*time.Second, func() bool {
					_,
						body := m.get(t, "/status")
					return strings.Contains(body, `"state": "draining"`)
				})
				if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case err := <-m.done:
				var exit *exec.ExitError
				if status := 0; err != nil && (!errors.As(err, &exit) || exit.ExitCode() != tc.status) || err == nil &&
					tc.status != status {
					t.Errorf("it ended with %v, want status %d", err, tc.status)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("it did not end")
			}
			if took := time.Since(asked); tc.twice && took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestThaw: a process that was frozen for longer than its session wakes up with old records in its memory, and
// believes itself a member. It must not write them over the newer ones of whoever took over.
func TestThaw(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		const events, objects = 20_000, 2000
		topic, hubspot, args := world(t, b, 6, hubspottest.Config{Latency: 100 * time.Millisecond}, "--max-in-flight=2",
			"--hubspot-timeout=40s", "--drain-timeout=42s")
		b.Produce(t, topic, versions(0, events, objects)...)
		frozen := start(t, "frozen", args...)
		until(t, "it works", 20*time.Second, func() bool { return len(hubspot.Requests()) > 10 })
		if err := frozen.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		other := start(t, "other", args...)
		until(t, "the other one has taken over", time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
		thawed := len(hubspot.Journal())
		if err := frozen.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		until(t, "it is a member again", time.Minute, func() bool {
			_, body := frozen.get(t, "/status")
			var st worker.Status
			if err := json.Unmarshal([]byte(body), &st); err != nil {
				t.Fatal(err)
			}
			return st.State == "running" && len(st.Partitions) == 3
		})
		b.Produce(t, topic, versions(events, objects, objects)...)
		until(t, "both go on", time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
		for _, m := range []*member{frozen, other} {
			if err := m.terminate(t); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
		}
		for _, w := range hubspot.Journal()[thawed:] {
			if version, err := strconv.Atoi(w.Properties["hs_task_subject"]); err != nil || version < events {
				t.Fatalf("after the thaw version %d of %s was written", version, w.ID)
			}
		}
		held := hubspot.Objects()
		for i := range objects {
			if got := held[fmt.Sprintf("external_task_id\x00task-%d", i)]["hs_task_subject"]; got != strconv.Itoa(events+i) {
				t.Errorf("HubSpot holds version %s of task-%d, want %d", got, i, events+i)
			}
		}
	})
}
