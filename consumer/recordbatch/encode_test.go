package recordbatch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/consumer/recordbatch"
)

// header is what a batch's header says, with a right length and CRC.
type header struct {
	base           int64
	epoch          int32
	attributes     int16
	lastDelta      int32
	baseTime, time int64
	producer       int64
	count          int32
}

// seal makes a batch of a header and what follows it.
func seal(h header, payload []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(h.base))
	b = binary.BigEndian.AppendUint32(b, uint32(49+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(h.epoch))
	b = append(b, 2, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(h.attributes))
	b = binary.BigEndian.AppendUint32(b, uint32(h.lastDelta))
	b = binary.BigEndian.AppendUint64(b, uint64(h.baseTime))
	b = binary.BigEndian.AppendUint64(b, uint64(h.time))
	b = binary.BigEndian.AppendUint64(b, uint64(h.producer))
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(h.count))
	b = append(b, payload...)
	return reseal(b)
}

// reseal gives a batch the CRC that it should have.
func reseal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// franz encodes a record as franz-go does.
func franz(timeDelta int64, offsetDelta int32, key, value []byte, headers ...kmsg.Header) []byte {
	r := kmsg.NewRecord()
	r.TimestampDelta64, r.OffsetDelta, r.Key, r.Value, r.Headers = timeDelta, offsetDelta, key, value, headers
	r.TimestampDelta = int32(timeDelta)
	r.Length = int32(len(r.AppendTo(nil)) - 1) // the length itself is zero here, of one byte
	return r.AppendTo(nil)
}

var (
	compressors  sync.Once
	compressor   [recordbatch.Zstd + 1]kgo.Compressor
	decompressor = kgo.DefaultDecompressor()
)

// compress compresses as franz-go does.
func compress(t testing.TB, codec recordbatch.Codec, payload []byte) []byte {
	t.Helper()
	if codec == recordbatch.None {
		return payload
	}
	compressors.Do(func() {
		for i, c := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(),
			kgo.ZstdCompression()} {
			var err error
			if compressor[i+1], err = kgo.DefaultCompressor(c); err != nil {
				t.Fatal(err)
			}
		}
	})
	b, _ := compressor[codec].Compress(new(bytes.Buffer), payload)
	return slices.Clone(b)
}

// kafkaGo encodes records as kafka-go does.
func kafkaGo(t testing.TB, codec recordbatch.Codec, records ...protocol.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	set := protocol.RecordSet{Version: 2, Attributes: protocol.Attributes(codec),
		Records: protocol.NewRecordReader(records...)}
	if _, err := set.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()[4:] // the set's size
}

// readAll reads the records of a batch. Each has memory of its own.
func readAll(b *recordbatch.Batch, maxHeaders int) (all []recordbatch.Record, err error) {
	rs := b.Records(maxHeaders)
	defer rs.Close()
	for {
		var r recordbatch.Record
		var buf recordbatch.Buffer
		if err := rs.Next(&r); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return all, err
		}
		if err := rs.Read(&r, &buf); err != nil {
			return all, err
		}
		all = append(all, r)
	}
}

// mustNext returns the only batch of a set.
func mustNext(t testing.TB, set []byte) *recordbatch.Batch {
	t.Helper()
	b, rest, err := recordbatch.Next(set)
	if err != nil || len(rest) > 0 {
		t.Fatal(err, len(rest))
	}
	return &b
}

var codecs = []recordbatch.Codec{recordbatch.None, recordbatch.Gzip, recordbatch.Snappy, recordbatch.LZ4,
	recordbatch.Zstd}
