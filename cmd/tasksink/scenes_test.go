package main_test

import (
	"fmt"
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

// sick makes a partition of the scene sick for so long; of a problem that lasts there is a hold, too.
func (s *scene) sick(i int, cause, detail, remedy string, offset int64, since time.Duration) {
	p := &s.status.Partitions[i]
	p.Problem = &consumer.Problem{Cause: cause, Detail: detail, Since: night.Add(-since), Offset: offset, Remedy: remedy}
	p.LagSeconds = since.Seconds()
	if since >= 10*time.Second {
		name := fmt.Sprintf("%s/%d", p.Topic, p.Partition)
		s.narrow("partition", name, "partition "+name+": "+detail, remedy, since)
	}
}

// narrow is a hold that stops no more than its scope.
func (s *scene) narrow(reason, scope, detail, remedy string, since time.Duration) {
	s.status.Holds = append(s.status.Holds, hold.Hold{Reason: reason, Scope: scope, Detail: detail, Remedy: remedy,
		Since: night.Add(-since)})
}

// What the consumer says of partitions, topics and foreign programs.
const (
	noLeader       = "find its leader: [5] Leader Not Available: the cluster is in the middle of a leadership election"
	noLeaderRemedy = "bring back a broker that holds a replica of it: " +
		"kafka-topics.sh --bootstrap-server HOST:PORT --describe --unavailable-partitions"
	corrupt       = "fetch from broker 2: the answer cannot be read: crc32 checksum mismatch"
	corruptRemedy = "the log cannot be read from this offset on: look at it with kafka-dump-log.sh --files …, restore " +
		"it from a replica, or stop tasksink and step over it with kafka-consumer-groups.sh --reset-offsets --to-offset N"
	openTransaction = "an open transaction holds tasks/0 at offset 50: 12 offsets behind it wait"
	openRemedy      = "a transaction began here and was neither committed nor aborted; if it stays open, find its " +
		"producer with kafka-transactions.sh --bootstrap-server HOST:PORT find-hanging --broker-id ID, and abort it there"
	tooLarge = "a record is larger than the room: the record at offset 50 takes 73401344 bytes, " +
		"and --max-pending-bytes is 67108864"
	tooLargeRemedy     = "raise --max-pending-bytes above the record's size, and the memory limit with it"
	missingTopic       = "topic calls: missing: [3] Unknown Topic Or Partition"
	missingTopicRemedy = "create the topic again, or take it out of --kafka-topics; tasksink goes on with the others, " +
		"and with this one when it is there"
	foreign = "another program is a member of the consumer group tasksink: rdkafka at 10.0.0.9; it has 6 partitions of " +
		"tasks, and their records do not reach tasksink"
	foreignRemedy = "give tasksink a group of its own with --kafka-group, or stop the other program"
)

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
		calm("flowing, and a record stays open", func(s *scene) {
			p := &s.status.Partitions[4]
			p.LagSeconds, p.Open, p.SettledBeyond = (3*24*time.Hour + time.Hour).Seconds(), 140, 2_412_007
		}),
		calm("up to date, but for records that stay open", func(s *scene) {
			s.flow(func(float64) (in, out, lag float64) { return 0, 0, 2 })
			s.lag(0, 0)
			for _, i := range []int{1, 4} {
				p := &s.status.Partitions[i]
				p.Lag, p.LagSeconds, p.Open, p.SettledBeyond = waiting(1), float64(7200*i), 1, 300
			}
		}),
		calm("behind, and a record stays open", func(s *scene) {
			s.lag(1_204_800, 3*24*time.Hour)
			s.flow(func(t float64) (in, out, lag float64) { return 220, 950, 1_204_800 + 730*t })
			s.status.Partitions[0].SettledBeyond = 2_412_007
		}),
		calm("flowing, and a partition is sick", func(s *scene) {
			s.flow(func(t float64) (in, out, lag float64) {
				in = 930 + 90*math.Sin(t/140) + 40*math.Sin(t/31)
				return in, in + 12*math.Sin(t/17), 1300 + 250*math.Sin(t/60) + 120*max(0, 480-t)
			})
			s.sick(3, "no-leader", noLeader, noLeaderRemedy, 30_535_781, 8*time.Minute)
			s.status.Partitions[3].Lag = waiting(57_600)
		}),
		calm("flowing, and a partition fell sick just now", func(s *scene) {
			s.sick(3, "no-leader", noLeader, noLeaderRemedy, 30_535_781, 2*time.Second)
		}),
		calm("flowing, and several partitions and a topic are sick", func(s *scene) {
			s.sick(0, "corrupt", corrupt, corruptRemedy, 30_512_012, 8*time.Minute)
			s.sick(2, "unauthorized", "fetch from broker 1: [29] Topic Authorization Failed",
				"allow the principal READ and DESCRIBE on the topic: docs/security.md has the list", -1, 26*time.Hour)
			s.sick(5, "a cause that the page does not know", "who knows", "ask somebody", 12, 6*time.Second)
			s.status.Partitions[2].Lag, s.status.Partitions[5].Lag = nil, nil
			s.status.Partitions[2].Committed, s.status.Partitions[2].LagSeconds = -1, 0
			s.narrow("topic", "calls", missingTopic, missingTopicRemedy, 4*time.Minute)
		}),
		calm("up to date, but for a partition of which nothing is known", func(s *scene) {
			s.flow(func(float64) (in, out, lag float64) { return 0, 0, 0 })
			s.lag(0, 0)
			s.sick(1, "unreachable", "fetch from broker 2: dial tcp 10.0.0.8:9092: connect: connection refused",
				"look at the broker that leads it, and at the network in between; tasksink goes on by itself", -1, 8*time.Minute)
			s.status.Partitions[1].Lag, s.status.Partitions[1].LagSeconds = nil, 0
		}),
		calm("behind, and a partition is sick", func(s *scene) {
			s.status.Rate.InWindow = 95
			s.lag(1_204_800, 47*time.Minute)
			s.flow(func(t float64) (in, out, lag float64) { return 220, 950, 1_204_800 + 730*t })
			s.sick(5, "storage", "fetch from broker 2: [56] Kafka Storage Error",
				"look at the disk and the log of the broker that leads it, or move the leadership to another replica",
				30_551_595, 8*time.Minute)
		}),
		calm("every partition is sick", func(s *scene) {
			s.stood(4 * time.Minute)
			for i := range s.history {
				s.history[i].Held = false
			}
			for i := range s.status.Partitions {
				s.sick(i, "no-leader", noLeader, noLeaderRemedy, 30_512_000, 4*time.Minute)
			}
		}),
		calm("the only partition is sick", func(s *scene) {
			s.stood(4 * time.Minute)
			for i := range s.history {
				s.history[i].Held = false
			}
			s.status.Partitions = s.status.Partitions[:1]
			s.sick(0, "open-transaction", openTransaction, openRemedy, 50, 4*time.Minute)
			s.status.Partitions[0].Lag = waiting(12)
		}),
		calm("a record is too large", func(s *scene) {
			s.sick(2, "too-large", tooLarge, tooLargeRemedy, 50, 4*time.Minute)
		}),
		calm("held, and a partition is sick", func(s *scene) {
			token(s)
			s.sick(3, "missing", "find its leader: [3] Unknown Topic Or Partition", missingTopicRemedy, -1, 9*time.Minute)
		}),
		calm("another program is in the group", func(s *scene) {
			s.narrow("group", "tasks", foreign, foreignRemedy, 8*time.Minute)
		}),
		calm("another program has the partitions", func(s *scene) {
			s.status.Partitions = []consumer.PartitionStatus{}
			s.narrow("group", "tasks", foreign, foreignRemedy, 8*time.Minute)
		}),
		calm("standing by, and a topic is missing", func(s *scene) {
			s.status.Partitions = []consumer.PartitionStatus{}
			s.narrow("topic", "calls", missingTopic, missingTopicRemedy, 4*time.Minute)
		}),
		calm("hostile words about what is sick", func(s *scene) {
			s.status.Partitions[0].Topic = hostileText
			s.sick(0, hostileText, hostileText, hostileText, 12, 8*time.Minute)
			s.narrow("topic", hostileText, hostileText, hostileText, 4*time.Minute)
			s.narrow(hostileText, hostileText, hostileText, hostileText, 4*time.Minute)
		}),
		calm("more holds than there is room for", func(s *scene) {
			for i := range 40 {
				s.narrow("topic", fmt.Sprintf("calls-%02d", i), missingTopic, missingTopicRemedy, 4*time.Minute)
			}
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
