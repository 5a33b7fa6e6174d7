package offsetmap

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// The text is "tasksink", the version, ".", and in unpadded base64url: a head, a body, and a checksum. All numbers of
// the head and the checksum are big-endian.
//
//	 0  1  kind of the body
//	 1  8  the first bytes of the cluster id's SHA-256
//	 9  4  the first bytes of the group's SHA-256
//	13 16  the topic's id
//	29  8  the committed offset
//	37  4  the leader epoch
//	41  …  the body
//	-4  4  CRC-32 (IEEE) of "tasksink1." and the bytes before the checksum
const (
	program = "tasksink"
	version = "1"
	prefix  = program + version + "."

	headLen = 1 + clusterLen + groupLen + 16 + 8 + 4
	sumLen  = 4

	maxText  = math.MaxInt16 // Kafka's strings are not longer
	maxBody  = 1 << 20       // bytes, inflated
	maxSpans = 1 << 18
)

// The kinds of bodies. A body with deflated set is compressed by DEFLATE, without a header (RFC 1951).
const (
	// kindRuns: the lengths of runs as uvarints, alternately open and settled. The first is open and begins at the
	// committed offset; the last is settled. None but the first is 0. No body means that nothing is settled.
	kindRuns = 0

	// kindBitmap: bit i%8 of byte i/8 is 1 if the offset committed+i is settled. Bit 0 is the lowest.
	kindBitmap = 1

	deflated = 2
)

var (
	encoding = base64.RawURLEncoding.Strict()
	order    = binary.BigEndian
)

// appendRuns appends a body of kindRuns.
func appendRuns(body []byte, committed int64, spans []Span) []byte {
	end := committed
	for _, s := range spans {
		body = binary.AppendUvarint(body, uint64(s.From-end))
		body = binary.AppendUvarint(body, uint64(s.To-s.From))
		end = s.To
	}
	return body
}

// readRuns reads a body of kindRuns.
func readRuns(body []byte, committed int64) (spans []Span, err error) {
	end := committed
	next := func(least uint64) bool {
		run, n := binary.Uvarint(body)
		if n <= 0 || run < least || run > uint64(math.MaxInt64-end) {
			return false
		}
		body, end = body[n:], end+int64(run)
		return true
	}
	for len(body) > 0 {
		if !next(min(1, uint64(len(spans)))) {
			return nil, damaged("a run of open offsets is malformed")
		}
		from := end
		if !next(1) {
			return nil, damaged("a run of settled offsets is malformed")
		}
		if len(spans) == maxSpans {
			return nil, damaged("there are too many runs")
		}
		spans = append(spans, Span{from, end})
	}
	return spans, nil
}

// bitmapLen is the length of a body of kindBitmap.
func bitmapLen(committed int64, spans []Span) int64 {
	if len(spans) == 0 {
		return 0
	}
	return (spans[len(spans)-1].To-1-committed)/8 + 1
}

// appendBitmap appends a body of kindBitmap, of which bitmapLen must be at most maxBody.
func appendBitmap(body []byte, committed int64, spans []Span) []byte {
	start, end := len(body), len(body)+int(bitmapLen(committed, spans))
	body = slices.Grow(body, end-start)[:end]
	at := body[start:]
	clear(at)
	for _, s := range spans {
		from, to := int(s.From-committed), int(s.To-committed)
		for ; from < to && from%8 != 0; from++ {
			at[from/8] |= 1 << (from % 8)
		}
		for ; from+8 <= to; from += 8 {
			at[from/8] = 0xff
		}
		for ; from < to; from++ {
			at[from/8] |= 1 << (from % 8)
		}
	}
	return body
}

// readBitmap reads a body of kindBitmap.
func readBitmap(body []byte, committed int64) (spans []Span, err error) {
	if int64(len(body))*8 > math.MaxInt64-committed {
		return nil, damaged("the bitmap exceeds the highest offset")
	}
	from, settled := int64(0), false // the span that is being read
	for i, b := range body {
		for at := 0; at < 8; {
			// the bits from at on that are like the last one
			left := b >> at
			if settled {
				left = ^b >> at
			}
			if at += bits.TrailingZeros8(left); at >= 8 {
				break
			}
			edge := committed + int64(i)*8 + int64(at)
			if settled {
				if len(spans) == maxSpans {
					return nil, damaged("there are too many runs")
				}
				spans = append(spans, Span{from, edge})
			}
			from, settled = edge, !settled
		}
	}
	if settled {
		if len(spans) == maxSpans {
			return nil, damaged("there are too many runs")
		}
		spans = append(spans, Span{from, committed + int64(len(body))*8})
	}
	return spans, nil
}
