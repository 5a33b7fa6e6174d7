package upsert_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/secret"
	"github.com/tasksink/tasksink/internal/watchdog"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/hubspot"
	"github.com/tasksink/tasksink/upsert/hubspottest"
	"github.com/tasksink/tasksink/upsert/pace"
)

const key = "external_task_id"

// rig is a Sender with a simulator behind it, connected in memory, so that it runs in a synctest bubble.
type rig struct {
	t       *testing.T
	hubspot *hubspottest.Server
	sender  *upsert.Sender
	client  *hubspot.Client
	queue   *batcher.Batcher[*upsert.Task]
	decoder upsert.Decoder
	board   *hold.Board
	records []*consumer.Record

	mu      sync.Mutex
	letters map[int64]dlq.Reason // by offset
}

type setup struct {
	hubspot  hubspottest.Config
	timeout  time.Duration
	token    *secret.Secret
	oauth    *hubspot.OAuthConfig
	letFlood bool
	inFlight int
	long     bool        // a story of many requests: they are not held against HubSpot's description
	unproven func() bool // whether the membership is in doubt as a request leaves
	watch    *watchdog.Dog
	sealing  func() // called for each record that is sealed
	writing  func() // called for each dead letter
	tune     func(*batcher.Config[*upsert.Task], *upsert.SenderConfig)
}

// run plays a story: it starts a rig, and stops it when the story is told.
func run(t *testing.T, c setup, story func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if c.hubspot.IDProperties == nil {
			c.hubspot.IDProperties = []string{key}
		}
		if c.timeout == 0 {
			c.timeout = 15 * time.Second
		}
		if c.token == nil {
			c.token = secret.Text("secret")
		}
		if c.inFlight == 0 {
			c.inFlight = 8
		}
		r := &rig{t: t, hubspot: hubspottest.New(c.hubspot), letters: map[int64]dlq.Reason{},
			decoder: upsert.Decoder{IDProperty: key, IDProperties: []string{"hs_task_subject"}},
			board:   hold.NewBoard(zerolog.Nop())}
		queue := batcher.Config[*upsert.Task]{Size: 100, Bytes: 1 << 20, Wait: 500 * time.Millisecond,
			Leave: func(*upsert.Task) {
				if c.sealing != nil {
					c.sealing()
				}
			},
			Return: func(task *upsert.Task) bool { return task.Record.Settled() },
			Held:   func(task *upsert.Task) bool { return r.sender.Held(task) },
			Aside:  func(sealed *batcher.Sealed[*upsert.Task]) { r.sender.Aside(sealed) }}
		wire := newPipeNet()
		server := &http.Server{Handler: r.hubspot}
		if !c.long {
			server.Handler = held(t, r.hubspot)
		}
		client, err := hubspot.New(hubspot.Config{URL: "http://hubspot.test", Path: "/crm/v3/objects/tasks/batch/upsert",
			Timeout: c.timeout, Token: c.token, OAuth: c.oauth, Dial: wire.dial})
		if err != nil {
			t.Fatal(err)
		}
		r.client = client
		sender := upsert.SenderConfig{Client: client,
			Pace:  pace.New(pace.Config{Day: pace.DayConfig{Wait: 500 * time.Millisecond}}),
			Prove: func(context.Context) error { return nil }, Proven: func() bool { return c.unproven == nil || !c.unproven() },
			BatchSize: 100, BatchBytes: 1 << 20, MaxInFlight: c.inFlight, IDProperty: key,
			LetFlood: c.letFlood, Watch: c.watch, Board: r.board, Log: zerolog.Nop(),
			DeadLetter: func(rec *consumer.Record, reason dlq.Reason, done func(bool)) {
				if c.writing != nil {
					c.writing()
				}
				r.mu.Lock()
				r.letters[rec.Offset] = reason
				r.mu.Unlock()
				rec.Settle(time.Now())
				done(true)
			},
			DropLetters: func(func(*consumer.Record) bool) {}}
		if c.tune != nil {
			c.tune(&queue, &sender)
		}
		r.queue = batcher.New(queue)
		sender.Queue = r.queue
		r.sender = upsert.NewSender(sender)
		ctx, stop := context.WithCancel(t.Context())
		var parts sync.WaitGroup
		parts.Go(func() { _ = server.Serve(wire) })
		parts.Go(func() { r.sender.Run(ctx) })
		parts.Go(func() { client.KeepToken(ctx, zerolog.Nop()) })
		defer func() { // also if the story ends the test
			stop()
			client.Close()
			_ = server.Close()
			parts.Wait()
		}()
		story(r)
	})
}

