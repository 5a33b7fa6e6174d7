package upsert

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/tracing"
	"github.com/tasksink/tasksink/upsert/hubspot"
)

// TestTraceCost: where no spans are exported, a batch pays no allocation for them, nor for its metrics.
func TestTraceCost(t *testing.T) {
	telemetry, err := tracing.Start(t.Context(), "test", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer telemetry.Stop()
	m := newMetrics(telemetry, "https://api.hubapi.com/crm/v3/objects/tasks/batch/upsert", "group")
	f := newTraces(telemetry, "https://api.hubapi.com/crm/v3/objects/tasks/batch/upsert", "group", m.target)
	record := &consumer.Record{Topic: "tasks", Headers: []kafka.Header{{Key: "traceparent",
		Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}}}
	inputs := []input{{{Record: record}}}
	a := judgement{Verdicts: []verdict{verdictConfirmed}}
	batch := func(ctx context.Context) {
		ctx, span := f.process(ctx, inputs, "tasks", waits{ripe: time.Now(), rate: time.Second})
		m.sealed(ctx, 1, time.Second)
		_, post := f.request(ctx, inputs)
		f.answered(post, hubspot.Answer{Status: 200}, nil)
		m.answered(ctx, "200", time.Second)
		f.judged(span, &a)
		m.processed(ctx, "tasks", time.Second)
		span.End()
	}
	batch(t.Context()) // the sets of attributes are made once
	if n := testing.AllocsPerRun(1000, func() { batch(context.Background()) }); n > 0 {
		t.Errorf("%v allocations a batch, want none", n)
	}
}
