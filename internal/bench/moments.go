package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Rows c and d: when single records arrive, and when HubSpot comes back.

const (
	trickleSpan    = 40 * time.Second
	trickleGap     = 200 * time.Millisecond
	trickleLatency = 50 * time.Millisecond
)

func takesTrickle(b *bench) time.Duration {
	return time.Duration(b.runs) * (trickleSpan + idleSpan + 8*time.Second)
}

// trickle is row c.
func (b *bench) trickle(ctx context.Context) error {
	s := b.subject()
	for run := range b.runs {
		b.say("row c: run %d of %d", run+1, b.runs)
		ages, calls, idle, err := b.trickleOnce(ctx)
		if err != nil {
			return err
		}
		b.add("c", "5 records/s", s.name, "age_p50_ms", "ms", percentile(ages, 50))
		b.add("c", "5 records/s", s.name, "age_p99_ms", "ms", percentile(ages, 99))
		b.add("c", "5 records/s", s.name, "calls_per_record", "", calls)
		b.add("c", "5 records/s", s.name, "idle_cpu_percent", "% of a core", idle)
		slices.Sort(ages)
		c := curve{name: s.name}
		for i, age := range ages {
			c.add(age, 100*float64(i+1)/float64(len(ages)))
		}
		b.draw("c", c)
	}
	return nil
}

