package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// The simulated HubSpot runs in a process of its own: `bench simulator`. It prints its two addresses, that of HubSpot
// and that of the control endpoint, and ends when its standard input does.
//
//	POST /account   {"limit":100,"latency":50000000,"down":false,"spent":false}; what is missing stays
//	GET  /counts    see counts
//	GET  /log       see accountLog

// change is what the control endpoint can change.
type change struct {
	Limit   *int           `json:"limit,omitempty"`
	Latency *time.Duration `json:"latency,omitempty"`
	Down    *bool          `json:"down,omitempty"`
	Spent   *bool          `json:"spent,omitempty"`
}

// counts are the receiver's.
type counts struct {
	Requests int `json:"requests"`
	Records  int `json:"records"` // distinct ones, written
	Again    int `json:"again"`   // written before
}

// request is one that was answered.
type request struct {
	At     int64 `json:"at"` // when it came, µs since 1970
	Status int   `json:"status"`
	Inputs int   `json:"inputs"`
}

func (r request) time() time.Time { return time.UnixMicro(r.At) }

// accountLog is all that was counted.
type accountLog struct {
	Requests []request `json:"requests"` // in order of their answers
	Received []int64   `json:"received"` // by an event's number: when the request came that wrote it first, µs since 1970; 0: never
}

// ledger counts what the simulator was sent.
type ledger struct {
	mu     sync.Mutex
	counts counts
	log    accountLog
}

func (l *ledger) observe(r hubspottest.Request, ids [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := r.Time.UnixMicro()
	l.counts.Requests++
	l.log.Requests = append(l.log.Requests, request{at, r.Status, r.Inputs})
	for _, id := range ids {
		i, is := number(id)
		if !is {
			continue
		}
		for len(l.log.Received) <= i {
			l.log.Received = append(l.log.Received, 0)
		}
		if l.log.Received[i] != 0 {
			l.counts.Again++
			continue
		}
		l.log.Received[i] = at
		l.counts.Records++
	}
}

// answer gives what pick returns as JSON; pick runs under the lock.
func (l *ledger) answer(pick func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		l.mu.Lock()
		b, err := json.Marshal(pick())
		l.mu.Unlock()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(b) // a client that went away is no concern of ours
	}
}

// simulate is the process.
func simulate(ctx context.Context) error {
	var l ledger
	hubspot := hubspottest.New(hubspottest.Config{Lean: true, IDProperties: []string{idProperty}, Observe: l.observe})
	control := http.NewServeMux()
	control.HandleFunc("GET /counts", l.answer(func() any { return l.counts }))
	control.HandleFunc("GET /log", l.answer(func() any { return l.log }))
	control.HandleFunc("POST /account", func(w http.ResponseWriter, r *http.Request) {
		var c change
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		apply(hubspot, c)
	})
	var servers sync.WaitGroup
	for _, handler := range []http.Handler{hubspot, control} {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
		defer func() { _ = server.Close(); servers.Wait() }()
		servers.Go(func() { _ = server.Serve(listener) }) // ends by Close
		fmt.Println("http://" + listener.Addr().String())
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func apply(hubspot *hubspottest.Server, c change) {
	if c.Limit != nil {
		hubspot.SetLimit(*c.Limit)
	}
	if c.Latency != nil {
		hubspot.SetLatency(*c.Latency)
	}
	if c.Down != nil {
		hubspot.SetDown(*c.Down)
	}
	if c.Spent != nil {
		hubspot.SetSpent(*c.Spent)
	}
}
