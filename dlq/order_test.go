package dlq_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// header is the value of one of a letter's headers.
func header(m kafka.Message, name string) string {
	for _, h := range m.Headers {
		if h.Key == dlq.Prefix+name {
			return string(h.Value)
		}
	}
	return ""
}

// source is where the letter's record stood.
func source(m kafka.Message) string { return header(m, "partition") + "/" + header(m, "offset") }

// setTopic changes a setting of a topic.
func setTopic(t *testing.T, b *kafkatest.Broker, topic, name, value string) {
	t.Helper()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(b.Addrs...), Timeout: 10 * time.Second, Transport: transport}
	res, err := client.IncrementalAlterConfigs(t.Context(), &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: name, Value: value,
				ConfigOperation: kafka.ConfigOperationSet}}}}})
	if err == nil {
		err = res.Resources[0].Error
	}
	if err != nil {
		t.Fatalf("set %s of %s: %v", name, topic, err)
	}
}

func record(topic string, partition int, offset int64) *consumer.Record {
	return &consumer.Record{Topic: topic, Partition: partition, Offset: offset, Value: []byte("v")}
}

// TestOrderOfSizes: letters of a key, and letters without a key of a source partition, stand in the order in which they
// were handed over, also those that are too large for the topic and are written without their value or their key.
func TestOrderOfSizes(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 3, map[string]string{"max.message.bytes": "20000"})
		long := bytes.Repeat([]byte("0123456789abcdef"), 2000)
		var recs []*consumer.Record
		for i := range 60 {
			rec := &consumer.Record{Topic: "tasks", Partition: i % 3, Offset: int64(i), Value: []byte("small")}
			if i%2 == 0 {
				rec.Key = fmt.Append(nil, "key-", i%3)
			}
			switch i % 7 {
			case 1, 2:
				rec.Value = long
			case 3:
				rec.Headers = []kafka.Header{{Key: "own", Value: long}}
			}
			recs = append(recs, rec)
		}
		huge := func(offset int64, value string) *consumer.Record {
			return &consumer.Record{Topic: "tasks", Partition: 5, Offset: offset, Key: long, Value: []byte(value)}
		}
		recs = append(recs, huge(60, "too large a key"), huge(61, "too large a key"))
		d := open(t, b, topic)
		for _, r := range recs {
			d.write(r, reason)
		}
		settled(t, recs...)
		last, where, n := map[string]int{}, map[string]int{}, 0
		for _, m := range b.ReadAll(t, topic) {
			n++
			offset, err := strconv.Atoi(header(m, "offset"))
			if err != nil {
				t.Fatal(err)
			}
			lane := header(m, "partition") + " " + string(recs[offset].Key)
			if before, ok := last[lane]; ok && before > offset {
				t.Errorf("%.20s: the letter of offset %d stands behind that of %d", lane, offset, before)
			}
			if before, ok := where[lane]; ok && before != m.Partition {
				t.Errorf("%.20s: letters in partitions %d and %d", lane, before, m.Partition)
			}
			last[lane], where[lane] = offset, m.Partition
		}
		if n != len(recs) {
			t.Errorf("%d letters, want %d", n, len(recs))
		}
	})
}

// TestWithoutKey: letters without a key go to the partition that belongs to their source partition.
func TestWithoutKey(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 3, nil)
		d := open(t, b, topic)
		var recs []*consumer.Record
		for i := range 50 {
			recs = append(recs, &consumer.Record{Topic: "tasks", Partition: i % 5, Offset: int64(i), Value: []byte("v")})
			d.write(recs[i], reason)
		}
		settled(t, recs...)
		last := map[int]int{}
		for _, m := range b.ReadAll(t, topic) {
			offset, err := strconv.Atoi(header(m, "offset"))
			if err != nil {
				t.Fatal(err)
			}
			if want := offset % 5 % 3; m.Partition != want {
				t.Errorf("the letter of %s is in partition %d, want %d", source(m), m.Partition, want)
			}
			if before, ok := last[offset%5]; ok && before > offset {
				t.Errorf("source partition %d: the letter of %d stands behind that of %d", offset%5, offset, before)
			}
			last[offset%5] = offset
		}
	})
}

