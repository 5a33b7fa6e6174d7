package recordbatch

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// Codec is how the records of a batch are compressed.
type Codec int8

// The codecs, by their number in a batch's attributes.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

func (c Codec) String() string {
	if names := [...]string{"none", "gzip", "snappy", "lz4", "zstd"}; c >= None && int(c) < len(names) {
		return names[c]
	}
	return strconv.Itoa(int(c))
}

// inflater is the decoder of one codec. It returns io.EOF at the end of what it was reset to, and any other error if
// that is malformed.
type inflater interface {
	io.Reader
	// reset begins to inflate src, and returns the most bytes that src can inflate to. Decoders keep nothing of what
	// they inflated before.
	reset(src []byte) (most int64, err error)
	// forget drops src.
	forget()
}

var (
	errCut   = errors.New("the compressed bytes are cut off")
	errAfter = errors.New("bytes follow the compressed frame")
)

// stream is a pooled decoder, with the window that records are read from.
type stream struct {
	inflater
	codec Codec
	buf   [32 << 10]byte
}

var streams [Zstd + 1]sync.Pool // by codec

func newStream(codec Codec) *stream {
	if s, ok := streams[codec].Get().(*stream); ok {
		return s
	}
	s := &stream{codec: codec}
	switch codec {
	case Gzip:
		s.inflater = new(gzipInflater)
	case Snappy:
		s.inflater = new(snappyInflater)
	case LZ4:
		s.inflater = new(lz4Inflater)
	case Zstd:
		s.inflater = newZstdInflater()
	}
	return s
}

// Read inflates. Unlike what it reads with, it returns io.EOF only at the end, and io.ErrUnexpectedEOF never.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.inflater.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errCut
	}
	return n, err
}

func (s *stream) free() {
	s.forget()
	streams[s.codec].Put(s)
}

// gzipInflater reads a gzip file.
type gzipInflater struct {
	gzip.Reader
	src bytes.Reader
}

const gzipRatio = 1032 // what deflate yields at most: 258 bytes for two bits

func (g *gzipInflater) reset(src []byte) (most int64, err error) {
	g.src.Reset(src)
	return gzipRatio * int64(len(src)), g.Reset(&g.src)
}

func (g *gzipInflater) forget() { g.src.Reset(nil) }