// event is the JSON of a task event; props are `"name":"value"` pairs beside the required one.
func event(id string, props ...string) string {
	return fmt.Sprintf(`{"id":%q,"properties":{%s}}`, id,
		strings.Join(append([]string{`"hs_timestamp":"2026-11-23T10:00:00Z"`}, props...), ","))
}

const bad = `"hs_task_status":"NONSENSE"`

func subject(s string) string { return fmt.Sprintf(`"hs_task_subject":%q`, s) }

// produce lets events arrive, each at the next offset.
func (r *rig) produce(events ...string) {
	r.t.Helper()
	for _, value := range events {
		r.arrive("tasks", 0, value)
	}
}

// arrive lets one event arrive. Offsets are those of all partitions together.
func (r *rig) arrive(topic string, partition int, value string, headers ...kafka.Header) *consumer.Record {
	rec := &consumer.Record{Topic: topic, Partition: partition, Offset: int64(len(r.records)), Value: []byte(value),
		Headers: headers}
	r.records = append(r.records, rec)
	task, reason := r.decoder.Decode(rec)
	if reason != nil {
		r.sender.Refuse(task, reason)
	} else {
		r.queue.Add(task.IDProperty, task.ID, task, upsert.InputSize(task), false)
	}
	return rec
}

// settled waits until every record is settled, for at most limit.
func (r *rig) settled(limit time.Duration) {
	r.t.Helper()
	start, left := time.Now(), 0
	for {
		for left < len(r.records) && r.records[left].Settled() {
			left++
		}
		if left == len(r.records) {
			return
		}
		if time.Since(start) > limit {
			r.t.Fatalf("record %d and perhaps others are not settled after %v; holds %v, status %+v", left, limit,
				r.board.List(), r.sender.Status())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// deadLettered holds the dead letters against the offsets that are expected, and returns the reasons.
func (r *rig) deadLettered(want ...int64) map[int64]dlq.Reason {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, offset := range want {
		if _, ok := r.letters[offset]; !ok {
			r.t.Errorf("record %d is not dead-lettered", offset)
		}
	}
	if len(r.letters) != len(want) {
		r.t.Errorf("%d dead letters, want %d: %v", len(r.letters), len(want), r.letters)
	}
	return r.letters
}

// once fails if the simulator was written a record twice, or an object in another order than the log's.
func (r *rig) once() {
	r.t.Helper()
	writes, last := map[string]int{}, map[string]int{}
	for _, w := range r.hubspot.Journal() {
		var offset int
		if _, err := fmt.Sscanf(w.TraceID, "tasks-0-%d", &offset); err != nil {
			r.t.Fatalf("trace id %q: %v", w.TraceID, err)
		}
		if writes[w.TraceID]++; writes[w.TraceID] > 1 {
			r.t.Errorf("record %s was written %d times", w.TraceID, writes[w.TraceID])
		}
		if before, ok := last[w.ID]; ok && before > offset {
			r.t.Errorf("object %s: offset %d was written after %d", w.ID, offset, before)
		}
		last[w.ID] = offset
	}
}

// resumes wants everything confirmed within 10 s, once, and no hold to stand.
func (r *rig) resumes() {
	r.t.Helper()
	start := time.Now()
	r.settled(time.Minute)
	if took := time.Since(start); took > 10*time.Second {
		r.t.Errorf("resumed after %v, want at most 10s", took)
	}
	r.deadLettered()
	r.once()
	if list := r.board.List(); len(list) != 0 {
		r.t.Errorf("still held: %+v", list)
	}
}

// holds are the reason and the scope of each hold that stands.
func (r *rig) holds() string {
	var list []string
	for _, h := range r.board.List() {
		list = append(list, h.Reason+" "+h.Scope)
	}
	return strings.Join(list, ", ")
}

// keeps wants HubSpot to hold an object with this subject.
func (r *rig) keeps(id, want string) {
	r.t.Helper()
	if got := r.hubspot.Objects()[key+"\x00"+id]["hs_task_subject"]; got != want {
		r.t.Errorf("HubSpot holds %s with the subject %q, want %q", id, got, want)
	}
}

func many(n int, from int) (events []string) {
	for i := range n {
		events = append(events, event(fmt.Sprintf("task-%d", from+i), subject("s")))
	}
	return events
}

func TestOneBadRecordInAHundred(t *testing.T) {
	for _, ignoreTrace := range []bool{false, true} {
		t.Run(fmt.Sprintf("ignoreTrace=%v", ignoreTrace), func(t *testing.T) {
			run(t, setup{hubspot: hubspottest.Config{IgnoreTrace: ignoreTrace}}, func(r *rig) {
				events := many(100, 0)
				events[42] = event("task-42", bad)
				r.produce(events...)
				r.settled(time.Minute)
				reason := r.deadLettered(42)[42]
				if reason.Category != "VALIDATION_ERROR" || reason.CorrelationID == "" && ignoreTrace ||
					reason.Stage != dlq.StageUpsert {
					t.Errorf("reason %+v", reason)
				}
				if n := len(r.hubspot.Objects()); n != 99 {
					t.Errorf("HubSpot holds %d objects, want 99", n)
				}
				if n := len(r.hubspot.Requests()); n > 16 {
					t.Errorf("%d requests, want at most 16", n)
				}
				r.once()
			})
		})
	}
}

func TestThreeVersionsTheLastOneBad(t *testing.T) {
	run(t, setup{}, func(r *rig) {
		r.produce(event("a", subject("first")), event("a", subject("second")), event("a", bad), event("b"))
		r.settled(time.Minute)
		r.deadLettered(2)
		r.keeps("a", "second")
		r.once()
	})
}

func TestAHundredVersionsTheFiftiethBad(t *testing.T) {
	run(t, setup{}, func(r *rig) {
		var events []string
		for i := range 100 {
			events = append(events, event("a", subject(fmt.Sprint(i))))
		}
		// The fifty-first one mends nothing: the bad value stays until the object's status is written again.
		events[49] = event("a", bad)
		r.produce(events...)
		r.settled(time.Minute)
		r.deadLettered(49)
		r.keeps("a", "99")
		if n := len(r.hubspot.Requests()); n > 11 {
			t.Errorf("%d requests beside the first, want at most 10", n-1)
		}
		r.once()
	})
}

// traffic lets healthy records arrive, some each second, for as long as it takes to settle the others.
func (r *rig) traffic(others int, limit time.Duration) {
	r.t.Helper()
	for start := time.Now(); ; {
		r.produce(many(3, 1000+len(r.records))...)
		time.Sleep(time.Second)
		if !slices.ContainsFunc(r.records[:others], func(rec *consumer.Record) bool { return !rec.Settled() }) {
			r.settled(limit)
			return
		}
		if time.Since(start) > limit {
			r.t.Fatalf("not settled after %v: holds %v, status %+v", limit, r.board.List(), r.sender.Status())
		}
	}
}

// TestOneRecordThatHubSpotNeverAnswersFor: it ends in the dead letters with its reason, its neighbours flow, and
// nothing holds for ever.
func TestOneRecordThatHubSpotNeverAnswersFor(t *testing.T) {
	poison := func(in []hubspottest.Input) bool {
		return slices.ContainsFunc(in, func(i hubspottest.Input) bool { return i.ID == "task-7" })
	}
	for _, tc := range []struct {
		name     string
		event    string
		fault    hubspottest.Fault
		category string
	}{
		{"always 500", event("task-7"), hubspottest.Fault{Match: poison, Status: 500, Body: "<html>oops</html>"}, upsert.ServerError},
		{"always times out", event("task-7"), hubspottest.Fault{Match: poison, Hang: true}, upsert.ServerError},
		{"HTML 403", event("task-7"), hubspottest.Fault{Match: poison, Status: 403, Header: http.Header{"Content-Type": {"text/html"}}, Body: "<html>blocked</html>"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, setup{}, func(r *rig) {
				remove := r.hubspot.Inject(tc.fault)
				defer remove()
				events := many(100, 0)
				events[7] = tc.event
				r.produce(events...)
				r.traffic(100, 10*time.Minute)
				reason := r.deadLettered(7)[7]
				if tc.category != "" && reason.Category != tc.category || reason.Category == "" {
					t.Errorf("reason %+v", reason)
				}
				if list := r.board.List(); len(list) > 0 {
					t.Errorf("still held: %+v", list)
				}
			})
		})
	}
}

func TestConfirmedWhateverHubSpotEchoes(t *testing.T) {
	for _, echo := range []string{"sent", "normalized", "none"} {
		t.Run(echo, func(t *testing.T) {
			run(t, setup{hubspot: hubspottest.Config{EchoKey: echo}}, func(r *rig) {
				for i := range 1000 {
					r.produce(event(fmt.Sprintf("00TASK-%d", i)))
				}
				r.settled(time.Minute)
				r.deadLettered()
				r.once()
				if n := len(r.hubspot.Requests()); n != 10 {
					t.Errorf("%d requests for 1000 records, want 10", n)
				}
			})
		})
	}
}

func TestResultsLeftOutAreSentAgain(t *testing.T) {
	for _, echo := range []string{"sent", "none"} {
		t.Run(echo, func(t *testing.T) {
			run(t, setup{hubspot: hubspottest.Config{EchoKey: echo}}, func(r *rig) {
				r.hubspot.Inject(hubspottest.Fault{Times: 1, DropResults: 3})
				r.produce(many(100, 0)...)
				r.settled(time.Minute)
				r.deadLettered()
				again := 0
				for _, req := range r.hubspot.Requests()[1:] {
					again += req.Inputs
				}
				if want := map[string]int{"sent": 3, "none": 100}[echo]; again != want {
					t.Errorf("%d inputs were sent again, want %d", again, want)
				}
			})
		})
	}
}

func TestTokenReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	token, err := secret.File(path)
	if err != nil {
		t.Fatal(err)
	}
	run(t, setup{token: token, hubspot: hubspottest.Config{Token: "old"}}, func(r *rig) {
		r.produce(many(100, 0)...)
		r.settled(time.Minute)
		r.hubspot.SetToken("new")
		r.produce(many(500, 100)...)
		time.Sleep(time.Minute)
		if list := r.board.List(); len(list) != 1 || list[0].Reason != "auth" {
			t.Errorf("holds %+v, want auth", list)
		}
		if n := len(r.hubspot.Requests()); n > 30 {
			t.Errorf("%d requests in a minute of 401", n)
		}
		write("new-and-longer")
		r.hubspot.SetToken("new-and-longer")
		r.resumes()
	})
}

// TestWithheld: requests that may not leave any more are made again, and blamed on nobody.
func TestWithheld(t *testing.T) {
	asked := 0
	run(t, setup{inFlight: 1, unproven: func() bool { asked++; return asked <= 30 }}, func(r *rig) {
		r.produce(many(250, 0)...)
		r.settled(time.Minute)
		r.deadLettered()
		r.once()
		if st := r.sender.Status(); len(r.hubspot.Requests()) > 33 || st.Requests["200"] != 3 || len(st.Requests) != 1 ||
			st.Breaker != "closed" {
			t.Errorf("%d requests, status %+v", len(r.hubspot.Requests()), st)
		}
	})
}

// TestOutage: whether many requests fail at its beginning or a few again and again, it leaves no crumbs behind.
func TestOutage(t *testing.T) {
	for _, early := range []int{0, 300} {
		t.Run(fmt.Sprintf("%d records at its beginning", early), func(t *testing.T) {
			run(t, setup{hubspot: hubspottest.Config{Latency: 50 * time.Millisecond}}, func(r *rig) {
				r.hubspot.SetDown(true)
				began := time.Now()
				r.produce(many(early, 0)...)
				time.Sleep(10 * time.Second)
				r.produce(many(5000-early, early)...)
				time.Sleep(time.Minute)
				down := len(r.hubspot.Requests())
				if down > 60 {
					t.Errorf("%d requests in a minute of outage", down)
				}
				if state := r.sender.Status().Breaker; state != "open" && state != "half-open" {
					t.Errorf("the breaker is %s", state)
				}
				// It opened by the fifth failure, and many a time since: what counts is when it opened first.
				if o := r.sender.Status().Outage; o == nil || o.Failure != "HTTP_503" || o.Every < 4 || o.Every > 5 ||
					o.Since.Before(began) || o.Since.Sub(began) > 20*time.Second {
					t.Errorf("the outage is %+v", o)
				}
				r.hubspot.SetDown(false)
				start := time.Now()
				r.settled(time.Minute)
				if took := time.Since(start); took > 8*time.Second {
					t.Errorf("5000 records took %v after the outage", took)
				}
				if o := r.sender.Status().Outage; o != nil {
					t.Errorf("after the outage there is still %+v", o)
				}
				r.deadLettered()
				r.once()
				if n := len(r.hubspot.Requests()) - down; n > 56 {
					t.Errorf("%d requests for 5000 records after the outage", n)
				}
				first := slices.IndexFunc(r.hubspot.Requests(), func(req hubspottest.Request) bool { return req.Status == 200 })
				grow := r.hubspot.Requests()[first : first+4]
				if grow[1].Inputs != 25 || grow[2].Inputs != 50 || grow[3].Inputs != 100 ||
					grow[3].Time.Sub(grow[0].Time) > 2*time.Second {
					t.Errorf("batches of %d, %d, %d and %d after the outage, %v from the first to the last", grow[0].Inputs,
						grow[1].Inputs, grow[2].Inputs, grow[3].Inputs, grow[3].Time.Sub(grow[0].Time))
				}
			})
		})
	}
}

// TestAPoisonousRecordDoesNotKeepTheBreakerOpen: in an outage that ends, every probe that carries it fails.
func TestAPoisonousRecordDoesNotKeepTheBreakerOpen(t *testing.T) {
	run(t, setup{}, func(r *rig) {
		r.hubspot.SetDown(true)
		r.produce(many(5, 0)...)
		time.Sleep(time.Minute)
		r.hubspot.Inject(hubspottest.Fault{Status: 500, Match: func(in []hubspottest.Input) bool {
			return slices.ContainsFunc(in, func(i hubspottest.Input) bool { return i.ID == "task-0" })
		}})
		r.hubspot.SetDown(false)
		r.traffic(5, 10*time.Minute)
		r.deadLettered(0)
	})
}

func TestFlood(t *testing.T) {
	flood := func(n int) (events []string) {
		for i := range n {
			events = append(events, event(fmt.Sprintf("bad-%d", i), bad))
		}
		return events
	}
	letters := func(r *rig) int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.letters)
	}
	t.Run("refused by HubSpot", func(t *testing.T) {
		run(t, setup{}, func(r *rig) {
			r.produce(flood(1500)...)
			time.Sleep(20 * time.Minute)
			if got := r.holds(); got != "flood tasks/0" {
				t.Fatalf("holds %s, want the flood of the partition", got)
			}
			if n := letters(r); n < 199+35 || n > 199+40 {
				t.Errorf("%d dead letters, want 199 and one for each probe, every 30 s", n)
			}
			if n := len(r.hubspot.Requests()); n > 60 {
				t.Errorf("%d requests, most of them probes of one record every 30 s", n)
			}
		})
	})
	t.Run("let", func(t *testing.T) {
		run(t, setup{letFlood: true}, func(r *rig) {
			r.produce(flood(1500)...)
			r.settled(time.Minute)
			if n := letters(r); n != 1500 {
				t.Errorf("%d dead letters, want 1500", n)
			}
		})
	})
	t.Run("no task events", func(t *testing.T) {
		run(t, setup{}, func(r *rig) {
			r.produce(slices.Repeat([]string{"{"}, 1500)...)
			time.Sleep(10 * time.Second)
			if n := letters(r); n != 199 {
				t.Errorf("%d dead letters, want 199", n)
			}
			r.produce(event("good")) // a probe of the partition, and it ends the hold
			time.Sleep(30 * time.Second)
			if n := letters(r); n != 2*199 || len(r.hubspot.Objects()) != 1 || r.holds() != "flood tasks/0" {
				t.Errorf("%d dead letters after a good record, want 199 more; holds %s", n, r.holds())
			}
		})
	})
	t.Run("two kinds in turn", func(t *testing.T) {
		run(t, setup{}, func(r *rig) {
			for i, value := range flood(1000) {
				r.produce(value, fmt.Sprintf(`{"id":"odd-%d"}`, i))
			}
			time.Sleep(10 * time.Second)
			if n := letters(r); n > 2*199 || r.holds() != "flood tasks/0" {
				t.Errorf("%d dead letters, holds %s", n, r.holds())
			}
		})
	})
	t.Run("among good ones", func(t *testing.T) {
		run(t, setup{}, func(r *rig) {
			for i, value := range flood(1000) {
				r.produce(value, event(fmt.Sprintf("good-%d", i)))
			}
			r.settled(time.Minute)
			if n := letters(r); n != 1000 || r.holds() != "" {
				t.Errorf("%d dead letters, holds %s", n, r.holds())
			}
		})
	})
}

