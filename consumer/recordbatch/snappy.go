package recordbatch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
)

// xerial is how Java's snappy streams begin: eight bytes of magic, here, then an int32 version and an int32 oldest
// compatible version. Blocks follow, each behind its int32 length. Other producers write one block, with no frame.
var xerial = []byte("\x82SNAPPY\x00")

const (
	xerialHeaderLen = 16
	snappyRatio     = 22      // what snappy yields at most: 64 bytes for three
	snappyKept      = 1 << 20 // the most bytes that a pooled decoder keeps
)

// snappyInflater inflates block by block, and a large block part by part.
type snappyInflater struct {
	src    []byte // the blocks that are left
	framed bool
	block  []byte // the last one, inflated
	parts  snappyParts
	unread []byte // what was not read of the block or part
}

func (s *snappyInflater) reset(src []byte) (most int64, err error) {
	s.framed = len(src) >= xerialHeaderLen && bytes.HasPrefix(src, xerial)
	if s.framed {
		src = src[xerialHeaderLen:]
	}
	s.forget()
	s.src = src
	return snappyRatio * int64(len(src)), nil
}

func (s *snappyInflater) forget() {
	s.src, s.unread = nil, nil
	s.parts.src = nil
	if cap(s.parts.buf) > snappyKept {
		s.parts.buf = nil
	}
}

func (s *snappyInflater) Read(p []byte) (int, error) {
	for len(s.unread) == 0 {
		if len(s.parts.src) > 0 {
			s.unread = s.parts.next()
			continue
		}
		if len(s.src) == 0 {
			return 0, io.EOF
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.unread)
	s.unread = s.unread[n:]
	return n, nil
}

func (s *snappyInflater) next() error {
	src := s.src
	s.src = nil
	if s.framed {
		if len(src) < 4 {
			return errCut
		}
		size := int64(int32(binary.BigEndian.Uint32(src)))
		src = src[4:]
		if size < 0 || size > int64(len(src)) {
			return fmt.Errorf("a block of %d bytes, where %d are left", size, len(src))
		}
		src, s.src = src[:size], src[size:]
	}
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return err
	}
	if n > snappyRatio*len(src) {
		return fmt.Errorf("a block of %d bytes says that it inflates to %d", len(src), n)
	}
	if n > snappyWhole {
		_, head := binary.Uvarint(src)
		return s.parts.begin(src[head:], n)
	}
	if s.block, err = snappy.Decode(s.block[:cap(s.block)], src); err != nil {
		return err
	}
	s.unread = s.block
	return nil
}
