package worker

import (
	"errors"
	"fmt"
	"slices"
)

// CheckKafka is Check for what only works with Kafka, such as reading dead letters.
func (c Config) CheckKafka() error {
	var all []error
	c.checkKafka(func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) })
	return errors.Join(all...)
}

// DeadLetterTopics are the topics that the dead letters of --kafka-topics go to.
func (c Config) DeadLetterTopics() (topics []string) {
	for _, source := range c.KafkaTopics {
		if topic := c.DeadLetters(source); !slices.Contains(topics, topic) {
			topics = append(topics, topic)
		}
	}
	return topics
}
