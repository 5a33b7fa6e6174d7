package recordbatch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/consumer/recordbatch"
)

// line is what the readers are compared by.
func line(offset, ms int64, key, value []byte, headers string) string {
	part := func(b []byte) string {
		if b == nil {
			return "null"
		}
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%d at %d: %s %s%s", offset, ms, part(key), part(value), headers)
}

// ours reads the records of all batches of a set that are not control batches, up to what is malformed.
func ours(set []byte) (lines []string, batches []recordbatch.Batch, err error) {
	for {
		b, rest, err := recordbatch.Next(set)
		if errors.Is(err, io.EOF) {
			return lines, batches, nil
		}
		if err != nil {
			return lines, batches, err
		}
		batches = append(batches, b)
		records, err := readAll(&b, 1<<20)
		if err != nil {
			return lines, batches, err
		}
		for _, r := range records {
			var headers string
			for _, h := range r.Headers {
				headers += fmt.Sprintf(" %q=%q", h.Key, h.Value)
			}
			if !b.Control {
				lines = append(lines, line(r.Offset, r.Time, r.Key, r.Value, headers))
			}
		}
		set = rest
	}
}

func theirsKafkaGo(set []byte) (lines []string, err error) {
	defer func() { // it panics where a batch says it has many records or headers
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	var rs protocol.RecordSet
	sized := append(binary.BigEndian.AppendUint32(nil, uint32(len(set))), set...)
	if _, err := rs.ReadFrom(bytes.NewBuffer(sized)); err != nil {
		return nil, err
	}
	stream, ok := rs.Records.(*protocol.RecordStream)
	if !ok {
		return nil, nil
	}
	for _, batch := range stream.Records {
		if _, control := batch.(*protocol.ControlBatch); control {
			continue
		}
		for {
			r, err := batch.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return lines, err
			}
			key, err1 := protocol.ReadAll(r.Key)
			value, err2 := protocol.ReadAll(r.Value)
			if err := errors.Join(err1, err2); err != nil {
				return lines, err
			}
			var headers string
			for _, h := range r.Headers {
				headers += fmt.Sprintf(" %q=%q", h.Key, h.Value)
			}
			lines = append(lines, line(r.Offset, r.Time.UnixMilli(), key, value, headers))
		}
	}
	return lines, nil
}

func theirsFranz(set []byte) (lines []string, err error) {
	partition := kmsg.NewFetchResponseTopicPartition()
	partition.RecordBatches = set
	opts := kgo.ProcessFetchPartitionOpts{Topic: "t"}
	fetched, _ := kgo.ProcessFetchPartition(opts, &partition, decompressor, nil)
	for _, r := range fetched.Records {
		var headers string
		for _, h := range r.Headers {
			headers += fmt.Sprintf(" %q=%q", h.Key, h.Value)
		}
		lines = append(lines, line(r.Offset, r.Timestamp.UnixMilli(), r.Key, r.Value, headers))
	}
	return lines, fetched.Err
}

// FuzzReaders: this reader never panics, its errors are of the kinds it promises, and what it accepts, the two others
// read alike. The fuzzer changes a batch's attributes, count, last offset and times, and its records before they are
// compressed (or after, to make malformed frames), and the batch gets a right length and CRC; or it changes the whole.
func FuzzReaders(f *testing.F) {
	h := kmsg.Header{Key: "header", Value: []byte("v")}
	records := append(franz(0, 0, []byte("key"), []byte("value"), h, h), franz(7, 1, nil, []byte{})...)
	for codec := range int16(5) {
		f.Add(codec, int32(1), int64(1_700_000_000_000), int32(2), records, false)
		f.Add(codec, int32(1), int64(0), int32(2), compress(f, recordbatch.Codec(codec), records), true)
	}
	f.Add(int16(1<<3), int32(9), int64(0), int32(2), records, false)
	f.Add(int16(1<<4|1<<5), int32(0), int64(0), int32(1), franz(0, 0, []byte{0, 0, 0, 1}, nil), false)
	f.Add(int16(0), int32(0), int64(0), int32(1), raw(varint(0), varint(0), varint(-1), varint(-1), varint(1<<60)), false)
	f.Add(int16(-1), int32(0), int64(0), int32(0), append(small(), small()...), true)
	f.Add(int16(-1), int32(0), int64(0), int32(0), small()[:70], true)
	f.Fuzz(func(t *testing.T, attributes int16, lastDelta int32, ms int64, count int32, payload []byte, packed bool) {
		if len(payload) > 64<<10 {
			return // the others allocate what hostile input asks for
		}
		set := payload
		if attributes >= 0 {
			if codec := recordbatch.Codec(attributes & 7); !packed && codec <= recordbatch.Zstd {
				payload = compress(t, codec, payload)
			}
			set = seal(header{base: 100, attributes: attributes, lastDelta: lastDelta, baseTime: ms, time: ms + 10,
				count: count}, payload)
		}
		if len(set) >= 61 {
			set = bytes.Clone(set)
			set[22] &^= 1 << 7 // an attribute that is unused; franz-go takes it for "no time"
			set = reseal(set)
		}
		got, batches, err := ours(set)
		var corrupt *recordbatch.CorruptError
		var old *recordbatch.OldFormatError
		switch {
		case errors.Is(err, recordbatch.ErrPartial), err == nil:
		case errors.As(err, &corrupt), errors.As(err, &old):
			return
		default:
			t.Fatalf("an error of another kind: %v", err)
		}
		if len(batches) == 0 {
			return
		}
		asFranz, err := theirsFranz(set)
		if fmt.Sprint(asFranz) != fmt.Sprint(got) && err == nil {
			t.Errorf("franz-go reads\n%s\nthis reader\n%s", asFranz, got)
		}
		for _, b := range batches {
			if b.AppendTime {
				return // kafka-go does not know it
			}
		}
		asKafkaGo, err := theirsKafkaGo(set)
		if fmt.Sprint(asKafkaGo) != fmt.Sprint(got) && err == nil {
			t.Errorf("kafka-go reads\n%s\nthis reader\n%s", asKafkaGo, got)
		}
	})
}
