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
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
)

const again = 250 * time.Millisecond // between two questions after offsets, while leaders move

// committed asks for the group's offsets, and what their metadata holds.
func (k *kafkaLook) committed(ctx context.Context, coordinator, cluster string,
	topics map[string]metadata.ResponseTopic) (found map[string]map[int]int64, maps mapsSeen, err error) {
	found = map[string]map[int]int64{}
	ctx, done := within(ctx, k.waiting, "the group's offsets")
	defer done()
	req := &offsetsRequest{GroupID: k.cfg.KafkaGroup}
	for _, name := range k.topics {
		t := offsetfetch.RequestTopic{Name: name}
		for _, p := range topics[name].Partitions {
			t.PartitionIndexes = append(t.PartitionIndexes, p.PartitionIndex)
		}
		req.Topics = append(req.Topics, t)
	}
	res, err := ask[*offsetfetch.Response](ctx, k.transport, coordinator, req)
	if err == nil {
		err = code(res.ErrorCode)
	}
	if err != nil {
		return nil, mapsSeen{}, err
	}
	for _, t := range res.Topics {
		found[t.Name] = map[int]int64{}
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return nil, mapsSeen{}, code(p.ErrorCode)
			}
			if p.CommittedOffset >= 0 {
				found[t.Name][int(p.PartitionIndex)] = p.CommittedOffset
				maps.add(place{t.Name, int(p.PartitionIndex)}, cluster, k.cfg.KafkaGroup, p.CommittedOffset, p.Metadata)
			}
		}
	}
	return found, maps, nil
}

// logs asks for the first offset of each partition, and the one after its last record.
func (k *kafkaLook) logs(ctx context.Context,
	topics map[string]metadata.ResponseTopic) (map[string][]kafka.PartitionOffsets, error) {
	req := map[string][]kafka.OffsetRequest{}
	for _, name := range k.topics {
		for _, p := range topics[name].Partitions {
			if p.LeaderID >= 0 {
				req[name] = append(req[name], kafka.FirstOffsetOf(int(p.PartitionIndex)), kafka.LastOffsetOf(int(p.PartitionIndex)))
			}
		}
	}
	if len(req) == 0 {
		return nil, nil
	}
	ctx, done := within(ctx, k.waiting, "the topics' offsets")
	defer done()
	client := &kafka.Client{Addr: kafka.TCP(k.cfg.KafkaBrokers...), Transport: k.transport}
	for {
		res, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: req})
		if err == nil && !moving(res.Topics) {
			return res.Topics, nil
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			if err == nil {
				return res.Topics, nil // each partition says what is the matter
			}
			return nil, err
		}
	}
}

// moving tells whether a leader is on its way, as it is for a moment after a topic was made or a broker stopped.
func moving(topics map[string][]kafka.PartitionOffsets) bool {
	for _, parts := range topics {
		for _, p := range parts {
			if errors.Is(p.Error, kafka.NotLeaderForPartition) || errors.Is(p.Error, kafka.LeaderNotAvailable) ||
				errors.Is(p.Error, kafka.UnknownTopicOrPartition) {
				return true
			}
		}
	}
	return false
}

// offsetsRow looks whether what is committed still lies in the log, and how much waits. What is settled beyond the
// committed offset does not wait.
func (k *kafkaLook) offsetsRow(topic string, t metadata.ResponseTopic, g groupSeen) Row {
	switch err := errors.Join(g.err, g.fetched); {
	case t.ErrorCode != 0:
		return skip("offsets", topic, "the topic is not to be seen")
	case errors.Is(err, kafka.GroupAuthorizationFailed) || errors.Is(err, kafka.TopicAuthorizationFailed):
		return skip("offsets", topic, "Kafka does not let "+principal(k.cfg)+" see them: see rights")
	case g.err != nil:
		return skip("offsets", topic, untoldGroup(g.err))
	case err != nil:
		return skip("offsets", topic, "Kafka does not tell what is committed: "+plain(err))
	case g.listed != nil:
		return skip("offsets", topic, "Kafka does not tell how far the topic reaches: "+plain(g.listed))
	}
	committed := g.committed[topic]
	var lag, lost int64
	var beyond []string
	for _, p := range g.log[topic] {
		if p.Error != nil {
			return skip("offsets", topic, fmt.Sprintf("Kafka does not tell how far partition %d reaches: %s", p.Partition,
				plain(p.Error)))
		}
		at, ok := committed[p.Partition]
		switch {
		case !ok:
			lag += p.LastOffset - p.FirstOffset
		case at > p.LastOffset:
			beyond = append(beyond, fmt.Sprintf("%d (committed %d, end %d)", p.Partition, at, p.LastOffset))
			lag += p.LastOffset - p.FirstOffset
		default:
			of, first := place{topic, p.Partition}, max(at, p.FirstOffset)
			lost += first - at - g.maps.between(of, at, first)
			lag += p.LastOffset - first - g.maps.between(of, first, p.LastOffset)
		}
	}
	slices.Sort(beyond)
	row := Row{Check: "offsets", Subject: topic, Result: Failed}
	switch {
	case lost > 0:
		row.Seen = fmt.Sprintf("%d records were deleted by retention before they were settled; %d wait", lost, lag)
		row.Remedy = "they are lost to HubSpot: publish them again if they matter, and keep records longer: " +
			setTopic(k.cfg, topic, "retention.ms", int64(14*24*3600*1000))
	case len(beyond) > 0:
		row.Seen = "committed beyond the end of partition " + strings.Join(beyond, ", ") + ": the topic was created anew"
		row.Remedy = fmt.Sprintf("tasksink starts at the beginning, with %d records; if that is not wanted: %s", lag,
			tool(k.cfg, "kafka-consumer-groups", "--reset-offsets --to-latest --execute --group %s --topic %s", k.cfg.KafkaGroup,
				topic))
	case len(committed) == 0:
		row.Result, row.Seen = OK, fmt.Sprintf("nothing is committed yet: starts at the beginning, %d records wait", lag)
	default:
		row.Result, row.Seen = OK, fmt.Sprintf("committed in %d of %s, %d records wait", len(committed),
			plural(len(t.Partitions), "partition"), lag)
	}
	return row
}
