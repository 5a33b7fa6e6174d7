package main

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestMedianAndPercentile(t *testing.T) {
	for _, tc := range []struct {
		values   []float64
		median   float64
		p50, p99 float64
	}{
		{[]float64{7}, 7, 7, 7},
		{[]float64{9, 1}, 5, 1, 9},
		{[]float64{3, 1, 2}, 2, 2, 3},
		{[]float64{4, 1, 3, 2}, 2.5, 2, 4},
	} {
		before := slices.Clone(tc.values)
		if m, p50, p99 := median(tc.values), percentile(tc.values, 50), percentile(tc.values, 99); m != tc.median ||
			p50 != tc.p50 || p99 != tc.p99 {
			t.Errorf("%v: median %v, p50 %v, p99 %v; want %v, %v, %v", tc.values, m, p50, p99, tc.median, tc.p50, tc.p99)
		}
		if !slices.Equal(before, tc.values) {
			t.Errorf("%v became %v", before, tc.values)
		}
	}
	var hundreds []float64
	for i := range 200 {
		hundreds = append(hundreds, float64(200-i))
	}
	if p := percentile(hundreds, 99); p != 198 { // 2 of 200 are above it
		t.Errorf("p99 of 1..200 is %v, want 198", p)
	}
	if !math.IsNaN(median(nil)) || !math.IsNaN(percentile(nil, 50)) {
		t.Error("nothing has a median")
	}
}

// every makes n requests of so many inputs, gap apart.
func every(begin time.Time, gap time.Duration, n, status, inputs int) (all []request) {
	for i := range n {
		all = append(all, request{At: begin.Add(time.Duration(i) * gap).UnixMicro(), Status: status, Inputs: inputs})
	}
	return all
}

// TestQuotaUsed: the figure says how full the account's window was, whatever the shape of the load.
func TestQuotaUsed(t *testing.T) {
	zero := time.Unix(1_800_000_000, 0)
	var bursts, late []request
	for i := range 6 {
		bursts = append(bursts, every(zero.Add(time.Duration(i)*10*time.Second), 0, 100, 200, 100)...)
		late = append(late, every(zero.Add(time.Duration(i)*12500*time.Millisecond), 0, 100, 200, 100)...)
	}
	for _, tc := range []struct {
		name     string
		requests []request
		after    time.Duration // the measured 60 s begin so long after zero
		lasts    time.Duration
		want     float64
	}{
		{"bursts, one a window", bursts, 0, time.Minute, 1},
		{"the same, measured from the middle of a window", bursts, 5 * time.Second, 50 * time.Second, 1},
		{"bursts every 12.5 s", late, 0, 50 * time.Second, 0.8},
		{"the same, from somewhere", late, 7 * time.Second, 50 * time.Second, 0.8},
		{"evenly, 10 a second, once it has begun", every(zero, 100*time.Millisecond, 700, 200, 100), 10 * time.Second, time.Minute, 1},
		{"evenly, from the first: the window fills over 10 s", every(zero, 100*time.Millisecond, 600, 200, 100), 0, time.Minute, 55.0 / 60},
		{"half full batches", every(zero, 100*time.Millisecond, 700, 200, 50), 10 * time.Second, time.Minute, 0.5},
		{"207 counts", every(zero, 100*time.Millisecond, 700, 207, 100), 10 * time.Second, time.Minute, 1},
		{"429 does not", every(zero, 100*time.Millisecond, 700, 429, 100), 10 * time.Second, time.Minute, 0},
		{"what came too early or too late does not", every(zero, 0, 100, 200, 100), 11 * time.Second, time.Minute, 0},
		{"nothing", nil, 0, time.Minute, 0},
	} {
		got := quotaUsed(tc.requests, zero.Add(tc.after), zero.Add(tc.after+tc.lasts), 100, 10*time.Second)
		if math.Abs(got-tc.want) > 0.002 {
			t.Errorf("%s: %.4f, want %.4f", tc.name, got, tc.want)
		}
	}
}

func TestJudgeReturn(t *testing.T) {
	back := time.Unix(1_800_000_000, 0)
	at := func(s float64) int64 { return back.UnixMicro() + int64(s*1e6) }
	log := accountLog{
		Requests: []request{{at(-2), 503, 100}, {at(3), 200, 10}, {at(2), 429, 0}, {at(4.5), 200, 100}},
		Received: []int64{at(-9), at(3), at(4.5), 0, at(4)},
	}
	got, err := judgeReturn(log, back)
	if want := (comeback{backlog: 3, firstRequest: 2 * time.Second, gone: 1500 * time.Millisecond}); err != nil ||
		got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if _, err := judgeReturn(accountLog{Requests: []request{{at(-2), 503, 100}}}, back); err == nil {
		t.Error("a worker that sends nothing any more is no error")
	}
	if _, err := judgeReturn(accountLog{Requests: []request{{at(1), 503, 100}}}, back); err == nil {
		t.Error("a worker that was never accepted is no error")
	}
}

func TestBacklogCurve(t *testing.T) {
	back := time.Unix(1_800_000_000, 0)
	produced := []time.Time{back.Add(-3 * time.Second), back.Add(-2 * time.Second), back.Add(-time.Second)}
	received := []int64{0, back.Add(-2500 * time.Millisecond).UnixMicro(), back.Add(time.Second).UnixMicro(),
		back.Add(2 * time.Second).UnixMicro()}
	want := [][2]float64{{-3, 1}, {-2.5, 0}, {-2, 1}, {-1, 2}, {1, 1}, {2, 0}}
	c := backlogCurve("", produced, received, back)
	for i, p := range c.points {
		if i >= len(want) || p.X != want[i][0] || p.Y != want[i][1] {
			t.Fatalf("%v, want %v", c.points, want)
		}
	}
	if thin := c.thinned(2); thin[0].X != -3 || thin[len(thin)-1].X != 2 || len(thin) > 3 {
		t.Errorf("thinned to %v", thin)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 100: "100", 98765.4: "98765", 7.883: "7.88", 0.0123: "0.0123",
		12.34: "12.3", 20: "20", 0.5: "0.5", -3.14159: "-3.14"} {
		if got := short(v); got != want {
			t.Errorf("%v is shown as %s, want %s", v, got, want)
		}
	}
	met := true
	r := &result{Median: 2, Runs: []float64{2, 1, 3}, Goal: "≤ 5", Met: &met}
	if got := r.String(); got != "2 [1–3] ✓ ≤ 5" {
		t.Errorf("%s", got)
	}
	if got := heading("cpu_us_per_record", "µs") + "; " + heading("quota_used_percent", "%") + "; " +
		heading("answers_429", ""); got != "cpu per record, µs; quota used, %; answers 429" {
		t.Errorf("%s", got)
	}
}
