package recordbatch

import "github.com/segmentio/kafka-go/protocol"

// Record is one record of a batch. Records.Next sets its first fields, Records.Read the others.
type Record struct {
	Offset int64
	Time   int64 // in ms since 1970; -1 = none. The time of the append if the batch has it
	Size   int   // its bytes inside the batch: its key, value and headers together are shorter

	Key         []byte // nil for null
	Value       []byte // nil for null
	Headers     []protocol.Header
	HeaderCount int // how many it has; if they are more than the limit given to Batch.Records, Headers is nil
}

// Buffer is where Read puts records: it appends keys, values and headers. A record's slices point into the buffer, so
// bytes that were appended must not be changed while the record is in use. Where Read finds too little capacity, it
// leaves the old array to the records in it, and begins a new array of the size needed. A buffer with free capacity
// for Record.Size bytes takes any record of that size without allocating bytes.
type Buffer struct {
	Bytes   []byte
	Headers []protocol.Header
}

func (b *Buffer) reserve(n int) {
	if cap(b.Bytes)-len(b.Bytes) < n {
		b.Bytes = make([]byte, 0, n)
	}
}

func (b *Buffer) take(n int) []byte {
	if n == 0 {
		return []byte{} // not nil: it is empty, not null
	}
	b.reserve(n)
	start := len(b.Bytes)
	b.Bytes = b.Bytes[:start+n]
	return b.Bytes[start : start+n : start+n]
}

func (b *Buffer) takeHeaders(n int) []protocol.Header {
	if cap(b.Headers)-len(b.Headers) < n {
		b.Headers = make([]protocol.Header, 0, n)
	}
	start := len(b.Headers)
	b.Headers = b.Headers[:start+n]
	return b.Headers[start : start+n : start+n]
}
