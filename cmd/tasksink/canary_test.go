package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/internal/secret"
	"github.com/tasksink/tasksink/tracing/tracingtest"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/hubspot"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// Each secret contains this, so that none can be seen anywhere without it.
const canary = "canary-bird"

func clean(t *testing.T, where, text string) {
	t.Helper()
	if i := strings.Index(text, canary); i >= 0 {
		t.Errorf("a secret is in %s: %s", where, text[max(0, i-200):min(len(text), i+60)])
	}
}

// TestCanaries: through success, an outage, and each way of being refused, no secret is in what the process writes, in
// /status, in /metrics, in exported spans, or in the dead letters.
func TestCanaries(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"token", "token file", "OAuth"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			kafkatest.EachSecured(t, kafkatest.Scram512, func(t *testing.T, s *kafkatest.Secured) {
				t.Parallel()
				sing(t, s, way)
			})
		})
	}
}

func sing(t *testing.T, s *kafkatest.Secured, way string) {
	dir, topic := t.TempDir(), s.Topic(t, 2, nil)
	s.CreateTopic(t, topic+".dlq", 1, nil)
	s.Allow(t, kafkatest.ACL{Resource: "topic", Name: topic, Operation: "Read"},
		kafkatest.ACL{Resource: "group", Name: topic, Operation: "Read"},
		kafkatest.ACL{Resource: "topic", Name: topic + ".dlq", Operation: "Write"})
	s.SetPassword(t, canary+"-password")
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	token, refresh := canary+"-token", canary+"-refresh"
	hubspot := hubspottest.New(hubspottest.Config{Token: token})
	args := []string{"--hubspot-token=" + token}
	switch way {
	case "token file":
		args = []string{"--hubspot-token-file=" + file("token", token)}
	case "OAuth":
		hubspot = hubspottest.New(hubspottest.Config{App: &hubspottest.App{ClientID: "id", ClientSecret: canary + "-secret",
			RefreshToken: refresh}})
		args = []string{"--hubspot-oauth-client-id=id", "--hubspot-oauth-client-secret-file=" +
			file("secret", canary+"-secret"), "--hubspot-oauth-refresh-token-file=" + file("refresh", refresh)}
	}
	server := httptest.NewServer(hubspot)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	args = append(args, "--kafka-brokers="+s.Addr, "--kafka-topics="+topic, "--kafka-group="+topic,
		"--kafka-tls-ca="+file("ca", string(s.Old.PEM)),
		"--kafka-sasl-mechanism=scram-sha-512", "--kafka-sasl-username="+s.User, "--hubspot-url="+server.URL, "--hubspot-id-property=external_task_id",
		"--hubspot-rate=0", "--hubspot-timeout=2s", "--log-level=debug")

	collector := tracingtest.New(t)
	m := startIn(t, way, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.GRPC, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"},
		append(args, "--kafka-sasl-password-file="+file("password", canary+"-password"))...)
	holds := func(m *member, reason string) {
		t.Helper()
		until(t, "hold "+reason, 40*time.Second, func() bool {
			_, body := m.get(t, "/status")
			clean(t, "/status", body)
			return strings.Contains(body, `"reason": "`+reason+`"`)
		})
	}
	produced := 0
	produce := func() {
		t.Helper()
		msgs := versions(produced, 50, 1_000_000)
		msgs = append(msgs, kafka.Message{Key: []byte("bad"),
			Value: fmt.Appendf(nil, `{"id":"bad-%d","properties":{"hs_timestamp":"never"}}`, produced)},
			kafka.Message{Key: []byte("worse"), Value: []byte("{")})
		produced += len(msgs)
		s.Produce(t, topic, msgs...)
	}
	drained := func() {
		t.Helper()
		// A 401 for an access token that is younger than a minute asks for no other one.
		until(t, "all is committed", 2*time.Minute, func() bool { return s.Lag(t, topic, topic) == 0 })
	}

	produce()
	drained()

	// Proxies and HubSpot itself may quote what was sent.
	for _, fault := range []hubspottest.Fault{{Status: 503, Body: "<html>Bearer " + token},
		{Status: 500, Body: `{"status":"error","message":"Bearer ` + token + `"}`}} {
		mend := hubspot.Inject(fault)
		produce()
		until(t, "the breaker opens", 20*time.Second, func() bool {
			_, body := m.get(t, "/status")
			clean(t, "/status", body)
			return strings.Contains(body, `"breaker": "open"`)
		})
		mend()
		drained()
	}
	mend := hubspot.Inject(hubspottest.Fault{Status: 401,
		Body: `{"status":"error","category":"INVALID_AUTHENTICATION","message":"The token ` + token + ` is not valid"}`})
	produce()
	holds(m, "auth")
	mend()
	drained()

	if way == "OAuth" {
		hubspot.SetRefreshToken("")
		hubspot.RevokeAccess()
	} else {
		hubspot.SetToken("another")
	}
	produce()
	holds(m, "auth")
	hubspot.SetRefreshToken(refresh)
	hubspot.SetToken(token)
	drained()
	_, metrics := m.get(t, "/metrics")
	clean(t, "/metrics", metrics)
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	clean(t, "what the process writes", m.log.String())
	if len(collector.Spans()) == 0 {
		t.Error("no spans are exported")
	}
	clean(t, "what is exported", collector.Bytes())

	refused := start(t, way+", refused by Kafka", append(args, "--kafka-sasl-password="+canary+"-wrong")...)
	holds(refused, "kafka")
	if err := refused.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	clean(t, "what the refused process writes", refused.log.String())

	letters := s.ReadAll(t, topic+".dlq")
	if len(letters) < 6 {
		t.Errorf("%d dead letters, want at least 6", len(letters))
	}
	for _, l := range letters {
		text := string(l.Key) + " " + string(l.Value)
		for _, h := range l.Headers {
			text += " " + h.Key + "=" + string(h.Value)
		}
		clean(t, "a dead letter", text)
	}
}

