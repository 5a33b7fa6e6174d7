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
func (r *Record) TraceID() string { return string(r.AppendTraceID(make([]byte, 0, len(r.Topic)+24))) }

// AppendTraceID appends the record's trace id. It holds letters, digits, dots, dashes and underscores only, as Kafka
// allows no others in a topic's name.
func (r *Record) AppendTraceID(dst []byte) []byte {
	dst = append(dst, r.Topic...)
	dst = append(dst, '-')
	dst = strconv.AppendInt(dst, int64(r.Partition), 10)
	dst = append(dst, '-')
	return strconv.AppendInt(dst, r.Offset, 10)
}

// age is how long ago the record was written, by its own time; 0 if it has none, or comes from the future.
func (r *Record) age(now time.Time) time.Duration {
	if r.Time.Unix() <= 0 {
		return 0
	}
	return max(0, now.Sub(r.Time))
}

// size is what the record holds of the memory that MaxPendingBytes bounds.
func (r *Record) size() int64 {
	n := recordOverhead + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n)
}

func sizes(recs []Record) (n int64) {
	for i := range recs {
		n += recs[i].size()
	}
	return n
}

// recordOverhead is what a record takes beside its bytes: the Record, its place in the queues, its decoded form.
const recordOverhead = 512

// Settled tells whether Settle was called.
func (r *Record) Settled() bool { return r.settled.Load() }
