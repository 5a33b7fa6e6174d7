package consumer

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// errAnswer is the failure of an answer that does not follow Kafka's protocol. It names no partition.
var errAnswer = errors.New("Kafka's answer is malformed")

// requestFields writes Kafka's fields one after the other. In a flexible version lengths are unsigned varints, and each
// structure ends with its tagged fields.
type requestFields struct {
	b        []byte
	flexible bool
}

func (f *requestFields) int8(v int8)   { f.b = append(f.b, byte(v)) }
func (f *requestFields) int16(v int16) { f.b = binary.BigEndian.AppendUint16(f.b, uint16(v)) }
func (f *requestFields) int32(v int32) { f.b = binary.BigEndian.AppendUint32(f.b, uint32(v)) }
func (f *requestFields) int64(v int64) { f.b = binary.BigEndian.AppendUint64(f.b, uint64(v)) }

func (f *requestFields) bool(v bool) {
	if v {
		f.int8(1)
		return
	}
	f.int8(0)
}

// length is the length of an array.
func (f *requestFields) length(n int) {
	if f.flexible {
		f.b = binary.AppendUvarint(f.b, uint64(n)+1) // 0 is null
		return
	}
	f.int32(int32(n))
}

func (f *requestFields) string(s string) {
	if f.flexible {
		f.b = binary.AppendUvarint(f.b, uint64(len(s))+1)
	} else {
		f.int16(int16(len(s)))
	}
	f.b = append(f.b, s...)
}

func (f *requestFields) id(id topicID) { f.b = append(f.b, id[:]...) }

// noTags ends a structure.
func (f *requestFields) noTags() {
	if f.flexible {
		f.b = append(f.b, 0)
	}
}

// answerFields reads the fields of an answer. What is not there reads as zero, and is a failure.
type answerFields struct {
	fields
	flexible bool
}

func (f *answerFields) int16() int16 { return int16(f.uint16()) }
func (f *answerFields) int32() int32 { return int32(f.uint32()) }
func (f *answerFields) int64() int64 { return int64(binary.BigEndian.Uint64(f.take(8))) }
func (f *answerFields) bool() bool   { return f.take(1)[0] != 0 }

// uvarint reads an unsigned varint, of at most 32 bits.
func (f *answerFields) uvarint() uint64 {
	v, n := binary.Uvarint(f.rest[:min(len(f.rest), binary.MaxVarintLen32)])
	if f.failed || n <= 0 || v > math.MaxUint32 {
		f.failed = true
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

// length is the length of a string, of bytes or of an array; -1 is null. width is that of the length itself, in a
// version that is not flexible.
func (f *answerFields) length(width int) int {
	switch {
	case f.flexible:
		return int(f.uvarint()) - 1
	case width == 2:
		return int(f.int16())
	default:
		return int(f.int32())
	}
}

// count is the length of an array, and 0 for null. Each entry takes at least least bytes, so that an answer cannot name
// more entries than it has room for.
func (f *answerFields) count(least int) int {
	n := max(f.length(4), 0)
	if n > len(f.rest)/least {
		f.failed = true
	}
	if f.failed {
		return 0
	}
	return n
}

// string is empty for null.
func (f *answerFields) string() string {
	n := f.length(2)
	if n <= 0 {
		return ""
	}
	return string(f.take(n))
}

// slice is bytes of the answer itself, not a copy, and nil for null.
func (f *answerFields) slice() []byte {
	n := f.length(4)
	if n < 0 {
		return nil
	}
	b := f.take(n)
	return b[:len(b):len(b)]
}

func (f *answerFields) id() (id topicID) {
	copy(id[:], f.take(len(id)))
	return id
}

// skipInt32s passes over an array.
func (f *answerFields) skipInt32s() { f.take(4 * f.count(4)) }

// skipTags passes over the tagged fields at the end of a structure.
func (f *answerFields) skipTags() { f.tags(func(uint64, *answerFields) {}) }

// tags reads the tagged fields at the end of a structure. One that read does not know is passed over.
func (f *answerFields) tags(read func(tag uint64, value *answerFields)) {
	if !f.flexible {
		return
	}
	for range f.uvarint() {
		tag := f.uvarint()
		value := answerFields{fields{rest: f.take(int(f.uvarint()))}, true}
		if f.failed {
			return
		}
		read(tag, &value)
		f.failed = value.failed
	}
}

// end is the verdict on the whole answer: all fields were there, and nothing follows them.
func (f *answerFields) end(a api, version int16) error {
	switch {
	case f.failed:
		return fmt.Errorf("%w: %s version %d: a field is missing, or a length exceeds the bytes that are left", errAnswer,
			a.key, version)
	case len(f.rest) > 0:
		return fmt.Errorf("%w: %s version %d: %d bytes follow its end", errAnswer, a.key, version, len(f.rest))
	}
	return nil
}

// topicID tells a topic from one of the same name that was created later. It is zero if it is unknown: brokers before
// Kafka 2.8 have none.
type topicID [16]byte

func (id topicID) known() bool { return id != topicID{} }

// String is the form in which Kafka's tools print it.
func (id topicID) String() string {
	return base64.RawURLEncoding.EncodeToString(id[:])
}
