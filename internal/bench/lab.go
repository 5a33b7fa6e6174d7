package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tasksink/tasksink/internal/kafkatest"
)

const (
	module     = "github.com/tasksink/tasksink/"
	idProperty = "external_task_id"
	batchSize  = 100 // inputs of a full request
	window     = 10 * time.Second
)

// lab is what all runs share: the broker, and the programs.
type lab struct {
	dir      string
	broker   string // which one it is
	addr     string
	stop     func() // the broker
	client   *kafka.Client
	producer *kgo.Client
	subjects []subject // the worker first, then the yardsticks
	daily    bool      // the worker knows --hubspot-daily
	topics   atomic.Int64
}

// subject is a program to measure.
type subject struct {
	name string
	argv []string
}

func openLab(ctx context.Context, worker string, onlyFake bool) (*lab, error) {
	dir, err := os.MkdirTemp("", "tasksink-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, stop: func() {}}
	if err := errors.Join(l.build(ctx, worker), l.startBroker(ctx, onlyFake)); err != nil {
		l.close()
		return nil, err
	}
	l.client = &kafka.Client{Addr: kafka.TCP(l.addr), Timeout: 20 * time.Second,
		Transport: &kafka.Transport{MetadataTTL: 2 * time.Second}}
	// Not compressed: that is the producer's default, and what each worker pays for unpacking is no difference of theirs.
	l.producer, err = kgo.NewClient(kgo.SeedBrokers(l.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(0), kgo.MaxBufferedBytes(64<<20), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		l.close()
		return nil, fmt.Errorf("make the producer: %w", err)
	}
	return l, nil
}

func (l *lab) close() {
	if l.producer != nil {
		l.producer.Close()
	}
	if l.client != nil {
		l.client.Transport.(*kafka.Transport).CloseIdleConnections()
	}
	l.stop()
	_ = os.RemoveAll(l.dir)
}

// build makes the programs.
func (l *lab) build(ctx context.Context, worker string) error {
	for _, name := range []string{"cmd/tasksink", "internal/bench/yardstick", "internal/bench/fetcher"} {
		out, err := exec.CommandContext(ctx, "go", "build", "-o", l.dir+"/", module+name).CombinedOutput()
		if err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	tasksink, yardstick := filepath.Join(l.dir, "tasksink"), filepath.Join(l.dir, "yardstick")
	l.subjects = []subject{{"tasksink", []string{tasksink, "run"}}, {"plain", []string{yardstick, "plain"}},
		{"spliced", []string{yardstick, "spliced"}}}
	l.daily = true
	if worker != "" {
		l.subjects[0] = subject{"worker", []string{"sh", "-c", "exec " + worker}}
	} else if help, err := exec.CommandContext(ctx, tasksink, "run", "--help").Output(); err == nil {
		l.daily = strings.Contains(string(help), "--hubspot-daily")
	}
	return nil
}

func (l *lab) startBroker(ctx context.Context, onlyFake bool) error {
	var err error
	if !onlyFake {
		if l.addr, l.stop, err = kafkatest.Start(); err == nil {
			l.broker = "Apache Kafka " + kafkatest.Current
			return nil
		}
		l.stop = func() {}
		fmt.Fprintf(os.Stderr, "%v; going on with kfake\n", err)
	}
	p, lines, err := startRole(ctx, "kfake", 1, filepath.Join(l.dir, "kfake"))
	if err != nil {
		return err
	}
	l.addr, l.stop, l.broker = lines[0], p.kill, "kfake, on disk"
	return nil
}

// runFake is the process of kfake: it prints its address, and ends when its standard input does.
func runFake(dir string) error {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir),
		kfake.BrokerConfigs(map[string]string{"log.retention.ms": "604800000"}))
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println(c.ListenAddrs()[0])
	_, err = os.Stdin.Read(make([]byte, 1))
	_ = err // the end of the input is what it waits for
	return nil
}

// topic creates a topic and its dead-letter topic, and waits for their leaders.
func (l *lab) topic(ctx context.Context, partitions int) (string, error) {

	name := fmt.Sprintf("tasks-%d-%d", os.Getpid(), l.topics.Add(1))
	topics := []kafka.TopicConfig{{Topic: name, NumPartitions: partitions, ReplicationFactor: 1},
		{Topic: name + ".dlq", NumPartitions: 1, ReplicationFactor: 1}}
	res, err := l.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: topics})
	if err == nil {
		err = errors.Join(res.Errors[name], res.Errors[name+".dlq"])
	}
	if err != nil {
		return "", fmt.Errorf("create %s: %w", name, err)
	}
	for {
		led := 0
		res, err := l.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{name, name + ".dlq"}})
		if err != nil {
			return "", fmt.Errorf("look up %s: %w", name, err)
		}
		for _, t := range res.Topics {
			for _, p := range t.Partitions {
				if p.Error == nil && p.Leader.Host != "" {
					led++
				}
			}
		}
		if led == partitions+1 {
			return name, nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return "", fmt.Errorf("wait for the leaders of %s: %w", name, err)
		}
	}
}

// drop deletes a topic, for the disk's sake.
func (l *lab) drop(ctx context.Context, topic string) {
	// the broker's data goes at the end anyway
	_, _ = l.client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic, topic + ".dlq"}})
}

// produce writes the events from..to-1 of the given size evenly to the first partitions of a topic.
func (l *lab) produce(ctx context.Context, topic string, partitions, from, to, size int) error {
	var failed error // the first one; set by the producer's callbacks, which run one after the other, and read after Flush
	for i := from; i < to; i++ {
		key, value := event(i, size)
		l.producer.Produce(ctx, &kgo.Record{Topic: topic, Partition: int32(i % partitions), Key: key, Value: value},
			func(_ *kgo.Record, err error) {
				if err != nil && failed == nil {
					failed = err
				}
			})
	}
	if err := l.producer.Flush(ctx); err != nil {
		return fmt.Errorf("produce to %s: %w", topic, err)
	}
	if failed != nil {
		return fmt.Errorf("produce to %s: %w", topic, failed)
	}
	return nil
}

// letters is how many dead letters a topic has.
func (l *lab) letters(ctx context.Context, topic string) (int, error) {
	res, err := l.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic +
		".dlq": {kafka.LastOffsetOf(0)}}})
	if err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	return int(res.Topics[topic+".dlq"][0].LastOffset), nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
