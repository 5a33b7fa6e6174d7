package upsert

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/tracing"
	"github.com/tasksink/tasksink/upsert/hubspot"
)

const (
	// maxLinks is what OpenTelemetry keeps of a span's links by default. Records that were merged can be more than the
	// inputs of a request.
	maxLinks     = 128
	shortestWait = time.Millisecond // a wait that is shorter is no event
)

// traces makes the spans of batches: one trace for each batch, from the moment it was ripe until what its answer says
// was done. A span that is not sampled, or not exported at all, gathers nothing.
type traces struct {
	tracer trace.Tracer // nil: off
	group  string
	url    string
	post   string // name of the request's span
	target []attribute.KeyValue
}

func newTraces(t *tracing.Telemetry, target, group string, attributes []attribute.KeyValue) *traces {
	f := &traces{group: group, url: target, post: "POST", target: attributes}
	if t.Traces() {
		f.tracer = t.Tracer()
	}
	if u, err := url.Parse(target); err == nil {
		f.post += " " + u.Path
	}
	return f
}

// waits is what a batch waited for before it was sealed.
type waits struct {
	ripe  time.Time
	gate  time.Duration // for the breaker or a hold
	hold  string        // which one it was; empty: the breaker
	rate  time.Duration
	proof time.Duration // of the membership
}

// process begins the span of a batch.
func (f *traces) process(ctx context.Context, inputs []input, topic string, w waits) (context.Context, trace.Span) {
	if f.tracer == nil {
		return ctx, trace.SpanFromContext(ctx)
	}
	name := "process"
	if topic != "" {
		name += " " + topic
	}
	ctx, span := f.tracer.Start(ctx, name, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithTimestamp(w.ripe))
	if !span.IsRecording() {
		return ctx, span
	}
	records, links := 0, 0
	for _, in := range inputs {
		records += len(in)
		for _, t := range in {
			if links == maxLinks {
				break
			}
			if from := tracing.FromHeaders(t.Record.Headers); from.IsValid() {
				span.AddLink(trace.Link{SpanContext: from, Attributes: []attribute.KeyValue{
					semconv.MessagingDestinationPartitionID(strconv.Itoa(t.Record.Partition)),
					semconv.MessagingKafkaOffset(int(t.Record.Offset))}})
				links++
			}
		}
	}
	span.SetAttributes(semconv.MessagingSystemKafka, semconv.MessagingOperationName("process"),
		semconv.MessagingOperationTypeProcess,
		semconv.MessagingConsumerGroupName(f.group), semconv.MessagingBatchMessageCount(records),
		attribute.Int("tasksink.inputs", len(inputs)))
	if topic != "" {
		span.SetAttributes(semconv.MessagingDestinationName(topic))
	}
	w.addTo(span)
	return ctx, span
}

// addTo adds an event for each wait, at its end.
func (w waits) addTo(span trace.Span) {
	at := w.ripe
	event := func(name string, waited time.Duration, more ...attribute.KeyValue) {
		at = at.Add(waited)
		if waited >= shortestWait {
			span.AddEvent(name, trace.WithTimestamp(at), trace.WithAttributes(append(more,
				attribute.Float64("tasksink.waited", waited.Seconds()))...))
		}
	}
	if w.hold != "" {
		event("waited for a hold", w.gate, attribute.String("tasksink.hold", w.hold))
	} else {
		event("waited for the breaker", w.gate)
	}
	event("waited for the rate", w.rate)
	event("waited for the proof of membership", w.proof)
}

// request begins the span of an attempt.
func (f *traces) request(ctx context.Context, inputs []input) (context.Context, trace.Span) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, trace.SpanFromContext(ctx)
	}
	ctx, span := f.tracer.Start(ctx, f.post, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(f.target...),
		trace.WithAttributes(semconv.URLFull(f.url)))
	again := int32(0)
	for _, in := range inputs {
		for _, t := range in {
			again = max(again, t.attempts-1)
		}
	}
	if again > 0 {
		span.SetAttributes(semconv.HTTPRequestResendCount(int(again)))
	}
	return ctx, span
}

// answered ends the span of an attempt.
func (f *traces) answered(span trace.Span, answer hubspot.Answer, err error) {
	if !span.IsRecording() {
		return
	}
	switch {
	case err != nil:
		span.SetAttributes(errorType(err))
		span.SetStatus(codes.Error, err.Error())
	default:
		span.SetAttributes(semconv.HTTPResponseStatusCode(answer.Status))
		if answer.Status >= 400 {
			span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(answer.Status)))
			span.SetStatus(codes.Error, "")
		}
	}
	span.End()
}

func errorType(err error) attribute.KeyValue {
	if timeout := net.Error(nil); errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) &&
		timeout.Timeout() {
		return semconv.ErrorTypeKey.String("timeout")
	}
	return semconv.ErrorTypeOther
}

// judged notes what an answer said, and which span the reasons of its refusals come from.
func (f *traces) judged(span trace.Span, a *judgement) {
	if !span.IsRecording() {
		return
	}
	a.Reason.Span = span.SpanContext()
	refused := map[dlq.Kind]int{}
	for _, r := range a.Reasons {
		if r != nil {
			r.Span = span.SpanContext()
			refused[r.Kind()]++
		}
	}
	confirmed := 0
	for _, v := range a.Verdicts {
		if v == verdictConfirmed {
			confirmed++
		}
	}
	span.SetAttributes(attribute.Int("tasksink.confirmed", confirmed))
	for kind, n := range refused {
		span.AddEvent("refused", trace.WithAttributes(attribute.Int("tasksink.inputs", n),
			attribute.String("tasksink.category", kind.Category), attribute.String("tasksink.code", kind.Code)))
	}
	if a.Class != classJudged {
		kind := a.Reason.Kind()
		span.SetAttributes(semconv.ErrorTypeOther)
		span.SetStatus(codes.Error, kind.Category+" "+kind.Code)
	}
}
