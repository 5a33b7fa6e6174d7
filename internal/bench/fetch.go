package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// Row i: what it costs to get the records out of Kafka, without anything behind.

const fetchRecords = 1_000_000

// fetchers are the clients to compare. The first one is tasksink's consumer.
var fetchers = []string{"tasksink", "kafka-go", "franz-go"}

func takesFetch(b *bench) time.Duration {
	return 15*time.Second + time.Duration(len(fetchers)*b.runs)*8*time.Second
}

// fetch is row i.
func (b *bench) fetch(ctx context.Context) error {
	topic, err := b.backlog(ctx, 6, 6, fetchRecords, recordBytes)
	if err != nil {
		return err
	}
	defer b.lab.drop(ctx, topic)
	for run := range b.runs {
		for _, client := range fetchers {
			b.say("row i: %s, run %d of %d", client, run+1, b.runs)
			took, err := b.fetchOnce(ctx, client, topic)
			if err != nil {
				return err
			}
			b.add("i", "6 partitions", client, "cpu_us_per_record", "µs", took.Seconds()*1e6/fetchRecords)
		}
	}
	return nil
}

// fetchOnce lets one client, in a group of its own, read the topic, and returns the CPU that it took.
func (b *bench) fetchOnce(ctx context.Context, client, topic string) (time.Duration, error) {
	ctx, cancel := bounded(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(b.lab.dir, "fetcher"), client)
	cmd.Env = append(os.Environ(), "KAFKA_BROKERS="+b.lab.addr, "KAFKA_TOPIC="+topic, "RECORDS="+
		strconv.Itoa(fetchRecords), fmt.Sprintf("KAFKA_GROUP=bench-%d", time.Now().UnixNano()))
	p, err := launch(client, cmd)
	if err != nil {
		return 0, err
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.kill()
		return 0, context.Cause(ctx)
	}
	if p.err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", client, p.err, p.said)
	}
	state := p.cmd.ProcessState
	return state.UserTime() + state.SystemTime(), nil
}
