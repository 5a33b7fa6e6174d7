// Command fetcher reads a topic from its beginning, as a member of a consumer group that commits, and does nothing with
// the records: what a client library's way in costs, for the bench to compare.
//
// Use: fetcher tasksink|kafka-go|franz-go, with KAFKA_BROKERS, KAFKA_TOPIC, KAFKA_GROUP and RECORDS in the environment.
// It ends when it has read that many records.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/hold"
)

// source is what to read.
type source struct {
	brokers      []string
	topic, group string
	records      int64
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	records, err := strconv.ParseInt(os.Getenv("RECORDS"), 10, 64)
	if err != nil || len(os.Args) != 2 {
		log.Fatal("use: RECORDS=n fetcher tasksink|kafka-go|franz-go")
	}
	from := source{strings.Split(os.Getenv("KAFKA_BROKERS"), ","), os.Getenv("KAFKA_TOPIC"), os.Getenv("KAFKA_GROUP"),
		records}
	switch os.Args[1] {
	case "tasksink":
		err = readTasksink(ctx, from)
	case "kafka-go":
		err = readKafkaGo(ctx, from)
	case "franz-go":
		err = readFranz(ctx, from)
	default:
		err = fmt.Errorf("there is no client %q", os.Args[1])
	}
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// readTasksink reads with tasksink's own consumer, at its default settings.
func readTasksink(ctx context.Context, from source) error {
	c, err := consumer.New(consumer.Config{Connection: broker.Connection{Brokers: from.brokers, ClientID: "fetcher"},
		Topics: []string{from.topic}, Group: from.group, MaxPending: 20_000, MaxPendingBytes: 64 << 20,
		DrainTimeout: 20 * time.Second, Board: hold.NewBoard(zerolog.Nop()), Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var read atomic.Int64
	return c.Run(ctx, func(r *consumer.Record) {
		r.Leave()
		r.Settle(time.Now())
		if read.Add(1) == from.records {
			stop()
		}
	}, func(func(*consumer.Record) bool) {})
}

// readKafkaGo reads with kafka-go's Reader, as the yardstick does.
func readKafkaGo(ctx context.Context, from source) (err error) {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: from.brokers, Topic: from.topic, GroupID: from.group,
		StartOffset: kafka.FirstOffset, MaxBytes: 1 << 20, MaxWait: 500 * time.Millisecond, CommitInterval: time.Second})
	defer func() { err = errors.Join(err, r.Close()) }()
	for range from.records {
		if _, err := r.ReadMessage(ctx); err != nil {
			return err
		}
	}
	return nil
}

// readFranz reads with franz-go's client.
func readFranz(ctx context.Context, from source) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(from.brokers...), kgo.ConsumeTopics(from.topic),
		kgo.ConsumerGroup(from.group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(256<<10),
		kgo.FetchMaxBytes(512<<10))
	if err != nil {
		return err
	}
	defer client.Close()
	for read := int64(0); read < from.records; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		read += int64(fetches.NumRecords())
	}
	return client.CommitUncommittedOffsets(ctx)
}
