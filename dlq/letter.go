package dlq

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/consumer"
)

// Prefix is what the names of a dead letter's own headers begin with.
const Prefix = "tasksink.dlq."

const (
	schema     = "1"  // of the headers
	maxMessage = 1024 // bytes of the message header
)

// Why a letter is not the whole record: the values of its header truncated.
const (
	TruncatedSize    = "too-large"        // the value is missing, and perhaps headers and key
	TruncatedHeaders = "too-many-headers" // the record's own headers are missing
)

// message is the letter as Kafka gets it: the record byte for byte, and the reason in headers. Those of an earlier
// failure are replaced, but for the count of redrives, which goes on.
func (l letter) message(group string) kafka.Message {
	m := kafka.Message{Key: l.rec.Key, Value: l.rec.Value}
	redrives := "0"
	for _, h := range l.rec.Headers {
		switch {
		case h.Key == Prefix+"redrive_count":
			if n, err := strconv.ParseUint(string(h.Value), 10, 31); err == nil {
				redrives = strconv.FormatUint(n, 10)
			}
		case !strings.HasPrefix(h.Key, Prefix) && l.form < withoutHeaders:
			m.Headers = append(m.Headers, h)
		}
	}
	add := func(name, value string) {
		m.Headers = append(m.Headers, kafka.Header{Key: Prefix + name, Value: []byte(value)})
	}
	add("schema", schema)
	add("topic", l.rec.Topic)
	add("partition", strconv.Itoa(l.rec.Partition))
	add("offset", strconv.FormatInt(l.rec.Offset, 10))
	add("timestamp", strconv.FormatInt(l.rec.Time.UnixMilli(), 10))
	add("group", group)
	add("stage", l.reason.Stage)
	add("category", l.reason.Category)
	add("code", l.reason.Code)
	add("message", brief(l.reason.Message, maxMessage))
	add("correlation_id", l.reason.CorrelationID)
	add("attempts", strconv.Itoa(l.reason.Attempts))
	add("failed_at", l.at.UTC().Format(time.RFC3339Nano))
	add("redrive_count", redrives)
	if origin := originOf(l.rec.Headers, l.rec.Topic, l.rec.Partition, l.rec.Offset); origin != l.rec.Offset {
		add("origin_offset", strconv.FormatInt(origin, 10))
	}
	switch {
	case l.form >= withoutValue:
		add("truncated", TruncatedSize)
		m.Value = nil
	case l.rec.HeaderCount > consumer.MaxHeaders:
		add("truncated", TruncatedHeaders)
	}
	if l.form == withoutKey {
		m.Key = nil
	}
	return m
}

// Redriven tells whether the record was sent back to its topic as a dead letter once.
func Redriven(rec *consumer.Record) bool {
	for _, h := range rec.Headers {
		if h.Key == Prefix+"redrive_count" {
			return string(h.Value) != "0"
		}
	}
	return false
}

// originOf is the offset of the event that a record is: that of the record itself, or, if a redrive sent it back, that
// of the record that died first. Nobody checks what a producer wrote into such headers; they decide about no more than
// the place of the producer's own record among those of its key.
func originOf(headers []kafka.Header, topic string, partition int, offset int64) int64 {
	own := map[string]string{}
	for _, h := range headers {
		if name, ok := strings.CutPrefix(h.Key, Prefix); ok {
			own[name] = string(h.Value)
		}
	}
	if n, err := strconv.Atoi(own["redrive_count"]); err != nil || n < 1 || own["topic"] != topic ||
		own["partition"] != strconv.Itoa(partition) {
		return offset
	}
	for _, name := range []string{"origin_offset", "offset"} { // the second one after the first redrive
		if n, err := strconv.ParseInt(own[name], 10, 64); err == nil && n >= 0 && n < offset {
			return n
		}
	}
	return offset
}

// brief is at most n bytes of s, as UTF-8.
func brief(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
