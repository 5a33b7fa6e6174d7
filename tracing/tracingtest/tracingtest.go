// Package tracingtest is a collector for tests: it takes spans and metrics by OTLP, over gRPC and over HTTP, and keeps
// them. It can also be one that accepts and never answers. It ends with its test.
package tracingtest

import (
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Collector keeps what it was sent.
type Collector struct {
	collector.UnimplementedTraceServiceServer

	GRPC, HTTP string // its addresses, as OTEL_EXPORTER_OTLP_ENDPOINT wants them

	mu    sync.Mutex
	spans []*traces.Span
	bytes []byte
}

// New starts a Collector.
func New(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	web := httptest.NewServer(http.HandlerFunc(c.post))
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("the collector: %v", err)
		}
		web.CloseClientConnections()
		web.Close()
	})
	c.GRPC, c.HTTP = "http://"+listener.Addr().String(), web.URL
	return c
}

// Export takes spans by gRPC.
func (c *Collector) Export(_ context.Context,
	req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	raw, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	c.keep(req, raw)
	return &collector.ExportTraceServiceResponse{}, nil
}

// post takes whatever is sent by HTTP; of spans it knows what they mean.
func (c *Collector) post(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	var req collector.ExportTraceServiceRequest
	if err == nil && r.URL.Path == "/v1/traces" {
		err = proto.Unmarshal(raw, &req)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.keep(&req, raw)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *Collector) keep(req *collector.ExportTraceServiceRequest, raw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes = append(c.bytes, raw...)
	for _, r := range req.GetResourceSpans() {
		for _, s := range r.GetScopeSpans() {
			c.spans = append(c.spans, s.GetSpans()...)
		}
	}
}

// Spans are those that came so far.
func (c *Collector) Spans() []*traces.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*traces.Span(nil), c.spans...)
}

// Bytes is all that came so far, unpacked.
func (c *Collector) Bytes() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.bytes)
}

// Trace is a trace id as it is written.
func Trace(id []byte) string { return hex.EncodeToString(id) }

// Mute starts a server that accepts connections and reads, but never answers. It returns its address.
func Mute(t testing.TB) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			context.AfterFunc(t.Context(), func() { _ = conn.Close() }) // t.Context ends before the cleanups run
			conns.Go(func() { _, _ = io.Copy(io.Discard, conn) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); conns.Wait() })
	return "http://" + listener.Addr().String()
}
