package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

// layout is what Kafka says of topics: a topic that is not there, and a partition without a leader, are part of the
// answer, not its failure.
type layout map[string]topicLayout

type topicLayout struct {
	id      topicID // zero if the brokers have none
	err     error   // why nothing is known of its partitions; nil if they are known
	leaders map[int]leading
}

// leading is who leads a partition.
type leading struct {
	broker int
	epoch  int32 // counts up with each election; -1 if the brokers do not say
	err    error // why nobody does; nil if broker does
}

// topics are those that are there.
func (l layout) topics() (there []string) {
	for topic, t := range l {
		if t.err == nil {
			there = append(there, topic)
		}
	}
	slices.Sort(there)
	return there
}

func (l layout) partitions() parts {
	all := parts{}
	for topic, t := range l {
		for id := range t.leaders {
			all[topic] = append(all[topic], id)
		}
	}
	return all
}

func (l layout) total() (n int) {
	for _, t := range l {
		n += len(t.leaders)
	}
	return n
}

// leader is who leads a partition; an error says why nobody does.
func (l layout) leader(topic string, id int) leading {
	t, ok := l[topic]
	if !ok {
		return leading{err: kafka.UnknownTopicOrPartition}
	}
	if t.err != nil {
		return leading{err: t.err}
	}
	at, ok := t.leaders[id]
	if !ok {
		return leading{err: kafka.UnknownTopicOrPartition}
	}
	return at
}

// look asks Kafka for topics. It does not create them, and is not answered from a cache.
func (c *Consumer) look(ctx context.Context, topics []string) (layout, error) {
	ctx, stop := context.WithTimeout(ctx, lookTimeout)
	defer stop()
	cluster, answer, err := c.wire.metadata(ctx, topics)
	if err != nil {
		return nil, fmt.Errorf("ask Kafka for the topics: %w", err)
	}
	c.cluster.Store(&cluster)
	found := layout{}
	for _, t := range answer {
		topic := topicLayout{id: t.id, err: t.err, leaders: map[int]leading{}}
		for _, p := range t.partitions {
			at := leading{broker: int(p.leader), epoch: p.epoch, err: p.err}
			switch {
			case errors.Is(at.err, kafka.ReplicaNotAvailable): // another one than the leader
				at.err = nil
			case at.err == nil && at.broker < 0:
				at.err = kafka.LeaderNotAvailable
			}
			topic.leaders[int(p.id)] = at
		}
		found[t.name] = topic
	}
	for _, topic := range topics {
		if _, ok := found[topic]; !ok {
			found[topic] = topicLayout{err: kafka.UnknownTopicOrPartition}
		}
	}
	return found, nil
}

const lookTimeout = 3 * time.Second // for the topics and their leaders
