package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestDemo is the whole thing, small: it balances, and its bad events are dead-lettered, each for its own reason.
func TestDemo(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), options{Records: 3000, Bad: 2, Outage: time.Second, Seed: 7, JSON: true}, &out,
		false); err != nil {
		t.Fatal(err)
	}
	var l map[string]any
	if err := json.Unmarshal(out.Bytes(), &l); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"produced", "upserted", "merged", "dead_lettered", "expected_dead_letters", "lost",
		"duplicates", "order_violations",
		"requests", "mean_fill", "rate_limited", "quota_used", "recovered_after_seconds", "seconds", "balanced"} {
		if _, ok := l[key]; !ok {
			t.Errorf("the ledger has no %s", key)
		}
	}
	dead, ok := l["dead_lettered"].(map[string]any)
	if !ok || len(dead) < 5 || fmt.Sprint(dead) != fmt.Sprint(l["expected_dead_letters"]) {
		t.Errorf("dead letters %v, want %v", l["dead_lettered"], l["expected_dead_letters"])
	}
	if l["balanced"] != true || l["produced"] != 3000.0 || l["lost"] != 0.0 || l["recovered_after_seconds"] == 0.0 {
		t.Errorf("ledger %s", out.String())
	}
}

func TestEvents(t *testing.T) {
	a, b := generate(5000, 3, 1), generate(5000, 3, 1)
	if !slices.Equal(a, b) {
		t.Error("the same seed made other events")
	}
	if slices.Equal(a, generate(5000, 3, 2)) {
		t.Error("another seed made the same events")
	}
	values, good, reasons, again := map[string]bool{}, map[string]bool{}, map[string]int{}, 0
	decoder := upsert.Decoder{IDProperty: idProperty}
	for _, e := range a {
		if values[e.value] {
			t.Errorf("the value %s comes twice: the ledger could not tell them apart", e.value)
		}
		values[e.value] = true
		_, refused := decoder.Decode(&consumer.Record{Key: []byte(e.key), Value: []byte(e.value)})
		switch {
		case e.reason == "":
			if good[e.id] {
				again++
			}
			good[e.id] = true
			if refused != nil {
				t.Errorf("the good event %s: %+v", e.value, refused)
			}
		case strings.HasPrefix(e.reason, "VALIDATION"):
			if refused != nil {
				t.Errorf("HubSpot should refuse %s, and not the decoder: %+v", e.id, refused)
			}
			reasons[e.reason]++
		default:
			if refused == nil || e.reason != refused.Category+" "+refused.Code {
				t.Errorf("%s is bad by %s, the decoder says %+v", e.id, e.reason, refused)
			}
			reasons[e.reason]++
		}
	}
	for _, e := range a {
		if e.reason != "" && good[e.id] {
			t.Errorf("the bad event %s writes an object of good ones", e.id)
		}
	}
	if len(reasons) != len(kinds) || len(kinds) < 5 || again < 100 {
		t.Errorf("%d kinds of bad events (%v), %d repeated ids", len(reasons), reasons, again)
	}
}

// perfect is what a faultless run of five events leaves behind: the second is merged into the third, the fourth bad.
func perfect() facts {
	f := facts{events: map[string]event{}, objects: map[string]map[string]string{}, start: time.Unix(0, 0),
		took: 2 * time.Second, backlogEnd: time.Unix(10, 0), limit: 2}
	put := func(offset int, id, reason string) {
		e := event{id: id, subject: fmt.Sprint(offset), value: fmt.Sprint("value ", offset), reason: reason}
		f.events[fmt.Sprint("tasks-0-", offset)] = e
	}
	put(0, "a", "")
	put(1, "b", "")
	put(2, "b", "")
	put(3, "x", "BAD CODE")
	put(4, "a", "")
	write := func(offset int, id string, at time.Duration) {
		f.journal = append(f.journal, hubspottest.Write{ID: id, TraceID: fmt.Sprint("tasks-0-", offset),
			Time: f.start.Add(at)})
		f.objects[idProperty+"\x00"+id] = map[string]string{"hs_task_subject": fmt.Sprint(offset)}
	}
	write(0, "a", time.Second)
	write(2, "b", time.Second)
	write(4, "a", 9*time.Second)
	f.requests = []hubspottest.Request{{Status: 200, Inputs: 100, Time: f.start.Add(time.Second)},
		{Status: 503, Inputs: 10, Time: f.start.Add(5 * time.Second)}, {Status: 207, Inputs: 50, Time: f.start.Add(9 * time.Second)}}
	f.downFrom, f.downUntil = f.start.Add(4*time.Second), f.start.Add(6*time.Second)
	f.letters = []kafka.Message{letter(3, "BAD", "CODE")}
	return f
}

func letter(offset int, category, code string) kafka.Message {
	h := func(name, value string) kafka.Header {
		return kafka.Header{Key: "tasksink.dlq." + name, Value: []byte(value)}
	}
	return kafka.Message{Value: []byte(fmt.Sprint("value ", offset)),
		Headers: []kafka.Header{h("topic", "tasks"), h("partition", "0"),
			h("offset", fmt.Sprint(offset)), h("category", category), h("code", code)}}
}

