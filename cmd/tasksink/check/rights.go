package check

import (
	"errors"
	"math"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// Kafka tells what we may do as bits, by its numbers for operations.
const (
	mayRead  = 1 << 3
	mayWrite = 1 << 4

	untoldOperations = math.MinInt32 // brokers before 2.3 do not tell
)

// rightsRows looks whether we may do what docs/security.md lists. Kafka tells that without a record read or written.
func (k *kafkaLook) rightsRows(topics map[string]metadata.ResponseTopic, g groupSeen) (rows []Row) {
	topicRow := func(topic, operation string, bit int32) {
		t := topics[topic]
		err := code(t.ErrorCode)
		if errors.Is(err, kafka.UnknownTopicOrPartition) {
			return // nothing to have a right to
		}
		rows = append(rows, k.rightRow(operation, "topic", topic, errors.Is(err, kafka.TopicAuthorizationFailed),
			t.TopicAuthorizedOperations, bit))
	}
	for _, topic := range k.topics {
		topicRow(topic, "Read", mayRead)
	}
	if g.err == nil || errors.Is(g.err, kafka.GroupAuthorizationFailed) {
		rows = append(rows, k.rightRow("Read", "group", k.cfg.KafkaGroup, g.err != nil, g.group.AuthorizedOperations,
			mayRead))
	}
	for _, topic := range k.letters {
		topicRow(topic, "Write", mayWrite)
	}
	return rows
}

func (k *kafkaLook) rightRow(operation, kind, name string, refused bool, operations, bit int32) Row {
	row := Row{"rights", kind + " " + name, OK, principal(k.cfg) + " has " + operation, ""}
	switch {
	case refused || operations != untoldOperations && operations&bit == 0:
		row.Result, row.Seen = Failed, principal(k.cfg)+" lacks "+operation
		row.Remedy = "grant it: " + allow(k.cfg, operation, kind, name)
	case operations == untoldOperations:
		row = skip("rights", kind+" "+name, "Kafka does not tell whether "+principal(k.cfg)+" has "+operation)
	}
	return row
}
