package recordbatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pierrec/lz4/v4"
)

// An lz4 frame, field by field. All numbers are little-endian.
//
//	uint32  magic
//	uint8   flags, see below; the upper two bits are the version, 1
//	uint8   bits 4 to 6: the most bytes of a block: 4 = 64 KiB, 5 = 256 KiB, 6 = 1 MiB, 7 = 4 MiB
//	uint64  the size of the content, if the flags say so
//	uint8   a checksum of the flags and what follows them
//	blocks, each of them:
//	  uint32  its size; 0 = no more blocks; the top bit says that it is not compressed
//	  its bytes
//	  uint32  its checksum, if the flags say so
//	uint32  a checksum of the content, if the flags say so
const (
	lz4Magic       = 0x184D2204
	lz4Version     = 0xC0
	lz4Independent = 0x20 // blocks do not refer to earlier blocks
	lz4BlockSum    = 0x10
	lz4ContentSize = 0x08
	lz4ContentSum  = 0x04
	lz4Dictionary  = 0x01

	lz4SumLen       = 4
	lz4Uncompressed = 1 << 31
	lz4History      = 64 << 10 // how far back a block may refer
	lz4Ratio        = 255      // what lz4 yields at most for a byte
)

// lz4Inflater inflates a frame block by block. The library's own reader of frames is not used: when it is reused it
// keeps the last bytes of the frame before, and a malformed frame could refer to them.
type lz4Inflater struct {
	src      []byte // what is left of the frame, from the next block on
	flags    byte
	maxBlock int
	block    []byte // the last block, inflated
	unread   []byte // what was not read of it
	history  []byte // the last bytes of the blocks before, where blocks refer to earlier ones
	ended    bool
}

func (z *lz4Inflater) reset(src []byte) (most int64, err error) {
	z.forget()
	if len(src) < 7 {
		return 0, errCut
	}
	if magic := binary.LittleEndian.Uint32(src); magic != lz4Magic {
		return 0, fmt.Errorf("the frame's magic is %08x", magic)
	}
	z.flags = src[4]
	size := src[5] >> 4 & 7
	if z.flags&lz4Version != 0x40 || z.flags&lz4Dictionary != 0 || size < 4 {
		return 0, fmt.Errorf("the frame's flags are %02x %02x", z.flags, src[5])
	}
	z.maxBlock = 1 << (8 + 2*size)
	src = src[7:]
	if z.flags&lz4ContentSize != 0 {
		if len(src) < 8 {
			return 0, errCut
		}
		src = src[8:]
	}
	z.src = src
	return lz4Ratio * int64(len(src)), nil
}

func (z *lz4Inflater) forget() {
	z.src, z.unread, z.history, z.ended = nil, nil, z.history[:0], false
}

func (z *lz4Inflater) Read(p []byte) (int, error) {
	for len(z.unread) == 0 {
		if z.ended {
			return 0, io.EOF
		}
		if err := z.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, z.unread)
	z.unread = z.unread[n:]
	return n, nil
}

func (z *lz4Inflater) next() error {
	head, err := z.cut(4)
	if err != nil {
		return err
	}
	size := binary.LittleEndian.Uint32(head)
	if size == 0 {
		return z.end()
	}
	compressed := size&lz4Uncompressed == 0
	size &^= lz4Uncompressed
	if int64(size) > int64(z.maxBlock) {
		return fmt.Errorf("a block of %d bytes, where %d are the most", size, z.maxBlock)
	}
	src, err := z.cut(int(size))
	if err != nil {
		return err
	}
	if z.flags&lz4BlockSum != 0 {
		if _, err := z.cut(lz4SumLen); err != nil {
			return err
		}
	}
	z.unread = src
	if compressed {
		most := min(z.maxBlock, lz4Ratio*len(src))
		if cap(z.block) < most {
			z.block = make([]byte, most)
		}
		n, err := lz4.UncompressBlockWithDict(src, z.block[:most], z.history)
		if err != nil {
			return errors.New("a block is malformed")
		}
		z.unread = z.block[:n]
	}
	if z.flags&lz4Independent == 0 {
		z.remember(z.unread)
	}
	return nil
}

// end reads what follows the last block.
func (z *lz4Inflater) end() error {
	if z.flags&lz4ContentSum != 0 {
		if _, err := z.cut(lz4SumLen); err != nil {
			return err
		}
	}
	if len(z.src) > 0 {
		return errAfter
	}
	z.ended = true
	return nil
}

// cut cuts n bytes off the frame.
func (z *lz4Inflater) cut(n int) ([]byte, error) {
	if len(z.src) < n {
		return nil, errCut
	}
	p := z.src[:n]
	z.src = z.src[n:]
	return p, nil
}

// remember keeps as much of the content up to here as the next block may refer to.
func (z *lz4Inflater) remember(block []byte) {
	if len(block) >= lz4History {
		z.history = append(z.history[:0], block[len(block)-lz4History:]...)
		return
	}
	if beyond := len(z.history) + len(block) - lz4History; beyond > 0 {
		z.history = append(z.history[:0], z.history[beyond:]...)
	}
	z.history = append(z.history, block...)
}
