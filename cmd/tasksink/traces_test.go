package main_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/tracing/tracingtest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// produced gives an event the trace context of a span of its own, as an instrumented producer does.
func produced(tracer trace.Tracer, m kafka.Message) (kafka.Message, trace.SpanContext) {
	ctx, span := tracer.Start(context.Background(), "create task")
	defer span.End()
	headers := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, headers)
	for _, name := range headers.Keys() {
		m.Headers = append(m.Headers, kafka.Header{Key: name, Value: []byte(headers[name])})
	}
	return m, span.SpanContext()
}

func attributes(list []*common.KeyValue) map[string]*common.AnyValue {
	all := map[string]*common.AnyValue{}
	for _, kv := range list {
		all[kv.GetKey()] = kv.GetValue()
	}
	return all
}

// find returns the spans of a trace whose names begin so; trace may be empty.
func find(spans []*traces.Span, in, name string) (some []*traces.Span) {
	for _, s := range spans {
		if strings.HasPrefix(s.GetName(), name) && (in == "" || tracingtest.Trace(s.GetTraceId()) == in) {
			some = append(some, s)
		}
	}
	return some
}

// linkTo is the link of a span to another one, or nil.
func linkTo(s *traces.Span, to trace.SpanContext) *traces.Span_Link {
	for _, l := range s.GetLinks() {
		if tracingtest.Trace(l.GetTraceId()) == to.TraceID().String() {
			return l
		}
	}
	return nil
}

// TestTrace: one event can be followed from its producer's span into its batch, to HubSpot, to its dead letter and to
// the commit, in what a collector gets, by either protocol. Nothing of the event's content or of the token gets there,
// and nothing of the trace gets to HubSpot.
func TestTrace(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			b, c := kafkatest.Fake(t), tracingtest.New(t)
			topic := b.Topic(t, 1, nil)
			b.CreateTopic(t, topic+".dlq", 1, nil)
			hubspot := hubspottest.New(hubspottest.Config{Token: canary + "-token"})
			var mu sync.Mutex
			told := map[string]bool{}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				for name := range r.Header {
					told[name] = true
				}
				mu.Unlock()
				hubspot.ServeHTTP(w, r)
			}))
			t.Cleanup(func() { server.CloseClientConnections(); server.Close() })

			tracer := sdktrace.NewTracerProvider().Tracer("producer")
			msgs := versions(0, 30, 30)
			for i := range msgs {
				msgs[i].Value = fmt.Appendf(nil, `{"id":"%d","properties":{"hs_timestamp":"2026-11-23T10:00:00Z","hs_task_subject":"%s"}}`, i, canary)
				msgs[i], _ = produced(tracer, msgs[i])
			}
			bad, badSpan := produced(tracer, kafka.Message{Key: []byte(canary),
				Value: []byte(`{"id":"bad","properties":{"hs_timestamp":"` + canary + `"}}`)})
			worse, worseSpan := produced(tracer, kafka.Message{Key: []byte(canary), Value: []byte(canary)})
			huge := kafka.Message{Key: []byte("huge"), Value: []byte(`{"id":"huge","properties":{"hs_timestamp":"2026-11-23T10:00:00Z"}}`),
				Headers: []kafka.Header{{Key: "traceparent", Value: []byte(strings.Repeat("0", 1<<19))},
					{Key: "baggage", Value: []byte("a=" + canary)}}}
			broken := kafka.Message{Key: []byte("broken"), Value: []byte(`{"id":"broken","properties":{"hs_timestamp":"2026-11-23T10:00:00Z"}}`),
				Headers: []kafka.Header{{Key: "traceparent", Value: []byte("00-" + canary)}}}
			endpoint := c.GRPC
			if protocol != "grpc" {
				endpoint = c.HTTP
			}
			m := startIn(t, protocol, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=" +
				protocol, "OTEL_BSP_SCHEDULE_DELAY=100"},
				"--kafka-brokers="+strings.Join(b.Addrs, ","), "--kafka-topics="+topic, "--kafka-group="+topic, "--hubspot-url="+server.URL,
				"--hubspot-token="+canary+"-token", "--hubspot-id-property=external_task_id", "--hubspot-rate=0", "--log-level=debug")
			b.Produce(t, topic, append(msgs, bad, worse, huge, broken)...)
			until(t, "all is committed", 2*time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
			_, metrics := m.get(t, "/metrics")
			clean(t, "/metrics", metrics)
			if err := m.terminate(t); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}

			spans := c.Spans()
			var batch *traces.Span
			var link *traces.Span_Link
			for _, s := range find(spans, "", "process "+topic) {
				if link = linkTo(s, badSpan); link != nil {
					batch = s
					break
				}
			}
			if batch == nil {
				t.Fatalf("no batch is linked to the producer's span; there are %d spans", len(spans))
			}
			if of := attributes(link.GetAttributes()); of["messaging.destination.partition.id"].GetStringValue() != "0" ||
				of["messaging.kafka.offset"].GetIntValue() != 30 {
				t.Errorf("the link to the producer's span says %v", of)
			}
			if len(batch.GetParentSpanId()) > 0 {
				t.Error("the batch's span is no root")
			}
			in := tracingtest.Trace(batch.GetTraceId())
			for _, name := range []string{"POST /crm/v3/objects/tasks/batch/upsert", "send " + topic + ".dlq"} {
				found := find(spans, in, name)
				if len(found) != 1 || string(found[0].GetParentSpanId()) != string(batch.GetSpanId()) {
					t.Errorf("the batch's trace has %d spans %q, want one, a child of the batch", len(found), name)
				}
			}
			letter := find(spans, in, "send ")
			// The letter may be acknowledged after the commit of the batch's other records; then it has one of its own.
			for i, s := range find(spans, in, "commit "+topic) {
				parent := string(s.GetParentSpanId())
				if parent != string(batch.GetSpanId()) && (len(letter) != 1 || parent != string(letter[0].GetSpanId())) || i > 1 {
					t.Errorf("commit %d of the batch's trace has the parent %x", i, parent)
				}
			}
			if len(find(spans, in, "commit "+topic)) == 0 {
				t.Error("the batch's trace has no commit")
			}
			if len(letter) == 1 && linkTo(letter[0], badSpan) == nil {
				t.Error("the dead letter is not linked to the producer's span")
			}
			// What is no task event is in no batch: its letter is in its producer's trace.
			if own := find(spans, worseSpan.TraceID().String(), "send "+topic+".dlq"); len(own) != 1 ||
				string(own[0].GetParentSpanId()) != string(sliced(worseSpan.SpanID())) {
				t.Errorf("the producer's trace has %d spans of its dead letter, want one", len(own))
			}
			if !strings.Contains(m.log.String(), `"trace_id":"`+in+`"`) {
				t.Errorf("no log line has the batch's trace id %s", in)
			}
			clean(t, "what is exported", c.Bytes())
			clean(t, "the log", m.log.String())
			mu.Lock()
			for _, name := range []string{"Traceparent", "Tracestate", "Baggage"} {
				if told[name] {
					t.Errorf("HubSpot gets the header %s", name)
				}
			}
			mu.Unlock()
			for _, l := range b.ReadAll(t, topic+".dlq") {
				want := bad
				if string(l.Value) == canary {
					want = worse
				}
				for i, h := range want.Headers {
					if got := l.Headers[i]; got.Key != h.Key || string(got.Value) != string(h.Value) {
						t.Errorf("a dead letter has header %s=%s, the record had %s=%s", got.Key, got.Value, h.Key, h.Value)
					}
				}
			}
			golden.Compare(t, "spans.golden", strings.ReplaceAll(spanShapes(spans), topic, "TOPIC"))
		})
	}
}

