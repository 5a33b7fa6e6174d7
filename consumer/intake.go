package consumer

import (
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/consumer/recordbatch"
)

const (
	intakeRecords = 64
	intakeBytes   = 32 << 10
)

// MaxHeaders is how many headers a Record has at the most. A record with more is no task event, and its Record has
// none.
const MaxHeaders = 1000

// intake gathers records of one partition, and then copies them, slab by slab, into three allocations that the records
// of a slab share: for the records, for their keys and values, and for their headers. No more is allocated than what
// they take. A slab stays in memory until the last of its records is settled. The room counts each record by itself,
// and gets its place back when it is settled; so while single records stay open, memory holds up to slab times what is
// counted.
//
// An intake is used again for the next answer.
type intake struct {
	until    time.Time       // when an answer is given up that finds no room
	done     <-chan struct{} // closed when the generation ends
	epoch    int32           // of the batch that the records come from
	gathered []recordbatch.Record
	buffer   recordbatch.Buffer
	bytes    int
}

// add gathers the record that the reader is at, and tells whether that makes a group.
func (in *intake) add(records *recordbatch.Records, rec *recordbatch.Record) (full bool, err error) {
	if err := records.Read(rec, &in.buffer); err != nil {
		return false, err
	}
	in.gathered = append(in.gathered, *rec)
	in.bytes += len(rec.Key) + len(rec.Value)
	for i := range rec.Headers {
		in.bytes += len(rec.Headers[i].Value)
	}
	return len(in.gathered) == intakeRecords || in.bytes >= intakeBytes, nil
}

// records copies what was gathered, and begins anew. A large record is alone in its buffer, and keeps that.
func (in *intake) records(p *partition) []*Record {
	all := make([]*Record, 0, len(in.gathered))
	if in.bytes > 2*intakeBytes {
		all = appendSlab(all, p, in.gathered, func(b []byte) []byte { return b })
		in.buffer = recordbatch.Buffer{}
	} else {
		for some := range slices.Chunk(in.gathered, slab) {
			all = appendCopied(all, p, some)
		}
	}
	in.forget()
	return all
}

// slab is how many records share their memory.
const slab = 8

// appendCopied appends records whose keys, values and headers are copied into one buffer.
func appendCopied(all []*Record, p *partition, from []recordbatch.Record) []*Record {
	size := 0
	for i := range from {
		size += len(from[i].Key) + len(from[i].Value)
		for _, h := range from[i].Headers {
			size += len(h.Value)
		}
	}
	bytes := make([]byte, 0, size)
	return appendSlab(all, p, from, func(b []byte) []byte {
		if b == nil {
			return nil
		}
		bytes = append(bytes, b...)
		return bytes[len(bytes)-len(b) : len(bytes) : len(bytes)]
	})
}

// appendSlab appends records that share two allocations, and the bytes that own returns.
func appendSlab(all []*Record, p *partition, from []recordbatch.Record, own func([]byte) []byte) []*Record {
	records, n := make([]Record, len(from)), 0
	for i := range from {
		n += len(from[i].Headers)
	}
	headers := make([]kafka.Header, 0, n)
	for i := range from {
		f, r := &from[i], &records[i]
		r.Topic, r.Partition, r.Offset, r.Time = p.topic, p.id, f.Offset, time.UnixMilli(f.Time)
		r.Key, r.Value, r.HeaderCount = own(f.Key), own(f.Value), f.HeaderCount
		for _, h := range f.Headers {
			headers = append(headers, kafka.Header{Key: strings.Clone(h.Key), Value: own(h.Value)})
		}
		if n := len(f.Headers); n > 0 {
			r.Headers = headers[len(headers)-n : len(headers) : len(headers)]
		}
		all = append(all, r)
	}
	return all
}

// forget drops what was gathered. What a large record needed is not kept.
func (in *intake) forget() {
	clear(in.gathered)
	in.gathered, in.bytes = in.gathered[:0], 0
	clear(in.buffer.Headers)
	in.buffer.Bytes, in.buffer.Headers = in.buffer.Bytes[:0], in.buffer.Headers[:0]
	if cap(in.buffer.Bytes) > 2*intakeBytes {
		in.buffer.Bytes = nil
	}
	if cap(in.buffer.Headers) > 2*MaxHeaders {
		in.buffer.Headers = nil
	}
}