func TestLedger(t *testing.T) {
	l := draw(perfect())
	want := ledger{Produced: 5, Upserted: 3, Merged: 1, DeadLettered: map[string]int{"BAD CODE": 1},
		ExpectedDeadLetters: map[string]int{"BAD CODE": 1},
		Requests:            3, MeanFill: 0.75, QuotaUsed: 1.25, RecoveredAfter: 3, Seconds: 2, Balanced: true}
	if fmt.Sprint(l) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", l, want)
	}
	for name, tc := range map[string]struct {
		spoil func(f *facts)
		shows func(l ledger) bool
	}{
		"a record that nobody wrote": {func(f *facts) { f.events["tasks-0-9"] = event{id: "lost"} }, func(l ledger) bool { return l.Lost == 1 }},
		"a last version that was not written": {func(f *facts) {
			f.journal = f.journal[:2]
			f.objects[idProperty+"\x00a"]["hs_task_subject"] = "0"
		}, func(l ledger) bool { return l.Lost == 1 && l.WrongState == 1 }},
		"a record written twice":                  {func(f *facts) { f.journal = append(f.journal, f.journal[1]) }, func(l ledger) bool { return l.Duplicates == 1 }},
		"two letters for one record":              {func(f *facts) { f.letters = append(f.letters, f.letters[0]) }, func(l ledger) bool { return l.Duplicates == 1 }},
		"an old version over a newer one":         {func(f *facts) { f.journal[0], f.journal[2] = f.journal[2], f.journal[0] }, func(l ledger) bool { return l.OrderViolations == 1 }},
		"an object in a wrong state":              {func(f *facts) { f.objects[idProperty+"\x00a"]["hs_task_subject"] = "0" }, func(l ledger) bool { return l.WrongState == 1 }},
		"a healthy record among the dead letters": {func(f *facts) { f.letters = append(f.letters, letter(2, "BAD", "CODE")) }, func(l ledger) bool { return l.WrongLetters == 1 }},
		"a letter with another reason":            {func(f *facts) { f.letters[0] = letter(3, "BAD", "OTHER") }, func(l ledger) bool { return l.WrongLetters == 1 }},
		"a letter with another value":             {func(f *facts) { f.letters[0].Value = []byte("x") }, func(l ledger) bool { return l.WrongLetters == 1 }},
		"a bad record without a letter":           {func(f *facts) { f.letters = nil }, func(l ledger) bool { return l.Lost == 1 }},
	} {
		f := perfect()
		f.events = maps.Clone(f.events)
		tc.spoil(&f)
		if l := draw(f); l.Balanced || !tc.shows(l) {
			t.Errorf("%s: %+v", name, l)
		}
	}
	f := perfect()
	f.requests[1].Status = 429
	if l := draw(f); l.RateLimited != 1 {
		t.Errorf("a 429: %+v", l)
	}
}

// TestServe: with --serve Kafka and HubSpot stay, and events go on coming; brokers that are there already are filled.
func TestServe(t *testing.T) {
	serve := func(o options) (says string) {
		r, w := io.Pipe()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- run(ctx, o, w, false); _ = w.Close() }()
		t.Cleanup(func() {
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		lines := bufio.NewReader(r)
		says, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, lines) }() // ends with the pipe
		return says
	}
	where := regexp.MustCompile(`^(\d+) task events wait in Kafka on (127\.0\.0\.1:\d+); HubSpot is on (http://127\.0\.0\.1:\d+)\.`)
	first := where.FindStringSubmatch(serve(options{Records: 100, Seed: 1, Serve: true, Hubspot: "127.0.0.1:0",
		Stream: 10}))
	if first == nil || first[1] != "100" {
		t.Fatalf("says %q", first)
	}
	second := where.FindStringSubmatch(serve(options{Records: 500, Seed: 1, Serve: true, Hubspot: "127.0.0.1:0",
		Brokers: []string{first[2]}}))
	if second == nil || second[2] != first[2] || second[3] == first[3] {
		t.Fatalf("says %q after %q", second, first)
	}
	if res, err := http.Get(second[3]); err != nil || res.Body.Close() != nil {
		t.Errorf("HubSpot does not answer: %v", err)
	}
	outside := regexp.MustCompile(`Kafka on (127\.0\.0\.2):(\d+); HubSpot is on http://127\.0\.0\.2:(\d+)\.`).FindStringSubmatch(
		serve(options{Records: 10, Seed: 1, Serve: true, Hubspot: "127.0.0.1:0", Advertise: "127.0.0.2"}))
	if outside == nil {
		t.Fatal("does not say where it is for others")
	}
	if res, err := http.Get("http://127.0.0.2:" + outside[3]); err != nil || res.Body.Close() != nil {
		t.Errorf("HubSpot does not answer others: %v", err)
	}
	meta, err := (&kafka.Client{Addr: kafka.TCP("127.0.0.1:" + outside[2])}).Metadata(t.Context(),
		&kafka.MetadataRequest{})
	if err != nil || len(meta.Brokers) != 1 || meta.Brokers[0].Host != outside[1] {
		t.Errorf("Kafka says that its brokers are %+v, %v", meta, err)
	}
	client := &kafka.Client{Addr: kafka.TCP(first[2])}
	var ask []kafka.OffsetRequest
	for id := range partitions {
		ask = append(ask, kafka.LastOffsetOf(id))
	}
	for { // the test's own deadline ends it
		res, err := client.ListOffsets(t.Context(),
			&kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: ask}})
		if err != nil {
			t.Fatal(err)
		}
		var there int64
		for _, p := range res.Topics[topic] {
			there += p.LastOffset
		}
		if there > 610 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
