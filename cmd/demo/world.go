package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/cmd/tasksink/worker"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

const (
	topic      = "tasks"
	letterbox  = "tasks.dlq"
	group      = "tasksink"
	partitions = 6
	idProperty = "external_task_id"
)

// world is everything around the worker.
type world struct {
	options
	dir     string
	kafka   *kfake.Cluster // nil: brokers are somebody else's
	brokers []string
	client  *kafka.Client
	hubspot *hubspottest.Server
	web     *http.Server
	url     string
	serving sync.WaitGroup
}

func open(o options) (*world, error) {
	dir, err := os.MkdirTemp("", "tasksink-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for Kafka's data: %w", err)
	}
	w := &world{options: o, dir: dir}
	if err := w.start(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) start() error {
	address, daily := "127.0.0.1:0", 0
	if w.Serve {
		address, daily, w.brokers = w.Hubspot, 650_000, w.Brokers
	}
	if len(w.brokers) == 0 {
		if err := w.startKafka(); err != nil {
			return err
		}
	}
	w.client = &kafka.Client{Addr: kafka.TCP(w.brokers...), Transport: w.transport()}
	listener, err := everywhere(w.Advertise)("tcp", address)
	if err != nil {
		return fmt.Errorf("start HubSpot: %w", err)
	}
	w.hubspot = hubspottest.New(hubspottest.Config{Limit: w.Rate, Daily: daily, Latency: 100 * time.Millisecond,
		Seed: w.Seed, IDProperties: []string{idProperty}})
	w.web = &http.Server{Handler: w.hubspot, ReadHeaderTimeout: 5 * time.Second}
	w.url = "http://" + listener.Addr().String()
	w.serving.Go(func() { _ = w.web.Serve(listener) }) // ends by close
	return nil
}

func (w *world) startKafka() error {
	// Retention is set, or a long run would lose what it has not read yet.
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.DataDir(w.dir), kfake.SeedTopics(partitions, topic),
		kfake.ListenFn(everywhere(w.Advertise)), kfake.BrokerConfigs(map[string]string{"log.retention.ms": "604800000",
			"max.message.bytes": "10485760"})}
	if w.Serve && w.KafkaPort > 0 {
		opts = append(opts, kfake.Ports(w.KafkaPort))
	}
	var err error
	if w.kafka, err = kfake.NewCluster(opts...); err != nil {
		return fmt.Errorf("start Kafka: %w", err)
	}
	// A dead letter is larger than its record, by its headers.
	if err := w.kafka.CreateTopic(letterbox, 1, map[string]string{"max.message.bytes": "12582912"}); err != nil {
		return fmt.Errorf("create %s: %w", letterbox, err)
	}
	w.brokers = w.kafka.ListenAddrs()
	return nil
}

func (w *world) close() {
	if w.web != nil {
		_ = w.web.Close()
	}
	w.serving.Wait()
	if w.kafka != nil {
		w.kafka.Close()
	}
	_ = os.RemoveAll(w.dir)
}

// serve keeps the surroundings for a worker that somebody else starts.
func (w *world) serve(ctx context.Context, out io.Writer) error {
	if err := w.write(ctx, generate(w.Records, w.Bad, w.Seed)); err != nil {
		return err
	}
	brokers, plain := strings.Join(w.brokers, ","), ""
	if w.Advertise != "" {
		plain = " --insecure" // plain http to another host
	}
	_, _ = fmt.Fprintf(out, `%d task events wait in Kafka on %s; HubSpot is on %s. In another terminal:

  go run ./cmd/tasksink run --kafka-brokers=%s --hubspot-url=%s \
    --hubspot-token=demo --hubspot-id-property=%s --log-format=console%s

(tasksink check, with the same settings, looks at them first.) Ctrl-C ends both.
`, w.Records, brokers, w.url, brokers, w.url, idProperty, plain)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for lot := uint64(1); ; lot++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := w.write(ctx, generate(w.Stream, w.Bad, w.Seed+lot)); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// produce writes the events, and returns them by trace id.
func (w *world) produce(ctx context.Context) (map[string]event, error) {
	events := generate(w.Records, w.Bad, w.Seed)
	if err := w.write(ctx, events); err != nil {
		return nil, err
	}
	// Which offset each got, the topic itself tells: a value is unique.
	byValue := make(map[string]event, len(events))
	for _, e := range events {
		byValue[e.value] = e
	}
	placed := make(map[string]event, len(events))
	for id := range partitions {
		msgs, err := w.read(ctx, topic, id)
		if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			placed[fmt.Sprintf("%s-%d-%d", topic, id, m.Offset)] = byValue[string(m.Value)]
		}
	}
	return placed, nil
}

