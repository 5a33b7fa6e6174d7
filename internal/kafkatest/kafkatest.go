// Package kafkatest gives a test a broker to talk to: kfake, which runs inside the test's process, and Apache Kafka
// itself.
//
// Each runs a test against both. Apache Kafka is, in this order: what TASKSINK_TEST_BROKERS names (host:port, a comma
// list); a broker that this package resolves with Maven and starts with Java, on a free port of 127.0.0.1; or one
// that it starts with Docker. Where there is none of these the half is skipped with a loud line, or fails if
// TASKSINK_REQUIRE_KAFKA=1. The jars are cached outside of the repository, in the user's cache directory.
//
// Two starts two nodes of Apache Kafka for one test, each behind a Proxy: the test kills them, freezes them, and breaks
// the network between them and the program under test. Three adds a third node. This needs Java and Maven, too.
//
// EachSecured runs a test against both, with TLS or SASL and with ACLs. This needs Java and Maven; Docker does not do.
//
// A package that uses it calls Main from its TestMain, which stops the broker at the end.
package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

// The releases that the tests run against.
const (
	Current = "4.4.0"
	Old     = "3.9.2"
)

// Broker is a running Kafka.
type Broker struct {
	Addrs []string
	Kind  string         // "kfake" or "kafka"
	Fake  *kfake.Cluster // nil unless it is kfake

	client *kafka.Client
	opts   []kgo.Opt        // for a franz-go client, beside the addresses
	data   map[int32]string // the directory of each node's data; nil if it is unknown
}

// newBroker connects. MetadataTTL is also the time that kafka-go gives a request for metadata: on a busy machine 200 ms
// were too short for the first one, and the client then knows no broker at all.
func newBroker(kind string, addrs []string) *Broker {
	return &Broker{Addrs: addrs, Kind: kind, client: &kafka.Client{Addr: kafka.TCP(addrs...), Timeout: 10 * time.Second,
		Transport: &kafka.Transport{MetadataTTL: 2 * time.Second}}}
}

func (b *Broker) close() {
	if transport, ok := b.client.Transport.(*kafka.Transport); ok {
		transport.CloseIdleConnections()
	}
}

// Each runs a test against kfake and against Apache Kafka.
func Each(t *testing.T, run func(t *testing.T, b *Broker)) {
	t.Helper()
	t.Run("kfake", func(t *testing.T) { run(t, Fake(t)) })
	t.Run("kafka", func(t *testing.T) { run(t, Kafka(t)) })
}

// Fake starts a kfake cluster that ends with the test.
func Fake(t testing.TB, opts ...kfake.Opt) *Broker {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1),
		kfake.GroupMinSessionTimeout(100 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatalf("start kfake: %v", err)
	}
	b := newBroker("kfake", c.ListenAddrs())
	t.Cleanup(func() { b.close(); c.Close() })
	b.Fake = c
	return b
}

var shared struct {
	sync.Mutex
	brokers map[string]*Broker // by release
	err     map[string]error
	stop    []func()
}

// Kafka returns Apache Kafka, one broker for all tests of the process.
func Kafka(t testing.TB) *Broker {
	t.Helper()
	if addrs := os.Getenv("TASKSINK_TEST_BROKERS"); addrs != "" {
		return newBroker("kafka", strings.Split(addrs, ","))
	}
	return release(t, Current)
}

// Kafka39 returns the last release before 4.0, for a test of compatibility.
func Kafka39(t testing.TB) *Broker {
	t.Helper()
	return release(t, Old)
}

func release(t testing.TB, version string) *Broker {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.brokers == nil {
		shared.brokers, shared.err = map[string]*Broker{}, map[string]error{}
	}
	if shared.brokers[version] == nil && shared.err[version] == nil {
		addr, data, stop, err := launch(version)
		if err != nil {
			shared.err[version] = err
		} else {
			b := newBroker("kafka", []string{addr})
			if data != "" {
				b.data = map[int32]string{1: data}
			}
			shared.brokers[version], shared.stop = b, append(shared.stop, b.close, stop)
		}
	}
	if err := shared.err[version]; err != nil {
		unavailable(t, err)
	}
	return shared.brokers[version]
}

// unavailable ends a test that cannot have its Apache Kafka.
func unavailable(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("TASKSINK_REQUIRE_KAFKA") == "1" {
		t.Fatalf("no Apache Kafka, and TASKSINK_REQUIRE_KAFKA=1: %v", err)
	}
	t.Skipf("NOT TESTED AGAINST APACHE KAFKA: %v", err)
}

