package worker

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tasksink/tasksink/consumer"
)

// CheckKafka is Check for what only works with Kafka, such as reading dead letters.
func (c Config) CheckKafka() error {
	var all []error
	c.checkKafka(func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) })
	return errors.Join(all...)
}

// Connection says how to reach Kafka.
func (c Config) Connection() (consumer.Connection, error) { return c.connection() }

// DeadLetterTopics are the topics that the dead letters of --kafka-topics go to.
func (c Config) DeadLetterTopics() (topics []string) {
	for _, source := range c.KafkaTopics {
		if topic := c.deadLetterTopic(source); !slices.Contains(topics, topic) {
			topics = append(topics, topic)
		}
	}
	return topics
}

func (c Config) deadLetterTopic(source string) string {
	if c.DLQTopic != "" {
		return c.DLQTopic
	}
	return source + ".dlq"
}
