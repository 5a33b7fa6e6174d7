package tracing_test

import (
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/tracing"
)

func TestFromHeaders(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	good := "00-" + trace + "-" + span + "-01"
	for _, tc := range []struct {
		name    string
		headers []kafka.Header
		valid   bool
		state   string
	}{
		{"none", nil, false, ""},
		{"one", []kafka.Header{{Key: "traceparent", Value: []byte(good)}}, true, ""},
		{"with a state", []kafka.Header{{Key: "tracestate", Value: []byte("a=1,b=2")}, {Key: "traceparent", Value: []byte(good)}}, true, "a=1,b=2"},
		{"a state that makes no sense", []kafka.Header{{Key: "traceparent", Value: []byte(good)}, {Key: "tracestate", Value: []byte("\x00")}}, true, ""},
		{"a state that is too long", []kafka.Header{{Key: "traceparent", Value: []byte(good)}, {Key: "tracestate", Value: []byte("a=" + strings.Repeat("x", 1<<20))}}, true, ""},
		{"the last of two", []kafka.Header{{Key: "traceparent", Value: []byte("x")}, {Key: "traceparent", Value: []byte(good)}}, true, ""},
		{"garbage after a good one", []kafka.Header{{Key: "traceparent", Value: []byte(good)}, {Key: "traceparent", Value: []byte("x")}}, false, ""},
		{"empty", []kafka.Header{{Key: "traceparent"}}, false, ""},
		{"no trace", []kafka.Header{{Key: "traceparent", Value: []byte("00-" + strings.Repeat("0", 32) + "-" + span + "-01")}}, false, ""},
		{"cut short", []kafka.Header{{Key: "traceparent", Value: []byte(good[:50])}}, false, ""},
		{"a later version, and too long", []kafka.Header{{Key: "traceparent", Value: []byte("01" + good[2:] + "-" + strings.Repeat("x", 1<<20))}}, false, ""},
		{"other headers", []kafka.Header{{Key: "Traceparent", Value: []byte(good)}, {Key: "b3", Value: []byte("1")}}, false, ""},
	} {
		got := tracing.FromHeaders(tc.headers)
		if got.IsValid() != tc.valid || got.TraceState().String() != tc.state {
			t.Errorf("%s: valid %v with state %q, want %v with %q", tc.name, got.IsValid(), got.TraceState(), tc.valid, tc.state)
		}
		if tc.valid && (got.TraceID().String() != trace || got.SpanID().String() != span || !got.IsSampled()) {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}
