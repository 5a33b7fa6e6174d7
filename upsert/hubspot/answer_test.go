package hubspot_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasksink/tasksink/internal/secret"
	"github.com/tasksink/tasksink/upsert/hubspot"
)

// packed is n zeros behind an opening brace, as gzip has them.
func packed(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	for range n >> 20 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestClientBoundsTheAnswer: a body is read up to its bound and no further, and costs no more than twice as much, in
// whatever form it comes.
func TestClientBoundsTheAnswer(t *testing.T) {
	bomb, chunk := packed(t, 64<<20), make([]byte, 64<<10)
	for name, send := range map[string]func(w http.ResponseWriter) error{
		"endless": func(http.ResponseWriter) error { return nil },
		"announced": func(w http.ResponseWriter) error {
			w.Header().Set("Content-Length", strconv.Itoa(1<<30))
			return nil
		},
		"packed": func(w http.ResponseWriter) error {
			w.Header().Set("Content-Encoding", "gzip")
			_, err := w.Write(bomb)
			return err
		},
		"an error": func(w http.ResponseWriter) error { w.WriteHeader(http.StatusBadGateway); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{})
			c, _ := client(t, 20*time.Second, func(w http.ResponseWriter, _ *http.Request) {
				defer close(ended)
				for err := send(w); err == nil; _, err = w.Write(chunk) { // until nobody reads it
				}
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := c.Post(t.Context(), nil, 4*bound, always, func() {})
			runtime.ReadMemStats(&after)
			if !errors.Is(err, hubspot.ErrTooLong) {
				t.Errorf("want an error that tells of the size, got %v", err)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 3*4*bound {
				t.Errorf("an answer that may have %d KiB took %d KiB", 4*bound>>10, took>>10)
			}
			<-ended
		})
	}
}

// TestAnswerBound: an answer that has all its bound is read, and one byte more is too much.
func TestAnswerBound(t *testing.T) {
	var size atomic.Int64
	c, _ := client(t, 20*time.Second, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, size.Load()))
	})
	for _, tc := range []struct{ inputs, sent, want int }{
		{0, 0, 1 << 20}, {1, 1 << 20, 1<<20 + 128<<10}, {100, 1000, 1<<20 + 100*128<<10}, {1, 4 << 20, 4<<20 + 128<<10},
	} {
		want := tc.want
		if got := hubspot.AnswerBound(tc.inputs, tc.sent); got != want {
			t.Errorf("%d inputs in %d bytes: %d bytes, want %d", tc.inputs, tc.sent, got, want)
		}
		size.Store(int64(want))
		answer, err := c.Post(t.Context(), nil, want, always, func() {})
		if err != nil || len(answer.Body) != want {
			t.Errorf("%d bytes of %d, %v", len(answer.Body), want, err)
		}
		answer.Release()
		size.Add(1)
		if _, err := c.Post(t.Context(), nil, want, always, func() {}); !errors.Is(err, hubspot.ErrTooLong) {
			t.Errorf("%d bytes more than the bound: %v", size.Load()-int64(want), err)
		}
	}
}

// TestRoomCountsAnswers: the memory of a long answer counts from when it is read until it is released, or until its
// reading fails.
func TestRoomCountsAnswers(t *testing.T) {
	var size, used, most atomic.Int64
	cut := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.CopyN(w, zeros{}, size.Load())
		select {
		case <-cut:
			panic(http.ErrAbortHandler)
		default:
		}
	}))
	defer server.Close()
	c, err := hubspot.New(hubspot.Config{URL: server.URL, Path: "/crm", Timeout: 20 * time.Second,
		Token: secret.Text(canary), Room: func(bytes int64) { most.Store(max(most.Load(), used.Add(bytes))) }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, n := range []int64{100, 40 << 10, 70 << 10, 3 << 20, 500, 200 << 10} {
		size.Store(n)
		most.Store(0)
		answer, err := c.Post(t.Context(), nil, 4<<20, always, func() {})
		if err != nil {
			t.Fatal(err)
		}
		low, high := int64(0), int64(0)
		if n > 64<<10 {
			low, high = n, 4<<20+1
		}
		if held := used.Load(); held < low || held > high || most.Load() > high {
			t.Errorf("an answer of %d bytes counts as %d, and as %d at the most", n, held, most.Load())
		}
		answer.Release()
		if held := used.Load(); held != 0 {
			t.Errorf("%d bytes count after the answer of %d bytes was released", held, n)
		}
	}
	cut <- struct{}{}
	size.Store(1 << 20)
	if _, err := c.Post(t.Context(), nil, 4<<20, always, func() {}); err == nil || used.Load() != 0 {
		t.Errorf("%d bytes count after an answer that was cut off: %v", used.Load(), err)
	}
	size.Store(8 << 20)
	if _, err := c.Post(t.Context(), nil, 4<<20, always, func() {}); err == nil || used.Load() != 0 {
		t.Errorf("%d bytes count after an answer that was too long: %v", used.Load(), err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestLongAnswersWait: no more than a few long answers are in memory at a time. Short ones pass them.
func TestLongAnswersWait(t *testing.T) {
	const few = 3
	var size atomic.Int64
	size.Store(2 << 20)
	c, _ := client(t, 500*time.Millisecond, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, size.Load()))
	})
	post := func() (hubspot.Answer, error) { return c.Post(t.Context(), nil, 4<<20, always, func() {}) }
	var long []hubspot.Answer
	for range few {
		answer, err := post()
		if err != nil {
			t.Fatal(err)
		}
		long = append(long, answer)
	}
	if _, err := post(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one more long answer: %v", err)
	}
	size.Store(1 << 18)
	short, err := post()
	if err != nil {
		t.Errorf("a short answer: %v", err)
	}
	short.Release()
	for _, answer := range long {
		answer.Release()
	}
	size.Store(2 << 20)
	last, err := post()
	if err != nil {
		t.Errorf("a long answer after the others: %v", err)
	}
	last.Release()
}
