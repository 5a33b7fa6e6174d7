package tracing

import "go.opentelemetry.io/otel/metric"

// Histogram makes a histogram with the given bounds, or panics: names and bounds are constants of the program, and a
// test reads each on /metrics.
func (t *Telemetry) Histogram(name, unit, description string, bounds ...float64) metric.Float64Histogram {
	h, err := t.Meter().Float64Histogram(name, metric.WithUnit(unit), metric.WithDescription(description),
		metric.WithExplicitBucketBoundaries(bounds...))
	if err != nil {
		panic(err)
	}
	return h
}
