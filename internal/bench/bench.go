package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// bench runs rows and gathers what they find.
type bench struct {
	lab     *lab
	runs    int
	records int // of a full backlog
	tell    io.Writer
	ends    time.Time // when the bench ends, by the rows' own estimates

	mu      sync.Mutex
	results []*result
	curves  map[string][]curve // by row, for its picture
}

// result is one figure of one case.
type result struct {
	Row    string    `json:"row"`
	Case   string    `json:"case"`
	Worker string    `json:"worker"`
	Figure string    `json:"figure"`
	Unit   string    `json:"unit"`
	Median float64   `json:"median"`
	Runs   []float64 `json:"runs"`
	Goal   string    `json:"goal,omitempty"`
	Met    *bool     `json:"met,omitempty"`
}

// row is one question that the bench answers.
type row struct {
	name  string
	title string
	takes func(b *bench) time.Duration // about
	run   func(b *bench, ctx context.Context) error
}

var rows = []row{
	{"a", "A backlog, no limit: CPU, throughput, memory", takesDrain, (*bench).drain},
	{"b", "A backlog under the account's limit: how much of the quota is used", takesQuota, (*bench).quota},
	{"c", "A trickle of 5 records/s: age, calls, idle CPU", takesTrickle, (*bench).trickle},
	{"d", "HubSpot comes back: after 15 s of 503, after 45 s of 429", takesOutages, (*bench).outages},
	{"e", "Replicas on one account", takesReplicas, (*bench).replicas},
	{"f", "Partitions: CPU and memory, idle and busy", takesPartitions, (*bench).partitions},
	{"g", "Memory full of records while HubSpot is slow", takesMemory, (*bench).memory},
	{"h", "Traces: none, and a tenth of the batches", takesTelemetry, (*bench).telemetry},
	{"i", "Reading alone", takesFetch, (*bench).fetch},
}

// say tells what is going on, and how long it still takes.
func (b *bench) say(format string, args ...any) {
	left := max(0, time.Until(b.ends)).Round(time.Minute)
	_, _ = fmt.Fprintf(b.tell, "%s  about %.0f min left  %s\n", time.Now().Format("15:04:05"), left.Minutes(),
		fmt.Sprintf(format, args...))
}

// add notes one value of a figure.
func (b *bench) add(row, name, worker, figure, unit string, value float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.results {
		if r.Row == row && r.Case == name && r.Worker == worker && r.Figure == figure {
			r.Runs = append(r.Runs, value)
			r.Median = median(r.Runs)
			return
		}
	}
	b.results = append(b.results, &result{Row: row, Case: name, Worker: worker, Figure: figure, Unit: unit, Median: value,
		Runs: []float64{value}})
}

// find returns a figure, or nil.
func (b *bench) find(row, name, worker, figure string) *result {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.results {
		if r.Row == row && r.Case == name && r.Worker == worker && r.Figure == figure {
			return r
		}
	}
	return nil
}

// draw keeps a curve for the row's picture; of several runs the first one is shown.
func (b *bench) draw(row string, c curve) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, have := range b.curves[row] {
		if have.name == c.name {
			return
		}
	}
	b.curves[row] = append(b.curves[row], c)
}

// atOnce does all runs of a case at the same time, each with its own account and group. That is for cases that wait
// for a limit or a clock nearly all the time.
func (b *bench) atOnce(ctx context.Context, lasts time.Duration, one func(ctx context.Context) error) error {
	ctx, cancel := bounded(ctx, lasts)
	defer cancel()
	errs := make([]error, b.runs)
	var all sync.WaitGroup
	for i := range b.runs {
		all.Go(func() { errs[i] = one(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// bounded gives a run three times what it should take, and a minute.
func bounded(ctx context.Context, lasts time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, 3*lasts+time.Minute,
		fmt.Errorf("the run should take %v, and took too long", lasts))
}

// subject is the worker that the bench is about.
func (b *bench) subject() subject { return b.lab.subjects[0] }

// withPlain is the worker and the plain yardstick, for rows in which the way of encoding makes no difference.
func (b *bench) withPlain() []subject { return b.lab.subjects[:2] }
