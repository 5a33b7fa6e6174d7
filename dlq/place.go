package dlq

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Place is where a record stands in Kafka.
type Place struct {
	Topic     string
	Partition int
	Offset    int64
}

// String is topic/partition/offset, as ParsePlace reads it.
func (p Place) String() string { return fmt.Sprintf("%s/%d/%d", p.Topic, p.Partition, p.Offset) }

// Compare is the order in which letters are read: by topic, partition and offset.
func (p Place) Compare(q Place) int {
	return cmp.Or(strings.Compare(p.Topic, q.Topic), cmp.Compare(p.Partition, q.Partition),
		cmp.Compare(p.Offset, q.Offset))
}

// ParsePlace reads topic/partition/offset. The topic may be left out if there is only one that can be meant.
func ParsePlace(text string, topics []string) (Place, error) {
	parts := strings.Split(text, "/")
	if len(parts) == 2 && len(topics) == 1 {
		parts = append(topics, parts...)
	}
	if len(parts) == 3 {
		partition, err := strconv.ParseUint(parts[1], 10, 31)
		offset, err2 := strconv.ParseUint(parts[2], 10, 63)
		if err == nil && err2 == nil && parts[0] != "" {
			return Place{Topic: parts[0], Partition: int(partition), Offset: int64(offset)}, nil
		}
	}
	if len(topics) == 1 {
		return Place{}, fmt.Errorf("%q is no letter's place: write partition/offset, as tasksink dlq list shows them", text)
	}
	return Place{}, fmt.Errorf("%q is no letter's place: write topic/partition/offset, as there are several dead-letter "+
		"topics", text)
}

// Filter selects letters. What is empty or zero selects all.
type Filter struct {
	Topic    string // where the record came from
	Stage    string
	Category string
	Code     string
	Since    time.Time // failed then or later
	Until    time.Time // failed before
}

// Takes tells whether the filter selects the letter.
func (f Filter) Takes(l *Letter) bool {
	return (f.Topic == "" || f.Topic == l.Source.Topic) && (f.Stage == "" || f.Stage == l.Reason.Stage) &&
		(f.Category == "" || f.Category == l.Reason.Category) && (f.Code == "" || f.Code == l.Reason.Code) &&
		(f.Since.IsZero() || !l.FailedAt.Before(f.Since)) && (f.Until.IsZero() || l.FailedAt.Before(f.Until))
}
