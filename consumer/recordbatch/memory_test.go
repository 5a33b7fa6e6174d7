package recordbatch_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/consumer/recordbatch"
)

// heap returns how many bytes of the heap are in use, garbage that was not collected yet included.
func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestBlanks reads 40 batches that inflate to 40 MiB each: of 1 MiB a record, which are read, and of one record, which
// is passed over. The records' memory is the caller's, who reuses it.
func TestBlanks(t *testing.T) {
	blanks := bytes.Repeat([]byte(" "), 40<<20)
	var many []byte
	for i := range 40 {
		many = append(many, franz(0, int32(i), nil, blanks[:1<<20])...)
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := header{attributes: int16(recordbatch.Zstd), lastDelta: 39, count: 40}
	read := seal(h, encoder.EncodeAll(many, nil))
	h.count = 1
	passed := seal(h, encoder.EncodeAll(franz(0, 0, nil, blanks), nil))
	runtime.GC()
	before, peak := heap(), uint64(0)
	buf := recordbatch.Buffer{Bytes: make([]byte, 0, 1<<20+100)}
	for i := range 40 {
		set := read
		if i%2 == 1 {
			set = passed
		}
		b := mustNext(t, set)
		rs := b.Records(0)
		for n := 0; ; n++ {
			var r recordbatch.Record
			err := rs.Next(&r)
			if errors.Is(err, io.EOF) && n == b.Count {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			peak = max(peak, heap())
			if r.Size > cap(buf.Bytes) {
				continue
			}
			buf.Bytes = buf.Bytes[:0]
			if err := rs.Read(&r, &buf); err != nil || len(r.Value) != 1<<20 {
				t.Fatal(err)
			}
		}
	}
	t.Logf("peak %.1f MiB beside %.1f MiB", float64(peak-before)/(1<<20), float64(before)/(1<<20))
	if peak-before > 32<<20 {
		t.Errorf("the heap grew by %d MiB", (peak-before)>>20)
	}
}

// TestManyHeaders: headers beyond the caller's limit take no memory.
func TestManyHeaders(t *testing.T) {
	headers := make([]kmsg.Header, 450_000)
	for i := range headers {
		headers[i].Value = []byte{}
	}
	var payload []byte
	for i := range 14 {
		payload = append(payload, franz(0, int32(i), []byte("key"), []byte("value"), headers...)...)
	}
	for _, codec := range codecs {
		b := mustNext(t, seal(header{attributes: int16(codec), lastDelta: 13, count: 14}, compress(t, codec, payload)))
		read := func() {
			rs := b.Records(1000)
			bytes, room := [64]byte{}, recordbatch.Buffer{}
			for range 14 {
				var r recordbatch.Record
				room.Bytes = bytes[:0]
				if err := errors.Join(rs.Next(&r), rs.Read(&r, &room)); err != nil {
					t.Fatal(codec, err)
				}
				if r.HeaderCount != 450_000 || r.Headers != nil || string(r.Key) != "key" || string(r.Value) != "value" {
					t.Fatal(codec, r)
				}
			}
			if err := rs.Next(new(recordbatch.Record)); !errors.Is(err, io.EOF) {
				t.Fatal(codec, err)
			}
		}
		read()
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		read()
		runtime.ReadMemStats(&after)
		grown := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d bytes on the wire, %d allocated", codec, b.Size, grown)
		if grown > 6<<20 { // a decoder, if none is pooled any more
			t.Errorf("%s: %d bytes allocated", codec, grown)
		}
	}
}

// TestWindowOfContent: zstd's highest levels ask for a window of 128 MiB for any content. The decoder gets no more than
// the content needs.
func TestWindowOfContent(t *testing.T) {
	payload := franz(0, 0, nil, bytes.Repeat([]byte("task "), 100_000))
	for _, single := range []bool{false, true} {
		encoder, err := zstd.NewWriter(nil, zstd.WithWindowSize(128<<20), zstd.WithSingleSegment(single))
		if err != nil {
			t.Fatal(err)
		}
		frame := encoder.EncodeAll(payload, nil)
		var head zstd.Header
		if err := head.Decode(frame); err != nil || head.SingleSegment != single {
			t.Fatal(err, head)
		}
		if !single {
			frame[5] = (27 - 10) << 3 // the window, as a power of two
		} else { // what a liar says of its content, in the eight bytes behind the flags
			size := []byte{0, 0, 0, 0x30, 0, 0, 0, 0}
			frame = slices.Concat(frame[:4], []byte{frame[4] | 0xc0}, size, frame[head.HeaderSize:])
		}
		b := mustNext(t, seal(header{attributes: int16(recordbatch.Zstd), count: 1}, frame))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := readAll(b, 0)
		runtime.ReadMemStats(&after)
		if liar := err != nil; liar != single || !single && len(got) != 1 {
			t.Error(single, err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 3<<20 {
			t.Errorf("single %v: %d MiB allocated", single, grown>>20)
		}
	}
}
