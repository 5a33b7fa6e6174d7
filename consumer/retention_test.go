package consumer_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/tasksink/tasksink/internal/kafkatest"
)

// TestOpenRetention: a record that is 59 minutes old, and gets no verdict, is a minute from a retention of an hour. The
// time is unknown if the topic deletes no records by their age, and if no record is open.
func TestOpenRetention(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		const never = -1
		for name, c := range map[string]struct {
			policy, ms string
			age        time.Duration
			stay       int64
			most       float64 // seconds; the least is a minute less
		}{
			"near":           {"delete", "3600000", 59 * time.Minute, 5, 60},
			"far":            {"delete", "604800000", 59 * time.Minute, 5, 7*86400 - 59*60},
			"compacted, too": {"compact,delete", "3600000", 59 * time.Minute, 5, 60},
			"the longest":    {"delete", "9223372036854775807", 0, 5, 9223372037},
			"none open":      {"delete", "3600000", 59 * time.Minute, 300, never},
			"compacted":      {"compact", "3600000", 59 * time.Minute, 5, never},
			"kept for ever":  {"delete", "-1", 59 * time.Minute, 5, never},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				topic := b.Topic(t, 1, map[string]string{"cleanup.policy": c.policy, "retention.ms": c.ms})
				var msgs []kafka.Message
				for range 300 {
					msgs = append(msgs, kafka.Message{Key: []byte("k"), Value: []byte("v"), Time: time.Now().Add(-c.age)})
				}
				b.ProduceTo(t, topic, 0, msgs...)
				s := newSink(t, time.Millisecond)
				s.back = open(c.stay)
				m := join(t, b, topic, "m", s, nil)
				until(t, "all others are settled", namedWithin, func() bool { return s.count() >= 299 })
				left := func() *float64 { return m.Status().Partitions[0].OpenRetentionSeconds }
				if c.most == never {
					time.Sleep(time.Second) // it asks at once
					if got := left(); got != nil {
						t.Errorf("%v s are left, want no such time", *got)
					}
				} else {
					until(t, "the time is known", namedWithin, func() bool { return left() != nil })
					if got := *left(); got > c.most || got < max(0, c.most-60) {
						t.Errorf("%v s are left, want %v or a little less", got, c.most)
					}
				}
				m.stops(t, 3*time.Second)
			})
		}
	})
}

// TestRetentionRefused: the topic's configuration may not be read, and nothing else comes of that.
func TestRetentionRefused(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	asked := make(chan struct{}, 100)
	b.Fake.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		res := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, r := range req.(*kmsg.DescribeConfigsRequest).Resources {
			refused := kmsg.NewDescribeConfigsResponseResource()
			refused.ErrorCode, refused.ResourceType, refused.ResourceName = kerr.TopicAuthorizationFailed.Code, r.ResourceType,
				r.ResourceName
			res.Resources = append(res.Resources, refused)
		}
		asked <- struct{}{}
		return res, nil, true
	})
	topic := b.Topic(t, 1, nil)
	put(t, b, topic, 0, 300, "some")
	s := newSink(t, time.Millisecond)
	s.back = open(5)
	m := join(t, b, topic, "m", s, nil)
	until(t, "all others are settled", namedWithin, func() bool { return s.count() == 299 })
	until(t, "it asked", namedWithin, func() bool { return len(asked) == 1 })
	time.Sleep(200 * time.Millisecond)
	if p := m.Status().Partitions[0]; p.OpenRetentionSeconds != nil || p.Problem != nil || len(m.board.List()) > 0 {
		t.Errorf("partition %+v, holds %v", p, m.board.List())
	}
	m.stops(t, 3*time.Second)
}

// TestRetentionUnknown: a gateway does not know the request. It gets none, and no connection ends for it.
func TestRetentionUnknown(t *testing.T) {
	t.Parallel()
	spoken := kversion.Stable()
	spoken.SetMaxKeyVersion(int16(kmsg.DescribeConfigs), -1)
	b := kafkatest.Fake(t, kfake.MaxVersions(spoken))
	var asked atomic.Int64
	b.Fake.ControlKey(int16(kmsg.DescribeConfigs), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		asked.Add(1)
		return nil, nil, false
	})
	topic := b.Topic(t, 1, nil)
	put(t, b, topic, 0, 300, "some")
	s := newSink(t, time.Millisecond)
	s.back = open(5)
	m := join(t, b, topic, "m", s, nil)
	until(t, "all others are settled", namedWithin, func() bool { return s.count() == 299 })
	time.Sleep(200 * time.Millisecond)
	if p := m.Status().Partitions[0]; p.OpenRetentionSeconds != nil || p.Problem != nil || asked.Load() > 0 {
		t.Errorf("partition %+v, asked %d times", p, asked.Load())
	}
	m.stops(t, 3*time.Second)
}

// TestRetentionLater: a broker does not know the topic yet when it is asked first. It is asked again soon.
func TestRetentionLater(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000"})
	var asked atomic.Int64
	b.Fake.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		if asked.Add(1) > 1 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		unknown := kmsg.NewDescribeConfigsResponseResource()
		unknown.ErrorCode, unknown.ResourceType, unknown.ResourceName = kerr.UnknownTopicOrPartition.Code,
			kmsg.ConfigResourceTypeTopic, topic
		res.Resources = append(res.Resources, unknown)
		return res, nil, true
	})
	put(t, b, topic, 0, 300, "some")
	s := newSink(t, time.Millisecond)
	s.back = open(5)
	m := join(t, b, topic, "m", s, nil)
	until(t, "the time is known", 25*time.Second, func() bool {
		p := m.Status().Partitions
		return len(p) == 1 && p[0].OpenRetentionSeconds != nil
	})
	m.stops(t, 3*time.Second)
}
