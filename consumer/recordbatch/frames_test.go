package recordbatch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/tasksink/tasksink/consumer/recordbatch"
)

// TestOtherEncoders reads frames as other producers write them: Java's snappy, lz4 with all its checksums, and zstd
// with its content's size or without.
func TestOtherEncoders(t *testing.T) {
	payload := franz(0, 0, nil, bytes.Repeat([]byte("task "), 100_000))
	xerial := append([]byte("\x82SNAPPY\x00"), 0, 0, 0, 1, 0, 0, 0, 1)
	for rest := payload; len(rest) > 0; {
		n := min(len(rest), 32<<10)
		block := snappy.Encode(nil, rest[:n])
		xerial = append(binary.BigEndian.AppendUint32(xerial, uint32(len(block))), block...)
		rest = rest[n:]
	}
	var checked bytes.Buffer
	w := lz4.NewWriter(&checked)
	if err := w.Apply(lz4.BlockChecksumOption(true), lz4.ChecksumOption(true), lz4.BlockSizeOption(lz4.Block64Kb),
		lz4.SizeOption(uint64(len(payload)))); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(payload); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	wide, err := zstd.NewWriter(nil, zstd.WithWindowSize(128<<20), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	single, err := zstd.NewWriter(nil, zstd.WithWindowSize(128<<20), zstd.WithSingleSegment(true))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		codec recordbatch.Codec
		bytes []byte
	}{
		{"xerial", recordbatch.Snappy, xerial},
		{"lz4 with checksums", recordbatch.LZ4, checked.Bytes()},
		{"zstd, several blocks", recordbatch.Zstd, wide.EncodeAll(payload, nil)},
		{"zstd, single segment", recordbatch.Zstd, single.EncodeAll(payload, nil)},
	} {
		got, err := readAll(mustNext(t, seal(header{attributes: int16(c.codec), count: 1}, c.bytes)), 0)
		if err != nil || len(got) != 1 || len(got[0].Value) != 500_000 || !bytes.Contains(payload, got[0].Value) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestLinkedLZ4: a block of lz4 may refer to the blocks before it, as far as 64 KiB back.
func TestLinkedLZ4(t *testing.T) {
	noise := make([]byte, 40<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	again := noise[10<<10 : 10<<10+19+255] // what the second and third block refer to
	content := slices.Concat(noise, again, []byte("x"), again, []byte("y"))
	head := franz(0, 0, nil, content)
	head = head[:len(head)-len(content)-1]
	block := func(size int, parts ...[]byte) []byte {
		return slices.Concat(binary.LittleEndian.AppendUint32(nil, uint32(size)), slices.Concat(parts...))
	}
	match := func(back int, literal byte) []byte { // a match of 19+255 bytes, and a literal
		return []byte{0x0f, byte(back), byte(back >> 8), 255, 0, 0x10, literal}
	}
	frame := slices.Concat([]byte("\x04\x22\x4d\x18\x40\x40\x00"),
		block(1<<31|len(head)+len(noise), head, noise),
		block(7, match(30<<10, 'x')),
		block(7, match(30<<10+len(again)+1, 'y')),
		block(1<<31|1, []byte{0}), // no headers
		block(0))
	got, err := readAll(mustNext(t, seal(header{attributes: int16(recordbatch.LZ4), count: 1}, frame)), 0)
	if err != nil || len(got) != 1 || !bytes.Equal(got[0].Value, content) {
		t.Error(err)
	}
}

// TestMalformedFrames: compressed bytes that are cut, or have something behind them, or are no such thing.
func TestMalformedFrames(t *testing.T) {
	payload := franz(0, 0, []byte("key"), bytes.Repeat([]byte("value "), 20))
	for _, codec := range codecs[1:] {
		whole := compress(t, codec, payload)
		broken := map[string][]byte{"trailing": append(bytes.Clone(whole), 0), "twice": append(bytes.Clone(whole), whole...),
			"none": payload}
		if codec == recordbatch.Gzip {
			delete(broken, "twice") // a gzip file may have several members: that is one record too many
		}
		for n := 1; n < len(whole); n++ {
			broken[fmt.Sprint("cut at ", n)] = whole[:n]
		}
		for name, frame := range broken {
			_, err := readAll(mustNext(t, seal(header{attributes: int16(codec), count: 1}, frame)), 0)
			var corrupt *recordbatch.CorruptError
			if !errors.As(err, &corrupt) {
				t.Errorf("%s, %s: %v", codec, name, err)
			}
		}
	}
}

// TestHostileFrames: bombs and claims that the input does not justify.
func TestHostileFrames(t *testing.T) {
	for _, c := range []struct {
		name, want string
		codec      recordbatch.Codec
		bytes      []byte
	}{
		{"snappy of 2 GiB", "snappy: a block of 6 bytes says that it inflates to 2147483647", recordbatch.Snappy, append(binary.AppendUvarint(nil, math.MaxInt32), 0)},
		{"xerial block", "snappy: a block of -1 bytes, where 0 are left", recordbatch.Snappy, []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xff")},
		{"lz4 block", "lz4: a block of 2147483647 bytes, where 65536 are the most", recordbatch.LZ4, []byte("\x04\x22\x4d\x18\x60\x40\x00\xff\xff\xff\x7f")},
		{"lz4, far back", "lz4: a block is malformed", recordbatch.LZ4, []byte("\x04\x22\x4d\x18\x40\x40\x00\x04\x00\x00\x00\x0f\x00\x80\x00\x00\x00\x00\x00")},
		{"lz4 legacy", "lz4: the frame's magic is 184c2102", recordbatch.LZ4, []byte("\x02\x21\x4c\x18\x60\x40\x00")},
		{"lz4 dictionary", "lz4: the frame's flags are 61 40", recordbatch.LZ4, []byte("\x04\x22\x4d\x18\x61\x40\x00")},
		{"zstd to skip", "zstd: the frame is one to skip", recordbatch.Zstd, []byte("\x50\x2a\x4d\x18\xff\xff\xff\xff")},
		{"zstd of no kind", "zstd: a block is of an unknown kind", recordbatch.Zstd, []byte("\x28\xb5\x2f\xfd\x00\x00\x07\x00\x00")},
	} {
		_, err := readAll(mustNext(t, seal(header{attributes: int16(c.codec), count: 1}, c.bytes)), 0)
		var corrupt *recordbatch.CorruptError
		if !errors.As(err, &corrupt) || corrupt.Why != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// A record that says it is larger than what is left can inflate to.
	for _, codec := range codecs {
		payload := raw(varint(0), varint(0), varint(-1), varint(1<<30))
		payload = append(varint(1<<30+100), payload[1:]...)
		b := mustNext(t, seal(header{attributes: int16(codec), count: 1}, compress(t, codec, payload)))
		err := b.Records(0).Next(new(recordbatch.Record))
		if err == nil || !strings.Contains(err.Error(), "a length of 1073741924, where at most") {
			t.Error(codec, err)
		}
	}
}

// TestWideWindow: a zstd frame that refers further back than the reader keeps is refused, with the reason.
func TestWideWindow(t *testing.T) {
	noise := make([]byte, 9<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	payload := franz(0, 0, nil, append(noise, noise...))
	wide, err := zstd.NewWriter(nil, zstd.WithWindowSize(32<<20), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		t.Fatal(err)
	}
	frame := wide.EncodeAll(payload, nil)
	if len(frame) > 15<<20 {
		t.Skip("the encoder did not look back that far")
	}
	_, err = readAll(mustNext(t, seal(header{attributes: int16(recordbatch.Zstd), count: 1}, frame)), 0)
	if err == nil || !strings.Contains(err.Error(), "asks for a window of 18874") {
		t.Error(err)
	}
}
