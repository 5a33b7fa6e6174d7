package recordbatch

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
)

// parts inflates a block part by part.
func parts(block []byte) (content []byte, err error) {
	size, n := binary.Uvarint(block)
	if n <= 0 || size > 8<<20 {
		return nil, errSnappyBlock
	}
	var s snappyParts
	if err := s.begin(block[n:], int(size)); err != nil {
		return nil, err
	}
	for {
		part := s.next()
		if len(part) == 0 {
			return content, nil
		}
		content = append(content, part...)
	}
}

func TestSnappyParts(t *testing.T) {
	noise := make([]byte, 200_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for _, content := range [][]byte{nil, []byte("a"), noise, append(noise, noise...), bytes.Repeat([]byte(" "), 5<<20),
		bytes.Repeat([]byte("some words "), 300_000), bytes.Repeat(noise[:30_001], 30)} {
		if got, err := parts(snappy.Encode(nil, content)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes: %v", len(content), err)
		}
	}
	// 9 MiB, whose last byte is a copy of the first
	far := make([]byte, 9<<20)
	block := binary.AppendUvarint(nil, 9<<20+1)
	block = append(append(block, 63<<2), binary.LittleEndian.AppendUint32(nil, 9<<20-1)...)
	block = append(append(block, far...), 0<<2|3)
	block = binary.LittleEndian.AppendUint32(block, 9<<20)
	s := snappyInflater{}
	if _, err := s.reset(block); err != nil {
		t.Fatal(err)
	}
	const want = "refers 9437184 bytes back, and the reader has 8388608"
	if _, err := s.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
}

// FuzzSnappyParts: a block inflates part by part to what the library makes of it as a whole.
func FuzzSnappyParts(f *testing.F) {
	f.Add(snappy.Encode(nil, []byte("some words, some words, some words")))
	f.Add(snappy.Encode(nil, bytes.Repeat([]byte("some words "), 9000)))
	f.Add([]byte{3, 0, 'a', 5, 1})
	f.Fuzz(func(t *testing.T, block []byte) {
		if size, n := binary.Uvarint(block); n <= 0 || size > 8<<20 {
			return
		}
		want, whole := snappy.DecodeStrict(nil, block)
		got, err := parts(block)
		if (err == nil) != (whole == nil) || !bytes.Equal(got, want) {
			t.Errorf("%v, the library: %v; %d bytes, the library: %d", err, whole, len(got), len(want))
		}
	})
}
