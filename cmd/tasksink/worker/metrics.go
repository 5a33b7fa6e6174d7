package worker

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
)

// observe puts what the parts count and show of themselves anyway onto /metrics: it is read at a scrape, and costs
// nothing between two. docs/telemetry.md explains each metric.
func (p *statusPage) observe(meter metric.Meter, cfg config.Config) error {
	m := &observed{meter: meter}
	var (
		records     = m.counter("tasksink.records", "{record}", "Records that ended, by outcome; merged ones are upserted.")
		requests    = m.counter("tasksink.requests", "{request}", "Requests to HubSpot by HTTP status; error where no answer came.")
		letters     = m.counter("tasksink.dead_letters", "{record}", "Dead letters that Kafka has acknowledged.")
		letterFails = m.counter("tasksink.dead_letter.write_errors", "{write}", "Writes to the dead-letter topic that failed and were tried again.")
		commitFails = m.counter("tasksink.commit.errors", "{commit}", "Commits of offsets that failed and were tried again.")
		lost        = m.counter("tasksink.lost_records", "{record}", "Records that retention deleted before they were read.")
		rebalances  = m.counter("tasksink.rebalances", "{rebalance}", "Generations of the consumer group that this replica joined.")
		lag         = m.gauge("tasksink.consumer.lag", "{record}", "Records of the partition that are not settled.")
		committed   = m.gauge("tasksink.consumer.committed_offset", "{offset}", "Offset that is committed.")
		assigned    = m.gauge("tasksink.assigned_partitions", "{partition}", "Partitions of this replica.")
		breaker     = m.gauge("tasksink.breaker.state", "{state}", "1 for the present state of the circuit breaker, 0 for the others.")
		holds       = m.gauge("tasksink.hold", "{hold}", "1 while the reason holds the flow; 0 afterwards.")
		pending     = m.gauge("tasksink.pending_records", "{record}", "Records in memory.")
		bytes       = m.gauge("tasksink.pending_bytes", "By", "Bytes of the records in memory.")
		flying      = m.gauge("tasksink.in_flight_requests", "{request}", "Requests that are out.")
		maxPending  = m.gauge("tasksink.max_pending_records", "{record}", "Records that may be in memory: --max-pending.")
		dailyLimit  = m.gauge("tasksink.daily.limit", "{request}", "The account's calls a day.")
		dailyLeft   = m.gauge("tasksink.daily.remaining", "{request}", "Calls of the day that are left, as of HubSpot's last word.")
		build       = m.gauge("tasksink.build_info", "{build}", "1; the labels say which program this is.")
		lagSeconds  = m.fraction("tasksink.consumer.lag_seconds", "s", "Age of the oldest record of the partition that is not settled; 0 if there is none.")
		rate        = m.fraction("tasksink.rate.limit", "{request}", "The account's requests per window, lowered for a while by a 429.")
		share       = m.fraction("tasksink.rate.share", "{request}", "This replica's guaranteed part of them.")
	)
	consumed, err := messagingconv.NewClientConsumedMessagesObservable(meter)
	m.add(consumed.Inst(), err)
	sent, err := messagingconv.NewClientSentMessagesObservable(meter)
	m.add(sent.Inst(), err)
	if m.err != nil {
		return m.err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		st, group := p.status(), p.group.Status()
		number := func(i metric.Int64Observable, n int64, labels ...attribute.KeyValue) {
			o.ObserveInt64(i, n, metric.WithAttributes(labels...))
		}
		for outcome, n := range map[string]int64{"upserted": int64(st.Records.Upserted), "dead_lettered": int64(st.Records.DeadLettered), "skipped": int64(st.Records.Skipped)} {
			number(records, n, attribute.String("outcome", outcome))
		}
		for status, n := range st.Sender.Requests {
			number(requests, int64(n), attribute.String("status", status))
		}
		for _, kind := range p.letters.Status().Reasons {
			number(letters, int64(kind.Letters), attribute.String("stage", kind.Stage), attribute.String("category", kind.Category), attribute.String("code", kind.Code))
		}
		number(letterFails, int64(st.DeadLetters.Errors))
		number(commitFails, group.CommitErrors)
		number(lost, group.Lost)
		number(rebalances, group.Rebalances)
		number(assigned, int64(len(group.Partitions)))
		for _, part := range group.Partitions {
			of := metric.WithAttributes(attribute.String("topic", part.Topic), attribute.Int("partition", part.Partition))
			o.ObserveInt64(lag, part.Lag, of)
			o.ObserveFloat64(lagSeconds, part.LagSeconds, of)
			if part.Committed >= 0 {
				o.ObserveInt64(committed, part.Committed, of)
			}
		}
		for _, state := range []string{"closed", "open", "half-open"} {
			number(breaker, toNumber(st.Breaker == state), attribute.String("state", state))
		}
		for reason, stands := range p.board.Reasons() {
			number(holds, toNumber(stands), attribute.String("reason", reason))
		}
		number(pending, int64(group.Pending))
		number(bytes, group.PendingBytes)
		number(flying, int64(st.Sender.InFlight))
		number(maxPending, int64(cfg.MaxPending))
		if !st.Rate.Unlimited {
			o.ObserveFloat64(rate, st.Rate.Limit)
			o.ObserveFloat64(share, st.Rate.Limit*st.Rate.Share)
		}
		if st.Daily != nil && st.Daily.Limit > 0 {
			number(dailyLimit, int64(st.Daily.Limit))
			number(dailyLeft, int64(st.Daily.Remaining))
		}
		number(build, 1, attribute.String("version", st.Build.Version), attribute.String("revision", st.Build.Revision), attribute.String("go", st.Build.Go))
		for topic, n := range group.Consumed {
			number(consumed.Inst(), n, consumed.AttrOperationName("poll"), consumed.AttrSystem(messagingconv.SystemKafka),
				consumed.AttrConsumerGroupName(cfg.KafkaGroup), consumed.AttrDestinationName(topic))
		}
		for topic, n := range st.DeadLetters.Sent {
			number(sent.Inst(), int64(n), sent.AttrOperationName("send"), sent.AttrSystem(messagingconv.SystemKafka), sent.AttrDestinationName(topic))
		}
		return nil
	}, m.all...)
	return err
}

func toNumber(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// observed makes the instruments that are read at a scrape.
type observed struct {
	meter metric.Meter
	all   []metric.Observable
	err   error
}

func (m *observed) add(i metric.Observable, err error) {
	m.all, m.err = append(m.all, i), errors.Join(m.err, err)
}

func (m *observed) counter(name, unit, help string) metric.Int64ObservableCounter {
	i, err := m.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(help))
	m.add(i, err)
	return i
}

func (m *observed) gauge(name, unit, help string) metric.Int64ObservableGauge {
	i, err := m.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help))
	m.add(i, err)
	return i
}

func (m *observed) fraction(name, unit, help string) metric.Float64ObservableGauge {
	i, err := m.meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help))
	m.add(i, err)
	return i
}
