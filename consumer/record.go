package consumer

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
)

// Record is one Kafka record on its way through tasksink. Its fields are never changed after it was delivered.
//
// The methods tell the consumer what became of it. They never block, may be called from any goroutine and under
// any lock, and on a Record that no consumer delivered (in a test) they keep only what Settled reports.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	Time      time.Time
	Key       []byte // nil for a record without a key
	Value     []byte // nil for a tombstone
	Headers   []kafka.Header
	Late      bool // its partition was far behind when it was fetched, or an earlier one like that is still on its way

	part    *partition // who delivered it
	settled atomic.Bool
}

// TraceID names the record: topic-partition-offset.
func (r *Record) TraceID() string {
	b := make([]byte, 0, len(r.Topic)+24)
	b = append(b, r.Topic...)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(r.Partition), 10)
	b = append(b, '-')
	return string(strconv.AppendInt(b, r.Offset, 10))
}

// size is what the record holds of the memory that MaxPendingBytes bounds.
func (r *Record) size() int64 {
	n := recordOverhead + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n)
}

// recordOverhead is what a record takes beside its bytes: the Record, its place in the queues, its decoded form.
const recordOverhead = 512

// Settled tells whether Settle was called.
func (r *Record) Settled() bool { return r.settled.Load() }
