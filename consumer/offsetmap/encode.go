package offsetmap

import (
	"math"
	"math/bits"

	"github.com/klauspost/compress/flate"
)

const (
	small      = 200  // bytes: a raw body that is not larger is not compressed
	muchLarger = 4    // a bitmap that is more than so many times as large as the runs is not tried
	maxTries   = 8    // to find how many spans fit
	goodUse    = 0.97 // of the room: then no more is tried
)

// Encoder writes maps. It keeps its buffers, and is for one goroutine at a time.
type Encoder struct {
	runs, bitmap form
	best         []byte // the longest body that fits
	whole        []byte // head, body and checksum
	text         []byte
	huffman      *flate.Writer // nil until a body is compressed: it takes 300 KiB
}

// form is a body in one of the two forms, as it is and compressed in two ways.
type form struct {
	raw            []byte
	codes, matches sink
}

// Encode returns the metadata, at most limit bytes of ASCII. What does not fit is left out from the far end. A span
// that breaks the rules of Map is left out with all that follow it. left counts the settled offsets that were left out.
// The metadata of a map without settled offsets still holds place, committed offset and epoch; it takes 70 bytes. If
// limit is smaller, or the committed offset negative, the metadata is "".
func (e *Encoder) Encode(at Place, m Map, limit int) (metadata string, left int64) {
	room := encoding.DecodedLen(max(0, min(limit, maxText)-len(prefix))) - headLen - sumLen
	if room < 0 || m.Committed < 0 {
		return "", count(m.Settled)
	}
	kind, fitted := e.fit(m.Committed, m.wellFormed(), room)

	cluster, group := clusterHash(at.Cluster), groupHash(at.Group)
	b := e.whole[:0]
	b = append(b, kind)
	b = append(b, cluster[:]...)
	b = append(b, group[:]...)
	b = append(b, at.Topic[:]...)
	b = order.AppendUint64(b, uint64(m.Committed))
	b = order.AppendUint32(b, uint32(max(m.Epoch, -1)))
	b = append(b, e.best...)
	b = order.AppendUint32(b, checksum(b))
	e.whole = b
	e.text = encoding.AppendEncode(append(e.text[:0], prefix...), b)
	return string(e.text), count(m.Settled[fitted:])
}

// fit sets best to a body of at most room bytes with as many of the spans as a few tries find, and returns its kind and
// how many of the spans it holds. Each try is between the most that fit so far and the fewest that did not, where their
// sizes suggest.
func (e *Encoder) fit(committed int64, spans []Span, room int) (kind byte, fitted int) {
	e.best = e.best[:0]
	spans = encodable(committed, spans)
	tooMany, tooLarge := len(spans)+1, 0.0 // spans that do not fit, and their body's size
	for n, try := len(spans), 0; try < maxTries; try++ {
		k, body := e.shortest(committed, spans[:n], room)
		if len(body) <= room {
			kind, fitted, e.best = k, n, append(e.best[:0], body...)
		} else {
			tooMany, tooLarge = n, float64(len(body))
		}
		size := float64(len(e.best))
		if tooMany-fitted <= 1 || size >= goodUse*float64(room) {
			break
		}
		// a little less than the proportion, so that the next body rather fits
		share := (0.99*float64(room) - size) / (tooLarge - size)
		n = fitted + int(float64(tooMany-fitted)*share)
		n = min(max(n, fitted+1), tooMany-1)
	}
	return kind, fitted
}

// encodable are the first spans: as many as runs can hold in maxBody. A bitmap never holds more: if runs of maxSpans
// exceed maxBody, most are so long that the bitmap does, too.
func encodable(committed int64, spans []Span) []Span {
	size, end := 0, committed
	for i, s := range spans {
		if size += uvarintLen(s.From-end) + uvarintLen(s.To-s.From); size > maxBody {
			return spans[:i]
		}
		end = s.To
	}
	return spans
}

// shortest returns the shortest body that holds the spans, and its kind. Small ones that fit are not compressed.
func (e *Encoder) shortest(committed int64, spans []Span, room int) (kind byte, body []byte) {
	e.runs.raw = appendRuns(e.runs.raw[:0], committed, spans)
	asBitmap := bitmapLen(committed, spans) <= min(maxBody, int64(muchLarger*len(e.runs.raw)))
	size := math.MaxInt
	offer := func(k byte, b []byte) {
		if len(b) < size {
			kind, body, size = k, b, len(b)
		}
	}
	offer(kindRuns, e.runs.raw)
	if asBitmap {
		e.bitmap.raw = appendBitmap(e.bitmap.raw[:0], committed, spans)
		offer(kindBitmap, e.bitmap.raw)
	}
	if size <= min(small, room) {
		return kind, body
	}
	compress := func(k byte, f *form) {
		e.deflate(f)
		offer(k|deflated, f.codes.b)
		offer(k|deflated, f.matches.b)
	}
	compress(kindRuns, &e.runs)
	if asBitmap {
		compress(kindBitmap, &e.bitmap)
	}
	return kind, body
}

// deflate compresses a body in two ways. Huffman codes alone are the shortest for runs of random lengths; matches are
// the shortest for patterns. To search for the best matches gains little, and takes half a second for some bodies.
func (e *Encoder) deflate(f *form) {
	f.codes.b, f.matches.b = f.codes.b[:0], f.matches.b[:0]
	if e.huffman == nil {
		w, err := flate.NewWriter(&f.codes, flate.HuffmanOnly)
		if err != nil {
			panic(err) // only the level can be wrong
		}
		e.huffman = w
	}
	e.huffman.Reset(&f.codes)
	_, _ = e.huffman.Write(f.raw) // a sink takes all
	_ = e.huffman.Close()
	_ = flate.StatelessDeflate(&f.matches, f.raw, true, nil)
}

// sink appends what is written to it.
type sink struct{ b []byte }

func (s *sink) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

func uvarintLen(n int64) int { return (bits.Len64(uint64(n)|1) + 6) / 7 }