// TestStops are the conditions that hold everything: nothing is dead-lettered, and the flow resumes by itself.
func TestStops(t *testing.T) {
	for _, tc := range []struct {
		name, hold string
		fault      hubspottest.Fault
	}{
		{"missing scope", "scope", hubspottest.Fault{Status: 403, Body: `{"status":"error","message":"no","correlationId":"c","category":"MISSING_SCOPES"}`}},
		{"wrong path", "config", hubspottest.Fault{Status: 404, Body: `{"status":"error","message":"no","correlationId":"c","category":"OBJECT_NOT_FOUND"}`}},
		{"daily limit", "daily", hubspottest.Fault{Status: 429, Body: `{"status":"error","message":"no","errorType":"RATE_LIMIT","policyName":"DAILY"}`}},
		{"migration", "migrating", hubspottest.Fault{Status: 477, Header: http.Header{"Retry-After": {"60"}}, Body: `{"status":"error","message":"the account is being moved","correlationId":"c","category":"MIGRATION_IN_PROGRESS"}`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, setup{}, func(r *rig) {
				tc.fault.Header = tc.fault.Header.Clone()
				if tc.fault.Header == nil {
					tc.fault.Header = http.Header{}
				}
				tc.fault.Header.Set("Content-Type", "application/json")
				remove := r.hubspot.Inject(tc.fault)
				r.produce(many(300, 0)...)
				time.Sleep(50 * time.Second)
				if list := r.board.List(); len(list) != 1 || list[0].Reason != tc.hold {
					t.Errorf("holds %+v, want %s", list, tc.hold)
				}
				// 20 refusals are a hold, eight more may be out, and a probe leaves every 5 s.
				if n := len(r.hubspot.Requests()); n > 20+8+10 {
					t.Errorf("%d requests while held", n)
				}
				remove()
				r.settled(2 * time.Minute)
				r.deadLettered()
				r.once()
			})
		})
	}
}

