package main

import (
	"slices"
	"testing"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestLedger: a record counts once, at its first request; what comes again is told apart, and strangers do not count.
func TestLedger(t *testing.T) {
	var l ledger
	at := time.UnixMicro
	l.observe(hubspottest.Request{Time: at(10), Status: 200, Inputs: 2}, [][]byte{[]byte("task-0"), []byte("task-3")})
	l.observe(hubspottest.Request{Time: at(20), Status: 503, Inputs: 2}, nil)
	l.observe(hubspottest.Request{Time: at(30), Status: 200, Inputs: 3},
		[][]byte{[]byte("task-3"), []byte("task-1"), []byte("other")})
	if want := (counts{Requests: 3, Records: 3, Again: 1}); l.counts != want {
		t.Errorf("%+v, want %+v", l.counts, want)
	}
	if want := []int64{10, 30, 0, 10}; !slices.Equal(l.log.Received, want) {
		t.Errorf("received %v, want %v", l.log.Received, want)
	}
	if want := []request{{10, 200, 2}, {20, 503, 2}, {30, 200, 3}}; !slices.Equal(l.log.Requests, want) {
		t.Errorf("requests %v, want %v", l.log.Requests, want)
	}
}
