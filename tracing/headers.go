package tracing

import (
	"context"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// The headers of W3C trace context, and how long they may be: whoever produces records could make them a megabyte.
const (
	parentHeader = "traceparent"
	stateHeader  = "tracestate"
	maxParent    = 128
	maxState     = 1024
)

// FromHeaders is the span that a record was produced in, as its headers say. It is not valid if they say nothing, or
// nothing that makes sense; of a state that makes no sense only the span remains.
func FromHeaders(headers []kafka.Header) trace.SpanContext {
	c := carrier{headers}
	if c.Get(parentHeader) == "" {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), c))
}

// carrier reads a record's headers. Nothing writes them: a record's own trace context stays what its producer made it.
type carrier struct{ headers []kafka.Header }

// Get returns the last header of that name, as Kafka's own clients do.
func (c carrier) Get(name string) string {
	limit := maxParent
	if name == stateHeader {
		limit = maxState
	}
	for i := len(c.headers) - 1; i >= 0; i-- {
		if h := c.headers[i]; h.Key == name {
			if len(h.Value) > limit {
				return ""
			}
			return string(h.Value)
		}
	}
	return ""
}

// Set does nothing; propagation.TextMapCarrier asks for it.
func (carrier) Set(string, string) {}

// Keys are the headers that are read.
func (carrier) Keys() []string { return []string{parentHeader, stateHeader} }
