package upsert_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

var slow = hubspottest.Config{Latency: 100 * time.Millisecond}

// roomOfOne is how many open records of a partition are delivered.
const roomOfOne = 3000

// river delivers the events of six partitions, as a consumer with room for roomOfOne records of each does. Each of the
// healthy partitions gets a good event twice a second.
type river struct {
	*rig
	behind  [6][]string // events that are not delivered yet
	headers []kafka.Header
	open    [6][]*consumer.Record
	made    map[string]time.Time // when the good events came, by id
	healthy []int
	goods   int
}

func newRiver(r *rig, healthy ...int) *river {
	return &river{rig: r, made: map[string]time.Time{}, healthy: healthy}
}

// pass lets time pass.
func (v *river) pass(long time.Duration) {
	for begin, tick := time.Now(), 0; time.Since(begin) < long; tick++ {
		if tick%10 == 0 {
			for _, p := range v.healthy {
				v.good(p)
			}
		}
		for p := range v.open {
			v.open[p] = slices.DeleteFunc(v.open[p], func(rec *consumer.Record) bool { return rec.Settled() })
			n := min(roomOfOne-len(v.open[p]), len(v.behind[p]))
			for _, value := range v.behind[p][:n] {
				v.open[p] = append(v.open[p], v.arrive("tasks", p, value, v.headers...))
			}
			v.behind[p] = v.behind[p][n:]
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// good lets a good event come.
func (v *river) good(p int) {
	v.goods++
	id := fmt.Sprintf("good-%d-%d", p, v.goods)
	v.made[id] = time.Now()
	v.behind[p] = append(v.behind[p], event(id, subject("s")))
}

// flows wants each good event of the healthy partitions written within five seconds.
func (v *river) flows(when string) {
	v.t.Helper()
	worst, open := time.Duration(0), 0
	for _, w := range v.hubspot.Journal() {
		if made, ok := v.made[w.ID]; ok {
			worst = max(worst, w.Time.Sub(made))
			delete(v.made, w.ID)
		}
	}
	for _, made := range v.made {
		if time.Since(made) > 5*time.Second {
			open++
		}
	}
	v.t.Logf("%s: at most %v, %d letters, %d requests, holds %s", when, worst, v.lettersNow(),
		len(v.hubspot.Requests()), v.holds())
	if worst > 5*time.Second || open > 0 {
		v.t.Errorf("%s: a good record took %v, want at most 5s; %d are open for longer", when, worst, open)
	}
}

// mended lets the first partition have good events behind the bad ones that are delivered.
func (v *river) mended() {
	v.t.Helper()
	v.behind[0] = many(1000, 1_000_000)
	before, began := v.lettersNow(), time.Now()
	for time.Since(began) < 15*time.Minute && (len(v.behind[0]) > 2 || len(v.open[0]) > 10) {
		v.pass(time.Second)
		v.behind[0] = append(v.behind[0], many(2, 2_000_000+len(v.records))...)
	}
	v.flows("until the producer's good records are through")
	v.t.Logf("%v until all is through", time.Since(began))
	if n := v.lettersNow() - before; len(v.open[0]) > 10 || len(v.behind[0]) > 2 || n > roomOfOne {
		v.t.Errorf("%d records of the partition are open, %d are behind, %d letters", len(v.open[0]), len(v.behind[0]), n)
	}
	v.healthy = append(v.healthy, 0)
	v.pass(time.Minute)
	v.flows("in the end")
	if v.holds() != "" {
		v.t.Errorf("holds %s", v.holds())
	}
}

func (r *rig) lettersNow() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.letters)
}

// bads are events of the kinds in turn. Their objects are the partition's own.
func bads(n, partition int, kinds ...func(i int) string) (events []string) {
	for i := range n {
		events = append(events, kinds[i%len(kinds)](partition*100_000+i))
	}
	return events
}

// The kinds of bad events.
func notJSON(int) string   { return "{" }
func named(i int) string   { return event(fmt.Sprint("bad-", i), bad) }
func noProps(i int) string { return fmt.Sprintf(`{"id":"odd-%d"}`, i) }
func array(i int) string   { return event(fmt.Sprint("array-", i), `"hs_task_body":[]`) }
func panics(i int) string  { return event(fmt.Sprint("panic-", i), subject("panic")) }
func noID(int) string      { return `{"properties":{}}` }
func foreign(i int) string {
	return fmt.Sprintf(`{"id":"foreign-%d","idProperty":"other","properties":{}}`, i)
}
func unknown(i int) string {
	return event(fmt.Sprint("unknown-", i), `"no_such_property":"1"`)
}

var sources = []struct {
	name  string
	kinds []func(int) string
}{
	{"no JSON", []func(int) string{notJSON}},
	{"refused by name", []func(int) string{named}},
	{"two kinds in turn", []func(int) string{notJSON, named}},
	{"three kinds", []func(int) string{noProps, array, unknown}},
	{"panics", []func(int) string{panics}},
}

// TestAFloodStopsItsPartition: 30,000 bad records in one partition are held after a few letters, and the good ones of
// the five others flow before, during and after the hold. When the producer is mended the good ones behind come
// through.
func TestAFloodStopsItsPartition(t *testing.T) {
	defer upsert.Inspect(func(_ string, rec *consumer.Record) {
		if strings.Contains(string(rec.Value), `"panic"`) {
			panic("as the test wants it")
		}
	})()
	for _, source := range sources {
		for _, inFlight := range []int{8, 1} {
			t.Run(fmt.Sprintf("%s, %d in flight", source.name, inFlight), func(t *testing.T) {
				run(t, setup{long: true, inFlight: inFlight, hubspot: slow}, func(r *rig) {
					v := newRiver(r, 1, 2, 3, 4, 5)
					v.pass(10 * time.Second)
					v.behind[0] = bads(30_000, 0, source.kinds...)
					v.pass(30 * time.Second)
					v.flows("at the beginning")
					if got := r.holds(); got != "flood tasks/0" {
						t.Fatalf("holds %s, want the flood of the partition", got)
					}
					v.pass(5 * time.Minute)
					v.flows("while it is held")
					if n := r.lettersNow(); n > 1100 || r.holds() != "flood tasks/0" {
						t.Errorf("%d letters; holds %s", n, r.holds())
					}
					v.mended()
				})
			})
		}
	}
}

// TestWhatIsNoFlood: each of these is dead-lettered to the end, and nothing is held.
func TestWhatIsNoFlood(t *testing.T) {
	redriven := []kafka.Header{{Key: "tasksink.dlq.redrive_count", Value: []byte("1")}}
	for _, tc := range []struct {
		name    string
		kinds   []func(int) string
		headers []kafka.Header
		let     bool
	}{
		{"five kinds", []func(int) string{notJSON, noProps, array, foreign, noID}, nil, false},
		{"redriven", []func(int) string{notJSON}, redriven, false},
		{"redriven, refused by HubSpot", []func(int) string{named}, redriven, false},
		{"one in ten is good", []func(int) string{named, named, unknown, named, named, unknown, named, named, named,
			func(i int) string { return event(fmt.Sprint("fine-", i)) }}, nil, false},
		{"let", []func(int) string{notJSON, named}, nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, setup{long: true, letFlood: tc.let, hubspot: slow}, func(r *rig) {
				v := newRiver(r, 1, 2, 3, 4, 5)
				v.headers = tc.headers
				v.behind[0] = bads(6000, 0, tc.kinds...)
				v.pass(time.Minute)
				v.flows("in the end")
				if len(v.open[0]) > 0 || len(v.behind[0]) > 0 || r.holds() != "" {
					t.Errorf("%d records are open, %d behind; holds %s", len(v.open[0]), len(v.behind[0]), r.holds())
				}
			})
		})
	}
}

