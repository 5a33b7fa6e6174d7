package tracing

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// ageBounds are in seconds: from a record that was never waiting to one that lay a day.
var ageBounds = [...]float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400}

// Ages is the histogram tasksink.record_age. It is the only one that takes a value for each record; OpenTelemetry's own
// takes some 100 ns for a value, which would be the largest part of what all metrics cost.
type Ages struct {
	born   time.Time
	counts [len(ageBounds) + 1]atomic.Uint64
	sum    atomic.Int64 // in ns
}

// Observe counts a record that was settled at this age. A nil *Ages counts nothing.
func (a *Ages) Observe(age time.Duration) {
	if a == nil {
		return
	}
	seconds, i := age.Seconds(), 0
	for i < len(ageBounds) && seconds > ageBounds[i] {
		i++
	}
	a.counts[i].Add(1)
	a.sum.Add(int64(age))
}

// Produce is what OpenTelemetry reads. A record that is counted meanwhile may be in the sum and not in the counts.
func (a *Ages) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	point := metricdata.HistogramDataPoint[float64]{StartTime: a.born, Time: time.Now(), Bounds: ageBounds[:],
		Sum: time.Duration(a.sum.Load()).Seconds()}
	for i := range a.counts {
		n := a.counts[i].Load()
		point.BucketCounts = append(point.BucketCounts, n)
		point.Count += n
	}
	return []metricdata.ScopeMetrics{{Scope: instrumentation.Scope{Name: scope}, Metrics: []metricdata.Metrics{{
		Name: "tasksink.record_age", Unit: "s", Description: "From a record's own time until it was settled.",
		Data: metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality,
			DataPoints: []metricdata.HistogramDataPoint[float64]{point}},
	}}}}, nil
}
