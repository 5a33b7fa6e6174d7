package hubspot_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasksink/tasksink/internal/secret"
	"github.com/tasksink/tasksink/upsert/hubspot"
)

func always() bool { return true }

const bound = 1 << 20 // bytes of an answer, where the test is about something else

const canary = "pat-na1-very-secret"

// client is one of a real server, which counts its connections.
func client(t *testing.T, timeout time.Duration, h http.HandlerFunc) (c *hubspot.Client, connections *atomic.Int32) {
	t.Helper()
	connections = &atomic.Int32{}
	server := httptest.NewUnstartedServer(h)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	c, err := hubspot.New(hubspot.Config{URL: server.URL, Path: "/crm", Timeout: timeout,
		Token: secret.Text(canary + "\n"), UserAgent: "tasksink/test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); server.CloseClientConnections(); server.Close() })
	return c, connections
}

func TestClientPosts(t *testing.T) {
	c, connections := client(t, 5*time.Second, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for name, want := range map[string]string{"Authorization": "Bearer " + canary, "Content-Type": "application/json",
			"Accept": "application/json", "User-Agent": "tasksink/test"} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if r.Method != http.MethodPost || r.URL.Path != "/crm" || r.ContentLength != int64(len(body)) ||
			r.TransferEncoding != nil {
			t.Errorf("%s %s, %d bytes of %d, %v", r.Method, r.URL, r.ContentLength, len(body), r.TransferEncoding)
		}
		w.Header().Set("X-Echo", string(body))
		w.WriteHeader(http.StatusMultiStatus)
		_, _ = io.WriteString(w, "answer")
	})
	for range 3 {
		written := make(chan struct{}, 1)
		answer, err := c.Post(t.Context(), []byte("body"), bound, always, func() { written <- struct{}{} })
		if err != nil {
			t.Fatal(err)
		}
		<-written
		if answer.Status != 207 || string(answer.Body) != "answer" || answer.Header.Get("X-Echo") != "body" {
			t.Errorf("answer %+v", answer)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for three requests, want 1", n)
	}
}

// TestClientFollowsNoRedirect: it would send the token, and the records, somewhere else.
func TestClientFollowsNoRedirect(t *testing.T) {
	var requests atomic.Int32
	c, _ := client(t, 5*time.Second, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	answer, err := c.Post(t.Context(), []byte("body"), bound, always, func() {})
	if err != nil || answer.Status != 307 || requests.Load() != 1 {
		t.Errorf("status %d after %d requests, %v", answer.Status, requests.Load(), err)
	}
}

// TestClientTimesOut: an attempt ends in time wherever it hangs, and the next one dials anew, as the connection may be
// dead.
func TestClientTimesOut(t *testing.T) {
	for name, hang := range map[string]func(w http.ResponseWriter){
		"before the answer": func(http.ResponseWriter) {},
		"within the answer": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "{")
			_ = http.NewResponseController(w).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var hangs atomic.Bool
			c, connections := client(t, 300*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadAll(r.Body)
				if hangs.Load() {
					hang(w)
					<-r.Context().Done()
				}
			})
			post := func() error { _, err := c.Post(t.Context(), []byte("body"), bound, always, func() {}); return err }
			if err := post(); err != nil {
				t.Fatal(err)
			}
			hangs.Store(true)
			if err := post(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("want a timeout, got %v", err)
			}
			hangs.Store(false)
			if err := post(); err != nil {
				t.Error(err)
			}
			if n := connections.Load(); n != 2 {
				t.Errorf("%d connections, want a second one after the timeout", n)
			}
		})
	}
}

// TestClientNeverRepeats: a request whose answer did not come may have been applied: sending it again is not the
// transport's to decide.
func TestClientNeverRepeats(t *testing.T) {
	var requests atomic.Int32
	c, _ := client(t, 5*time.Second, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		if requests.Add(1) > 1 {
			panic(http.ErrAbortHandler)
		}
	})
	if _, err := c.Post(t.Context(), []byte("body"), bound, always, func() {}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Post(t.Context(), []byte("body"), bound, always, func() {})
	if err == nil || requests.Load() != 2 {
		t.Errorf("%d requests, want 2; the error is %v", requests.Load(), err)
	}
}

