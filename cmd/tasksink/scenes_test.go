package main_test

import (
	"math"
	"time"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/cmd/tasksink/worker"
	"github.com/tasksink/tasksink/cmd/tasksink/worker/page"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/pace"
)

// night is the instant at which all scenes play.
var night = time.Date(2026, 11, 24, 3, 20, 0, 0, time.UTC)

// scene is a state of the worker as the page gets to see it.
type scene struct {
	name    string
	status  worker.Status
	history []page.Sample
}

// calm is a worker that keeps up with 980 records a second in six partitions; change makes another state of it.
func calm(name string, change func(*scene)) scene {
	s := scene{name: name, status: worker.Status{Time: night, Instance: "tasksink-0", Group: "tasksink",
		Started: night.Add(-52 * time.Hour), State: "running",
		Holds: []hold.Hold{}, Breaker: "closed",
		Rate: pace.Status{Limit: 190, Window: 10, Share: 0.5, InWindow: 62, Others: 58},
		Daily: &pace.DayStatus{Limit: 1_000_000, Remaining: 871_204, Ours: 435_601,
			ResetsAt: night.Add(20*time.Hour + 40*time.Minute), Zone: "Europe/Berlin", BatchWait: 0.5},
		Records: worker.Records{Arrived: 183_456_700, Upserted: 183_450_000, DeadLettered: 214, Pending: 1480,
			PendingBytes: 1_310_000},
		Sender: upsert.Status{Breaker: "closed", InFlight: 3, Inputs: 180_000_000,
			Requests: map[string]int{"200": 1_820_000, "207": 211}},
		Limits: worker.Limits{BatchSize: 100, MaxInFlight: 32, MaxPending: 20_000, MaxPendingBytes: 64 << 20},
		Build:  config.Build{Version: "v1.0.0", Revision: "4f1c2a9d0b7e", Go: "go1.26.0"},
		DeadLetters: worker.DeadLetters{Reasons: []worker.Reason{
			{Count: dlq.Count{Kind: dlq.Kind{Stage: dlq.StageUpsert, Category: "VALIDATION_ERROR", Code: "INVALID_OPTION"}, Property: "hs_task_status", Letters: 187, Last: night.Add(-4 * time.Minute)},
				Meaning: dlq.Explain("VALIDATION_ERROR", "INVALID_OPTION")},
			{Count: dlq.Count{Kind: dlq.Kind{Stage: dlq.StageDecode, Category: "INVALID_JSON", Code: "SYNTAX"}, Letters: 27, Last: night.Add(-31 * time.Hour)},
				Meaning: dlq.Explain("INVALID_JSON", "SYNTAX")},
		}}}}
	for i := range 6 {
		committed := int64(30_512_000 + 7919*i)
		s.status.Partitions = append(s.status.Partitions,
			consumer.PartitionStatus{Topic: "tasks", Partition: 2 * i, Committed: committed,
				Position: committed + 12, End: committed + 240, Lag: waiting(210 + int64(i*i*7%60)), LagSeconds: 0.4 +
					0.25*float64(i)})
	}
	s.flow(func(t float64) (in, out, lag float64) {
		in = 930 + 90*math.Sin(t/140) + 40*math.Sin(t/31)
		return in, in + 12*math.Sin(t/17), 1300 + 250*math.Sin(t/60)
	})
	change(&s)
	return s
}

// flow makes a quarter of an hour of history that ends in the status, out of the rates, and the lag, at t seconds ago.
func (s *scene) flow(at func(t float64) (in, out, lag float64)) {
	r := s.status.Records
	now := page.Sample{At: night, Arrived: r.Arrived, Upserted: r.Upserted, DeadLettered: r.DeadLettered,
		Inputs: s.status.Sender.Inputs, Requests: 1_820_211}
	s.history = nil
	for i := range 180 {
		in, out, lag := at(float64(i*5) + 2.5)
		now.At = now.At.Add(-page.Step)
		now.Arrived -= int64(5 * in)
		now.Upserted -= uint64(5 * out)
		now.Inputs -= uint64(5 * out)
		now.Requests -= int(math.Ceil(5 * out / 97))
		now.Lag = int64(lag)
		if i == 48 || i == 49 || i == 121 {
			now.DeadLettered -= 2
		}
		s.history = append([]page.Sample{now}, s.history...)
	}
}

// lag spreads so many waiting records, the oldest of them of the given age, unevenly over the partitions.
func (s *scene) lag(records int64, age time.Duration) {
	left := records
	for i := range s.status.Partitions {
		p := &s.status.Partitions[i]
		p.Lag = waiting(left / 2)
		if i == len(s.status.Partitions)-1 {
			p.Lag = waiting(left)
		}
		left -= *p.Lag
		p.LagSeconds = age.Seconds() / float64(i+1)
		if *p.Lag == 0 {
			p.LagSeconds = 0
		}
	}
}

// waiting is a lag that is known.
func waiting(records int64) *int64 { return &records }

func (s *scene) held(reason, detail, remedy string, since time.Duration) {
	s.status.State = "held"
	s.status.Holds = append(s.status.Holds, hold.Hold{Reason: reason, Scope: hold.All, Detail: detail, Remedy: remedy,
		Since: night.Add(-since)})
	s.stood(since)
}

// stood says that nothing flowed since then.
func (s *scene) stood(since time.Duration) {
	s.flow(func(t float64) (in, out, lag float64) {
		in = 120 + 14*math.Sin(t/140) + 6*math.Sin(t/23)
		waits := 120 * (since.Seconds() - t)
		if waits > 0 {
			return in, 0, waits
		}
		return in, in, 90
	})
	for i := range s.history {
		s.history[i].Held = night.Sub(s.history[i].At) <= since
	}
	s.status.Rate.InWindow, s.status.Sender.InFlight = 0, 0
	s.lag(int64(120*min(since, page.Span).Seconds()), since)
	s.status.Records.Pending, s.status.Records.PendingBytes = int(min(20_000, 120*since.Seconds())),
		int64(min(20_000, 120*since.Seconds())*890)
}

