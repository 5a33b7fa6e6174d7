package main

import (
	"context"
	"fmt"
	"time"
)

// Rows a, f and g: a backlog waits, and is worked off, or fills the memory.

// drained is what working off a backlog took.
type drained struct {
	usage
	records  int
	requests int
	again    int           // records written more than once
	took     time.Duration // from the first request to the last, at the receiver
}

func (d drained) perSecond() float64 { return float64(d.records) / d.took.Seconds() }
func (d drained) cpu() float64       { return d.usage.cpu.Seconds() * 1e6 / float64(d.records) }

// drainOnce lets one worker, in a group of its own, work off a topic.
func (b *bench) drainOnce(ctx context.Context, s subject, topic string, records int, c conditions,
	measure func(*process)) (d drained, err error) {
	ctx, cancel := bounded(ctx, time.Minute)
	defer cancel()
	st, err := b.lab.open(ctx, s, topic, c)
	if err != nil {
		return d, err
	}
	defer st.close()
	p, err := st.start(ctx)
	if err != nil {
		return d, err
	}
	if measure != nil {
		measure(p)
	}
	if err := st.until(ctx, func(c counts) bool { return c.Records >= records }); err != nil {
		return d, err
	}
	d.records = records
	if d.usage, err = st.stopLast(); err != nil {
		return d, err
	}
	log, err := st.account.log(ctx)
	if err != nil {
		return d, err
	}
	total, err := st.account.counts(ctx)
	if err != nil {
		return d, err
	}
	d.requests, d.again = total.Requests, total.Again
	first, last := log.Requests[0].At, int64(0)
	for _, r := range log.Requests {
		first = min(first, r.At)
	}
	for _, at := range log.Received {
		last = max(last, at)
	}
	d.took = time.Duration(last-first) * time.Microsecond
	return d, nil
}

// backlog makes a topic full of events.
func (b *bench) backlog(ctx context.Context, partitions, filled, records, size int) (string, error) {
	topic, err := b.lab.topic(ctx, partitions)
	if err != nil {
		return "", err
	}
	return topic, b.lab.produce(ctx, topic, filled, 0, records, size)
}

// latencies are those of row a, and how long 500,000 records take about.
var latencies = []struct {
	latency time.Duration
	part    int // of the full backlog that is worked off, per cent
	takes   time.Duration
}{{0, 100, 5 * time.Second}, {20 * time.Millisecond, 100, 14 * time.Second},
	{150 * time.Millisecond, 40, 38 * time.Second}}

func takesDrain(b *bench) time.Duration {
	total := 15 * time.Second // for producing
	for i, l := range latencies {
		runs := len(b.lab.subjects) * b.runs
		if i == 0 {
			runs += 2 * b.runs // A/A
		}
		total += time.Duration(runs) * (2*time.Second + l.takes*time.Duration(b.records)/500_000)
	}
	return total
}

// drain is row a.
func (b *bench) drain(ctx context.Context) error {
	full, err := b.backlog(ctx, 6, 6, b.records, recordBytes)
	if err != nil {
		return err
	}
	defer b.lab.drop(ctx, full)
	if err := b.same(ctx, full); err != nil {
		return err
	}
	for _, l := range latencies {
		topic, records := full, b.records*l.part/100
		if l.part < 100 {
			if topic, err = b.backlog(ctx, 6, 6, records, recordBytes); err != nil {
				return err
			}
			defer b.lab.drop(ctx, topic)
		}
		name := fmt.Sprintf("%d ms", l.latency.Milliseconds())
		for run := range b.runs {
			for _, s := range b.lab.subjects { // by turns, so that the machine's moods hit all alike
				b.say("row a: %d records, %s, %s, run %d of %d", records, name, s.name, run+1, b.runs)
				d, err := b.drainOnce(ctx, s, topic, records, conditions{latency: l.latency, inFlight: 8}, nil)
				if err != nil {
					return err
				}
				b.add("a", name, s.name, "cpu_us_per_record", "µs", d.cpu())
				b.add("a", name, s.name, "records_per_second", "", d.perSecond())
				b.add("a", name, s.name, "peak_rss_mib", "MiB", d.peak)
				b.add("a", name, s.name, "requests_per_1000_records", "", 1000*float64(d.requests)/float64(d.records))
				b.add("a", name, s.name, "written_again", "", float64(d.again))
			}
		}
	}
	return nil
}

// same is the A/A run: the same worker under two names. What differs is noise.
func (b *bench) same(ctx context.Context, topic string) error {
	for run := range b.runs {
		for _, name := range []string{"A", "A again"} {
			b.say("row a, A/A: %s, run %d of %d", name, run+1, b.runs)
			d, err := b.drainOnce(ctx, b.subject(), topic, b.records, conditions{inFlight: 8}, nil)
			if err != nil {
				return err
			}
			b.add("aa", "0 ms", name, "cpu_us_per_record", "µs", d.cpu())
			b.add("aa", "0 ms", name, "records_per_second", "", d.perSecond())
			b.add("aa", "0 ms", name, "peak_rss_mib", "MiB", d.peak)
		}
	}
	return nil
}

