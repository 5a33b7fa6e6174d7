package recordbatch

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	snappyWhole     = 1 << 20 // the most bytes that a block is inflated to at once
	snappyMaxWindow = 8 << 20 // the most bytes of history that are kept of a larger block
	snappyPart      = 32 << 10
	snappyMaxCopy   = 64
)

var errSnappyBlock = errors.New("a block is malformed")

// snappyParts inflates a snappy block part by part, where the library can only inflate it as a whole. A block is a row
// of elements: bytes as they are (a literal), or copies of earlier ones, which refer to how far back those are. As
// the format sets no limit to that, all elements are looked at first: they say how much history must be kept.
type snappyParts struct {
	src     []byte // the elements that are left
	literal int    // the bytes that are left of the literal that src begins within
	window  int    // how far back a copy refers
	buf     []byte // the last bytes of the content
}

// begin begins to inflate elements, to size bytes.
func (s *snappyParts) begin(elements []byte, size int) error {
	window, total := 0, 0
	for at := elements; len(at) > 0; {
		head, n, back, ok := snappyElement(at)
		if !ok || n > size-total {
			return errSnappyBlock
		}
		if back == 0 { // a literal
			if head += n; head > len(at) {
				return errSnappyBlock
			}
		}
		if back > total {
			return errSnappyBlock
		}
		window = max(window, back)
		total += n
		at = at[head:]
	}
	if total != size {
		return errSnappyBlock
	}
	if window > snappyMaxWindow {
		return fmt.Errorf("a block refers %d bytes back, and the reader has %d", window, snappyMaxWindow)
	}
	s.src, s.literal, s.window = elements, 0, window
	// Twice the window, so that the history is moved once for each window of content, and not for each part.
	if size := 2*window + snappyPart + snappyMaxCopy; cap(s.buf) < size {
		s.buf = make([]byte, 0, size)
	}
	s.buf = s.buf[:0]
	return nil
}

// next returns the next part, which is overwritten by the next call; nothing at the end. What it reads was looked at
// by begin.
func (s *snappyParts) next() []byte {
	if cap(s.buf)-len(s.buf) < snappyPart+snappyMaxCopy {
		s.buf = s.buf[:copy(s.buf, s.buf[len(s.buf)-s.window:])]
	}
	start := len(s.buf)
	for len(s.src) > 0 && len(s.buf)-start < snappyPart {
		if s.literal > 0 {
			n := min(s.literal, snappyPart-(len(s.buf)-start))
			s.buf = append(s.buf, s.src[:n]...)
			s.src = s.src[n:]
			s.literal -= n
			continue
		}
		head, n, back, _ := snappyElement(s.src)
		s.src = s.src[head:]
		switch from := len(s.buf) - back; {
		case back == 0:
			s.literal = n
		case back >= n:
			s.buf = append(s.buf, s.buf[from:from+n]...)
		default: // the copy refers to its own bytes
			for i := range n {
				s.buf = append(s.buf, s.buf[from+i])
			}
		}
	}
	return s.buf[start:]
}

// snappyElement reads the head of an element. The lower two bits of its first byte are its kind:
//
//	0: a literal. The upper six bits are its length less one, or 59 more than the bytes that follow and hold it.
//	1: a copy. Three bits are its length less four; the upper three and the next byte how far back it refers.
//	2, 3: a copy. The upper six bits are its length less one; the next two or four bytes how far back it refers.
//
// It returns how long the head is, how many bytes the element inflates to, and how far back it refers: 0 for a literal,
// whose bytes follow the head.
func snappyElement(src []byte) (head, n, back int, ok bool) {
	upper := int(src[0] >> 2)
	var next [4]byte // the bytes behind the first, little-endian
	switch kind := src[0] & 3; {
	case kind == 0 && upper < 60:
		return 1, upper + 1, 0, true
	case kind == 0:
		head = upper - 58
	case kind == 1:
		head = 2
	case kind == 2:
		head = 3
	default:
		head = 5
	}
	if head > len(src) {
		return 0, 0, 0, false
	}
	copy(next[:], src[1:head])
	number := int(binary.LittleEndian.Uint32(next[:]))
	switch src[0] & 3 {
	case 0:
		return head, number + 1, 0, true
	case 1:
		n, back = upper&7+4, upper>>3<<8|number
	default:
		n, back = upper+1, number
	}
	return head, n, back, back > 0
}
