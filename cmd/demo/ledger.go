package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// ledger is the account of a run: what went in, and where each record came out. Every produced record is in exactly
// one of upserted, merged, dead_lettered and lost.
type ledger struct {
	Produced            int            `json:"produced"`
	Upserted            int            `json:"upserted"`      // written by a request that named the record
	Merged              int            `json:"merged"`        // written inside a newer record of the same object
	DeadLettered        map[string]int `json:"dead_lettered"` // by category and code
	ExpectedDeadLetters map[string]int `json:"expected_dead_letters"`
	Lost                int            `json:"lost"`
	Duplicates          int            `json:"duplicates"`              // records that were written more than once, or have more than one letter
	OrderViolations     int            `json:"order_violations"`        // writes of an object that went back to an older record
	WrongState          int            `json:"wrong_state"`             // objects that do not hold their last good record
	WrongLetters        int            `json:"wrong_letters"`           // healthy records dead-lettered, or bad ones for another reason
	Requests            int            `json:"requests"`                // those that failed included
	MeanFill            float64        `json:"mean_fill"`               // inputs / 100 of the answered requests that left while a backlog existed
	RateLimited         int            `json:"rate_limited"`            // answers of 429
	QuotaUsed           float64        `json:"quota_used"`              // requests / (limit per 10 s × seconds with a backlog and HubSpot up); 0 without a limit
	RecoveredAfter      float64        `json:"recovered_after_seconds"` // from HubSpot's return to the first write; 0 without an outage
	Seconds             float64        `json:"seconds"`                 // from the first record to the last
	Balanced            bool           `json:"balanced"`
}

// facts are what a run left behind, for the ledger to be drawn from.
type facts struct {
	events   map[string]event // by trace id: topic-partition-offset
	journal  []hubspottest.Write
	requests []hubspottest.Request
	objects  map[string]map[string]string
	letters  []kafka.Message

	limit               int           // requests per 10 s; 0 = unlimited
	start               time.Time     // of the worker
	took                time.Duration // until the last record was settled
	backlogEnd          time.Time     // when fewer than a batch were left
	downFrom, downUntil time.Time     // zero without an outage
}

// draw makes up the account.
func draw(f facts) ledger {
	l := ledger{Produced: len(f.events), DeadLettered: map[string]int{}, ExpectedDeadLetters: map[string]int{},
		Requests: len(f.requests), Seconds: round(f.took.Seconds())}
	written := l.readJournal(f)
	deadLettered := l.readLetters(f)
	l.place(f, written, deadLettered)
	l.measure(f)
	l.Balanced = l.Lost == 0 && l.Duplicates == 0 && l.OrderViolations == 0 && l.WrongState == 0 && l.WrongLetters == 0 &&
		l.Produced == l.Upserted+l.Merged+sum(l.DeadLettered)+l.Lost &&
		fmt.Sprint(l.DeadLettered) == fmt.Sprint(l.ExpectedDeadLetters)
	return l
}

// readJournal counts the writes of each record, and those that went back.
func (l *ledger) readJournal(f facts) (written map[string]int) {
	written = map[string]int{}
	last := map[string]int64{}
	for _, w := range f.journal {
		if written[w.TraceID]++; written[w.TraceID] == 2 {
			l.Duplicates++
		}
		offset := offsetOf(w.TraceID)
		if before, ok := last[w.ID]; ok && offset < before {
			l.OrderViolations++
		}
		last[w.ID] = offset
	}
	return written
}

// readLetters counts the dead letters by reason, and holds each against what its record deserves.
func (l *ledger) readLetters(f facts) (deadLettered map[string]bool) {
	deadLettered = map[string]bool{}
	for _, m := range f.letters {
		h := map[string]string{}
		for _, header := range m.Headers {
			h[strings.TrimPrefix(header.Key, "tasksink.dlq.")] = string(header.Value)
		}
		trace := h["topic"] + "-" + h["partition"] + "-" + h["offset"]
		if deadLettered[trace] {
			l.Duplicates++
			continue
		}
		deadLettered[trace] = true
		reason := strings.TrimSpace(h["category"] + " " + h["code"])
		l.DeadLettered[reason]++
		if f.events[trace].reason != reason || f.events[trace].value != string(m.Value) {
			l.WrongLetters++
		}
	}
	return deadLettered
}

// place puts each record where it came out.
func (l *ledger) place(f facts, written map[string]int, deadLettered map[string]bool) {
	type version struct {
		offset int64
		trace  string
	}
	writes, newest := map[string][]int64{}, map[string]version{} // by object: offsets written; the last good record
	for trace := range written {
		offset := offsetOf(trace)
		writes[f.events[trace].id] = append(writes[f.events[trace].id], offset)
	}
	for trace, e := range f.events {
		offset := offsetOf(trace)
		if e.reason != "" {
			l.ExpectedDeadLetters[e.reason]++
		} else if v, ok := newest[e.id]; !ok || offset > v.offset {
			newest[e.id] = version{offset, trace}
		}
		switch {
		case deadLettered[trace]:
		case written[trace] > 0:
			l.Upserted++
		case e.reason == "" && slices.ContainsFunc(writes[e.id], func(w int64) bool { return w > offset }):
			l.Merged++
		default:
			l.Lost++
		}
	}
	for id, v := range newest {
		if f.objects[idProperty+"\x00"+id]["hs_task_subject"] != f.events[v.trace].subject {
			l.WrongState++
		}
	}
}

// measure tells how well the quota was used.
func (l *ledger) measure(f facts) {
	inputs, full, during := 0, 0, 0
	for _, r := range f.requests {
		if r.Status == 429 {
			l.RateLimited++
		}
		up := f.downFrom.IsZero() || r.Time.Before(f.downFrom) || r.Time.After(f.downUntil)
		if r.Time.After(f.backlogEnd) || !up {
			continue
		}
		during++
		if r.Status == 200 || r.Status == 207 {
			inputs, full = inputs+r.Inputs, full+100
		}
	}
	if full > 0 {
		l.MeanFill = round(float64(inputs) / float64(full))
	}
	seconds := f.backlogEnd.Sub(f.start).Seconds() - f.downUntil.Sub(f.downFrom).Seconds()
	if f.limit > 0 && seconds > 0 {
		l.QuotaUsed = round(float64(during) / (float64(f.limit) / 10 * seconds))
	}
	if !f.downUntil.IsZero() {
		i := slices.IndexFunc(f.journal, func(w hubspottest.Write) bool { return w.Time.After(f.downUntil) })
		if i >= 0 {
			l.RecoveredAfter = round(f.journal[i].Time.Sub(f.downUntil).Seconds())
		}
	}
}

// offsetOf is the offset in a trace id, topic-partition-offset; -1 if that is none.
func offsetOf(trace string) int64 {
	offset, err := strconv.ParseInt(trace[strings.LastIndexByte(trace, '-')+1:], 10, 64)
	if err != nil {
		return -1
	}
	return offset
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

func round(x float64) float64 { return math.Round(x*1000) / 1000 }
