package worker

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/hold"
)

// scrape is one reading of the metrics.
type scrape struct {
	instruments
	metric.Observer
	status Status
	group  consumer.Status
}

func (s scrape) number(i metric.Int64Observable, n int64, labels ...attribute.KeyValue) {
	s.ObserveInt64(i, n, metric.WithAttributes(labels...))
}

// observeRecords is what became of records.
func (s scrape) observeRecords(reasons []dlq.Count) {
	for outcome, n := range map[string]int64{"upserted": int64(s.status.Records.Upserted),
		"dead_lettered": int64(s.status.Records.DeadLettered), "skipped": int64(s.status.Records.Skipped)} {
		s.number(s.records, n, attribute.String("outcome", outcome))
	}
	for _, r := range reasons {
		s.number(s.letters, int64(r.Letters), attribute.String("stage", r.Stage),
			attribute.String("category", r.Category), attribute.String("code", r.Code))
	}
	s.number(s.letterFails, int64(s.status.DeadLetters.Errors))
	for topic, n := range s.status.DeadLetters.Sent {
		s.number(s.sent.Inst(), int64(n), s.sent.AttrOperationName("send"),
			s.sent.AttrSystem(messagingconv.SystemKafka), s.sent.AttrDestinationName(topic))
	}
}

// observeKafka is what this member of the group has.
func (s scrape) observeKafka(group string) {
	s.number(s.commitFails, s.group.CommitErrors)
	s.number(s.lost, s.group.Lost)
	s.number(s.skippedSettled, s.group.Skipped)
	s.number(s.resets, s.group.Restarted, attribute.String("cause", "recreated"))
	s.number(s.resets, s.group.Truncated, attribute.String("cause", "truncated"))
	s.number(s.rebalances, s.group.Rebalances)
	s.number(s.assigned, int64(len(s.group.Partitions)))
	for _, part := range s.group.Partitions {
		of := metric.WithAttributes(attribute.String("topic", part.Topic), attribute.Int("partition", part.Partition))
		if part.Lag != nil {
			s.ObserveInt64(s.lag, *part.Lag, of)
		}
		if part.Problem != nil {
			s.number(s.problems, 1, attribute.String("topic", part.Topic), attribute.Int("partition", part.Partition),
				attribute.String("cause", part.Problem.Cause))
		}
		s.ObserveFloat64(s.lagSeconds, part.LagSeconds, of)
		if part.OpenRetentionSeconds != nil {
			s.ObserveFloat64(s.openRetention, *part.OpenRetentionSeconds, of)
		}
		if part.Committed >= 0 {
			s.ObserveInt64(s.committed, part.Committed, of)
			s.ObserveInt64(s.beyond, part.SettledBeyond, of)
		}
	}
	for topic, n := range s.group.Consumed {
		s.number(s.consumed.Inst(), n, s.consumed.AttrOperationName("poll"),
			s.consumed.AttrSystem(messagingconv.SystemKafka), s.consumed.AttrConsumerGroupName(group),
			s.consumed.AttrDestinationName(topic))
	}
}

// observeHubSpot is what HubSpot answers, and what it allows.
func (s scrape) observeHubSpot() {
	for status, n := range s.status.Sender.Requests {
		s.number(s.requests, int64(n), attribute.String("status", status))
	}
	for category, n := range s.status.Sender.Trouble {
		s.number(s.trouble, int64(n), attribute.String("category", category))
	}
	for category, n := range s.status.Sender.Warnings {
		s.number(s.warnings, int64(n), attribute.String("category", category))
	}
	s.number(s.flying, int64(s.status.Sender.InFlight))
	if !s.status.Rate.Unlimited {
		s.ObserveFloat64(s.rate, s.status.Rate.Limit)
		s.ObserveFloat64(s.share, s.status.Rate.Limit*s.status.Rate.Share)
	}
	if day := s.status.Daily; day != nil && day.Limit > 0 {
		s.number(s.dailyLimit, int64(day.Limit))
		s.number(s.dailyLeft, int64(day.Remaining))
	}
}

// observeHolds is what stops the flow.
func (s scrape) observeHolds(board *hold.Board) {
	for _, state := range []string{"closed", "open", "half-open"} {
		s.number(s.breaker, toNumber(s.status.Breaker == state), attribute.String("state", state))
	}
	all, scoped := board.Reasons()
	for reason, stands := range all {
		s.number(s.holds, toNumber(stands), attribute.String("reason", reason))
	}
	for reason, n := range scoped {
		s.number(s.scoped, int64(n), attribute.String("reason", reason))
	}
}

// observeProcess is what this process is, and what it has in memory.
func (s scrape) observeProcess(maxPending int) {
	s.number(s.pending, int64(s.group.Pending))
	s.number(s.bytes, s.group.PendingBytes)
	s.number(s.maxPending, int64(maxPending))
	build := s.status.Build
	s.number(s.build, 1, attribute.String("version", build.Version), attribute.String("revision", build.Revision),
		attribute.String("go", build.Go))
}

func toNumber(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