// TestAFloodOfAllPartitions holds all of them, with few letters, and ends when the producer is mended.
func TestAFloodOfAllPartitions(t *testing.T) {
	for i, source := range sources[:4] {
		for _, inFlight := range []int{8, 1} {
			if underRace && (i > 0 || inFlight == 1) {
				continue
			}
			t.Run(fmt.Sprintf("%s, %d in flight", source.name, inFlight), func(t *testing.T) {
				run(t, setup{long: true, inFlight: inFlight, hubspot: slow}, func(r *rig) {
					v := newRiver(r)
					for p := range v.behind {
						v.behind[p] = bads(5000, p, source.kinds...)
					}
					v.pass(5 * time.Minute)
					if n := r.lettersNow(); n > 2000 || len(r.board.List()) != 6 {
						t.Errorf("%d letters; holds %s", n, r.holds())
					}
					began := time.Now()
					for p := range v.behind {
						v.behind[p] = nil
						v.healthy = append(v.healthy, p)
					}
					busy := func() (n int) {
						for p := range v.open {
							n += len(v.open[p]) + len(v.behind[p])
						}
						return n
					}
					letters := r.lettersNow()
					for (busy() > 60 || r.holds() != "") && time.Since(began) < time.Hour {
						v.pass(time.Second)
					}
					t.Logf("%d letters, then %d more in %v", letters, r.lettersNow()-letters, time.Since(began))
					if busy() > 60 || r.holds() != "" {
						t.Errorf("%d records are open, holds %s", busy(), r.holds())
					}
				})
			})
		}
	}
}

// TestABacklogIsNoFlood: records that are no task events are decided as they come, and the good ones among them only
// when HubSpot has answered. What waits counts, too: a tenth, or a half, of a backlog is no flood.
func TestABacklogIsNoFlood(t *testing.T) {
	for _, every := range []int{2, 10} {
		t.Run(fmt.Sprint("one in ", every), func(t *testing.T) {
			run(t, setup{long: true, hubspot: hubspottest.Config{Latency: 50 * time.Millisecond}}, func(r *rig) {
				events := many(3000, 0)
				for i := 0; i < len(events); i += every {
					events[i] = "{"
				}
				r.produce(events...)
				if got := r.holds(); got != "" {
					t.Errorf("holds %s", got)
				}
				r.settled(time.Minute)
				if n := r.lettersNow(); n != 3000/every {
					t.Errorf("%d letters, want %d", n, 3000/every)
				}
			})
		})
	}
}
