package main

import "fmt"

// goal is what a figure of the worker should be.
type goal struct {
	row, name string // name: the case; empty: each
	figure    string
	most      bool // the limit is the most, else the least
	limit     float64
}

var goals = []goal{
	{"a", "0 ms", "cpu_us_per_record", true, 5},
	{"a", "0 ms", "cpu_vs_spliced", true, 1},
	{"a", "0 ms", "cpu_vs_plain", true, 1.0 / 3},
	{"a", "0 ms", "peak_rss_mib", true, 40}, // 500,000 records waiting; at other latencies 20,000 fill the memory
	{"b", "", "quota_used_percent", false, 98},
	{"b", "", "answers_429", true, 0},
	{"c", "", "age_p99_ms", true, 500 + 50 + 50}, // the wait, the latency, and 50 ms
	{"c", "", "idle_cpu_percent", true, 0.5},
	{"d", "", "gone_after_first_answer_s", true, 3},
	{"d", "15 s of 503", "first_request_s", true, 5},
	{"d", "45 s of 429", "first_request_s", true, 10}, // HubSpot does not say when to ask again: a window is waited for
	{"d", "", "dead_letters", true, 0},
	{"e", "", "quota_used_percent", false, 95},
	{"e", "", "answers_429_percent", true, 0.1},
	{"f", "600 partitions", "idle_cpu_percent", true, 0.5},
	{"i", "", "cpu_us_per_record", true, 0.8},
}

// judge derives the ratios to the yardsticks, and holds the worker's figures against the goals.
func (b *bench) judge() {
	worker := b.subject().name
	for _, l := range latencies {
		name := fmt.Sprintf("%d ms", l.latency.Milliseconds())
		for _, yardstick := range []string{"plain", "spliced"} {
			ours, theirs := b.find("a", name, worker, "cpu_us_per_record"), b.find("a", name, yardstick, "cpu_us_per_record")
			if ours != nil && theirs != nil {
				b.add("a", name, worker, "cpu_vs_"+yardstick, "", ours.Median/theirs.Median)
			}
		}
	}
	for _, r := range b.results {
		for _, g := range goals {
			if r.Worker != worker || r.Row != g.row || r.Figure != g.figure || g.name != "" && r.Case != g.name {
				continue
			}
			met := r.Median >= g.limit
			r.Goal = fmt.Sprintf("≥ %.3g", g.limit)
			if g.most {
				met = r.Median <= g.limit
				r.Goal = fmt.Sprintf("≤ %.3g", g.limit)
			}
			r.Met = &met
		}
	}
}
