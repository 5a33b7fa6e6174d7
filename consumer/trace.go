package consumer

import (
	"context"
	"slices"
	"strconv"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const maxFollowed = 256 // traces a partition remembers; the oldest are forgotten first

// followed is a trace that ends with the commit of an offset.
type followed struct {
	span   trace.SpanContext
	offset int64 // the highest of its records
}

// Follow says that the record was settled in a trace: the commit that covers it, and all others of its partition that
// the trace settled, becomes a span of that trace, too.
func (r *Record) Follow(span trace.SpanContext) {
	p := r.part
	if p == nil || !span.IsSampled() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.state != stateOpen {
		return
	}
	for i := len(p.followed) - 1; i >= 0; i-- {
		if f := &p.followed[i]; f.span.TraceID() == span.TraceID() {
			f.offset = max(f.offset, r.Offset)
			return
		}
	}
	if len(p.followed) == maxFollowed {
		p.followed = slices.Delete(p.followed, 0, 1)
	}
	p.followed = append(p.followed, followed{span, r.Offset})
}

// traceCommit makes the spans of a commit: one for each trace and partition that it ends.
func (g *generation) traceCommit(p *partition, at int64, ended []followed, asked time.Time) {
	now := time.Now()
	for _, f := range ended {
		_, span := g.c.cfg.Telemetry.Tracer().Start(trace.ContextWithSpanContext(context.Background(), f.span),
			"commit "+p.topic,
			trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(asked), trace.WithAttributes(
				semconv.MessagingSystemKafka, semconv.MessagingOperationName("commit"), semconv.MessagingOperationTypeSettle,
				semconv.MessagingConsumerGroupName(g.c.cfg.Group), semconv.MessagingDestinationName(p.topic),
				semconv.MessagingDestinationPartitionID(strconv.Itoa(p.id)), semconv.MessagingKafkaOffset(int(at))))
		span.End(trace.WithTimestamp(now))
	}
}
