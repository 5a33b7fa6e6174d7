package recordbatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"unsafe"

	"github.com/segmentio/kafka-go/protocol"
)

// A record, field by field. A varint is zigzag-encoded, in groups of seven bits, the lowest group first.
//
//	varint   length: the bytes of the record behind this field
//	int8     attributes: unused
//	varlong  time delta, to the batch's base time
//	varint   offset delta, to the batch's base offset
//	varint   length of the key, -1 = null; the key
//	varint   length of the value, -1 = null; the value
//	varint   number of headers; for each of them:
//	           varint  length of the header's key, never null; the key
//	           varint  length of the header's value, -1 = null; the value
const (
	maxVarint    = 5  // the most bytes of a varint, which has 32 bits
	maxVarlong   = 10 // the most bytes of a varlong, which has 64 bits
	minHeaderLen = 2  // an empty key and an empty value
)

// Records reads the records of one batch, one after the other.
type Records struct {
	batch      *Batch
	maxHeaders int

	window []byte  // bytes at hand; of a batch that is not compressed, all of it
	at     int     // how many of them were read: to cut them off would be a write of a pointer for each field
	behind int64   // the most bytes that can follow the window
	stream *stream // what inflates the bytes behind the window; nil if there are none

	read   int   // how many records Next has returned
	body   int   // bytes of the present record that were not read yet
	offset int64 // of the present record
	err    error // what ended the batch: every further call returns it
}

// Records returns a reader of the batch's records. A record with more than maxHeaders headers gets none of them. The
// caller either reads on until Next returns an error, or calls Close.
func (b *Batch) Records(maxHeaders int) *Records {
	rs := &Records{batch: b, maxHeaders: maxHeaders, offset: b.BaseOffset - 1}
	if b.Codec == None || len(b.payload) == 0 {
		rs.window = b.payload
		return rs
	}
	rs.stream = newStream(b.Codec)
	var err error
	if rs.behind, err = rs.stream.reset(b.payload); err != nil {
		_ = rs.fail("%s: %v", b.Codec, err)
	}
	return rs
}

// Close ends the reading. It may be called at any time, and more than once.
func (rs *Records) Close() {
	if rs.err == nil {
		rs.err = io.EOF
	}
	rs.window, rs.at = nil, 0
	if rs.stream != nil {
		rs.stream.free()
		rs.stream = nil
	}
}

// Next proceeds to the next record, passes over what was not read of the present one, and sets r's offset, time and
// size. It returns io.EOF when the batch is read, or a *CorruptError. It allocates nothing.
func (rs *Records) Next(r *Record) error {
	if rs.err != nil {
		return rs.err
	}
	if rs.body > 0 {
		if err := rs.pass(rs.body); err != nil {
			return err
		}
	}
	if rs.read == rs.batch.Count {
		return rs.end()
	}
	rs.read++
	rs.body = maxVarint
	length, err := rs.varint(maxVarint)
	if err != nil {
		return err
	}
	if most := int64(len(rs.window)-rs.at) + rs.behind; length < 1 || length > most {
		return rs.fail("record %d has a length of %d, where at most %d bytes are left", rs.read, length, most)
	}
	rs.body = int(length)
	if err := rs.pass(1); err != nil { // the attributes
		return err
	}
	timeDelta, err := rs.varint(maxVarlong)
	if err != nil {
		return err
	}
	offsetDelta, err := rs.varint(maxVarint)
	if err != nil {
		return err
	}
	offset := rs.batch.BaseOffset + offsetDelta
	if offset <= rs.offset || offset > rs.batch.LastOffset {
		return rs.fail("record %d has offset %d, behind %d in a batch that ends at %d",
			rs.read, offset, rs.offset, rs.batch.LastOffset)
	}
	rs.offset = offset
	*r = Record{Offset: offset, Time: rs.batch.BaseTime + timeDelta, Size: int(length)}
	if rs.batch.AppendTime {
		r.Time = rs.batch.MaxTime
	}
	return nil
}

// Read sets the key, value and headers of the record that Next proceeded to. It is called at most once for a record.
// It returns a *CorruptError if the record is malformed, or if the batch ends within it.
func (rs *Records) Read(r *Record, into *Buffer) error {
	if rs.err != nil {
		return rs.err
	}
	var err error
	if r.Key, err = rs.bytes(into); err != nil {
		return err
	}
	if r.Value, err = rs.bytes(into); err != nil {
		return err
	}
	count, err := rs.varint(maxVarint)
	if err != nil {
		return err
	}
	if count < 0 || count > int64(rs.body/minHeaderLen) {
		return rs.fail("record %d says it has %d headers in %d bytes", rs.read, count, rs.body)
	}
	r.HeaderCount = int(count)
	if r.HeaderCount > rs.maxHeaders {
		return nil // Next passes over them
	}
	if count > 0 {
		if err := rs.headers(r, into); err != nil {
			return err
		}
	}
	if rs.body > 0 {
		return rs.fail("record %d has %d bytes behind its last field", rs.read, rs.body)
	}
	return nil
}

