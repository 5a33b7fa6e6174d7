package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// A consumer that reads only what is committed gets nothing from behind the last stable offset, which is where the
// oldest open transaction of a partition began.

const stillOpen = 2 * time.Second // a transaction that holds a partition for so long, at one offset, is shown

// held are the partitions that open transactions hold, by topic and partition: the offset where each begins.
type held map[string]map[int]int64

// openTransactions looks which partitions of the topics transactions hold.
func (k *kafkaLook) openTransactions(ctx context.Context, topics map[string]metadata.ResponseTopic) (held, error) {
	ends := map[string][]kafka.OffsetRequest{}
	for _, name := range k.topics {
		for _, p := range topics[name].Partitions {
			if p.LeaderID >= 0 {
				ends[name] = append(ends[name], kafka.LastOffsetOf(int(p.PartitionIndex)))
			}
		}
	}
	if len(ends) == 0 {
		return nil, nil
	}
	ctx, done := within(ctx, k.waiting, "open transactions")
	defer done()
	begun := time.Now()
	first, err := k.heldNow(ctx, ends)
	for stay := first; err == nil && len(stay) > 0; {
		if time.Since(begun) >= stillOpen {
			return stay, nil
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		var now held
		if now, err = k.heldNow(ctx, ends); err == nil {
			stay = stay.and(now)
		}
	}
	return nil, err
}

// heldNow asks how far each partition reaches, and then how far it can be read.
func (k *kafkaLook) heldNow(ctx context.Context, ends map[string][]kafka.OffsetRequest) (held, error) {
	client := &kafka.Client{Addr: kafka.TCP(k.cfg.KafkaBrokers...), Transport: k.transport}
	reaches := map[kafka.IsolationLevel]held{}
	for _, level := range []kafka.IsolationLevel{kafka.ReadUncommitted, kafka.ReadCommitted} {
		res, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: ends, IsolationLevel: level})
		if err != nil {
			return nil, err
		}
		reaches[level] = held{}
		for topic, parts := range res.Topics {
			reaches[level][topic] = map[int]int64{}
			for _, p := range parts {
				if p.Error == nil { // another row names the error
					reaches[level][topic][p.Partition] = p.LastOffset
				}
			}
		}
	}
	found := held{}
	for topic, parts := range reaches[kafka.ReadCommitted] {
		for id, stable := range parts {
			if end, ok := reaches[kafka.ReadUncommitted][topic][id]; ok && stable < end {
				found.add(topic, id, stable)
			}
		}
	}
	return found, nil
}

func (h held) add(topic string, partition int, offset int64) {
	if h[topic] == nil {
		h[topic] = map[int]int64{}
	}
	h[topic][partition] = offset
}

// and is what is held at the same offset in both.
func (h held) and(other held) held {
	both := held{}
	for topic, parts := range h {
		for id, offset := range parts {
			if at, ok := other[topic][id]; ok && at == offset {
				both.add(topic, id, offset)
			}
		}
	}
	return both
}

// transactionRows names the partitions that open transactions hold, one row for each topic.
func (k *kafkaLook) transactionRows(topics map[string]metadata.ResponseTopic, open held, err error) (rows []Row) {
	for _, topic := range k.topics {
		t := topics[topic]
		switch {
		case t.ErrorCode != 0:
			continue // its row says so
		case errors.Is(err, kafka.TopicAuthorizationFailed):
			rows = append(rows, skip("transactions", topic, "Kafka does not let "+principal(k.cfg)+" see them: see rights"))
			continue
		case err != nil:
			rows = append(rows, skip("transactions", topic, "Kafka does not tell how far the topic can be read: "+plain(err)))
			continue
		case len(open[topic]) == 0:
			rows = append(rows, Row{"transactions", topic, OK, "none holds records back", ""})
			continue
		}
		var places, commands []string
		for _, p := range t.Partitions { // in order: topicRow has sorted them
			offset, ok := open[topic][int(p.PartitionIndex)]
			if !ok {
				continue
			}
			places = append(places, fmt.Sprintf("%s/%d at offset %d", topic, p.PartitionIndex, offset))
			find := tool(k.cfg, "kafka-transactions", "find-hanging --broker-id %d", p.LeaderID)
			if !slices.Contains(commands, find) {
				commands = append(commands, find)
			}
		}
		rows = append(rows, Row{"transactions", topic, Warning, "an open transaction holds " + strings.Join(places, ", "),
			"wait until its producer ends it: tasksink reads nothing behind it. If no producer does, find it, and abort it: " +
				strings.Join(commands, "; ")})
	}
	return rows
}
