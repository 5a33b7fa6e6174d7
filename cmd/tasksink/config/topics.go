package config

import (
	"regexp"
	"slices"
	"strings"
)

const longestTopic = 249

var topicLetters = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// legalTopic tells whether Kafka allows a topic of this name.
func legalTopic(name string) bool {
	return len(name) <= longestTopic && topicLetters.MatchString(name) && name != "." && name != ".."
}

// checkTopics refuses names that no topic has, and topics whose records would be consumed twice.
func (c Config) checkTopics(wrong func(string, ...any)) {
	if len(c.KafkaTopics) == 0 {
		wrong("--kafka-topics is empty: name at least one topic")
	}
	if slices.Contains(c.KafkaTopics, "") {
		wrong("--kafka-topics=%s: a name between the commas is empty: write it, or take its comma out",
			shown(strings.Join(c.KafkaTopics, ",")))
	}
	illegal := func(flag, name string) {
		wrong(`%s=%s: Kafka allows no topic of this name: write at most %d letters (A to Z, a to z), digits, ".", "_" and `+
			`"-", and more than "." or ".."`, flag, shown(name), longestTopic)
	}
	if c.DLQTopic != "" && !legalTopic(c.DLQTopic) {
		illegal("--dlq-topic", c.DLQTopic)
	}
	for i, topic := range c.KafkaTopics {
		letters := c.DeadLetters(topic)
		switch {
		case topic == "":
		case !legalTopic(topic):
			illegal("--kafka-topics", topic)
		case slices.Contains(c.KafkaTopics[:i], topic):
			wrong("--kafka-topics=%s: the topic is named more than once: name it once", topic)
		case topic == c.DLQTopic:
			wrong("--dlq-topic=%s: it is among --kafka-topics, and dead letters would be consumed again; name another topic",
				topic)
		case c.DLQTopic == "" && slices.Contains(c.KafkaTopics, letters):
			wrong("--kafka-topics=%s: it is the dead-letter topic of %s, and dead letters would be consumed again: take it "+
				"out, or name another dead-letter topic with --dlq-topic", letters, topic)
		case len(letters) > longestTopic:
			wrong("--kafka-topics=%s: its dead-letter topic, with .dlq at the end, would have a name longer than %d "+
				"characters: name a dead-letter topic with --dlq-topic", shown(topic), longestTopic)
		}
	}
}
