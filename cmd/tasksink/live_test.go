package main_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestLiveCheck: --live writes nothing without a yes, and needs no Kafka. A signal leaves no task behind.
func TestLiveCheck(t *testing.T) {
	t.Parallel()
	hubspot := hubspottest.New(hubspottest.Config{Token: canary})
	var upsert atomic.Pointer[func()] // what happens as an upsert comes
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if happens := upsert.Load(); happens != nil && strings.HasSuffix(r.URL.Path, "/upsert") {
			(*happens)()
		}
		hubspot.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	args := []string{"check", "--live", "--kafka-brokers=127.0.0.1:1", "--hubspot-url=" + server.URL,
		"--hubspot-token=" + canary, "--hubspot-id-property=external_task_id"}
	written := func(tasks int) {
		t.Helper()
		if n := len(hubspot.Journal()); n != 0 && tasks == 0 || n == 0 && tasks != 0 || len(hubspot.Objects()) != 0 {
			t.Errorf("%d writes, and HubSpot holds %d tasks", n, len(hubspot.Objects()))
		}
	}
	if status, out, errs := tasksink(t, nil, args...); status != 1 || out != "" || !strings.Contains(errs, "add --yes") {
		t.Errorf("without a terminal: status %d, %s%s", status, out, errs)
	}
	if status, _, errs := tasksink(t, nil, "check", "--yes", "--kafka-brokers=h:1", "--hubspot-token=x"); status != 2 ||
		!strings.Contains(errs, "--yes: only --live asks") {
		t.Errorf("--yes alone: status %d, %s", status, errs)
	}
	if n := len(hubspot.Requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	on := func(answer string) (shown string, status int) {
		t.Helper()
		cmd := exec.Command(path, args...)
		interrupt := sync.OnceFunc(func() { _ = cmd.Process.Signal(syscall.SIGINT) }) // a second one would end it at once
		if answer == "interrupted" {
			answer = "y\n"
			upsert.Store(&interrupt)
		}
		screen, err := pty.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = screen.Close() }()
		if _, err := screen.WriteString(answer); err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(screen)
		if err != nil && !errors.Is(err, syscall.EIO) { // which is how a pseudo-terminal ends
			t.Fatal(err)
		}
		_ = cmd.Wait() // the status says it
		clean(t, "the screen", string(out))
		return string(out), cmd.ProcessState.ExitCode()
	}
	const question = "Write at most 120 tasks to HubSpot account 123456 by the property external_task_id, and archive " +
		"them? [y/N]"
	if shown, status := on("n\n"); status != 1 || !strings.Contains(shown, question) ||
		!strings.Contains(shown, "nothing was written") {
		t.Errorf("no: status %d, %s", status, shown)
	}
	written(0)
	if shown, status := on("y\n"); status != 0 || !strings.Contains(shown, question) ||
		!strings.Contains(shown, "108 tasks written, 108 of them archived.") {
		t.Errorf("yes: status %d, %s", status, shown)
	}
	written(108)
	if shown, status := on("interrupted"); status != 1 || !strings.Contains(shown, " tasks written, ") ||
		!strings.Contains(shown, "a second signal leaves them in HubSpot") {
		t.Errorf("interrupted: status %d, %s", status, shown)
	}
	written(108)
	upsert.Store(nil)
	if status, out, errs := tasksink(t, nil, append(args, "--yes", "--json")...); status != 0 || errs != "" ||
		!strings.Contains(out, `"tasks": 108,`) {
		t.Errorf("--yes: status %d, %s%s", status, out, errs)
	}
}
