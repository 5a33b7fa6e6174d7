package recordbatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// The header of a batch, and where each field begins in it. All numbers are big-endian.
const (
	atBaseOffset      = 0  // int64: the offset that the records' offset deltas are added to
	atLength          = 8  // int32: the bytes of the batch behind this field
	atLeaderEpoch     = 12 // int32: the epoch of the leader that appended the batch; not covered by the CRC
	atMagic           = 16 // int8: the format, 2; formats 0 and 1 have their magic in the same place
	atCRC             = 17 // uint32: CRC-32C of all that follows
	atAttributes      = 21 // int16: see below
	atLastOffsetDelta = 23 // int32: the last offset, even if compaction removed its record, less the base offset
	atBaseTime        = 27 // int64: the time that the records' time deltas are added to
	atMaxTime         = 35 // int64: the largest time of a record, or the time of the append
	atProducerID      = 43 // int64: of an idempotent or transactional producer, else -1
	// int16 producer epoch at 51, int32 base sequence at 53: only brokers need them
	atCount   = 57 // int32: the number of records
	headerLen = 61

	lengthFrom = atLeaderEpoch // what the length counts from
)

// The bits of a batch's attributes. Bit 6 says that the base time is a horizon of deletion; time deltas are relative to
// it all the same. The bits above are unused, and readers ignore them.
const (
	attrCodec         = 0x07
	attrAppendTime    = 1 << 3
	attrTransactional = 1 << 4
	attrControl       = 1 << 5
)

// ErrPartial says that a set ends within a batch: a broker cuts its answer where the byte limit is. The broker never
// cuts the first batch of an answer, so a set that begins with a partial batch is corrupt.
var ErrPartial = errors.New("the last batch of the answer is cut off")

// CorruptError says that a batch, or a record in it, is not what Kafka's format allows.
type CorruptError struct {
	Offset int64 // the batch's base offset; the CRC does not cover it
	Why    string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("the batch at offset %d is corrupt: %s", e.Offset, e.Why)
}

// OldFormatError says that a batch has format v0 or v1.
type OldFormatError struct {
	Magic  int8
	Offset int64
}

func (e *OldFormatError) Error() string {
	return fmt.Sprintf("the batch at offset %d has record format v%d; only v2 is supported", e.Offset, e.Magic)
}

// Batch is one batch of a set. It refers to the set's bytes, which must not change while the batch is in use.
type Batch struct {
	BaseOffset    int64
	LastOffset    int64 // the last offset that the batch covers, even if compaction removed its record
	LeaderEpoch   int32
	Codec         Codec
	AppendTime    bool  // the broker set the time at the append: every record's time is MaxTime
	BaseTime      int64 // in ms since 1970; -1 = none
	MaxTime       int64 // in ms since 1970; -1 = none
	ProducerID    int64 // -1 = none
	Transactional bool
	Control       bool // its record is no data. Its key is int16 version, int16 type: 0 = abort, 1 = commit
	Count         int  // how many records it says it has; not checked before they are read: allocate nothing by it
	Size          int  // its bytes on the wire, compressed, with its header

	payload []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Next returns the first batch of a set, and the rest of the set. It returns io.EOF if the set is empty, ErrPartial if
// the set ends within the batch, a *CorruptError, or an *OldFormatError.
func Next(set []byte) (b Batch, rest []byte, err error) {
	if len(set) == 0 {
		return Batch{}, nil, io.EOF
	}
	if len(set) <= atMagic {
		return Batch{}, set, ErrPartial
	}
	base := int64(binary.BigEndian.Uint64(set[atBaseOffset:]))
	corrupt := func(format string, args ...any) (Batch, []byte, error) {
		return Batch{}, set, &CorruptError{Offset: base, Why: fmt.Sprintf(format, args...)}
	}
	switch magic := int8(set[atMagic]); magic {
	case 2:
	case 0, 1:
		return Batch{}, set, &OldFormatError{Magic: magic, Offset: base}
	default:
		return corrupt("its magic is %d", magic)
	}
	length := int64(int32(binary.BigEndian.Uint32(set[atLength:])))
	if length < headerLen-lengthFrom {
		return corrupt("its length is %d, less than a header", length)
	}
	if int64(len(set)) < lengthFrom+length {
		return Batch{}, set, ErrPartial
	}
	raw, rest := set[:lengthFrom+length], set[lengthFrom+length:]
	want := binary.BigEndian.Uint32(raw[atCRC:])
	if is := crc32.Checksum(raw[atAttributes:], castagnoli); is != want {
		return corrupt("its CRC-32C is %08x, not %08x as its header says", is, want)
	}
	attributes := binary.BigEndian.Uint16(raw[atAttributes:])
	delta := int64(int32(binary.BigEndian.Uint32(raw[atLastOffsetDelta:])))
	b = Batch{
		BaseOffset:    base,
		LastOffset:    base + delta,
		LeaderEpoch:   int32(binary.BigEndian.Uint32(raw[atLeaderEpoch:])),
		Codec:         Codec(attributes & attrCodec),
		AppendTime:    attributes&attrAppendTime != 0,
		BaseTime:      int64(binary.BigEndian.Uint64(raw[atBaseTime:])),
		MaxTime:       int64(binary.BigEndian.Uint64(raw[atMaxTime:])),
		ProducerID:    int64(binary.BigEndian.Uint64(raw[atProducerID:])),
		Transactional: attributes&attrTransactional != 0,
		Control:       attributes&attrControl != 0,
		Count:         int(int32(binary.BigEndian.Uint32(raw[atCount:]))),
		Size:          len(raw),
		payload:       raw[headerLen:],
	}
	switch {
	case base < 0 || base > math.MaxInt64-math.MaxInt32:
		return corrupt("its base offset is out of range")
	case b.Codec > Zstd:
		return corrupt("its codec is %d", b.Codec)
	case delta < 0:
		return corrupt("its last offset is %d", b.LastOffset)
	case b.Count < 0 || int64(b.Count) > delta+1:
		return corrupt("it has %d records at %d offsets", b.Count, delta+1)
	}
	return b, rest, nil
}
