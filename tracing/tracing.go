// Package tracing measures and follows what tasksink does, with OpenTelemetry.
//
// A Telemetry is the meter behind /metrics and the tracer behind the exported spans. The standard variables (OTEL_*)
// say where spans go, and which of them; without any, no span is made. Metrics are always on /metrics, and are pushed
// as well if the variables ask for it. What is exported holds names and numbers, never a payload or a token.
//
// Use: Start, then Stop, which takes 5 s at the most. An exporter that nobody answers drops what it cannot send; it
// never holds the worker up. A nil *Telemetry is one that is off.
//
// The tests run the whole program beside a collector (tracingtest), and read what arrives there.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	nometric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	notrace "go.opentelemetry.io/otel/trace/noop"
)

const (
	scope     = "github.com/tasksink/tasksink"
	stopLimit = 5 * time.Second // for what is still to be exported
)

// Telemetry makes instruments and spans.
type Telemetry struct {
	registry *prometheus.Registry
	meters   *sdkmetric.MeterProvider
	traces   *sdktrace.TracerProvider // nil: off
	ages     *Ages
	log      zerolog.Logger
}

// Start reads the standard variables and begins to measure. version is the program's, as service.version.
func Start(ctx context.Context, version string, log zerolog.Logger) (*Telemetry, error) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn().Err(err).Msg("telemetry") }))
	res, err := resource.New(ctx,
		resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithAttributes(semconv.ServiceName("tasksink"), semconv.ServiceVersion(version),
			semconv.ServiceInstanceID(uuid.NewString())),
		resource.WithFromEnv()) // the last one wins: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t := &Telemetry{registry: prometheus.NewRegistry(), ages: &Ages{born: time.Now()}, log: log}
	if err := t.measure(ctx, res); err != nil {
		return nil, err
	}
	return t, t.follow(ctx, res)
}

// measure sets up /metrics, and what pushes metrics beside it.
func (t *Telemetry) measure(ctx context.Context, res *resource.Resource) error {
	t.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	page, err := otelprom.New(otelprom.WithRegisterer(t.registry), otelprom.WithoutScopeInfo(),
		otelprom.WithProducer(t.ages),
		otelprom.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
	if err != nil {
		return fmt.Errorf("set up /metrics: %w", err)
	}
	options := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithReader(page)}
	// "prometheus" would open a second page like /metrics, on a port of its own.
	if on("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") &&
		os.Getenv("OTEL_METRICS_EXPORTER") != "prometheus" {
		// This is for the whole process; a second worker in it would push the first one's.
		autoexport.WithFallbackMetricProducer(func(context.Context) (sdkmetric.Producer, error) { return t.ages, nil })
		push, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return fmt.Errorf("OTEL_METRICS_EXPORTER=%s: %w", os.Getenv("OTEL_METRICS_EXPORTER"), err)
		}
		options = append(options, sdkmetric.WithReader(push))
	}
	t.meters = sdkmetric.NewMeterProvider(options...)
	return nil
}

// follow sets up the spans' way out, if the variables name one.
func (t *Telemetry) follow(ctx context.Context, res *resource.Resource) error {
	if !on("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") {
		return nil
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return fmt.Errorf("OTEL_TRACES_EXPORTER=%s: %w", os.Getenv("OTEL_TRACES_EXPORTER"), err)
	}
	if !autoexport.IsNoneSpanExporter(exporter) {
		// OTEL_TRACES_SAMPLER and OTEL_BSP_* are read in here. The queue drops what it has no room for.
		t.traces = sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(exporter))
	}
	return nil
}

// on tells whether one of the variables is set, and OpenTelemetry not switched off as a whole. Without any of them the
// exporters would try a collector on this host for ever.
func on(variables ...string) bool {
	if os.Getenv("OTEL_SDK_DISABLED") == "true" {
		return false
	}
	for _, name := range variables {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// Meter makes the instruments.
func (t *Telemetry) Meter() metric.Meter {
	if t == nil {
		return nometric.Meter{}
	}
	return t.meters.Meter(scope)
}

// Ages is the histogram of the records' ages.
func (t *Telemetry) Ages() *Ages {
	if t == nil {
		return nil
	}
	return t.ages
}

// Tracer makes the spans. Where nothing is exported its spans cost nothing.
func (t *Telemetry) Tracer() trace.Tracer {
	if !t.Traces() {
		return notrace.Tracer{}
	}
	return t.traces.Tracer(scope)
}

// Traces tells whether spans are exported at all: where not, nobody needs to gather what they would hold.
func (t *Telemetry) Traces() bool { return t != nil && t.traces != nil }

// Page is the handler of /metrics. It speaks OpenMetrics, with exemplars, to those who ask for it. More than a few
// scrapes at once, or one that takes longer than 5 s, are answered with 503.
func (t *Telemetry) Page() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 3,
		Timeout:       5 * time.Second,
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: complaints{t.log}})
}

type complaints struct{ log zerolog.Logger }

func (c complaints) Println(v ...any) { c.log.Warn().Msg("metrics: " + fmt.Sprint(v...)) }

// Stop exports what is left, for 5 s at the most.
func (t *Telemetry) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	var err error
	if t.traces != nil {
		err = t.traces.Shutdown(ctx)
	}
	if err = errors.Join(err, t.meters.Shutdown(ctx)); err != nil {
		t.log.Warn().Err(err).Msg("the last spans and metrics were not exported")
	}
}