func (b *bench) trickleOnce(ctx context.Context) (ages []float64, calls, idle float64, err error) {
	ctx, cancel := bounded(ctx, trickleSpan+idleSpan)
	defer cancel()
	topic, err := b.lab.topic(ctx, 6)
	if err != nil {
		return nil, 0, 0, err
	}
	defer b.lab.drop(ctx, topic)
	st, err := b.lab.open(ctx, b.subject(), topic, conditions{limit: accountLimit, latency: trickleLatency})
	if err != nil {
		return nil, 0, 0, err
	}
	defer st.close()
	p, err := st.warm(ctx, 0)
	if err != nil {
		return nil, 0, 0, err
	}
	begun, err := st.account.counts(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	produced := []time.Time{{}} // by number; the first one was for warming up
	tick := time.NewTicker(trickleGap)
	defer tick.Stop()
	for n := 1; n <= int(trickleSpan/trickleGap); n++ {
		<-tick.C
		produced = append(produced, time.Now())
		if err := b.lab.produce(ctx, topic, 6, n, n+1, recordBytes); err != nil {
			return nil, 0, 0, err
		}
	}
	if err := st.until(ctx, func(c counts) bool { return c.Records == len(produced) }); err != nil {
		return nil, 0, 0, err
	}
	log, err := st.account.log(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	for n := 1; n < len(produced); n++ {
		ages = append(ages, float64(log.Received[n]-produced[n].UnixMicro())/1000)
	}
	calls = float64(len(log.Requests)-begun.Requests) / float64(len(ages))
	idle, err = st.idle(ctx, p)
	return ages, calls, idle, err
}

const (
	outageBacklog = 2000 // records that wait when HubSpot is back
	outageBefore  = 5 * time.Second
	backlogShown  = 20 * time.Second // before HubSpot is back, in the picture
)

// outageKinds are the cases of row d.
var outageKinds = []struct {
	name  string
	lasts time.Duration
	on    func(bool) change
}{
	{"15 s of 503", 15 * time.Second, func(on bool) change { return change{Down: &on} }},
	{"45 s of 429", 45 * time.Second, func(on bool) change { return change{Spent: &on} }},
}

func takesOutages(b *bench) (total time.Duration) {
	for _, kind := range outageKinds {
		total += time.Duration(len(b.withPlain())) * (kind.lasts + outageBefore + 20*time.Second)
	}
	return total
}

// outages is row d.
func (b *bench) outages(ctx context.Context) error {
	for _, kind := range outageKinds {
		for _, s := range b.withPlain() {
			b.say("row d: %s, %s, %d runs at once", kind.name, s.name, b.runs)
			err := b.atOnce(ctx, outageBefore+kind.lasts+30*time.Second, func(ctx context.Context) error {
				return b.outage(ctx, s, kind.name, kind.lasts, kind.on)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) outage(ctx context.Context, s subject, name string, lasts time.Duration, on func(bool) change) error {
	topic, err := b.lab.topic(ctx, 6)
	if err != nil {
		return err
	}
	defer b.lab.drop(ctx, topic)
	st, err := b.lab.open(ctx, s, topic, conditions{limit: accountLimit, latency: trickleLatency})
	if err != nil {
		return err
	}
	defer st.close()
	if _, err := st.warm(ctx, 0); err != nil {
		return err
	}
	f := &flow{b: b, topic: topic, next: 1, perSecond: outageBacklog / lasts.Seconds()}
	if err := f.run(ctx, outageBefore); err != nil {
		return err
	}
	down := time.Now()
	if err := st.account.set(ctx, on(true)); err != nil {
		return err
	}
	if err := f.run(ctx, lasts); err != nil {
		return err
	}
	backAt := time.Now()
	if err := st.account.set(ctx, on(false)); err != nil {
		return err
	}
	if err := st.until(ctx, func(c counts) bool { return c.Records == f.next }); err != nil {
		return err
	}
	if _, err := st.stopLast(); err != nil {
		return err
	}
	log, err := st.account.log(ctx)
	if err != nil {
		return err
	}
	letters, err := b.lab.letters(ctx, topic)
	if err != nil {
		return err
	}
	r, err := judgeReturn(log, backAt)
	if err != nil {
		return err
	}
	b.add("d", name, s.name, "backlog", "records", float64(r.backlog))
	b.add("d", name, s.name, "first_request_s", "s", r.firstRequest.Seconds())
	b.add("d", name, s.name, "gone_after_first_answer_s", "s", r.gone.Seconds())
	// all of it in one wave of requests: its size is below the limit and the requests in flight
	b.add("d", name, s.name, "ideal_s", "s", trickleLatency.Seconds())
	b.add("d", name, s.name, "requests_while_away", "", float64(len(between(log.Requests, down, backAt))))
	b.add("d", name, s.name, "answers_429", "", float64(count(log.Requests, 429)))
	b.add("d", name, s.name, "dead_letters", "", float64(letters))
	b.draw("d", backlogCurve(name+", "+s.name, f.produced, log.Received, backAt))
	return nil
}

// flow produces at a steady rate.
type flow struct {
	b         *bench
	topic     string
	next      int
	perSecond float64
	produced  []time.Time // of the numbers 1, 2, ...
}

func (f *flow) run(ctx context.Context, lasts time.Duration) error {
	begun, first := time.Now(), f.next
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for now := range tick.C {
		past := min(now.Sub(begun), lasts)
		to := first + int(past.Seconds()*f.perSecond)
		for range to - f.next {
			f.produced = append(f.produced, time.Now())
		}
		if err := f.b.lab.produce(ctx, f.topic, 6, f.next, to, recordBytes); err != nil {
			return err
		}
		f.next = to
		if past == lasts {
			break
		}
	}
	return nil
}

// comeback is how a worker met HubSpot's return.
type comeback struct {
	backlog      int
	firstRequest time.Duration // after the return
	gone         time.Duration // from the first request that was accepted to the last record
}

func judgeReturn(log accountLog, back time.Time) (r comeback, err error) {
	last := int64(0)
	for _, at := range log.Received {
		if at >= back.UnixMicro() {
			r.backlog++
			last = max(last, at)
		}
	}
	after := sorted(between(log.Requests, back, back.Add(time.Hour)))
	if len(after) == 0 {
		return r, errors.New("no request came after HubSpot was back")
	}
	r.firstRequest = after[0].time().Sub(back)
	for _, req := range after {
		if req.Status == 200 {
			r.gone = time.Duration(last-req.At) * time.Microsecond
			return r, nil
		}
	}
	return r, fmt.Errorf("none of %d requests after HubSpot was back was accepted", len(after))
}

// backlogCurve is how many records were produced and not received, over time; 0 is when HubSpot came back.
func backlogCurve(name string, produced []time.Time, received []int64, back time.Time) curve {
	type step struct {
		at int64
		by int
	}
	var steps []step
	for i, at := range produced {
		steps = append(steps, step{at.UnixMicro(), 1}, step{received[i+1], -1})
	}
	slices.SortFunc(steps, func(a, b step) int { return int(a.at - b.at) })
	c := curve{name: name}
	level := 0
	for _, s := range steps {
		level += s.by
		if at := float64(s.at-back.UnixMicro()) / 1e6; at >= -backlogShown.Seconds() {
			c.add(at, float64(level))
		}
	}
	return c
}

func sorted(requests []request) []request {
	requests = slices.Clone(requests)
	slices.SortFunc(requests, func(a, b request) int { return int(a.At - b.At) })
	return requests
}
