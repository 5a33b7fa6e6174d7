package upsert_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// randomKinds are faults that strike a share of the requests, or of the inputs, whatever they carry.
var randomKinds = []struct {
	name  string
	fault func(share float64) hubspottest.Fault
}{
	{"503", whole(hubspottest.Fault{Status: 503, Body: hubspottest.Page(503, "Service Unavailable")})},
	{"resets", whole(hubspottest.Fault{Reset: true})},
	{"pages with 400", whole(hubspottest.Fault{Status: 400, Body: hubspottest.Page(400, "Bad Request")})},
	{"pages with 403", whole(hubspottest.Fault{Status: 403, Body: hubspottest.Page(403, "Forbidden")})},
	{"pages with 413", whole(hubspottest.Fault{Status: 413, Body: hubspottest.Page(413, "Request Entity Too Large")})},
	{"empty 200s", whole(hubspottest.Fault{Status: 200, Body: "{}", Header: http.Header{"Content-Type": {"application/json"}}})},
	{"INTERNAL_ERROR by request", whole(hubspottest.Fault{Items: hubspottest.Every("INTERNAL_ERROR")})},
	{"INTERNAL_ERROR by input", func(share float64) hubspottest.Fault {
		return hubspottest.Fault{Items: hubspottest.Every("INTERNAL_ERROR"), ItemShare: share}
	}},
}

func whole(f hubspottest.Fault) func(float64) hubspottest.Fault {
	return func(share float64) hubspottest.Fault {
		mine := f
		mine.Share = share
		return mine
	}
}

// stream is a traffic of healthy records, each of an object of its own.
type stream struct {
	name  string
	rate  int // records a second, in bursts of one to three seconds
	first int // records at once at the beginning
}

// flow lets the stream's records arrive for so long. It returns how many requests they need when nothing fails.
func (r *rig) flow(s stream, long time.Duration, random *rand.Rand) (requests int) {
	r.t.Helper()
	r.produce(many(s.first, 0)...)
	requests = (s.first + 99) / 100
	for begin := time.Now(); time.Since(begin) < long; {
		n := (1 + random.IntN(3)) * s.rate
		time.Sleep(time.Duration(n/s.rate) * time.Second)
		r.produce(many(n, len(r.records))...)
		requests += (n + 99) / 100
	}
	return requests
}

// TestRandomFaults: a share of all requests, or of all inputs, fails for half an hour. Nothing is dead-lettered, each
// record costs few requests more than its share of failures asks for, and no hold remains. After the end all is written
// at once, except what rests: a batch rests for at most 32 s, an input that failed alone or got no answer for five
// minutes. (Either may leave a quarter of that later, with others.)
//
// TASKSINK_RANDOM=n plays the whole matrix with n seeds; else a part of it, for five minutes.
func TestRandomFaults(t *testing.T) {
	seeds, _ := strconv.Atoi(os.Getenv("TASKSINK_RANDOM"))
	streams := []stream{{"slow", 1, 0}, {"burst", 4, 12_000}, {"steady", 40, 0}, {"full", 200, 0}}
	shares := []float64{0.3, 0.5, 0.7}
	for seed := range max(1, seeds) {
		for i, s := range streams[:min(3+seeds, 4)] {
			for j, kind := range randomKinds {
				for k, share := range shares {
					long := 30 * time.Minute
					if seeds == 0 {
						long = 5 * time.Minute
						if (i+j)%3 != k || s.first > 0 && j%3 > 0 {
							continue
						}
					}
					t.Run(fmt.Sprintf("%s/%s/%.0f %%/%d", s.name, kind.name, 100*share, seed), func(t *testing.T) {
						t.Parallel()
						f := kind.fault(share)
						f.For = long
						random(t, s, f, share, uint64(seed))
					})
				}
			}
		}
	}
}

func random(t *testing.T, s stream, fault hubspottest.Fault, share float64, seed uint64) {
	run(t, setup{long: true, hubspot: hubspottest.Config{Seed: seed, Latency: 100 * time.Millisecond}}, func(r *rig) {
		r.hubspot.Inject(fault)
		least := r.flow(s, fault.For, rand.New(rand.NewPCG(seed, 2)))
		records, open := len(r.records), r.open()
		requests := len(r.hubspot.Requests())
		rest := 40 * time.Second
		if s.rate < 40 || fault.Items != nil || fault.Status == 200 {
			rest = 5*time.Minute + 75*time.Second
		}
		end := time.Now()
		// What is left takes 0.1 s for each eight batches.
		r.settled(10*time.Second + rest + time.Duration(open)*time.Second/8000)
		after := time.Since(end)
		r.deadLettered()
		if list := r.holds(); list != "" {
			t.Errorf("still held: %s", list)
		}
		ratio := float64(requests) * (1 - share) / float64(least)
		t.Logf("%d records, %d requests, %.2f times those without faults / (1 - share); all written %v after the end",
			records, requests, ratio, after)
		if ratio > 3 {
			t.Errorf("%d requests for %d records that need %d, want at most three times as many / (1 - share)",
				requests, records, least)
		}
	})
}

func (r *rig) open() (n int) {
	for _, rec := range r.records {
		if !rec.Settled() {
			n++
		}
	}
	return n
}