const hostileText = `<img src=x onerror=alert(1)><script>alert(2)</script>`

func scenes() []scene {
	token := func(s *scene) {
		s.held("auth", "HubSpot refuses the token: EXPIRED_AUTHENTICATION (correlation id "+
			"5b1d3f0e-90c2-4d8f-8a4e-0f3a6f6f2d11)",
			"put a valid token into the file that --hubspot-token-file names; it is read again by itself", 8*time.Minute)
	}
	return []scene{
		calm("flowing", func(*scene) {}),
		calm("up to date", func(s *scene) {
			s.flow(func(t float64) (in, out, lag float64) {
				return map[bool]float64{true: 3}[t > 250], map[bool]float64{true: 3}[t > 250], 0
			})
			s.lag(0, 0)
		}),
		calm("just started, nothing to do", func(s *scene) {
			s.status.Started, s.history = night.Add(-3*time.Second), s.history[:0]
			s.status.Records, s.status.Sender.Requests = worker.Records{}, map[string]int{}
			s.lag(0, 0)
		}),
		calm("starting", func(s *scene) { s.status.State, s.status.Partitions = "starting", []consumer.PartitionStatus{} }),
		calm("standing by", func(s *scene) { s.status.Partitions = []consumer.PartitionStatus{} }),
		calm("one partition", func(s *scene) { s.status.Partitions = s.status.Partitions[:1] }),
		calm("stopping", func(s *scene) { s.status.State = "draining" }),
		calm("behind, at the rate limit", func(s *scene) {
			s.status.Rate.InWindow = 95
			s.lag(1_204_800, 47*time.Minute)
			s.flow(func(t float64) (in, out, lag float64) { return 220, 950, 1_204_800 + 730*t })
		}),
		calm("behind, just started", func(s *scene) { // the first sample is from before the group was joined
			s.status.Started = night.Add(-30 * time.Second)
			s.lag(31_400, 33*time.Second)
			s.flow(func(t float64) (in, out, lag float64) { return 0, 1000, 31_400 + 1000*t })
			s.history = s.history[len(s.history)-6:]
			s.history[0].Lag = 0
		}),
		calm("behind, and growing", func(s *scene) {
			s.status.Sender.InFlight = 32
			s.lag(88_000, 100*time.Second)
			s.flow(func(t float64) (in, out, lag float64) { return 1100, 980, 88_000 - 120*t })
		}),
		calm("behind, the day's calls run short", func(s *scene) {
			s.status.Daily.Remaining, s.status.Daily.Ours, s.status.Daily.Gap, s.status.Daily.BatchWait = 3100, 1550, 48, 30
			at := night.Add(30 * time.Hour)
			s.status.Daily.DrainedAt = &at
			s.lag(240_000, 20*time.Hour)
			s.flow(func(t float64) (in, out, lag float64) { return 0.4, 2.1, 240_000 + 1.7*t })
		}),
		calm("held: the token", token),
		calm("held: Kafka, and the dead-letter topic", func(s *scene) {
			s.held("dlq", "dead letters cannot be written: dial tcp 10.0.0.7:9092: connection refused",
				"check the brokers; tasksink goes on by itself", 3*time.Minute)
			s.held("kafka", "fetch: dial tcp 10.0.0.7:9092: connection refused",
				"check --kafka-brokers, --kafka-topics and the brokers themselves; tasksink goes on by itself", 4*time.Minute)
		}),
		calm("held: the day is used up", func(s *scene) {
			s.held("quota", "the account's calls of the day are used up; sending goes on at 2026-11-25T00:00:00+01:00",
				"wait, or raise the account's daily limit in HubSpot; see which other apps use it", 10*time.Minute)
			at := night.Add(20*time.Hour + 52*time.Minute)
			s.status.Daily.Remaining, s.status.Daily.Ours, s.status.Daily.DrainedAt = 0, 0, &at
		}),
		calm("held, for a reason that the page does not know", func(s *scene) {
			s.held(hostileText, hostileText+" said the other side", hostileText, 2*time.Minute)
			s.status.DeadLetters.Reasons = []worker.Reason{{Count: dlq.Count{Kind: dlq.Kind{Stage: hostileText,
				Category: hostileText, Code: hostileText}, Property: hostileText, Letters: 1, Last: night}, Meaning: hostileText}}
			s.status.Instance, s.status.Group, s.status.Build.Version, s.status.Partitions[0].Topic = hostileText, hostileText,
				hostileText, hostileText
		}),
		calm("an outage", func(s *scene) {
			s.stood(103 * time.Second)
			s.status.Breaker = "open"
			s.status.Sender.Outage = &upsert.Outage{Since: night.Add(-103 * time.Second), Failure: "HTTP_503", Every: 4.2}
		}),
		calm("an outage, and no answer at all", func(s *scene) {
			s.stood(26 * time.Hour)
			s.status.Breaker = "half-open"
			s.status.Sender.Outage = &upsert.Outage{Since: night.Add(-26 * time.Hour), Failure: "NO_ANSWER", Every: 4.2}
			s.lag(1, 26*time.Hour)
		}),
		calm("not flowing, and nobody says why", func(s *scene) {
			s.stood(5 * time.Minute)
			for i := range s.history {
				s.history[i].Held = false
			}
		}),
	}
}
