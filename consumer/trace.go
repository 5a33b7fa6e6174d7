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

// followed is a trace that ends with the commit of what it settled.
type followed struct {
	span trace.SpanContext
	open int // of its records, those that are not settled yet
}

// Follow says that the record is about to be settled in a trace. The commit that covers it, and all others of its
// partition that the trace is about to settle, becomes a span of that trace, too.
func (r *Record) Follow(span trace.SpanContext) {
	p := r.part
	if p == nil || !span.IsSampled() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.state != stateOpen || r.trace != nil {
		return
	}
	i := slices.IndexFunc(p.followed, func(f *followed) bool { return f.span.TraceID() == span.TraceID() })
	if i < 0 {
		if len(p.followed) == maxFollowed {
			p.followed = slices.Delete(p.followed, 0, 1)
		}
		i, p.followed = len(p.followed), append(p.followed, &followed{span: span})
	}
	r.trace = p.followed[i]
	r.trace.open++
}

// ended takes the traces out whose records are all settled. The partition's lock is held.
func (p *partition) ended() (all []*followed) {
	p.followed = slices.DeleteFunc(p.followed, func(f *followed) bool {
		if f.open == 0 {
			all = append(all, f)
		}
		return f.open == 0
	})
	return all
}

// traceCommit makes the spans of a commit: one for each trace and partition that it ends.
func (g *generation) traceCommit(p *partition, at int64, ended []*followed, asked time.Time) {
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
