package upsert

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/tasksink/tasksink/tracing"
)

// metrics are the histograms that a batch fills on its way. Each takes one value a batch, and the sets of attributes
// are made once.
type metrics struct {
	inputs  metric.Float64Histogram // of a request
	waited  metric.Float64Histogram // for the rate
	http    metric.Float64Histogram
	process metric.Float64Histogram

	target   []attribute.KeyValue // of HubSpot's endpoint
	group    string
	mu       sync.Mutex
	statuses map[string][]metric.RecordOption
	topics   map[string][]metric.RecordOption
}

func newMetrics(t *tracing.Telemetry, target, group string) *metrics {
	m := &metrics{group: group, target: []attribute.KeyValue{semconv.HTTPRequestMethodPost},
		statuses: map[string][]metric.RecordOption{}, topics: map[string][]metric.RecordOption{},
		inputs: t.Histogram("tasksink.batch_records", "{input}",
			"Inputs of a request to HubSpot; records of one object that travel together are one.", 1, 2, 5, 10, 25, 50, 75, 89,
			99, 100),
		waited: t.Histogram("tasksink.rate_wait", "s", "How long a batch that was ripe waited for the account's rate "+
			"limit, and for the day's.", .001, .01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300),
		http: t.Histogram("http.client.request.duration", "s", "Duration of HTTP client requests.", .005, .01, .025, .05,
			.075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 15, 30),
		process: t.Histogram("messaging.process.duration", "s", "Duration of processing operation.", .005, .01, .025, .05,
			.075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 15, 30)}
	if u, err := url.Parse(target); err == nil {
		m.target = append(m.target, semconv.ServerAddress(u.Hostname()), semconv.ServerPort(port(u)),
			semconv.URLTemplate(u.Path))
	}
	return m
}

func port(u *url.URL) int {
	if n, err := strconv.Atoi(u.Port()); err == nil {
		return n
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

// sealed notes a batch that leaves: its inputs, and how long it waited for the rate.
func (m *metrics) sealed(ctx context.Context, inputs int, waited time.Duration) {
	m.inputs.Record(ctx, float64(inputs))
	m.waited.Record(ctx, waited.Seconds())
}

// answered notes how long HubSpot took. status is its status as text, or "error" where it gave no answer.
func (m *metrics) answered(ctx context.Context, status string, took time.Duration) {
	m.http.Record(ctx, took.Seconds(), m.option(m.statuses, status, func() []attribute.KeyValue {
		set := slices.Clone(m.target)
		n, err := strconv.Atoi(status)
		switch {
		case err != nil:
			return append(set, semconv.ErrorTypeOther)
		case n >= 400:
			set = append(set, semconv.ErrorTypeKey.String(status))
		}
		return append(set, semconv.HTTPResponseStatusCode(n))
	})...)
}

// processed notes how long it took from the sealing of a batch until what its answer says was done.
func (m *metrics) processed(ctx context.Context, topic string, took time.Duration) {
	m.process.Record(ctx, took.Seconds(), m.option(m.topics, topic, func() []attribute.KeyValue {
		set := []attribute.KeyValue{semconv.MessagingSystemKafka, semconv.MessagingOperationName("process"),
			semconv.MessagingOperationTypeProcess, semconv.MessagingConsumerGroupName(m.group)}
		if topic != "" {
			set = append(set, semconv.MessagingDestinationName(topic))
		}
		return set
	})...)
}

func (m *metrics) option(all map[string][]metric.RecordOption, name string, set func() []attribute.KeyValue,
) []metric.RecordOption {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, known := all[name]
	if !known {
		o = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(set()...))}
		all[name] = o
	}
	return o
}

// topicOf is the topic of all records, or nothing if they come from several.
func topicOf(inputs []input) string {
	topic := inputs[0][0].Record.Topic
	for _, in := range inputs {
		for _, t := range in {
			if t.Record.Topic != topic {
				return ""
			}
		}
	}
	return topic
}
