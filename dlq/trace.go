package dlq

import (
	"context"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/tasksink/tasksink/tracing"
)

// trace makes the span of a letter that Kafka has acknowledged, from when it was queued on. It is a child of the batch
// that was refused. A record that is no task event was in no batch: its letter is a child of the span that produced it.
func (w *Writer) trace(l letter) {
	if !w.cfg.Telemetry.Traces() {
		return
	}
	producer := tracing.FromHeaders(l.rec.Headers)
	place := []attribute.KeyValue{semconv.MessagingDestinationPartitionID(strconv.Itoa(l.rec.Partition)),
		semconv.MessagingKafkaOffset(int(l.rec.Offset))}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(l.at)}
	parent := l.reason.Span
	switch {
	case l.reason.Stage == StageDecode:
		parent = producer
	case !parent.IsValid():
		return // its batch is not sampled
	case producer.IsValid():
		options = append(options, trace.WithLinks(trace.Link{SpanContext: producer, Attributes: place}))
	}
	topic, kind := w.cfg.Topic(l.rec.Topic), l.reason.Kind()
	_, span := w.cfg.Telemetry.Tracer().Start(trace.ContextWithRemoteSpanContext(context.Background(), parent),
		"send "+topic, options...)
	if span.IsRecording() {
		span.SetAttributes(semconv.MessagingSystemKafka, semconv.MessagingOperationName("send"),
			semconv.MessagingOperationTypeSend, semconv.MessagingDestinationName(topic),
			attribute.String("tasksink.dlq.topic", l.rec.Topic), attribute.Int("tasksink.dlq.partition", l.rec.Partition),
			attribute.Int64("tasksink.dlq.offset", l.rec.Offset),
			attribute.String("tasksink.dlq.stage", kind.Stage), attribute.String("tasksink.dlq.category", kind.Category),
			attribute.String("tasksink.dlq.code", kind.Code))
	}
	span.End()
	l.rec.Follow(span.SpanContext())
}
