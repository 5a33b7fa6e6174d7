// Command yardstick is the worker that a competent programmer writes in a hundred lines, for the bench to compare with:
// kafka-go's Reader, a hundred events in a request, eight requests out, a commit after each.
//
// It is fast because it does less. It loses records when a later request is committed before an earlier one that
// fails, writes an object's states out of order, reads no answer's results, and has no dead letters.
//
// Use: yardstick plain|spliced, with KAFKA_BROKERS, KAFKA_TOPIC, KAFKA_GROUP and HUBSPOT_URL in the environment. plain
// decodes each event and encodes the request with encoding/json; spliced puts the event's text into the request as it
// is, unchecked, which nobody should do with what others produce. SIGTERM stops it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	batchSize = 100
	batchWait = 500 * time.Millisecond
	inFlight  = 8
)

type task struct {
	ID         string            `json:"id"`
	IDProperty string            `json:"idProperty"`
	Properties map[string]string `json:"properties"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	encode := plain
	if len(os.Args) > 1 && os.Args[1] == "spliced" {
		encode = spliced
	}
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: strings.Split(os.Getenv("KAFKA_BROKERS"), ","),
		Topic:   os.Getenv("KAFKA_TOPIC"),
		GroupID: os.Getenv("KAFKA_GROUP"), StartOffset: kafka.FirstOffset, MaxBytes: 1 << 20, MaxWait: batchWait,
		CommitInterval: time.Second})
	client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: inFlight}}
	target := os.Getenv("HUBSPOT_URL") + "/crm/v3/objects/tasks/batch/upsert"

	batches := make(chan []kafka.Message)
	var senders sync.WaitGroup
	for range inFlight {
		senders.Go(func() {
			for batch := range batches {
				body, err := encode(batch)
				if err != nil {
					log.Fatal(err)
				}
				if err := send(ctx, client, target, body); err != nil {
					return
				}
				if err := reader.CommitMessages(ctx, batch...); err != nil && ctx.Err() == nil {
					log.Print(err)
				}
			}
		})
	}
	for ctx.Err() == nil {
		batch, err := gather(ctx, reader)
		if err != nil && ctx.Err() == nil {
			log.Print(err)
		}
		if len(batch) > 0 {
			select {
			case batches <- batch:
			case <-ctx.Done():
			}
		}
	}
	close(batches)
	senders.Wait()
	if err := reader.Close(); err != nil {
		log.Print(err)
	}
}

// gather reads a batch: a hundred events, or what came within the wait.
func gather(ctx context.Context, reader *kafka.Reader) (batch []kafka.Message, err error) {
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	for len(batch) < batchSize {
		m, err := reader.FetchMessage(wait)
		if errors.Is(err, context.Canceled) {
			return batch, nil
		}
		if err != nil {
			return batch, err
		}
		if batch = append(batch, m); len(batch) == 1 {
			defer time.AfterFunc(batchWait, cancel).Stop()
		}
	}
	return batch, nil
}

func plain(batch []kafka.Message) ([]byte, error) {
	inputs := make([]task, len(batch))
	for i, m := range batch {
		if err := json.Unmarshal(m.Value, &inputs[i]); err != nil {
			return nil, err
		}
		inputs[i].IDProperty = "external_task_id"
	}
	return json.Marshal(map[string]any{"inputs": inputs})
}

func spliced(batch []kafka.Message) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(`{"inputs":[`)
	for i, m := range batch {
		if len(m.Value) == 0 {
			return nil, fmt.Errorf("the record at %d/%d has no value", m.Partition, m.Offset)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(m.Value[:len(m.Value)-1])
		b.WriteString(`,"idProperty":"external_task_id"}`)
	}
	b.WriteString(`]}`)
	return b.Bytes(), nil
}

// send posts until HubSpot accepts, with pauses from 0.1 to 5 s.
func send(ctx context.Context, client *http.Client, target string, body []byte) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := post(ctx, client, target, body)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func post(ctx context.Context, client *http.Client, target string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+os.Getenv("TASKSINK_HUBSPOT_TOKEN"))
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("HubSpot answers %s", res.Status)
	}
	return nil
}
