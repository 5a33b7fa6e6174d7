package kafkatest

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// StoredCommit is a commit that the group's coordinator has stored.
type StoredCommit struct {
	Topic     string
	Partition int
	Offset    int64
	Metadata  string
	Time      time.Time
	Bytes     int // of key and value in Kafka's own topic
}

// Commits returns all commits of a group that Apache Kafka still has in its own topic, in the order in which they were
// stored.
func (b *Broker) Commits(t testing.TB, group string) (all []StoredCommit) {
	t.Helper()
	for _, msg := range b.ReadAll(t, "__consumer_offsets") {
		var key kmsg.OffsetCommitKey
		if len(msg.Key) < 2 || msg.Key[0] != 0 || msg.Key[1] > 1 || msg.Value == nil { // another kind, or a deletion
			continue
		}
		var value kmsg.OffsetCommitValue
		if err := key.ReadFrom(msg.Key); err != nil {
			t.Fatalf("read a commit's key: %v", err)
		}
		if key.Group != group {
			continue
		}
		if err := value.ReadFrom(msg.Value); err != nil {
			t.Fatalf("read a commit: %v", err)
		}
		all = append(all, StoredCommit{key.Topic, int(key.Partition), value.Offset, value.Metadata,
			time.UnixMilli(value.CommitTimestamp), len(msg.Key) + len(msg.Value)})
	}
	slices.SortStableFunc(all, func(a, b StoredCommit) int { return a.Time.Compare(b.Time) })
	return all
}