// TestPrinted: a panic or a careless log line that prints a configuration shows no secret.
func TestPrinted(t *testing.T) {
	hidden := secret.Text(canary)
	mechanisms := []string{"plain", "scram-sha-256", "scram-sha-512"}
	all := []any{config.Config{HubspotToken: canary, KafkaSASLPassword: canary},
		hubspot.Config{Token: hidden, OAuth: &hubspot.OAuthConfig{ClientSecret: hidden, RefreshToken: hidden}},
		hubspot.OAuthConfig{ClientSecret: hidden, RefreshToken: hidden}}
	for _, name := range mechanisms {
		login, err := broker.NewSASL(name, "user", hidden)
		if err != nil {
			t.Fatal(err)
		}
		conn := broker.Connection{SASL: login}
		all = append(all, login, conn, consumer.Config{Connection: conn}, dlq.Config{Connection: conn}, conn.Transport())
	}
	for _, cfg := range []hubspot.Config{{URL: "https://h", Token: hidden},
		{URL: "https://h", OAuth: &hubspot.OAuthConfig{ClientSecret: hidden, RefreshToken: hidden}}} {
		client, err := hubspot.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, client, upsert.SenderConfig{Client: client})
	}
	for _, v := range all {
		asJSON, err := json.Marshal(v)
		if err != nil {
			asJSON = []byte(err.Error()) // it holds functions
		}
		clean(t, fmt.Sprintf("%T", v), fmt.Sprintf("%v %+v %#v %s %q %s", v, v, v, v, v, asJSON))
	}
}

// TestProxy: the standard variables lead all requests to HubSpot, and those for access tokens, through a proxy. Not
// parallel, as it sets variables.
func TestProxy(t *testing.T) {
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, nil)
	dir := t.TempDir()
	for name, content := range map[string]string{"secret": "s", "refresh": "r"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hubspot := hubspottest.New(hubspottest.Config{App: &hubspottest.App{ClientID: "id", ClientSecret: "s",
		RefreshToken: "r"}})
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "hubspot.example" {
			t.Errorf("the proxy is asked for %s", r.URL)
		}
		hubspot.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("NO_PROXY", "")
	b.Produce(t, topic, versions(0, 10, 10)...)
	m := start(t, "behind a proxy", "--kafka-brokers="+strings.Join(b.Addrs, ","), "--kafka-topics="+topic,
		"--hubspot-url=http://hubspot.example", "--insecure",
		"--hubspot-oauth-client-id=id", "--hubspot-oauth-client-secret-file="+filepath.Join(dir, "secret"), "--hubspot-oauth-refresh-token-file="+filepath.Join(dir, "refresh"),
		"--hubspot-id-property=external_task_id")
	until(t, "all is written", 20*time.Second, func() bool { return len(hubspot.Journal()) == 10 })
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}