func sliced(id trace.SpanID) []byte { return id[:] }

// spanShapes is what of the spans is an interface: names, kinds, and the names of attributes.
func spanShapes(spans []*traces.Span) string {
	shapes := map[string]map[string]bool{}
	for _, s := range spans {
		head := s.GetName() + " " + s.GetKind().String()
		if shapes[head] == nil {
			shapes[head] = map[string]bool{}
		}
		for name := range attributes(s.GetAttributes()) {
			shapes[head][name] = true
		}
		for _, e := range s.GetEvents() {
			if strings.HasPrefix(e.GetName(), "waited") {
				continue // if it did
			}
			for name := range attributes(e.GetAttributes()) {
				shapes[head]["event "+e.GetName()+": "+name] = true
			}
		}
		for _, l := range s.GetLinks() {
			for name := range attributes(l.GetAttributes()) {
				shapes[head]["link: "+name] = true
			}
		}
	}
	var out strings.Builder
	for _, head := range slices.Sorted(maps.Keys(shapes)) {
		fmt.Fprintln(&out, head)
		for _, name := range slices.Sorted(maps.Keys(shapes[head])) {
			fmt.Fprintln(&out, "  "+name)
		}
	}
	return out.String()
}

// traced starts a member whose spans go to the collector, with more settings of OpenTelemetry.
func traced(t *testing.T, endpoint string, otel []string, args ...string) *member {
	t.Helper()
	return startIn(t, "traced", append([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint,
		"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_BSP_SCHEDULE_DELAY=100"}, otel...), args...)
}

