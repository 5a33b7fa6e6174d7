package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Row h: what traces cost. Metrics are always on.

func takesTelemetry(b *bench) time.Duration {
	return 15*time.Second + time.Duration(2*b.runs)*(2*time.Second+5*time.Second*time.Duration(b.records)/500_000)
}

// telemetry is row h.
func (b *bench) telemetry(ctx context.Context) error {
	endpoint, stop, err := collect(ctx)
	if err != nil {
		return err
	}
	defer stop()
	topic, err := b.backlog(ctx, 6, 6, b.records, recordBytes)
	if err != nil {
		return err
	}
	defer b.lab.drop(ctx, topic)
	for run := range b.runs {
		for _, c := range []struct {
			name     string
			settings []string
		}{
			{"no traces", nil},
			{"a tenth of the batches", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint,
				"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.1"}},
		} {
			b.say("row h: %s, run %d of %d", c.name, run+1, b.runs)
			d, err := b.drainOnce(ctx, b.subject(), topic, b.records, conditions{inFlight: 8, settings: c.settings}, nil)
			if err != nil {
				return err
			}
			b.add("h", c.name, b.subject().name, "cpu_us_per_record", "µs", d.cpu())
			b.add("h", c.name, b.subject().name, "records_per_second", "", d.perSecond())
			b.add("h", c.name, b.subject().name, "peak_rss_mib", "MiB", d.peak)
		}
	}
	return nil
}

// collect is a collector that takes all and keeps nothing.
func collect(ctx context.Context) (endpoint string, stop func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("start a collector: %w", err)
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/x-protobuf")
		})}
	go func() { _ = server.Serve(listener) }() // until stop closes it
	return "http://" + listener.Addr().String(), func() { _ = server.Close() }, nil
}