// TestClientWithholds: what may not leave any more is cut short, so that HubSpot cannot take it for a request.
func TestClientWithholds(t *testing.T) {
	read := make(chan error, 2)
	c, _ := client(t, 5*time.Second, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	})
	var asked atomic.Int32
	once := func() bool { return asked.Add(1) == 1 } // it is forbidden while a long body leaves
	for name, may := range map[string]func() bool{"at once": func() bool { return false }, "in the middle": once} {
		if _, err := c.Post(t.Context(), make([]byte, 1<<20), bound, may, func() {}); !errors.Is(err, hubspot.ErrWithheld) {
			t.Errorf("%s: %v", name, err)
		}
		select {
		case err := <-read:
			if err == nil {
				t.Errorf("%s: the server read a whole body", name)
			}
		case <-time.After(100 * time.Millisecond): // not even the header left
		}
	}
}

// TestClientCountsWhatHasLeft: a request that has left wholly is HubSpot's to judge, and its answer counts, though the
// membership ends at that moment.
func TestClientCountsWhatHasLeft(t *testing.T) {
	c, _ := client(t, 5*time.Second, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err == nil {
			w.WriteHeader(http.StatusMultiStatus)
		}
	})
	var asked atomic.Int32
	once := func() bool { return asked.Add(1) == 1 }
	answer, err := c.Post(t.Context(), []byte("body"), bound, once, func() {})
	if err != nil || answer.Status != http.StatusMultiStatus {
		t.Errorf("status %d, %v", answer.Status, err)
	}
}

// TestClientBodiesStayApart: the bytes of a request and of an answer serve others afterwards, also where the request
// was given up while it was being written. No server ever sees two requests in one body, no Answer two answers.
func TestClientBodiesStayApart(t *testing.T) {
	over := make(chan struct{})
	uniform := func(b []byte) bool { return len(b) == 0 || bytes.Count(b, b[:1]) == len(b) }
	c, _ := client(t, 20*time.Second, func(w http.ResponseWriter, r *http.Request) {
		first := make([]byte, 1)
		if _, err := io.ReadFull(r.Body, first); err != nil {
			return
		}
		if first[0]%3 == 0 { // reads no more, so that the writing of the request is stuck until it is given up
			<-over
			return
		}
		rest, err := io.ReadAll(r.Body)
		if !uniform(append(first, rest...)) {
			t.Error("two requests in one body")
		}
		if err == nil {
			_, _ = w.Write(bytes.Repeat(first, len(rest)))
		}
	})
	var posts sync.WaitGroup
	for worker := range 6 {
		posts.Go(func() {
			for i := range 30 {
				mark := byte('A' + (worker+i)%26)
				ctx, give := context.WithCancel(t.Context())
				if mark%3 == 0 {
					// Given up in the middle of the body: what was read of it by then is on its way.
					reads := 0
					_, err := c.Post(ctx, append(hubspot.Buffer(), bytes.Repeat([]byte{mark}, 900<<10)...), bound, func() bool {
						if reads++; reads == 3 {
							give()
						}
						return true
					}, func() {})
					if err == nil {
						t.Error("a request that was given up has an answer")
					}
					continue
				}
				body := append(hubspot.Buffer(), bytes.Repeat([]byte{mark}, 200<<10)...)
				answer, err := c.Post(ctx, body, bound, always, func() {})
				if err != nil || len(answer.Body) != 200<<10-1 || answer.Body[0] != mark || !uniform(answer.Body) {
					t.Errorf("two answers in one Answer, or none: %d bytes, %v", len(answer.Body), err)
				}
				answer.Release()
				give()
			}
		})
	}
	posts.Wait()
	close(over)
}

// TestTokenStaysSecret: no error shows it.
func TestTokenStaysSecret(t *testing.T) {
	c, err := hubspot.New(hubspot.Config{URL: "http://127.0.0.1:1", Path: "/", Timeout: time.Second,
		Token: secret.Text(canary)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.Post(t.Context(), nil, bound, always, func() {}); err == nil {
		t.Fatal("somebody listens on port 1")
	}
	if strings.Contains(err.Error(), canary) {
		t.Error("the token is in", err)
	}
}

// TestClientWantsTLS12: a server that speaks nothing newer than TLS 1.1 is refused; with 1.2 it comes to the question
// of whom to trust, and an authority that the system does not know is not.
func TestClientWantsTLS12(t *testing.T) {
	for version, says := range map[uint16]string{tls.VersionTLS11: "protocol version",
		tls.VersionTLS12: "unknown authority"} {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		c, err := hubspot.New(hubspot.Config{URL: server.URL, Path: "/", Timeout: 5 * time.Second,
			Token: secret.Text(canary)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Post(t.Context(), nil, bound, always, func() {}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: want an error that speaks of %s, got %v", tls.VersionName(version), says, err)
		}
		c.Close()
		server.Close()
	}
}