// Main runs the tests, stops the brokers that they started, and fails if goroutines are left.
func Main(m *testing.M) {
	code := m.Run()
	shared.Lock()
	for _, stop := range shared.stop {
		stop()
	}
	shared.Unlock()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Println("goroutines are left behind:", err)
		code = 1
	}
	os.Exit(code)
}

// Topic creates a topic with a name of its own, and waits until its leaders are known.
func (b *Broker) Topic(t testing.TB, partitions int, config map[string]string) string {
	t.Helper()
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", r) {
			return r
		}
		return '-'
	}, fmt.Sprintf("%s-%d", t.Name(), time.Now().UnixNano()))
	b.CreateTopic(t, name, partitions, config)
	return name
}

// CreateTopic creates a topic, and waits until its leaders are known.
func (b *Broker) CreateTopic(t testing.TB, name string, partitions int, config map[string]string) {
	t.Helper()
	topic := kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}
	for k, v := range config {
		topic.ConfigEntries = append(topic.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
	}
	tried := false
	if err := persist(func() error {
		res, err := b.client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
		if err == nil {
			err = res.Errors[name]
		}
		if tried && errors.Is(err, kafka.TopicAlreadyExists) { // the answer to the last attempt was lost
			return nil
		}
		tried = true
		return err
	}); err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
	b.await(t, name, partitions)
}

// await waits until the topic has so many partitions with leaders.
func (b *Broker) await(t testing.TB, name string, partitions int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if len(b.Partitions(t, name)) == partitions {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("topic %s does not have %d partitions with leaders", name, partitions)
		}
	}
}

// Partitions lists the topic's partitions that have a leader.
func (b *Broker) Partitions(t testing.TB, name string) (ids []int) {
	t.Helper()
	var res *kafka.MetadataResponse
	if err := persist(func() (err error) {
		res, err = b.client.Metadata(context.Background(), &kafka.MetadataRequest{Topics: []string{name}})
		return err
	}); err != nil {
		t.Fatalf("look up topic %s: %v", name, err)
	}
	for _, p := range res.Topics[0].Partitions {
		if p.Error == nil && p.Leader.Host != "" {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// DeleteTopic deletes a topic, and waits until it is gone.
func (b *Broker) DeleteTopic(t testing.TB, name string) {
	t.Helper()
	res, err := b.client.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{name}})
	if err == nil {
		err = res.Errors[name]
	}
	if err != nil {
		t.Fatalf("delete topic %s: %v", name, err)
	}
	b.await(t, name, 0)
}

// AddPartitions raises the topic's number of partitions.
func (b *Broker) AddPartitions(t testing.TB, name string, partitions int) {
	t.Helper()
	res, err := b.client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: name, Count: int32(partitions)}}})
	if err == nil {
		err = res.Errors[name]
	}
	if err != nil {
		t.Fatalf("add partitions to topic %s: %v", name, err)
	}
	b.await(t, name, partitions)
}

// Produce writes messages to a topic, partitioned by key as Java's producer does, and waits for all acks.
func (b *Broker) Produce(t testing.TB, topic string, msgs ...kafka.Message) {
	t.Helper()
	b.produce(t, topic, kafka.Murmur2Balancer{}, msgs)
}

// ProduceTo writes messages to one partition of a topic, and waits for all acks.
func (b *Broker) ProduceTo(t testing.TB, topic string, partition int, msgs ...kafka.Message) {
	t.Helper()
	b.produce(t, topic, kafka.BalancerFunc(func(kafka.Message, ...int) int { return partition }), msgs)
}

func (b *Broker) produce(t testing.TB, topic string, balancer kafka.Balancer, msgs []kafka.Message) {
	t.Helper()
	w := &kafka.Writer{Addr: kafka.TCP(b.Addrs...), Topic: topic, Balancer: balancer, RequiredAcks: kafka.RequireAll,
		MaxAttempts: 30, // a leader may be on its way
		BatchSize:   1000, BatchBytes: 10 << 20, BatchTimeout: time.Millisecond, Transport: b.client.Transport}
	err := w.WriteMessages(context.Background(), msgs...)
	for deadline := time.Now().Add(15 * time.Second); unled(err, len(msgs)) && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
		b.close() // what the client knew of leaders is old
		err = w.WriteMessages(context.Background(), msgs...)
	}
	if err != nil {
		t.Fatalf("produce to %s: %v", topic, err)
	}
	if err := w.Close(); err != nil {
		t.Fatalf("produce to %s: %v", topic, err)
	}
}