// TestSampling: the sampler decides for each batch, and what belongs to a batch follows it.
func TestSampling(t *testing.T) {
	t.Parallel()
	b, c := kafkatest.Fake(t), tracingtest.New(t)
	topic, hubspot, args := world(t, b, 1, hubspottest.Config{}, "--batch-size=1", "--max-in-flight=4")
	b.Produce(t, topic, versions(0, 200, 200)...)
	m := traced(t, c.GRPC, []string{"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.5"},
		args...)
	until(t, "all is committed", 2*time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	batches := find(c.Spans(), "", "process ")
	if n, all := len(batches), len(hubspot.Requests()); n < all/4 || n > all*3/4 {
		t.Errorf("%d of %d batches have a span, want about half of them", n, all)
	}
	for _, s := range batches {
		in := tracingtest.Trace(s.GetTraceId())
		if len(find(c.Spans(), in, "POST ")) != 1 || len(find(c.Spans(), in, "commit ")) != 1 {
			t.Errorf("the trace of a sampled batch has %d requests and %d commits, want one of each",
				len(find(c.Spans(), in, "POST ")), len(find(c.Spans(), in, "commit ")))
		}
	}
	for _, s := range c.Spans() {
		if len(find(batches, tracingtest.Trace(s.GetTraceId()), "")) != 1 {
			t.Errorf("span %q belongs to no batch", s.GetName())
		}
	}
}

// TestWaits: a batch tells what it waited for before it left, and a request how often its records were sent before.
func TestWaits(t *testing.T) {
	t.Parallel()
	b, c := kafkatest.Fake(t), tracingtest.New(t)
	topic, hubspot, args := world(t, b, 1, hubspottest.Config{Limit: 3, Window: 2 * time.Second}, "--hubspot-rate=auto",
		"--batch-size=10")
	mend := hubspot.Inject(hubspottest.Fault{Status: 401, Body: `{"status":"error","category":"INVALID_AUTHENTICATION"}`})
	b.Produce(t, topic, versions(0, 100, 100)...)
	m := traced(t, c.GRPC, nil, args...)
	asked := func(n int) func() bool { return func() bool { return len(hubspot.Requests()) >= n } }
	until(t, "the token is refused", 20*time.Second, asked(3)) // the second one had passed the gate already
	mend()
	until(t, "one is accepted", 20*time.Second, func() bool { return len(hubspot.Journal()) > 0 })
	mend = hubspot.Inject(hubspottest.Fault{Status: 503})
	until(t, "the breaker opens", time.Minute, func() bool {
		open, _ := seriesValue(m.scrape(t)["tasksink_breaker_state"], "state=open")
		return open == 1
	})
	mend()
	until(t, "all is committed", 2*time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	waited := map[string]bool{}
	for _, s := range c.Spans() {
		for _, e := range s.GetEvents() {
			of := attributes(e.GetAttributes())
			if of["tasksink.waited"].GetDoubleValue() > 0.1 {
				waited[e.GetName()+of["tasksink.hold"].GetStringValue()] = true
			}
			if e.GetTimeUnixNano() < s.GetStartTimeUnixNano() || e.GetTimeUnixNano() > s.GetEndTimeUnixNano() {
				t.Errorf("event %q lies outside of its span", e.GetName())
			}
		}
	}
	for _, want := range []string{"waited for a holdauth", "waited for the breaker", "waited for the rate"} {
		if !waited[want] {
			t.Errorf("no batch %s; these did: %v", want, waited)
		}
	}
	again, failed := false, false
	for _, s := range find(c.Spans(), "", "POST ") {
		of := attributes(s.GetAttributes())
		again = again || of["http.request.resend_count"].GetIntValue() > 0
		failed = failed || of["error.type"].GetStringValue() == "503" &&
			s.GetStatus().GetCode() == traces.Status_STATUS_CODE_ERROR
	}
	if !again || !failed {
		t.Errorf("a request that repeats is marked: %v; one that failed: %v", again, failed)
	}
}

// TestMuteCollector: a collector that accepts and never answers does not slow the worker, nor hold up its end by more
// than 5 s.
func TestMuteCollector(t *testing.T) {
	t.Parallel()
	b, mute := kafkatest.Fake(t), tracingtest.Mute(t)
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			topic, _, args := world(t, b, 1, hubspottest.Config{}, "--batch-size=10")
			b.Produce(t, topic, versions(0, 20_000, 20_000)...)
			m := traced(t, mute, []string{"OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol, "OTEL_METRICS_EXPORTER=otlp",
				"OTEL_METRIC_EXPORT_INTERVAL=200"}, args...)
			until(t, "all is committed", 2*time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
			asked := time.Now()
			if err := m.terminate(t); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
			if took := time.Since(asked); took > 8*time.Second {
				t.Errorf("it ended %v after SIGTERM", took)
			}
		})
	}
}

// TestTelemetryMistakes: what the OTEL_* variables say wrongly is told at the start.
func TestTelemetryMistakes(t *testing.T) {
	t.Parallel()
	m := startIn(t, "mistaken", []string{"OTEL_TRACES_EXPORTER=zipkinn"}, "--kafka-brokers=127.0.0.1:1",
		"--hubspot-token=t")
	select {
	case err := <-m.done:
		if err == nil || !strings.Contains(m.log.String(), "OTEL_TRACES_EXPORTER=zipkinn") {
			t.Errorf("it ended with %v and said %s", err, m.log)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
}
