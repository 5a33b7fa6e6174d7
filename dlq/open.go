package dlq

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// Letter is a dead letter as it stands in its topic: the record that died, and why.
type Letter struct {
	Place   Place     // of the letter itself
	Written time.Time // when it was written there
	// not a dead letter that this version knows: but for Place, Written, Key, Value and Headers all is empty
	Foreign bool

	Key, Value []byte         // nil where Kafka has none
	Headers    []kafka.Header // the record's own

	Source     Place // of the record
	Origin     int64 // offset of the event: of the record that died first, if redrives sent it back since
	SourceTime time.Time
	Group      string // the consumer group that gave it up
	Reason     Reason // but for Property, which no header has
	FailedAt   time.Time
	Redrives   int    // how often it was sent back to its topic before
	Truncated  string // TruncatedSize or TruncatedHeaders; empty: the letter is the whole record

	ours []kafka.Header // those with Prefix
}

// open reads what message wrote.
func (l *Letter) open(headers []kafka.Header) {
	own := map[string]string{}
	for _, h := range headers {
		if name, ok := strings.CutPrefix(h.Key, Prefix); ok {
			own[name] = string(h.Value)
			l.ours = append(l.ours, h)
		} else {
			l.Headers = append(l.Headers, h)
		}
	}
	var wrong []error
	number := func(name string, bits int) int64 {
		n, err := strconv.ParseInt(own[name], 10, bits)
		if err == nil && n < 0 && name != "timestamp" {
			err = errors.New("negative")
		}
		wrong = append(wrong, err)
		return n
	}
	partition, offset, at, attempts, redrives := number("partition", 32), number("offset", 64), number("timestamp", 64),
		number("attempts", 32), number("redrive_count", 32)
	failed, err := time.Parse(time.RFC3339Nano, own["failed_at"])
	if errors.Join(append(wrong, err)...) != nil || own["schema"] != schema || own["topic"] == "" {
		l.Foreign, l.Headers, l.ours = true, headers, nil
		return
	}
	l.Source = Place{Topic: own["topic"], Partition: int(partition), Offset: offset}
	l.Origin = offset
	if origin, err := strconv.ParseInt(own["origin_offset"], 10, 64); err == nil && origin >= 0 && origin < offset {
		l.Origin = origin
	}
	l.SourceTime = moment(at)
	l.Group = own["group"]
	l.Reason = Reason{Stage: own["stage"], Category: own["category"], Code: own["code"], Message: own["message"],
		CorrelationID: own["correlation_id"], Attempts: int(attempts)}
	l.FailedAt = failed.UTC()
	l.Redrives, l.Truncated = int(redrives), own["truncated"]
}

// moment is a time in Kafka, which is whatever the producer said; the zero time where no calendar has it.
func moment(ms int64) time.Time {
	if t := time.UnixMilli(ms).UTC(); t.Year() >= 1 && t.Year() <= 9999 {
		return t
	}
	return time.Time{}
}

// back is the headers of the record as it goes back to its topic: its own, and those of the letter, so that it shows
// where it has been. The count of redrives is one more; the next letter keeps it, and replaces the others.
func (l *Letter) back() (headers []kafka.Header) {
	headers = append(headers, l.Headers...)
	for _, h := range l.ours {
		if h.Key != Prefix+"redrive_count" {
			headers = append(headers, h)
		}
	}
	return append(headers, kafka.Header{Key: Prefix + "redrive_count", Value: []byte(strconv.Itoa(l.Redrives + 1))})
}
