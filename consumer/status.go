package consumer

import (
	"cmp"
	"slices"
	"time"
)

// Status is what a Consumer shows of itself.
type Status struct {
	Joined       bool              `json:"joined"` // a member of the group
	Draining     bool              `json:"draining"`
	Partitions   []PartitionStatus `json:"partitions"`
	Pending      int               `json:"pending"` // records in memory
	PendingBytes int64             `json:"pending_bytes"`
	Arrived      int64             `json:"arrived"` // records that came to our partitions while they were ours
	Lost         int64             `json:"lost"`    // records deleted by retention before they were read
	Skipped      int64             `json:"skipped"` // offsets that an earlier owner of the partition had settled
	Rebalances   int64             `json:"rebalances"`
	// Restarted and Truncated count how often a partition's log turned out to be another one: its topic was deleted and
	// created again, or it was truncated below what was read of it.
	Restarted    int64            `json:"restarted_partitions"`
	Truncated    int64            `json:"truncated_partitions"`
	CommitErrors int64            `json:"commit_errors"` // commits that failed and were tried again
	Consumed     map[string]int64 `json:"consumed"`      // records delivered, by topic
}

// PartitionStatus is one partition of this member.
type PartitionStatus struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Committed int64  `json:"committed"`     // offset; -1 if nothing was ever committed
	Position  int64  `json:"position"`      // all below it is settled
	End       int64  `json:"end"`           // the log's, as of the last look; -1 before the first
	Lag       *int64 `json:"lag,omitempty"` // records not settled yet; absent while the log's end is unknown
	// LagSeconds is the age of the oldest record that is not settled; 0 if there is none. While that one is not in memory
	// yet, it is the time since it was noticed.
	LagSeconds float64 `json:"lag_seconds"`
	Open       int     `json:"open"` // records in memory that are not settled
	// SettledBeyond is how many offsets beyond Committed the commit's metadata has as settled: they are not sent again.
	SettledBeyond int64 `json:"settled_beyond"`
	// OpenRetentionSeconds is how long it is until the topic's retention reaches the oldest open record; 0 if it has.
	// Absent without such a record, if the topic deletes none by its age, and if its configuration may not be read.
	OpenRetentionSeconds *float64 `json:"open_retention_seconds,omitempty"`
	Problem              *Problem `json:"problem"` // null: the partition is healthy
}

// Status tells where the Consumer stands. Partitions is never nil.
func (c *Consumer) Status() Status {
	st := Status{Partitions: []PartitionStatus{}, Arrived: c.arrived.Load(), Lost: c.lost.Load(),
		Skipped:    c.skipped.Load(),
		Rebalances: c.rebalances.Load(), Restarted: c.restarted.Load(), Truncated: c.truncated.Load(),
		CommitErrors: c.commitErrors.Load(), Consumed: map[string]int64{}}
	for topic, n := range c.consumed {
		st.Consumed[topic] = n.Load()
	}
	st.Pending, st.PendingBytes = c.room.usage()
	g, _ := c.generation()
	if g == nil {
		return st
	}
	st.Joined, st.Draining = !g.over(), g.draining.Load()
	now := time.Now()
	for _, p := range g.parts {
		s := p.status(now)
		s.OpenRetentionSeconds = g.c.openRetention(p, now)
		st.Partitions = append(st.Partitions, s)
	}
	slices.SortFunc(st.Partitions, func(x, y PartitionStatus) int {
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
	})
	return st
}

// Reserve takes memory of --max-pending-bytes for something else than records, or gives it back if bytes is negative.
// It does not wait: fetching does.
func (c *Consumer) Reserve(bytes int64) { c.room.reserve(bytes) }
