package kafkatest

import (
	"errors"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What kafka-go cannot do, franz-go does.

func (b *Broker) franz(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Addrs...))...)
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
