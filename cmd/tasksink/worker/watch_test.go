package worker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/cmd/tasksink/worker/page"
	"github.com/tasksink/tasksink/internal/watchdog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestLivez: /livez is 503, and names the loops, while any is wedged.
func TestLivez(t *testing.T) {
	dog := watchdog.New(time.Second)
	source := &statusPage{dog: dog}
	admin, err := listenAdmin(t.Context(), "127.0.0.1:0", source, page.NewHistory(source.sample), http.NotFoundHandler(),
		zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var parts sync.WaitGroup
	parts.Go(func() { admin.serve(ctx) })
	parts.Go(func() { dog.Run(ctx) })
	defer parts.Wait()
	defer stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	livez := func() string {
		res, err := client.Get(fmt.Sprintf("http://%s/livez", admin.listener.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d %s", res.StatusCode, body)
	}
	becomes := func(want string) {
		t.Helper()
		got := livez()
		for end := time.Now().Add(10 * time.Second); got != want && time.Now().Before(end); got = livez() {
			time.Sleep(50 * time.Millisecond)
		}
		if got != want {
			t.Fatalf("/livez answers %q, want %q", got, want)
		}
	}
	commit, fetch := dog.Loop("commit"), dog.Loop("fetch from broker 1")
	becomes("200 ok\n")
	commit.Busy()
	fetch.Busy()
	becomes("503 wedged: commit, fetch from broker 1\n")
	commit.Idle()
	becomes("503 wedged: fetch from broker 1\n")
	fetch.End()
	becomes("200 ok\n")
}

// TestWatch: each wedged loop is logged as an error, once.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dog := watchdog.New(bound(config.Config{}))
		var out bytes.Buffer
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { watch(ctx, dog, zerolog.New(&out)) })
		commit, fetch := dog.Loop("commit"), dog.Loop("fetch from broker 1")
		commit.Busy()
		time.Sleep(10 * time.Second)
		fetch.Busy()
		time.Sleep(10 * time.Minute)
		commit.Idle()
		time.Sleep(time.Minute)
		commit.Busy()
		time.Sleep(2 * time.Minute)
		stop()
		running.Wait()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 3 {
			t.Fatalf("%d lines, want 3: %s", len(lines), out.String())
		}
		for i, name := range []string{"commit", "fetch from broker 1", "commit"} {
			if !strings.Contains(lines[i], `"error"`) || !strings.Contains(lines[i], `"wedged: `+name+`: `) ||
				!strings.Contains(lines[i], `"remedy":"restart`) {
				t.Errorf("line %d: %s", i, lines[i])
			}
		}
	})
}

// TestBound: no attempt can be as long as the bound.
func TestBound(t *testing.T) {
	for _, tc := range []struct{ timeout, drain, want time.Duration }{
		{15 * time.Second, 20 * time.Second, time.Minute},
		{15 * time.Second, 45 * time.Second, 90 * time.Second},
		{5 * time.Minute, time.Minute, 10 * time.Minute},
	} {
		if got := bound(config.Config{HubspotTimeout: tc.timeout, DrainTimeout: tc.drain}); got != tc.want {
			t.Errorf("with --hubspot-timeout=%v and --drain-timeout=%v the bound is %v, want %v", tc.timeout, tc.drain, got,
				tc.want)
		}
	}
}
