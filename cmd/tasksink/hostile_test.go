package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/cmd/tasksink/worker"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/internal/visible"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// listening is the address at which one of the member's servers listens.
func (m *member) listening(t *testing.T, server string) string {
	t.Helper()
	line := regexp.MustCompile(`"address":"([^"]+)","time":"[^"]*","message":"` + server + ` listens"`)
	until(t, server+" listens", 10*time.Second, func() bool { return line.MatchString(m.log.String()) })
	return line.FindStringSubmatch(m.log.String())[1]
}

// ask sends raw bytes, and returns the answer; the status is 0 if the connection is closed without one.
func ask(t *testing.T, addr, request string) (status int, header http.Header, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(conn, request) }() // the server may answer, and hang up, in its middle
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return 0, nil, ""
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil && res.StatusCode < 400 { // one that was refused may be cut off
		t.Error(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// TestAdminServer: whoever reaches the admin server learns nothing by odd requests, and holds up nothing.
func TestAdminServer(t *testing.T) {
	t.Parallel()
	m := start(t, "lonely", "--kafka-brokers=127.0.0.1:1", "--hubspot-token=t")
	addr := m.listening(t, "admin server")
	for _, tc := range []struct {
		name, request string
		status        int
		early         bool // refused before a handler sees it
	}{
		{"alive", "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", 200, false},
		{"not ready", "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n", 503, false},
		{"HEAD", "HEAD /status HTTP/1.1\r\nHost: a\r\n\r\n", 200, false},
		{"another host, as after DNS rebinding", "GET /status HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n", 200, false},
		{"POST", "POST /status HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 405, false},
		{"DELETE", "DELETE /status HTTP/1.1\r\nHost: a\r\n\r\n", 405, false},
		{"TRACE", "TRACE /livez HTTP/1.1\r\nHost: a\r\n\r\n", 405, false},
		{"an unknown path", "GET /etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 404, false},
		{"profiles, which were not asked for", "GET /debug/pprof/ HTTP/1.1\r\nHost: a\r\n\r\n", 404, false},
		{"a small body", "GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 200, false},
		{"a big body", "GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("x", 1<<20), 413, false},
		{"a big body in chunks", "POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("400\r\n"+strings.Repeat("x", 1024)+"\r\n", 100) + "0\r\n\r\n", 413, false},
		{"a body that never comes", "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n", 413, false},
		{"1 MB of header", "GET /livez HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", 431, true},
		{"no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, true},
		{"two lengths", "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400, true},
		{"a line break in a header", "GET /livez HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, header, body := ask(t, addr, tc.request)
			if status != tc.status {
				t.Errorf("status %d, want %d: %s", status, tc.status, body)
			}
			if !tc.early && (header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Cache-Control") != "no-store") {
				t.Errorf("headers %v", header)
			}
			if strings.Contains(body, "evil") || header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("what was asked is in the answer: %v %s", header, body)
			}
		})
	}
	t.Run("slow headers", func(t *testing.T) {
		// More connections than it takes at once, none of which finishes its request: they are cut, and others get their
		// turn.
		began := time.Now()
		for range 300 {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nX-Slow: "); err != nil {
				t.Fatal(err)
			}
		}
		asked := time.Now()
		if status, _, _ := ask(t, addr, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"); status != 200 {
			t.Errorf("status %d, want 200", status)
		}
		if took := time.Since(asked); took > 12*time.Second || took < time.Second && asked.Sub(began) < 3*time.Second {
			t.Errorf("answered after %v, want it to wait until the others are cut, and no longer", took)
		}
	})
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

// TestPprof: profiles are for this machine, and show no command line.
func TestPprof(t *testing.T) {
	t.Parallel()
	m := start(t, "profiled", "--kafka-brokers=127.0.0.1:1", "--hubspot-token="+canary, "--pprof=localhost:0")
	addr := m.listening(t, "pprof server")
	for path, want := range map[string]int{"/debug/pprof/": 200, "/debug/pprof/heap": 200,
		"/debug/pprof/profile?seconds=1": 200, "/debug/pprof/goroutine?debug=2": 200,
		"/debug/pprof/cmdline": 404, "/debug/pprof/cmdline/": 404, "/status": 404} {
		status, _, body := ask(t, addr, "GET "+path+" HTTP/1.1\r\nHost: "+addr+"\r\n\r\n")
		if status != want {
			t.Errorf("%s: status %d, want %d", path, status, want)
		}
		clean(t, path, body)
	}
	if status, _, _ := ask(t, addr, "GET /debug/pprof/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"); status != 403 {
		t.Errorf("for another host: status %d, want 403", status)
	}
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

// TestHostileRecords: whatever stands in keys, ids, properties, headers and HubSpot's words, the log stays one event a
// line without control characters, /status stays plain, and each record is written or dead-lettered.
func TestHostileRecords(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "console"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			b := kafkatest.Fake(t)
			topic, hubspot, args := world(t, b, 1, hubspottest.Config{}, "--log-level=debug", "--log-format="+format,
				"--kafka-group=evil\x1b[31m\r\nforged\u202e", "--hubspot-timeout=2s")
			b.CreateTopic(t, topic+".dlq", 1, nil)
			asJSON := func(s string) string {
				text, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				return string(text)
			}
			name := asJSON(hostile)
			headers := []kafka.Header{{Key: hostile, Value: []byte(hostile)},
				{Key: "traceparent", Value: []byte(strings.Repeat("\r\nX: y", 1000))},
				{Key: "tasksink.dlq.redrive_count", Value: []byte("99\r\n\x1b")}, {Key: "tasksink.dlq.topic", Value: []byte("__consumer_offsets")}}
			for range 100 {
				headers = append(headers, kafka.Header{Key: "h", Value: []byte("\x1b[2J")})
			}
			id := strings.Map(func(r rune) rune { // an id has no control characters
				if unicode.IsControl(r) {
					return -1
				}
				return r
			}, strings.ToValidUTF8(hostile, "\ufffd"))
			good := kafka.Message{Key: []byte(hostile), Headers: headers,
				Value: []byte(`{"id":` + asJSON(id) + `,"properties":{"hs_timestamp":"2026-11-23T10:00:00Z","hs_task_subject":` +
					name +
					`}}`)}
			b.Produce(t, topic, good,
				kafka.Message{Key: []byte(hostile), Headers: headers,
					Value: []byte(`{"id":"b","properties":{` + name + `:["x"]}}`)},
				kafka.Message{Key: []byte(hostile), Headers: headers,
					Value: []byte(`{"id":"c","properties":{"hs_timestamp":"2026-11-23T10:00:00Z",` + name + `:"x"}}`)},
				kafka.Message{Key: []byte(hostile), Headers: headers, Value: []byte(hostile)},
				kafka.Message{Key: []byte(hostile), Headers: headers, Value: []byte(`{"id":` + name + `,"properties":{}}`)},
				kafka.Message{Headers: headers, Value: nil})
			mend := hubspot.Inject(hubspottest.Fault{Times: 1, Status: 401, Body: `{"status":"error","category":` + name +
				`,"correlationId":` + name + `,"message":` + name + `}`})
			_ = hubspot.Inject(hubspottest.Fault{Times: 1, Status: 503, Body: `{"status":"error","category":` + name +
				`,"message":` + name + `}`})
			m := start(t, format, args...)
			until(t, "all are settled", 60*time.Second, func() bool {
				return len(b.ReadAll(t, topic+".dlq")) == 5 &&
					len(hubspot.Journal()) == 1
			})
			mend()
			if w := hubspot.Journal()[0]; w.ID != id {
				t.Errorf("HubSpot has the id %q", w.ID)
			}
			// A flood whose reason names a property: it stands in /status and in the log.
			var flood []kafka.Message
			for i := range 1001 {
				flood = append(flood, kafka.Message{Key: []byte(strconv.Itoa(i)),
					Value: []byte(`{"id":"b","properties":{` + name + `:["x"]}}`)})
			}
			b.Produce(t, topic, flood...)
			if format == "json" {
				until(t, "the flood holds", 30*time.Second, func() bool {
					_, body := m.get(t, "/status")
					harmless(t, "/status", body)
					var st worker.Status
					if err := json.Unmarshal([]byte(body), &st); err != nil {
						t.Fatal(err)
					}
					for _, h := range st.Holds {
						if visible.Text(h.Detail) != h.Detail {
							t.Errorf("hold %q", h.Detail)
						}
					}
					return strings.Contains(body, `"reason": "flood"`)
				})
			} else {
				until(t, "the flood holds", 30*time.Second, func() bool { return strings.Contains(m.log.String(), "failed alike") })
			}
			if err := m.terminate(t); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
			said := m.log.String()
			harmless(t, "the log", said)
			for _, line := range strings.Split(strings.TrimSuffix(said, "\n"), "\n") {
				if format == "json" && !json.Valid([]byte(line)) || strings.HasPrefix(line, "letter") ||
					strings.HasPrefix(line, "forged") {
					t.Errorf("not a line of ours: %q", line)
				}
			}
			for _, l := range b.ReadAll(t, topic+".dlq")[:5] {
				if strings.Contains(fmt.Sprintf("%s", l.Headers), "__consumer_offsets") {
					t.Errorf("a forged header is in the letter: %s", l.Headers)
				}
			}
		})
	}
}

// TestTooManyHeaders: a record with as many headers as may be is written; one with more is a dead letter without them,
// which cannot be redriven.
func TestTooManyHeaders(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic, hubspot, args := world(t, b, 1, hubspottest.Config{})
		b.CreateTopic(t, topic+".dlq", 1, nil)
		value := []byte(`{"properties":{"hs_timestamp":"2026-11-23T10:00:00Z","hs_task_subject":"x"}}`)
		b.Produce(t, topic, kafka.Message{Key: []byte("too many"), Value: value, Headers: make([]kafka.Header, 1001)},
			kafka.Message{Key: []byte("as many as may be"), Value: value, Headers: make([]kafka.Header, 1000)})
		m := start(t, "headers", args...)
		until(t, "all is committed", 2*time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
		if journal := hubspot.Journal(); len(journal) != 1 || journal[0].ID != "as many as may be" {
			t.Errorf("written: %+v", journal)
		}
		letters := b.ReadAll(t, topic+".dlq")
		if len(letters) != 1 {
			t.Fatalf("%d letters, want 1", len(letters))
		}
		own := map[string]string{}
		for _, h := range letters[0].Headers {
			own[h.Key] = string(h.Value)
		}
		if len(letters[0].Headers) != len(own) || own["tasksink.dlq.category"] != "TOO_MANY_HEADERS" ||
			own["tasksink.dlq.truncated"] != "too-many-headers" || !bytes.Equal(letters[0].Value, value) {
			t.Errorf("the letter has the value %q and the headers %q", letters[0].Value, own)
		}
		if err := m.terminate(t); err != nil {
			t.Errorf("SIGTERM: %v", err)
		}
		_, stdout, stderr := tasksink(t, nil, "dlq", "redrive", "--dry-run", "--kafka-brokers="+strings.Join(b.Addrs, ","),
			"--kafka-topics="+topic, "--any-group")
		if !strings.Contains(stdout, "0  would be sent") || !strings.Contains(stdout, dlq.RefusedHeaders) {
			t.Errorf("redrive: %s%s", stdout, stderr)
		}
	})
}

// harmless is text without control characters but line feeds.
func harmless(t *testing.T, where, text string) {
	t.Helper()
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r == 0x7f) }); i >= 0 ||
		!utf8.ValidString(text) {
		t.Errorf("a control character is in %s: %q", where, text[max(0, i-80):min(len(text), max(0, i)+80)])
	}
}

// TestLargeRecords: a thousand records of a megabyte wait for HubSpot, and memory stays within --max-pending-bytes and
// what the fetches add.
func TestLargeRecords(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	const limit = 32 << 20
	topic, hubspot, args := world(t, b, 4, hubspottest.Config{}, "--max-pending-bytes=32MiB", "--hubspot-timeout=30s",
		"--drain-timeout=32s")
	b.CreateTopic(t, topic+".dlq", 1, nil)
	hubspot.SetDown(true)
	// Text that compresses to a twentieth, as texts may, so that the broker, which lives in this process, stays small.
	body := make([]byte, 0, 1<<20)
	for len(body) < 1_000_000 {
		line := fmt.Appendf(nil, "%x", rand.Uint64N(1<<60))
		for range 32 {
			body = append(body, line...)
		}
	}
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	w := &kafka.Writer{Addr: kafka.TCP(b.Addrs...), Transport: transport, Topic: topic, Balancer: kafka.Murmur2Balancer{},
		RequiredAcks: kafka.RequireAll, Compression: kafka.Gzip, BatchSize: 4, BatchBytes: 8 << 20,
		BatchTimeout: time.Millisecond}
	defer func() { _ = w.Close() }()
	for i := 0; i < 1000; i += 20 {
		var msgs []kafka.Message
		for j := range 20 {
			msgs = append(msgs, kafka.Message{Key: []byte(strconv.Itoa(i + j)),
				Value: fmt.Appendf(nil, `{"id":"task-%d","properties":{"hs_timestamp":"2026-11-23T10:00:00Z","hs_task_body":"%s"}}`,
					i+j, body)})
		}
		if err := w.WriteMessages(t.Context(), msgs...); err != nil {
			t.Fatal(err)
		}
	}
	m := start(t, "large", args...)
	most, steady := int64(0), 0
	until(t, "it is full", 60*time.Second, func() bool {
		_, text := m.get(t, "/status")
		var st worker.Status
		if err := json.Unmarshal([]byte(text), &st); err != nil {
			t.Fatal(err)
		}
		if st.Records.PendingBytes > limit*9/10 {
			steady++
		}
		most = max(most, st.Records.PendingBytes)
		return steady > 50
	})
	if most > limit {
		t.Errorf("%d bytes are pending, and %d are allowed", most, limit)
	}
	peak := m.resident(t, "VmHWM")
	t.Logf("%d MiB pending at the most, %d MiB resident at the most", most>>20, peak>>20)
	if peak > 400<<20 { // the race detector's part is the largest; the records are 1,000 MB
		t.Errorf("%d MiB were resident", peak>>20)
	}
}
