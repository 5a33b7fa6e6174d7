package check

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

const (
	letterRoom     = 64 << 10       // bytes that a dead letter may be larger than its record: our headers
	defaultLargest = 1048588        // max.message.bytes, where Kafka is not told otherwise
	shortRetention = 24 * time.Hour // less does not survive an outage of a day
)

// sources are the topics whose dead letters go to the given one.
func (k *kafkaLook) sources(letters string) (topics []string) {
	for _, topic := range k.topics {
		if k.cfg.DeadLetters(topic) == letters {
			topics = append(topics, topic)
		}
	}
	return topics
}

// largest is how large the records of a dead-letter topic's sources may be.
func (k *kafkaLook) largest(letters string, of map[string]settings) (most int64) {
	for _, topic := range k.sources(letters) {
		if s := of[topic]; s.err == nil {
			most = max(most, s.largest)
		}
	}
	if most == 0 {
		most = defaultLargest
	}
	return most
}

// longest is how long the sources keep their records, and a week if that is shorter. For ever is -1 ms, as Kafka has
// it.
func (k *kafkaLook) longest(letters string, of map[string]settings) time.Duration {
	most := 7 * 24 * time.Hour
	for _, topic := range k.sources(letters) {
		if s := of[topic]; s.err == nil && s.retention < 0 {
			return -time.Millisecond
		} else if s.err == nil {
			most = max(most, s.retention)
		}
	}
	return most
}

// letterRows looks whether every dead letter fits into its topic and stays there long enough.
func (k *kafkaLook) letterRows(topics map[string]metadata.ResponseTopic, of map[string]settings) (rows []Row) {
	for _, topic := range k.topics {
		if topics[topic].ErrorCode == 0 {
			rows = append(rows, k.retentionRow(topic, of[topic]))
		}
	}
	for _, letters := range k.letters {
		if topics[letters].ErrorCode != 0 {
			continue // its row says so
		}
		s := of[letters]
		for _, topic := range append(k.sources(letters), letters) {
			if err := of[topic].err; err != nil && topics[topic].ErrorCode == 0 {
				s.err = err
			}
		}
		if s.err != nil {
			row := k.untold("message size", letters, s.err)
			row.Check = "dead letters"
			rows = append(rows, row)
			continue
		}
		rows = append(rows, k.sizeRow(letters, of), k.keepingRow(letters, of))
		if strings.Contains(s.policy, "compact") {
			rows = append(rows, Row{"cleanup policy", letters, Warning, "cleanup.policy=" + s.policy +
				": of the dead letters of one key Kafka keeps the last",
				"keep them all: " + setTopic(k.cfg, letters, "cleanup.policy", "delete")})
		} else {
			rows = append(rows, Row{"cleanup policy", letters, OK, "cleanup.policy=" + s.policy, ""})
		}
	}
	return rows
}

// untold is a row of what only settings tell that we may not read.
func (k *kafkaLook) untold(check, topic string, err error) Row {
	row := skip(check, topic, "the topics' settings cannot be read: "+plain(err))
	if errors.Is(err, kafka.TopicAuthorizationFailed) {
		row.Seen = "not looked at, because " + principal(k.cfg) + " may not DescribeConfigs, which is optional"
		row.Remedy = "to have size, retention and cleanup looked at: " + allow(k.cfg, "DescribeConfigs", "topic", topic)
	}
	return row
}

func (k *kafkaLook) retentionRow(topic string, s settings) Row {
	switch {
	case s.err != nil:
		return k.untold("retention", topic, s.err)
	case !strings.Contains(s.policy, "delete"):
		return Row{"retention", topic, OK, "cleanup.policy=" + s.policy + ": the last record of each key stays", ""}
	case s.retention >= 0 && s.retention < shortRetention:
		return Row{"retention", topic, Warning, "records are kept " + kept(s.retention) +
			": an outage that lasts longer loses some",
			"keep them for a week: " + setTopic(k.cfg, topic, "retention.ms", int64(7*24*time.Hour/time.Millisecond))}
	default:
		return Row{"retention", topic, OK, "records are kept " + kept(s.retention), ""}
	}
}

func (k *kafkaLook) sizeRow(letters string, of map[string]settings) Row {
	needed, allowed := k.largest(letters, of)+letterRoom, of[letters].largest
	if allowed < needed {
		return Row{"message size", letters, Failed, "max.message.bytes=" + strconv.FormatInt(allowed, 10) +
			" is less than the largest record and 64 KiB: " + strconv.FormatInt(needed, 10),
			"raise it, or a large dead letter loses its value: " + setTopic(k.cfg, letters, "max.message.bytes", needed)}
	}
	return Row{"message size", letters, OK, "max.message.bytes=" + strconv.FormatInt(allowed, 10) +
		" takes any dead letter", ""}
}

// keepingRow looks whether a dead letter outlives its record.
func (k *kafkaLook) keepingRow(letters string, of map[string]settings) Row {
	s, source := of[letters], time.Duration(0)
	for _, topic := range k.sources(letters) {
		if r := of[topic].retention; r < 0 || source < 0 {
			source = -1
		} else {
			source = max(source, r)
		}
	}
	if strings.Contains(s.policy, "delete") && s.retention >= 0 && (source < 0 || s.retention < source) {
		ms := int64(source / time.Millisecond)
		if source < 0 {
			ms = -1
		}
		return Row{"retention", letters, Failed, "dead letters are kept " + kept(s.retention) + ", records " + kept(source),
			"keep them as long: " + setTopic(k.cfg, letters, "retention.ms", ms)}
	}
	if !strings.Contains(s.policy, "delete") {
		s.retention = -1
	}
	return Row{"retention", letters, OK, "dead letters are kept " + kept(s.retention), ""}
}
