package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain: what was started has ended, when all is done.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// observing runs everything on free ports, and returns what it says where, and a function that stops it and returns how
// that went.
func observing(t *testing.T, o options) (guide string, stop func() error) {
	t.Helper()
	o.Hubspot, o.Listen, o.Prometheus, o.KafkaPort = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", 0
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := observe(ctx, o, w)
		_ = w.CloseWithError(io.EOF)
		done <- err
	}()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	var says strings.Builder
	for lines := bufio.NewScanner(r); lines.Scan(); {
		says.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			return says.String(), stop
		}
	}
	t.Fatalf("it did not start: %v\n%s", stop(), says.String())
	return "", nil
}

func found(t *testing.T, guide, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(guide)
	if m == nil {
		t.Fatalf("no %s in\n%s", pattern, guide)
	}
	return m[1]
}

// get reads an answer of Prometheus's API.
func get(t *testing.T, address string, into any) {
	t.Helper()
	res, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s\n%s", address, res.Status, b)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v\n%s", address, err, b)
	}
}

// TestObserve: one call starts everything, and stops everything. Meanwhile each query of the dashboard returns numbers,
// Prometheus evaluates each alert, and those that mean trouble keep quiet.
func TestObserve(t *testing.T) {
	debian(t, "prometheus")
	defer http.DefaultClient.CloseIdleConnections()
	// The stream and the batches keep time with the second. A scrape that did, too, would see the same moment of it for
	// ever: one with no open record, perhaps.
	guide, stop := observing(t, options{Records: 3000, Stream: 100, Bad: 2, Scrape: 700 * time.Millisecond})
	prometheus := "http://" + found(t, guide, `http://(\S+)/alerts`)

	var open []string // queries without a number so far
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			open = append(open, target.Expr)
		}
	}
	for limit := time.Now().Add(90 * time.Second); len(open) > 0; time.Sleep(time.Second) { // a scrape's time
		if time.Now().After(limit) {
			t.Errorf("no number after 90 s:\n%s", strings.Join(open, "\n"))
			break
		}
		open = slices.DeleteFunc(open, func(expr string) bool {
			var answer struct {
				Data struct{ Result []struct{ Value [2]any } }
			}
			get(t, prometheus+"/api/v1/query?query="+url.QueryEscape(query(expr, "10s")), &answer)
			return slices.ContainsFunc(answer.Data.Result, func(r struct{ Value [2]any }) bool {
				text, _ := r.Value[1].(string)
				n, err := strconv.ParseFloat(text, 64)
				return err == nil && !math.IsNaN(n)
			})
		})
	}

	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError, State string }
			}
		}
	}
	get(t, prometheus+"/api/v1/rules", &rules)
	evaluated := 0
	for _, g := range rules.Data.Groups {
		for _, r := range g.Rules {
			evaluated++
			if r.Health != "ok" {
				t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
			}
			if r.State == "firing" && r.Name != "TasksinkNewDeadLetterReason" { // all reasons are new
				t.Errorf("%s fires", r.Name)
			}
		}
	}
	if evaluated != len(alerts(t)) {
		t.Errorf("Prometheus evaluates %d alerts of %d", evaluated, len(alerts(t)))
	}

	if err := stop(); err != nil {
		t.Errorf("it did not stop well: %v", err)
	}
	for _, name := range []string{`Prometheus +http://([^/]+)/`, `tasksink +http://([^/]+)/`, `HubSpot +http://(\S+)`} {
		if res, err := http.Get("http://" + found(t, guide, name)); err == nil {
			_ = res.Body.Close()
			t.Errorf("%s still answers", found(t, guide, name))
		}
	}
}

// TestObserveEnds: a port that is taken is told with what the program said.
func TestObserveEnds(t *testing.T) {
	debian(t, "prometheus")
	defer http.DefaultClient.CloseIdleConnections()
	guide, stop := observing(t, options{Records: 10, Scrape: time.Second})
	taken := found(t, guide, `HubSpot +http://(\S+)`)
	o := options{Records: 10, Scrape: time.Second, Hubspot: "127.0.0.1:0", Listen: taken, Prometheus: "127.0.0.1:0"}
	if err := observe(t.Context(), o, io.Discard); err == nil ||
		!strings.Contains(err.Error(), "tasksink ended by itself") || !strings.Contains(err.Error(), "--listen="+taken) {
		t.Errorf("with a port that is taken: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