// TestInNoForm: a letter that the topic takes in no form is a hold of its source partition that says why. It keeps back
// only what has its key, in its source partition, and leaves when the topic takes it.
func TestInNoForm(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, map[string]string{"max.message.bytes": "1200"})
		d := open(t, b, topic)
		chatty := reason
		chatty.Message = strings.Repeat("words ", 170) // which no form leaves out
		rec := func(partition int, offset int64, key string) *consumer.Record {
			r := &consumer.Record{Topic: "tasks", Partition: partition, Offset: offset, Value: []byte("v")}
			if key != "" {
				r.Key = []byte(key)
			}
			return r
		}
		stuck, behind, beside := rec(0, 1, "a"), rec(0, 3, "a"), []*consumer.Record{rec(0, 0, "a"), rec(0, 2, "b"),
			rec(1, 0, "a"), rec(0, 4, ""), rec(0, 5, "c")}
		d.write(beside[0], reason)
		d.write(stuck, chatty)
		d.write(beside[1], reason)
		d.write(behind, reason)
		for _, r := range beside[2:] {
			d.write(r, reason)
		}
		settled(t, beside...)
		until(t, "the hold stands", 10*time.Second, func() bool { return d.board.Stands("dlq", "tasks/0") })
		if stuck.Settled() || behind.Settled() || d.board.Stands("dlq", hold.All) {
			t.Errorf("settled: %v, %v; holds %+v", stuck.Settled(), behind.Settled(), d.board.List())
		}
		detail := d.board.List()[0]
		for _, want := range []string{"tasks/0/1", "in no form", "that wait: 1"} {
			if !strings.Contains(detail.Detail, want) {
				t.Errorf("the hold says %q, and not %q", detail.Detail, want)
			}
		}
		if !strings.Contains(detail.Remedy, "max.message.bytes") {
			t.Errorf("the remedy is %q", detail.Remedy)
		}
		late := rec(0, 6, "d")
		d.write(late, reason)
		settled(t, late)
		setTopic(t, b, topic, "max.message.bytes", "20000")
		settled(t, stuck, behind)
		until(t, "the hold ends", 5*time.Second, func() bool { return !d.board.Stands("dlq", "tasks/0") })
		var got []string
		for _, m := range b.ReadAll(t, topic) {
			if string(m.Key) == "a" && header(m, "partition") == "0" {
				got = append(got, source(m)+" "+string(m.Value))
			}
		}
		if want := []string{"0/0 v", "0/1 v", "0/3 v"}; !slices.Equal(got, want) {
			t.Errorf("letters %q, want %q", got, want)
		}
	})
}

// TestInNoFormGivenUp: the hold ends with the partition whose letter cannot be written.
func TestInNoFormGivenUp(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, map[string]string{"max.message.bytes": "100"})
	d := open(t, b, topic)
	rec := &consumer.Record{Topic: "tasks", Partition: 2, Value: []byte("v")}
	d.write(rec, reason)
	until(t, "the hold stands", 10*time.Second, func() bool { return d.board.Stands("dlq", "tasks/2") })
	until(t, "the letter is given up", 10*time.Second, func() bool {
		d.Drop(func(*consumer.Record) bool { return true })
		return len(d.ended(rec)) > 0
	})
	until(t, "the hold ends", 5*time.Second, func() bool { return len(d.board.List()) == 0 })
	if rec.Settled() || d.ended(rec)[0] {
		t.Error("the record is settled")
	}
}

// TestCompacted: a compacted topic takes no letter without a key, and that stops no letter that has one.
func TestCompacted(t *testing.T) {
	t.Parallel()
	b := kafkatest.Kafka(t)
	topic := b.Topic(t, 1, map[string]string{"cleanup.policy": "compact"})
	d := open(t, b, topic)
	bare, keyed := &consumer.Record{Topic: "tasks", Value: []byte("v")},
		&consumer.Record{Topic: "tasks", Offset: 1, Key: []byte("k"), Value: []byte("v")}
	d.write(bare, reason)
	d.write(keyed, reason)
	settled(t, keyed)
	until(t, "the hold stands", 10*time.Second, func() bool { return d.board.Stands("dlq", "tasks/0") })
	if remedy := d.board.List()[0].Remedy; bare.Settled() || !strings.Contains(remedy, "cleanup.policy=delete") {
		t.Errorf("settled %v, remedy %q", bare.Settled(), remedy)
	}
}

// TestOneSickPartition: a dead-letter partition, or topic, that cannot be written is a hold of its own and stops no
// letter of another.
func TestOneSickPartition(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 2, nil)
	b.Fake.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		asked, ok := req.(*kmsg.ProduceRequest)
		if !ok || asked.Topics[0].Topic != topic || asked.Topics[0].Partitions[0].Partition != 1 {
			return nil, nil, false
		}
		res := kmsg.NewPtrProduceResponse()
		res.Version = asked.Version
		part := kmsg.NewProduceResponseTopicPartition()
		part.Partition, part.ErrorCode = 1, kerr.NotEnoughReplicas.Code
		of := kmsg.NewProduceResponseTopic()
		of.Topic, of.Partitions = topic, []kmsg.ProduceResponseTopicPartition{part}
		res.Topics = []kmsg.ProduceResponseTopic{of}
		return res, nil, true
	})
	d := openWith(t, b, nil, topic, func(source string) string {
		if source == "orphans" {
			return topic + ".missing"
		}
		return topic
	})
	sick, orphan := &consumer.Record{Topic: "tasks", Partition: 1}, &consumer.Record{Topic: "orphans"}
	var well []*consumer.Record
	for i := range 700 {
		d.write(&consumer.Record{Topic: "tasks", Partition: 1, Offset: int64(i)}, reason)
		d.write(&consumer.Record{Topic: "orphans", Offset: int64(i)}, reason)
	}
	d.write(sick, reason)
	d.write(orphan, reason)
	started := time.Now()
	for i := range 700 {
		well = append(well, &consumer.Record{Topic: "tasks", Partition: 2, Offset: int64(i)})
		d.write(well[i], reason)
	}
	settled(t, well...)
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("healthy letters took %v", took)
	}
	until(t, "the holds stand", 20*time.Second, func() bool {
		return d.board.Stands("dlq", topic+"/1") && d.board.Stands("dlq", topic+".missing") &&
			!d.board.Stands("dlq", hold.All)
	})
	if sick.Settled() || orphan.Settled() {
		t.Error("settled without a letter")
	}
}
