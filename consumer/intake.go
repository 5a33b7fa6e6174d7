package consumer

import (
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

// intake gathers records of one partition, and then copies them into three allocations that they share: for the
// records, for their keys and values, and for their headers. No more is allocated than what they take. Such a group
// stays in memory until the last of its records is settled; as the settled run passes them in order, and all that it
// has not passed counts as pending, that is one group beyond the count for each partition.
//
// An intake is used again for the next answer.
type intake struct {
	until    time.Time       // when an answer is given up that finds no room
	done     <-chan struct{} // closed when the generation ends
	epoch    int32           // of the batch that the records come from
	gathered []recordbatch.Record
	buffer   recordbatch.Buffer
	bytes    int
	headers  int
}

// add gathers the record that the reader is at, and tells whether that makes a group.
func (in *intake) add(records *recordbatch.Records, rec *recordbatch.Record) (full bool, err error) {
	if err := records.Read(rec, &in.buffer); err != nil {
		return false, err
	}
	in.gathered = append(in.gathered, *rec)
	in.bytes += len(rec.Key) + len(rec.Value)
	in.headers += len(rec.Headers)
	for i := range rec.Headers {
		in.bytes += len(rec.Headers[i].Value)
	}
	return len(in.gathered) == intakeRecords || in.bytes >= intakeBytes, nil
}

// records copies what was gathered, and begins anew. A large record is alone in its buffer, and keeps that.
func (in *intake) records(p *partition) []Record {
	all := make([]Record, len(in.gathered))
	keep := in.bytes > 2*intakeBytes
	var bytes []byte
	if !keep {
		bytes = make([]byte, 0, in.bytes)
	}
	headers := make([]kafka.Header, 0, in.headers)
	own := func(b []byte) []byte {
		if b == nil || keep {
			return b
		}
		bytes = append(bytes, b...)
		return bytes[len(bytes)-len(b) : len(bytes) : len(bytes)]
	}
	for i := range in.gathered {
		from, r := &in.gathered[i], &all[i]
		r.Topic, r.Partition, r.Offset, r.Time = p.topic, p.id, from.Offset, time.UnixMilli(from.Time)
		r.Key, r.Value, r.HeaderCount = own(from.Key), own(from.Value), from.HeaderCount
		for _, h := range from.Headers {
			headers = append(headers, kafka.Header{Key: strings.Clone(h.Key), Value: own(h.Value)})
		}
		if n := len(from.Headers); n > 0 {
			r.Headers = headers[len(headers)-n : len(headers) : len(headers)]
		}
	}
	if keep {
		in.buffer = recordbatch.Buffer{}
	}
	in.forget()
	return all
}

// forget drops what was gathered. What a large record needed is not kept.
func (in *intake) forget() {
	clear(in.gathered)
	in.gathered, in.bytes, in.headers = in.gathered[:0], 0, 0
	clear(in.buffer.Headers)
	in.buffer.Bytes, in.buffer.Headers = in.buffer.Bytes[:0], in.buffer.Headers[:0]
	if cap(in.buffer.Bytes) > 2*intakeBytes {
		in.buffer.Bytes = nil
	}
	if cap(in.buffer.Headers) > 2*MaxHeaders {
		in.buffer.Headers = nil
	}
}
