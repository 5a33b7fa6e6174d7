package recordbatch

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	zstdMaxBlock  = 128 << 10 // the most bytes that a block inflates to
	zstdMinWindow = 1 << 10   // as the format demands
	zstdMaxWindow = 8 << 20   // as the format's specification recommends to support
	zstdSumLen    = 4
)

// zstdInflater inflates one frame. A frame says how large a window of history its blocks refer to, and the decoder
// allocates that at once: 128 MiB at the highest levels, whatever the content's size. But no block refers to what is
// before the content, so a window as large as the content is always enough, and the blocks' headers bound that. The
// decoder gets a frame header with the smaller window, of at most zstdMaxWindow. If a block refers further back than
// that, the decoder reports it.
type zstdInflater struct {
	decoder *zstd.Decoder
	header  zstd.Header // as the frame has it, but for the window of a frame that has none: that is its content
	head    []byte      // the frame's header, as the decoder gets it, from what was not read of it on
	headBuf [zstd.HeaderMaxSize]byte
	rest    []byte // the frame behind its header
}

func newZstdInflater() *zstdInflater {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdMaxWindow), zstd.WithDecodeBuffersBelow(0), zstd.IgnoreChecksum(true))
	if err != nil {
		panic(err) // only the options can be wrong
	}
	return &zstdInflater{decoder: decoder}
}

func (z *zstdInflater) reset(src []byte) (most int64, err error) {
	h := &z.header
	if err := h.Decode(src); err != nil {
		return 0, err
	}
	if h.Skippable {
		return 0, errors.New("the frame is one to skip")
	}
	z.rest = src[h.HeaderSize:]
	if most, err = z.bound(); err != nil {
		return 0, err
	}
	if h.HasFCS {
		most = int64(min(uint64(most), h.FrameContentSize))
	}
	if h.SingleSegment {
		h.SingleSegment, h.WindowSize = false, max(h.FrameContentSize, zstdMinWindow)
	}
	head := *h
	head.WindowSize = min(h.WindowSize, uint64(max(most, zstdMaxBlock)), zstdMaxWindow)
	if z.head, err = head.AppendTo(z.headBuf[:0]); err != nil {
		return 0, err
	}
	return most, z.decoder.Reset(frameReader{z})
}

// bound returns the most bytes that the frame inflates to. It walks the blocks, each of which begins with three bytes:
// whether it is the last (one bit), its kind (two bits), and its size.
func (z *zstdInflater) bound() (most int64, err error) {
	rest := z.rest
	for last := false; !last; {
		if len(rest) < 3 {
			return 0, errCut
		}
		head := int(rest[0]) | int(rest[1])<<8 | int(rest[2])<<16
		rest = rest[3:]
		last = head&1 != 0
		size, inflated := head>>3, min(head>>3, zstdMaxBlock)
		switch head >> 1 & 3 {
		case 0: // raw
		case 1: // one byte, repeated
			size = 1
		case 2: // compressed
			inflated = zstdMaxBlock
		default:
			return 0, errors.New("a block is of an unknown kind")
		}
		if size > len(rest) {
			return 0, errCut
		}
		most += int64(inflated)
		rest = rest[size:]
	}
	if z.header.HasCheckSum {
		if len(rest) < zstdSumLen {
			return 0, errCut
		}
		rest = rest[zstdSumLen:]
	}
	if len(rest) > 0 {
		return 0, errAfter
	}
	return most, nil
}

func (z *zstdInflater) forget() {
	z.head, z.rest = nil, nil
	_ = z.decoder.Reset(nil)
}

func (z *zstdInflater) Read(p []byte) (int, error) {
	n, err := z.decoder.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && z.header.WindowSize > zstdMaxWindow {
		err = fmt.Errorf("%w; the frame asks for a window of %d bytes, and the reader has %d",
			err, z.header.WindowSize, zstdMaxWindow)
	}
	return n, err
}

// frameReader is where the decoder reads the frame.
type frameReader struct{ z *zstdInflater }

func (f frameReader) Read(p []byte) (int, error) {
	from := &f.z.head
	if len(*from) == 0 {
		from = &f.z.rest
	}
	if len(*from) == 0 {
		return 0, io.EOF
	}
	n := copy(p, *from)
	*from = (*from)[n:]
	return n, nil
}
