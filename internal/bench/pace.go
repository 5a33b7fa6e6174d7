package main

import (
	"context"
	"fmt"
	"time"
)

// Rows b and e: a backlog, and an account that lets 100 requests through in 10 s.

const (
	accountLimit = 100
	realLatency  = 150 * time.Millisecond // about what HubSpot takes for a full batch
	quotaSpan    = 60 * time.Second
)

func takesQuota(b *bench) time.Duration {
	return time.Duration(len(b.withPlain())) * (2*window + quotaSpan + 5*time.Second)
}

// quota is row b.
func (b *bench) quota(ctx context.Context) error {
	topic, err := b.backlog(ctx, 6, 6, 120_000, recordBytes)
	if err != nil {
		return err
	}
	defer b.lab.drop(ctx, topic)
	for _, s := range b.withPlain() {
		b.say("row b: %s, %d runs at once", s.name, b.runs)
		err := b.atOnce(ctx, quotaSpan, func(ctx context.Context) error {
			p, err := b.underLimit(ctx, s, topic, phases{{1, quotaSpan}}, 2*window)
			if err != nil {
				return err
			}
			b.noteQuota("b", "1 replica", s, p)
			begun := 0
			for _, r := range between(p.all, p.first, p.first.Add(quotaSpan)) {
				if r.Status == 200 {
					begun += r.Inputs
				}
			}
			b.add("b", "1 replica", s.name, "records_in_first_minute", "", float64(begun))
			b.draw("b", arrivals(s.name, p))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// phases say how many replicas run, and how long.
type phases []struct {
	replicas int
	lasts    time.Duration
}

func (p phases) last() (total time.Duration) {
	for _, phase := range p {
		total += phase.lasts
	}
	return total
}

// paced is what an account saw.
type paced struct {
	first    time.Time // request
	from, to time.Time // what counts
	all      []request // even those that do not count
}

// underLimit lets replicas work on a backlog. What counts begins with the first request, or so much later.
func (b *bench) underLimit(ctx context.Context, s subject, topic string, plan phases, later time.Duration) (p paced,
	err error) {
	st, err := b.lab.open(ctx, s, topic, conditions{limit: accountLimit, latency: realLatency})
	if err != nil {
		return p, err
	}
	defer st.close()
	for i, phase := range plan {
		for len(st.workers) < phase.replicas {
			if _, err := st.start(ctx); err != nil {
				return p, err
			}
		}
		for len(st.workers) > phase.replicas {
			if _, err := st.stopLast(); err != nil {
				return p, err
			}
		}
		if i == 0 {
			if err := st.until(ctx, func(c counts) bool { return c.Requests > 0 }); err != nil {
				return p, err
			}
			if err := st.span(ctx, later); err != nil {
				return p, err
			}
		}
		if err := st.span(ctx, phase.lasts); err != nil {
			return p, err
		}
	}
	log, err := st.account.log(ctx)
	if err != nil {
		return p, err
	}
	p.all = sorted(log.Requests)
	p.first = p.all[0].time()
	p.from = p.first.Add(later)
	p.to = p.from.Add(plan.last())
	return p, nil
}

func (b *bench) noteQuota(row, name string, s subject, p paced) {
	used := quotaUsed(p.all, p.from, p.to, accountLimit, window)
	requests := between(p.all, p.from, p.to)
	accepted, limited, inputs := count(requests, 200), count(requests, 429), 0
	for _, r := range requests {
		if r.Status == 200 {
			inputs += r.Inputs
		}
	}
	b.add(row, name, s.name, "quota_used_percent", "%", 100*used)
	b.add(row, name, s.name, "answers_429", "", float64(limited))
	b.add(row, name, s.name, "answers_429_percent", "%", 100*float64(limited)/float64(max(1, len(requests))))
	b.add(row, name, s.name, "mean_fill", "of 100", float64(inputs)/float64(max(1, accepted)))
}

// arrivals is the curve of records over time.
func arrivals(name string, p paced) curve {
	c := curve{name: name}
	sum := 0
	for _, r := range between(p.all, p.first, p.to) {
		if r.Status == 200 {
			at := r.time().Sub(p.first).Seconds()
			c.add(at, float64(sum))
			sum += r.Inputs
			c.add(at, float64(sum))
		}
	}
	return c
}

const (
	replicaPartitions = 24
	joining           = 15 * time.Second // until all replicas are members, and each knows its share for a window
)

// replicaPlans are the cases of row e. skewed: the backlog is in the partitions of one replica, the first ones, as the
// range assignment gives a member neighbouring partitions.
var replicaPlans = []struct {
	name   string
	plan   phases
	skewed bool
}{
	{"1 replica", phases{{1, quotaSpan}}, false},
	{"2, even", phases{{2, quotaSpan}}, false},
	{"2, skewed", phases{{2, quotaSpan}}, true},
	{"4, even", phases{{4, quotaSpan}}, false},
	{"4, skewed", phases{{4, quotaSpan}}, true},
	{"8, even", phases{{8, quotaSpan}}, false},
	{"8, skewed", phases{{8, quotaSpan}}, true},
	{"2→8→2, even", phases{{2, 30 * time.Second}, {8, 30 * time.Second}, {2, 30 * time.Second}}, false},
}

func takesReplicas(*bench) (total time.Duration) {
	for _, p := range replicaPlans {
		total += p.plan.last() + joining + 15*time.Second
	}
	return total
}

// replicas is row e.
func (b *bench) replicas(ctx context.Context) error {
	filled := map[int]string{} // topics by how many of their partitions have a backlog
	for _, p := range replicaPlans {
		parts := replicaPartitions
		if p.skewed {
			parts /= p.plan[0].replicas
		}
		if filled[parts] == "" {
			topic, err := b.backlog(ctx, replicaPartitions, parts, 130_000, recordBytes)
			if err != nil {
				return err
			}
			defer b.lab.drop(ctx, topic)
			filled[parts] = topic
		}
		b.say("row e: %s, %d runs at once", p.name, b.runs)
		err := b.atOnce(ctx, p.plan.last()+joining, func(ctx context.Context) error {
			got, err := b.underLimit(ctx, b.subject(), filled[parts], p.plan, joining)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			b.noteQuota("e", p.name, b.subject(), got)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