const (
	busyRecords = 200_000
	idleSpan    = 20 * time.Second
)

var partitionCounts = []int{6, 60, 600}

func takesPartitions(b *bench) time.Duration {
	return time.Duration(len(partitionCounts)*b.runs) * (idleSpan + 20*time.Second)
}

// partitions is row f.
func (b *bench) partitions(ctx context.Context) error {
	for _, n := range partitionCounts {
		busy, err := b.backlog(ctx, n, n, busyRecords, recordBytes)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%d partitions", n)
		for run := range b.runs {
			b.say("row f: %s, run %d of %d", name, run+1, b.runs)
			d, err := b.drainOnce(ctx, b.subject(), busy, busyRecords, conditions{inFlight: 8}, nil)
			if err != nil {
				return err
			}
			b.add("f", name, b.subject().name, "busy_cpu_us_per_record", "µs", d.cpu())
			b.add("f", name, b.subject().name, "busy_peak_rss_mib", "MiB", d.peak)
			share, u, err := b.idle(ctx, n)
			if err != nil {
				return err
			}
			b.add("f", name, b.subject().name, "idle_cpu_percent", "% of a core", share)
			b.add("f", name, b.subject().name, "idle_peak_rss_mib", "MiB", u.peak)
		}
		b.lab.drop(ctx, busy)
	}
	return nil
}

// idle is what a worker takes that has nothing to do.
func (b *bench) idle(ctx context.Context, partitions int) (share float64, u usage, err error) {
	ctx, cancel := bounded(ctx, idleSpan)
	defer cancel()
	topic, err := b.lab.topic(ctx, partitions)
	if err != nil {
		return 0, u, err
	}
	defer b.lab.drop(ctx, topic)
	st, err := b.lab.open(ctx, b.subject(), topic, conditions{})
	if err != nil {
		return 0, u, err
	}
	defer st.close()
	p, err := st.warm(ctx, 0)
	if err != nil {
		return 0, u, err
	}
	share, err = st.idle(ctx, p)
	if err != nil {
		return 0, u, err
	}
	u, err = st.stopLast()
	return share, u, err
}

// idle is the part of a core that a worker takes over a while, in per cent. What it had to do has been done.
func (st *stage) idle(ctx context.Context, p *process) (float64, error) {
	if err := st.span(ctx, 3*time.Second); err != nil { // the last commit, and what else follows work
		return 0, err
	}
	before, err := p.now()
	if err != nil {
		return 0, err
	}
	from := time.Now()
	if err := st.span(ctx, idleSpan); err != nil {
		return 0, err
	}
	after, err := p.now()
	return 100 * (after.cpu - before.cpu).Seconds() / time.Since(from).Seconds(), err
}

// sizes are the events of row g, and backlogs that are more than a worker holds by default.
var sizes = []struct {
	name    string
	bytes   int
	records int
}{{"200 B", 200, 60_000}, {"2 KB", 2_000, 60_000}, {"60 KB", 60_000, 2_400}}

const memorySpan = 20 * time.Second

func takesMemory(b *bench) time.Duration {
	return time.Duration(len(sizes)) * (10*time.Second + time.Duration(b.runs)*(memorySpan+12*time.Second))
}

// memory is row g: each request takes 5 s, so the records in memory become as many as the worker admits.
func (b *bench) memory(ctx context.Context) error {
	for _, size := range sizes {
		topic, err := b.backlog(ctx, 6, 6, size.records, size.bytes)
		if err != nil {
			return err
		}
		for run := range b.runs {
			b.say("row g: records of %s, run %d of %d", size.name, run+1, b.runs)
			peak, err := b.fill(ctx, topic)
			if err != nil {
				return err
			}
			b.add("g", size.name, b.subject().name, "peak_rss_mib", "MiB", peak)
		}
		b.lab.drop(ctx, topic)
	}
	return nil
}

func (b *bench) fill(ctx context.Context, topic string) (peak float64, err error) {
	ctx, cancel := bounded(ctx, memorySpan)
	defer cancel()
	st, err := b.lab.open(ctx, b.subject(), topic, conditions{latency: 5 * time.Second})
	if err != nil {
		return 0, err
	}
	defer st.close()
	if _, err := st.start(ctx); err != nil {
		return 0, err
	}
	if err := st.until(ctx, func(c counts) bool { return c.Requests > 0 }); err != nil {
		return 0, err
	}
	if err := st.span(ctx, memorySpan); err != nil {
		return 0, err
	}
	u, err := st.stopLast()
	return u.peak, err
}
