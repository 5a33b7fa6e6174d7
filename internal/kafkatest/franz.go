package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What kafka-go cannot do, franz-go does; and it is a second opinion on what stands in a topic.

func (b *Broker) franz(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(append(opts, b.opts...), kgo.SeedBrokers(b.Addrs...))...)
	if err != nil {
		t.Fatalf("make a franz-go client: %v", err)
	}
	return c
}

// Transact writes messages to partition 0 of a topic in one transaction, and commits or aborts it.
func (b *Broker) Transact(t testing.TB, topic string, commit bool, msgs ...kafka.Message) {
	t.Helper()
	c := b.franz(t, kgo.TransactionalID(t.Name()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer c.Close()
	if err := c.BeginTransaction(); err != nil {
		t.Fatalf("begin a transaction: %v", err)
	}
	for _, m := range msgs {
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: m.Key, Value: m.Value}).FirstErr(); err != nil {
			t.Fatalf("produce in a transaction: %v", err)
		}
	}
	if err := c.EndTransaction(t.Context(), kgo.TransactionEndTry(commit)); err != nil {
		t.Fatalf("end a transaction: %v", err)
	}
}

// BeginTransaction writes n records to a partition in a transaction that stays open until commit or abort is called.
// The first call counts; the end of the test aborts. The broker aborts by itself after 2 minutes.
func (b *Broker) BeginTransaction(t testing.TB, topic string, partition, n int) (commit, abort func()) {
	t.Helper()
	c := b.franz(t, kgo.TransactionalID(fmt.Sprintf("%s-%d", t.Name(), time.Now().UnixNano())),
		kgo.TransactionTimeout(2*time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := c.BeginTransaction(); err != nil {
		t.Fatalf("begin a transaction: %v", err)
	}
	var once sync.Once
	end := func(how kgo.TransactionEndTry, within time.Duration, failed func(string, ...any)) {
		once.Do(func() {
			defer c.Close()
			ctx, cancel := context.WithTimeout(context.Background(), within)
			defer cancel()
			if err := c.EndTransaction(ctx, how); err != nil {
				failed("end a transaction: %v", err)
			}
		})
	}
	commit = func() { end(kgo.TryCommit, 30*time.Second, t.Errorf) }
	abort = func() { end(kgo.TryAbort, 30*time.Second, t.Errorf) }
	t.Cleanup(func() { end(kgo.TryAbort, 5*time.Second, t.Logf) }) // the test may have killed the brokers
	for i := range n {
		r := &kgo.Record{Topic: topic, Partition: int32(partition), Key: []byte(strconv.Itoa(i)),
			Value: fmt.Appendf(nil, "transacted-%d", i)}
		if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatalf("produce in a transaction: %v", err)
		}
	}
	return commit, abort
}

// DeleteRecords deletes all records of a partition below an offset, as retention does.
func (b *Broker) DeleteRecords(t testing.TB, topic string, partition int, below int64) {
	t.Helper()
	c := b.franz(t)
	defer c.Close()
	req := kmsg.NewPtrDeleteRecordsRequest()
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Partition, rp.Offset = int32(partition), below
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	req.TimeoutMillis = 10_000
	res, err := req.RequestWith(t.Context(), c)
	for _, rt := range res.Topics {
		for _, rp := range rt.Partitions {
			err = errors.Join(err, kerr.ErrorForCode(rp.ErrorCode))
		}
	}
	if err != nil {
		t.Fatalf("delete records of %s/%d: %v", topic, partition, err)
	}
}

// ReadAll returns all that is in a topic now, aborted transactions left out. A key or value is nil only where Kafka
// has none.
func (b *Broker) ReadAll(t testing.TB, topic string) (all []kafka.Message) {
	t.Helper()
	from := map[int32]kgo.Offset{}
	starts, left := b.starts(t, topic), b.ends(t, topic)
	for id, end := range left {
		if end > starts[id] {
			from[int32(id)] = kgo.NewOffset().At(starts[id])
		} else {
			delete(left, id)
		}
	}
	if len(from) == 0 {
		return nil
	}
	c := b.franz(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for len(left) > 0 {
		fetched := c.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			t.Fatalf("read %s: %v", topic, err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[int(r.Partition)] {
				delete(left, int(r.Partition))
			}
			if r.Attrs.IsControl() {
				return
			}
			m := kafka.Message{Topic: r.Topic, Partition: int(r.Partition), Offset: r.Offset, Key: r.Key, Value: r.Value,
				Time: r.Timestamp}
			for _, h := range r.Headers {
				m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
			}
			all = append(all, m)
		})
	}
	return all
}