func TestUnsettledAnswersAreAskedAgain(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault hubspottest.Fault
	}{
		{"PENDING", hubspottest.Fault{Times: 1, BatchStatus: "PENDING"}},
		{"CANCELED", hubspottest.Fault{Times: 1, BatchStatus: "CANCELED"}},
		{"a body cut short", hubspottest.Fault{Times: 1, CutBody: true}},
		{"a reset after the write", hubspottest.Fault{Times: 1, AfterWrite: true, Reset: true}},
		{"524 after the write", hubspottest.Fault{Times: 1, AfterWrite: true, Status: 524, Body: "<html>"}},
		{"423", hubspottest.Fault{Times: 1, Status: 423, Body: `{"status":"error","message":"locked","correlationId":"c","category":"LOCKED"}`}},
		{"409", hubspottest.Fault{Times: 1, Status: 409, Body: `{"status":"error","message":"exists","correlationId":"c","category":"CONFLICT"}`}},
		{"an empty 200", hubspottest.Fault{Times: 1, Status: 200, Body: " "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, setup{}, func(r *rig) {
				r.hubspot.Inject(tc.fault)
				r.produce(many(100, 0)...)
				r.settled(time.Minute)
				r.deadLettered()
				if n := len(r.hubspot.Objects()); n != 100 {
					t.Errorf("HubSpot holds %d objects", n)
				}
				if n := len(r.hubspot.Requests()); n > 3 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

// pipeNet is a network of one listener, in memory.
type pipeNet struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeNet() *pipeNet {
	return &pipeNet{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipeNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (p *pipeNet) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipeNet) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipeNet) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
