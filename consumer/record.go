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
	// HeaderCount is how many headers the record has in Kafka. If they are more than MaxHeaders, Headers is nil.
	HeaderCount int
	Late        bool // its partition was far behind when it was fetched

	part         *partition // who delivered it
	done         atomic.Bool
	state        state // this and what follows belongs to the partition's ledger
	out          bool  // on the wire
	older, newer *Record
	trace        *followed // that settles it; nil if none does
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

// age is how long ago the record was written, by its own time; 0 if it has none, or one that cannot be.
func (r *Record) age(now time.Time) time.Duration {
	if !plausible(r.Time) {
		return 0
	}
	return max(0, now.Sub(r.Time))
}

// plausible tells whether a record can have been written at a time. Kafka is from 2011; a producer that gives seconds
// for milliseconds is in 1970.
func plausible(at time.Time) bool { return at.Unix() >= 1_293_840_000 }

// size is what the record holds of the memory that MaxPendingBytes bounds.
func (r *Record) size() int64 {
	n := recordOverhead + len(r.Key) + len(r.Value) + len(r.Headers)*headerOverhead
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return int64(n)
}

// headerOverhead is what a header takes beside its bytes: a string and a slice.
const headerOverhead = 40

func sizes(recs []*Record) (n int64) {
	for _, r := range recs {
		n += r.size()
	}
	return n
}

// recordOverhead is what a record takes beside its bytes: the Record, its place in the queues, its decoded form.
const recordOverhead = 544

// Settled tells whether Settle was called.
func (r *Record) Settled() bool { return r.done.Load() }