// unled tells whether none of n messages was sent, as nobody leads their partitions.
func unled(err error, n int) bool {
	var each kafka.WriteErrors
	return errors.As(err, &each) && each.Count() == n && strings.Contains(err.Error(), "has no leader")
}

// ends and starts are the offsets of a topic's partitions after their last record, and of their first.
func (b *Broker) ends(t testing.TB, topic string) map[int]int64 {
	t.Helper()
	return b.offsets(t, topic, kafka.LastOffsetOf, func(p kafka.PartitionOffsets) int64 { return p.LastOffset })
}

func (b *Broker) starts(t testing.TB, topic string) map[int]int64 {
	t.Helper()
	return b.offsets(t, topic, kafka.FirstOffsetOf, func(p kafka.PartitionOffsets) int64 { return p.FirstOffset })
}

func (b *Broker) offsets(t testing.TB, topic string, of func(int) kafka.OffsetRequest,
	pick func(kafka.PartitionOffsets) int64) map[int]int64 {
	t.Helper()
	var found map[int]int64
	if err := persist(func() error {
		found = map[int]int64{}
		var ask []kafka.OffsetRequest
		for _, id := range b.Partitions(t, topic) {
			ask = append(ask, of(id))
		}
		res, err := b.client.ListOffsets(context.Background(),
			&kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: ask}})
		if err != nil {
			return err
		}
		for _, p := range res.Topics[topic] {
			found[p.Partition] = pick(p)
			err = errors.Join(err, p.Error)
		}
		return err
	}); err != nil {
		t.Fatalf("list the offsets of %s: %v", topic, err)
	}
	return found
}

// Committed returns the offsets that a group committed for the given topics: topic → partition → offset; what was
// never committed is left out.
func (b *Broker) Committed(t testing.TB, group string, topics ...string) map[string]map[int]int64 {
	t.Helper()
	ask := map[string][]int{}
	for _, topic := range topics {
		ask[topic] = b.Partitions(t, topic)
	}
	committed := map[string]map[int]int64{}
	res, err := b.client.OffsetFetch(context.Background(), &kafka.OffsetFetchRequest{GroupID: group, Topics: ask})
	if err != nil {
		t.Logf("ask for the commits of %s: %v", group, err) // the coordinator may be on its way
		return committed
	}
	for topic, parts := range res.Topics {
		committed[topic] = map[int]int64{}
		for _, p := range parts {
			if p.CommittedOffset >= 0 && p.Error == nil {
				committed[topic][p.Partition] = p.CommittedOffset
			}
		}
	}
	return committed
}

// Cluster is the id of the cluster.
func (b *Broker) Cluster(t testing.TB) string {
	t.Helper()
	res, err := b.client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{}})
	if err != nil {
		t.Fatalf("ask for the cluster's id: %v", err)
	}
	return res.ClusterID
}

// Metadata returns what a group's commit for a partition says beside the offset.
func (b *Broker) Metadata(t testing.TB, group, topic string, partition int) string {
	t.Helper()
	res, err := b.client.OffsetFetch(context.Background(), &kafka.OffsetFetchRequest{GroupID: group,
		Topics: map[string][]int{topic: {partition}}})
	if err != nil || len(res.Topics[topic]) != 1 {
		t.Fatalf("ask for the commit of %s: %v", group, err)
	}
	return res.Topics[topic][0].Metadata
}

// Commit commits an offset for a group without members, as an operator's tool does.
func (b *Broker) Commit(t testing.TB, group, topic string, partition int, offset int64, metadata string) {
	t.Helper()
	if err := persist(func() error {
		res, err := b.client.OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{GroupID: group, GenerationID: -1,
			Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: partition, Offset: offset, Metadata: metadata}}}})
		if err != nil {
			return err
		}
		return res.Topics[topic][0].Error
	}); err != nil {
		t.Fatalf("commit offset %d of %s for %s: %v", offset, topic, group, err)
	}
}

// Lag is how many offsets of a topic a group has not committed yet.
func (b *Broker) Lag(t testing.TB, group, topic string) (lag int64) {
	t.Helper()
	committed := b.Committed(t, group, topic)[topic]
	for id, end := range b.ends(t, topic) {
		lag += end - committed[id]
	}
	return lag
}