func (rs *Records) headers(r *Record, into *Buffer) error {
	into.reserve(rs.body - minHeaderLen*r.HeaderCount) // one array for all of them
	headers := into.takeHeaders(r.HeaderCount)
	for i := range headers {
		key, err := rs.bytes(into)
		if err != nil {
			return err
		}
		if key == nil {
			return rs.fail("record %d has a header whose key is null", rs.read)
		}
		value, err := rs.bytes(into)
		if err != nil {
			return err
		}
		// The buffer's bytes are never changed once they are appended, as a string demands.
		headers[i] = protocol.Header{Key: unsafe.String(unsafe.SliceData(key), len(key)), Value: value}
	}
	r.Headers = headers
	return nil
}

// bytes reads a length and as many bytes.
func (rs *Records) bytes(into *Buffer) ([]byte, error) {
	n, err := rs.varint(maxVarint)
	if err != nil {
		return nil, err
	}
	if n == -1 {
		return nil, nil
	}
	if n < 0 || n > int64(rs.body) {
		return nil, rs.fail("record %d has a field of %d bytes in %d bytes", rs.read, n, rs.body)
	}
	dst := into.take(int(n))
	rs.body -= len(dst)
	have := copy(dst, rs.window[rs.at:])
	rs.at += have
	if have == len(dst) {
		return dst, nil
	}
	if rs.stream == nil {
		return nil, rs.endsWithin()
	}
	got, err := io.ReadFull(rs.stream, dst[have:])
	rs.behind -= int64(got)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, rs.endsWithin()
	case err != nil:
		return nil, rs.broken(err)
	}
	return dst, nil
}

// varint reads a number of at most size bytes out of the present record.
func (rs *Records) varint(size int) (int64, error) {
	most := min(size, rs.body)
	if len(rs.window)-rs.at < most {
		if err := rs.fill(most); err != nil {
			return 0, err
		}
	}
	p := rs.window[rs.at:min(rs.at+most, len(rs.window))]
	if len(p) > 0 && p[0] < 0x80 {
		rs.at++
		rs.body--
		return int64(p[0]>>1) ^ -int64(p[0]&1), nil
	}
	u, n := binary.Uvarint(p)
	switch {
	case n == 0 && len(p) < size:
		return 0, rs.fail("it ends within record %d, or the record within a number", rs.read)
	case n <= 0 || size == maxVarint && u > math.MaxUint32:
		return 0, rs.fail("record %d has a number that is too long", rs.read)
	}
	rs.at += n
	rs.body -= n
	return int64(u>>1) ^ -int64(u&1), nil
}

// pass passes over n bytes of the present record.
func (rs *Records) pass(n int) error {
	for {
		have := min(n, len(rs.window)-rs.at)
		rs.at += have
		rs.body -= have
		if n -= have; n == 0 {
			return nil
		}
		if err := rs.fill(1); err != nil {
			return err
		}
		if rs.at == len(rs.window) {
			return rs.endsWithin()
		}
	}
}

// fill inflates until n bytes are at hand, or the batch ends. Fewer must be at hand, and n be small.
func (rs *Records) fill(n int) error {
	if rs.stream == nil {
		return nil
	}
	buf := rs.stream.buf[:]
	have := copy(buf, rs.window[rs.at:])
	got, err := io.ReadAtLeast(rs.stream, buf[have:], n-have)
	rs.behind -= int64(got)
	rs.window, rs.at = buf[:have+got], 0
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return rs.broken(err)
	}
	return nil
}

// end sees to it that nothing follows the last record.
func (rs *Records) end() error {
	if rs.at == len(rs.window) {
		if err := rs.fill(1); err != nil {
			return err
		}
	}
	if rs.at < len(rs.window) {
		return rs.fail("more bytes follow its %d records", rs.read)
	}
	rs.Close()
	return io.EOF
}

func (rs *Records) endsWithin() error { return rs.fail("it ends within record %d", rs.read) }

// broken ends the batch for an error of its stream.
func (rs *Records) broken(err error) error {
	return rs.fail("%s: %v", rs.batch.Codec, err)
}

// fail ends the batch.
func (rs *Records) fail(format string, args ...any) error {
	rs.err = &CorruptError{Offset: rs.batch.BaseOffset, Why: fmt.Sprintf(format, args...)}
	rs.Close()
	return rs.err
}
