package kafkatest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/internal/kafkatest"
)

// TestMembers: foreign members join, an administrator removes them, and they come back.
func TestMembers(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		topic := b.Topic(t, 4, nil)
		b.Produce(t, topic, numbered(40)...)
		ids := func() (all []string) {
			c := member(t, b)
			defer c.Close()
			req := kmsg.NewPtrDescribeGroupsRequest()
			req.Groups = []string{topic}
			res, err := req.RequestWith(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if res.Groups[0].State == "Stable" {
				for _, m := range res.Groups[0].Members {
					all = append(all, m.MemberID)
				}
			}
			slices.Sort(all)
			return all
		}
		stopUnreadable := b.Unreadable(t, topic, topic, "unreadable") // it leads: franz-go could not
		stopForeign := b.Foreign(t, topic, []string{topic}, "foreign")
		until(t, "all is committed", func() bool { return b.Lag(t, topic, topic) == 0 })
		until(t, "both are members", func() bool { return len(ids()) == 2 })
		before := ids()
		b.RemoveMembers(t, topic, "foreign")
		until(t, "the removed member is back", func() bool {
			now := ids()
			return len(now) == 2 && now[0] != before[0] && now[1] == before[1]
		})
		b.Produce(t, topic, numbered(40)...)
		until(t, "the removed member got its partitions again", func() bool { return b.Lag(t, topic, topic) == 0 })
		stopForeign()
		until(t, "one is left", func() bool { return len(ids()) == 1 })
		stopUnreadable()
		until(t, "none is left", func() bool { return len(ids()) == 0 })
	})
}

// TestBeginTransaction: readers see the records of a transaction when it is committed, and never if it is aborted.
func TestBeginTransaction(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		topic := b.Topic(t, 2, nil)
		c := member(t, b, kgo.ConsumeTopics(topic))
		commit, _ := b.BeginTransaction(t, topic, 0, 3)
		_, abort := b.BeginTransaction(t, topic, 1, 5)
		if n, _ := read(c, 1, 500*time.Millisecond); n != 0 {
			t.Errorf("%d records of an open transaction came", n)
		}
		commit()
		if n, errs := read(c, 3, 10*time.Second); n != 3 {
			t.Errorf("%d of 3 committed records came: %v", n, errs)
		}
		abort()
		if n, _ := read(c, 1, 500*time.Millisecond); n != 0 {
			t.Errorf("%d aborted records came", n)
		}
	})
}
