package worker

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"
)

// observe puts what the parts count and show of themselves anyway onto /metrics: it is read at a scrape, and costs
// nothing between two. docs/telemetry.md explains each metric.
func (p *statusPage) observe(meter metric.Meter) error {
	m := &observed{meter: meter}
	i := newInstruments(m)
	if m.err != nil {
		return m.err
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := scrape{instruments: i, Observer: o, status: p.status(), group: p.group.Status()}
		s.observeRecords(p.letters.Status().Reasons)
		s.observeKafka(p.cfg.KafkaGroup)
		s.observeHubSpot()
		s.observeHolds(p.board)
		s.observeProcess(p.cfg.MaxPending)
		return nil
	}, m.all...)
	return err
}

// instruments are the metrics.
type instruments struct {
	records, requests, trouble, warnings, letters, letterFails, commitFails, lost, resets metric.Int64ObservableCounter
	rebalances, skippedSettled                                                            metric.Int64ObservableCounter
	lag, committed, assigned, breaker, holds, scoped, pending, problems                   metric.Int64ObservableGauge
	bytes, flying, maxPending, dailyLimit, dailyLeft, build, beyond                       metric.Int64ObservableGauge
	lagSeconds, rate, share, openRetention                                                metric.Float64ObservableGauge

	consumed messagingconv.ClientConsumedMessagesObservable
	sent     messagingconv.ClientSentMessagesObservable
}

func newInstruments(m *observed) (i instruments) {
	i.records = m.counter("tasksink.records", "{record}", "Records that ended, by outcome; merged ones are upserted.")
	i.requests = m.counter("tasksink.requests", "{request}",
		"Requests to HubSpot by HTTP status; error where no answer came.")
	i.trouble = m.counter("tasksink.troubled_inputs", "{input}",
		"Inputs that HubSpot named with a category that does not speak of the record; each goes again.")
	i.warnings = m.counter("tasksink.warnings", "{warning}",
		"Warnings that HubSpot gave with tasks that it wrote, by category.")
	i.letters = m.counter("tasksink.dead_letters", "{record}", "Dead letters that Kafka has acknowledged.")
	i.letterFails = m.counter("tasksink.dead_letter.write_errors", "{write}",
		"Writes to the dead-letter topic that failed and were tried again.")
	i.commitFails = m.counter("tasksink.commit.errors", "{commit}", "Commits of offsets that failed and were tried again.")
	i.lost = m.counter("tasksink.lost_records", "{record}", "Records that retention deleted before they were read.")
	i.skippedSettled = m.counter("tasksink.skipped_settled", "{offset}",
		"Offsets that were not sent again, as an earlier owner of the partition had settled them.")
	i.resets = m.counter("tasksink.log_resets", "{partition}",
		"Partitions whose log turned out to be another one: recreated with its topic, or truncated.")
	i.rebalances = m.counter("tasksink.rebalances", "{rebalance}",
		"Generations of the consumer group that this replica joined.")
	i.lag = m.gauge("tasksink.consumer.lag", "{record}", "Records of the partition that are not settled.")
	i.committed = m.gauge("tasksink.consumer.committed_offset", "{offset}", "Offset that is committed.")
	i.beyond = m.gauge("tasksink.consumer.settled_beyond", "{offset}",
		"Offsets beyond the committed one that the commit has as settled.")
	i.assigned = m.gauge("tasksink.assigned_partitions", "{partition}", "Partitions of this replica.")
	i.breaker = m.gauge("tasksink.breaker.state", "{state}",
		"1 for the present state of the circuit breaker, 0 for the others.")
	i.holds = m.gauge("tasksink.hold", "{hold}", "1 while the reason holds the whole flow; 0 afterwards.")
	i.scoped = m.gauge("tasksink.hold.scoped", "{hold}",
		"Topics and partitions that the reason holds, while the others flow; 0 afterwards.")
	i.problems = m.gauge("tasksink.partition.problem", "{problem}", "1 while something is wrong with the partition.")
	i.pending = m.gauge("tasksink.pending_records", "{record}", "Records in memory.")
	i.bytes = m.gauge("tasksink.pending_bytes", "By", "Bytes of the records in memory.")
	i.flying = m.gauge("tasksink.in_flight_requests", "{request}", "Requests that are out.")
	i.maxPending = m.gauge("tasksink.max_pending_records", "{record}", "Records that may be in memory: --max-pending.")
	i.dailyLimit = m.gauge("tasksink.daily.limit", "{request}", "The account's calls a day.")
	i.dailyLeft = m.gauge("tasksink.daily.remaining", "{request}",
		"Calls of the day that are left, as of HubSpot's last word.")
	i.build = m.gauge("tasksink.build_info", "{build}", "1; the labels say which program this is.")
	i.lagSeconds = m.fraction("tasksink.consumer.lag_seconds", "s",
		"Age of the oldest record of the partition that is not settled; 0 if there is none.")
	i.openRetention = m.fraction("tasksink.oldest_open_retention", "s",
		"Time until the topic's retention reaches the partition's oldest open record; 0 if it has.")
	i.rate = m.fraction("tasksink.rate.limit", "{request}",
		"The account's requests per window, lowered for a while by a 429.")
	i.share = m.fraction("tasksink.rate.share", "{request}", "This replica's guaranteed part of them.")
	var err error
	i.consumed, err = messagingconv.NewClientConsumedMessagesObservable(m.meter)
	m.add(i.consumed.Inst(), err)
	i.sent, err = messagingconv.NewClientSentMessagesObservable(m.meter)
	m.add(i.sent.Inst(), err)
	return i
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
