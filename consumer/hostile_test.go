package consumer_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// compressed writes each message as a batch of its own, compressed by zstd, however much it inflates.
func compressed(t *testing.T, b *kafkatest.Broker, topic string, n int, msg func() kafka.Message) {
	t.Helper()
	w := &kafka.Writer{Addr: kafka.TCP(b.Addrs...), Topic: topic, Compression: kafka.Zstd, BatchSize: 1,
		BatchBytes:   128 << 20,
		RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, Transport: &kafka.Transport{}}
	for range n {
		if err := w.WriteMessages(t.Context(), msg()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w.Transport.(*kafka.Transport).CloseIdleConnections()
}

// peak measures by how much the heap grows while a story goes on.
func peak(story func()) (grown int64) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := int64(m.HeapInuse), int64(m.HeapInuse)
	done, watch := make(chan struct{}), sync.WaitGroup{}
	watch.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&m)
				most = max(most, int64(m.HeapInuse))
			}
		}
	})
	story()
	close(done)
	watch.Wait()
	return most - before
}

// TestInflated: batches of a few kilobytes that inflate to 40 MiB each take no more memory than the room and 128 MiB.
func TestInflated(t *testing.T) {
	b := kafkatest.Kafka(t)
	topic := b.Topic(t, 2, nil)
	value := bytes.Repeat([]byte(" "), 40<<20)
	compressed(t, b, topic, 40, func() kafka.Message { return kafka.Message{Value: value} })
	value = nil
	// What is not needed is collected before it counts: the chart sets GOMEMLIMIT, too.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit((64 + 128) << 20))
	grown := peak(func() {
		s := newSink(t, time.Millisecond)
		s.forgetful = true
		m := join(t, b, topic, "a", s, func(c *consumer.Config) { c.MaxPendingBytes = 64 << 20 })
		until(t, "all records flow", time.Minute, func() bool { return s.count() == 40 })
		m.stops(t, 5*time.Second)
	})
	t.Logf("the heap grew by %d MiB", grown>>20)
	if grown > (64+128)<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// TestManyHeaders: records with 450,000 empty headers each take no memory for them.
func TestManyHeaders(t *testing.T) {
	b := kafkatest.Kafka(t)
	topic := b.Topic(t, 1, nil)
	headers := make([]kafka.Header, 450_000)
	compressed(t, b, topic, 14, func() kafka.Message { return kafka.Message{Value: []byte("v"), Headers: headers} })
	headers = nil
	var odd atomic.Int64
	grown := peak(func() {
		s := newSink(t, time.Millisecond)
		s.seen = func(r *consumer.Record) {
			if r.HeaderCount == 450_000 && r.Headers == nil {
				odd.Add(1)
			}
		}
		m := join(t, b, topic, "a", s, nil)
		until(t, "all records flow", namedWithin, func() bool { return s.count() == 14 })
		m.stops(t, 5*time.Second)
	})
	t.Logf("the heap grew by %d MiB", grown>>20)
	if grown > 32<<20 || odd.Load() != 14 {
		t.Errorf("the heap grew by %d MiB; %d records told of their headers", grown>>20, odd.Load())
	}
}

// TestImpossibleCount: a record says that it has 2⁶⁰ headers, and its checksum is right. Its partition is named, and
// the other one flows.
func TestImpossibleCount(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 2, nil)
	rec := []byte{0, 0, 0, 1, 1} // attributes, time delta, offset delta, no key, no value
	rec = binary.AppendVarint(rec, 1<<60)
	rec = append(binary.AppendVarint(nil, int64(len(rec))), rec...)
	batch := kmsg.RecordBatch{Magic: 2, FirstTimestamp: time.Now().UnixMilli(), MaxTimestamp: time.Now().UnixMilli(),
		ProducerID:    -1,
		ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: rec}
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs...), kgo.MaxVersions(kversion.V3_0_0()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 5000
	rt, rp := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	rp.Records = raw
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	res, err := req.RequestWith(t.Context(), client)
	if err != nil || res.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatal(err, res)
	}
	put(t, b, topic, 1, 100, "free")
	s := newSink(t, time.Millisecond)
	m := join(t, b, topic, "a", s, nil)
	until(t, "the other partition flows", namedWithin, func() bool { return s.settledOf(topic, 1) == 100 })
	if seen := m.sick(t, topic, 0, "corrupt"); seen.Offset != 0 {
		t.Errorf("it is corrupt at offset %d", seen.Offset)
	}
	m.stops(t, 5*time.Second)
}

// TestLogAppendTime: a record's time is the broker's, where the topic says so.
func TestLogAppendTime(t *testing.T) {
	t.Parallel()
	b := kafkatest.Kafka(t) // kfake keeps the producer's time
	topic := b.Topic(t, 1, map[string]string{"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"})
	b.ProduceTo(t, topic, 0, kafka.Message{Value: []byte("v"), Time: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)})
	s := newSink(t, time.Hour)
	var at atomic.Int64
	s.seen = func(r *consumer.Record) { at.Store(r.Time.UnixMilli()) }
	m := join(t, b, topic, "a", s, func(c *consumer.Config) { c.DrainTimeout = time.Second })
	until(t, "the record comes", namedWithin, func() bool { return at.Load() != 0 })
	if age := time.Since(time.UnixMilli(at.Load())); age < -time.Minute || age > time.Minute {
		t.Errorf("the record is from %v", time.UnixMilli(at.Load()))
	}
	until(t, "the lag is known", namedWithin, func() bool { return m.Status().Partitions[0].Lag != nil })
	if lag := m.Status().Partitions[0].LagSeconds; lag > 60 {
		t.Errorf("a lag of %v s", lag)
	}
	m.stop()
	if err := <-m.done; err != nil {
		t.Log("it ended with a record out:", err)
	}
}

// TestImpossibleTime: a producer gives seconds for milliseconds. The records have no age, and one warning says so.
func TestImpossibleTime(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, map[string]string{"retention.ms": "-1"})
	for range 3 {
		b.ProduceTo(t, topic, 0, kafka.Message{Value: []byte("v"), Time: time.UnixMilli(time.Now().Unix())})
	}
	var said lines
	s := newSink(t, time.Hour)
	m := join(t, b, topic, "a", s, func(c *consumer.Config) { c.Log, c.DrainTimeout = zerolog.New(&said), time.Second })
	until(t, "the records come", namedWithin, func() bool { return strings.Count(s.seenValues(), "v") == 3 })
	if lag := m.Status().Partitions[0].LagSeconds; lag != 0 {
		t.Errorf("a lag of %v s", lag)
	}
	if n := strings.Count(said.String(), "times that cannot be"); n != 1 {
		t.Errorf("%d warnings: %s", n, said.String())
	}
	m.stop()
	if err := <-m.done; err != nil {
		t.Log("it ended with a record out:", err)
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
