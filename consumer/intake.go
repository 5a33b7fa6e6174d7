package consumer

import (
	"io"

	"github.com/segmentio/kafka-go/protocol"
)

const (
	intakeRecords = 64
	intakeBytes   = 32 << 10
)

// intake gathers records of one partition out of an answer's pages. They share two allocations, one for the records
// and one for their keys and values, and no more is allocated than what they take. Such a group stays in memory until
// the last of its records is settled; as the settled run passes them in order, and all that it has not passed counts
// as pending, that is one group beyond the count for each partition.
type intake struct {
	recs  []protocol.Record // pages and all, until records
	bytes int
	next  int64 // the offset behind the last record that is left out
}

// add gathers a record, and tells whether that makes a group.
func (in *intake) add(rec *protocol.Record) (full bool) {
	if in.recs == nil {
		in.recs = make([]protocol.Record, 0, intakeRecords)
	}
	in.recs = append(in.recs, *rec)
	in.bytes += length(rec.Key) + length(rec.Value)
	return len(in.recs) == intakeRecords || in.bytes >= intakeBytes
}

// records copies what was gathered out of the pages, gives them back, and begins anew.
func (in *intake) records(p *partition) ([]Record, error) {
	all, buf := make([]Record, len(in.recs)), make([]byte, in.bytes)
	var failed error
	for i := range in.recs {
		rec := &in.recs[i]
		r := &all[i]
		r.Topic, r.Partition, r.Offset, r.Time, r.Headers = p.topic, p.id, rec.Offset, rec.Time, rec.Headers
		var err error
		if r.Key, buf, err = copyBytes(buf, rec.Key); err != nil {
			failed = err
		}
		if r.Value, buf, err = copyBytes(buf, rec.Value); err != nil {
			failed = err
		}
		release(rec)
	}
	clear(in.recs)
	in.recs, in.bytes = in.recs[:0], 0
	return all, failed
}

func length(b protocol.Bytes) int {
	if b == nil {
		return 0
	}
	return b.Len()
}

// copyBytes copies b to the front of buf, and returns that and the rest. It is nil only for what Kafka has as null.
func copyBytes(buf []byte, b protocol.Bytes) (own, rest []byte, err error) {
	if b == nil {
		return nil, buf, nil
	}
	n := b.Len()
	_, err = io.ReadFull(b, buf[:n])
	return buf[:n:n], buf[n:], err
}

// release gives a record's pages back.
func release(rec *protocol.Record) {
	if rec.Key != nil {
		_ = rec.Key.Close()
	}
	if rec.Value != nil {
		_ = rec.Value.Close()
	}
}