func (w *world) write(ctx context.Context, events []event) error {
	writer := &kafka.Writer{Addr: kafka.TCP(w.brokers...), Topic: topic, Balancer: kafka.Murmur2Balancer{},
		RequiredAcks: kafka.RequireAll,
		BatchSize:    1000, BatchBytes: 1 << 20, BatchTimeout: time.Millisecond, Transport: w.client.Transport}
	for at := 0; at < len(events); at += 2000 {
		var msgs []kafka.Message
		for _, e := range events[at:min(at+2000, len(events))] {
			msgs = append(msgs, kafka.Message{Key: []byte(e.key), Value: []byte(e.value)})
		}
		if err := writer.WriteMessages(ctx, msgs...); err != nil {
			_ = writer.Close()
			return fmt.Errorf("produce to %s: %w", topic, err)
		}
	}
	if err := writer.Close(); err != nil {
		return fmt.Errorf("produce to %s: %w", topic, err)
	}
	return nil
}

// read returns all that is in a partition now.
func (w *world) read(ctx context.Context, topic string, id int) (msgs []kafka.Message, err error) {
	ask := map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(id)}}
	res, err := w.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: ask})
	if err != nil {
		return nil, fmt.Errorf("look for the end of %s/%d: %w", topic, id, err)
	}
	end := res.Topics[topic][0].LastOffset
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: w.brokers, Topic: topic, Partition: id,
		MaxWait: 100 * time.Millisecond, MaxBytes: 20 << 20})
	defer func() { err = errors.Join(err, r.Close()) }()
	for next := int64(0); next < end; {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read %s/%d: %w", topic, id, err)
		}
		msgs, next = append(msgs, m), m.Offset+1
	}
	return msgs, nil
}

// left is how many records are not committed yet.
func (w *world) left() int {
	info := w.kafka.GroupInfo(group)
	if info == nil {
		return w.Records
	}
	left := w.Records
	for _, c := range info.Commits[topic] {
		left -= int(c.Offset)
	}
	return left
}

// play lets the worker do its job, with an outage in the middle, and gathers the facts.
func (w *world) play(ctx context.Context, terminal bool) (facts, error) {
	f := facts{limit: w.Rate}
	var err error
	if f.events, err = w.produce(ctx); err != nil {
		return f, err
	}
	var cfg config.Config
	if err := defaults(&cfg); err != nil {
		return f, err
	}
	cfg.KafkaBrokers, cfg.KafkaGroup, cfg.HubspotURL, cfg.HubspotToken, cfg.HubspotIDProperty = w.brokers, group, w.url,
		"demo", idProperty
	cfg.Listen = "127.0.0.1:0"
	if w.Rate == 0 {
		cfg.HubspotRate = config.Rate{}
	}
	var log io.Writer = os.Stderr
	if terminal {
		log = io.Discard // the bar has the terminal; what matters stands in the ledger
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	f.start = time.Now()
	go func() {
		done <- worker.Run(work, cfg, zerolog.New(log).With().Timestamp().Logger().Level(zerolog.WarnLevel))
	}()
	if err := w.watch(ctx, &f, done, newProgress(w.Records, terminal)); err != nil {
		return f, err
	}
	f.took = time.Since(f.start)
	stop()
	if err := <-done; err != nil {
		return f, fmt.Errorf("the worker: %w", err)
	}
	f.journal, f.requests, f.objects = w.hubspot.Journal(), w.hubspot.Requests(), w.hubspot.Objects()
	f.letters, err = w.read(ctx, letterbox, 0)
	return f, err
}

// watch waits until every record is committed, and takes HubSpot down and up again on the way.
func (w *world) watch(ctx context.Context, f *facts, done <-chan error, p progress) error {
	defer p.end()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.New("interrupted")
		case err := <-done:
			return fmt.Errorf("the worker stopped before the end: %w", err)
		case <-tick.C:
		}
		left, now := w.left(), time.Now()
		state := ""
		switch {
		case w.Outage > 0 && f.downFrom.IsZero() && left <= w.Records*4/5:
			w.hubspot.SetDown(true)
			f.downFrom, f.downUntil = now, now.Add(w.Outage)
		case !f.downFrom.IsZero() && now.Before(f.downUntil):
			state = "HubSpot is down"
		case !f.downFrom.IsZero():
			w.hubspot.SetDown(false)
		}
		p.show(w.Records-left, state)
		if left >= 100 {
			f.backlogEnd = now
		}
		if left == 0 {
			return nil
		}
	}
}
