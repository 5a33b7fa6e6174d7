package recordbatch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/tasksink/tasksink/consumer/recordbatch"
)

// TestGolden reads what kafka-go and franz-go write, with every codec: null, empty, small, and larger than any window.
func TestGolden(t *testing.T) {
	noise := make([]byte, 300_000)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(noise)
	values := [][]byte{nil, {}, []byte("a"), bytes.Repeat([]byte("blank "), 50_000), noise, []byte("z")}
	headers := []protocol.Header{{Key: "", Value: nil}, {Key: "h", Value: []byte{}},
		{Key: strings.Repeat("k", 40_000), Value: noise[:50_000]}}
	now := time.UnixMilli(1_700_000_000_000)
	for _, codec := range codecs {
		var kafkaRecords []protocol.Record
		var franzRecords []byte
		var want []recordbatch.Record
		for i, v := range values {
			for j, k := range values {
				r := protocol.Record{Time: now.Add(time.Duration(len(want)) * time.Hour)}
				if k != nil {
					r.Key = protocol.NewBytes(k)
				}
				if v != nil {
					r.Value = protocol.NewBytes(v)
				}
				w := recordbatch.Record{Offset: int64(len(want)), Time: r.Time.UnixMilli(), Key: k, Value: v}
				var hs []kmsg.Header
				if i == j {
					r.Headers, w.Headers, w.HeaderCount = headers, headers, len(headers)
					for _, h := range headers {
						hs = append(hs, kmsg.Header{Key: h.Key, Value: h.Value})
					}
				}
				kafkaRecords = append(kafkaRecords, r)
				franzRecords = append(franzRecords, franz(w.Time-now.UnixMilli(), int32(w.Offset), k, v, hs...)...)
				want = append(want, w)
			}
		}
		sets := map[string][]byte{
			"kafka-go": kafkaGo(t, codec, kafkaRecords...),
			"franz-go": seal(header{attributes: int16(codec), lastDelta: int32(len(want) - 1), baseTime: now.UnixMilli(),
				time: now.UnixMilli(), count: int32(len(want))}, compress(t, codec, franzRecords)),
		}
		for name, set := range sets {
			b := mustNext(t, set)
			got, err := readAll(b, 1000)
			if err != nil || b.Codec != codec || b.Count != len(want) || b.LastOffset != int64(len(want)-1) {
				t.Fatalf("%s, %s: %v", name, codec, err)
			}
			for i := range got {
				if got[i].Size < len(want[i].Key)+len(want[i].Value) {
					t.Errorf("%s, %s, record %d: size %d", name, codec, i, got[i].Size)
				}
				got[i].Size = 0
				if !reflect.DeepEqual(got[i], want[i]) {
					t.Errorf("%s, %s: record %d differs", name, codec, i)
				}
			}
		}
	}
}

func TestTimesAndTails(t *testing.T) {
	payload := append(franz(0, 0, nil, nil), franz(-50, 3, nil, nil)...)
	h := header{base: 10, lastDelta: 5000, baseTime: 1000, time: 9000, count: 2}
	b := mustNext(t, seal(h, payload))
	got, err := readAll(b, 0)
	if err != nil || b.LastOffset != 5010 || b.AppendTime || got[0].Time != 1000 || got[1].Time != 950 {
		t.Error(b, got, err)
	}
	h.attributes = 1 << 3
	b = mustNext(t, seal(h, payload))
	if got, err := readAll(b, 0); err != nil || !b.AppendTime || got[0].Time != 9000 || got[1].Time != 9000 {
		t.Error(b, got, err)
	}
	for _, codec := range codecs { // all records were compacted away
		for _, payload := range [][]byte{nil, compress(t, codec, nil)} {
			b = mustNext(t, seal(header{base: 10, lastDelta: 7, attributes: int16(codec)}, payload))
			if got, err := readAll(b, 0); err != nil || len(got) != 0 || b.LastOffset != 17 {
				t.Error(codec, got, err)
			}
		}
	}
	commit := seal(header{base: 3, attributes: 1<<4 | 1<<5, producer: 8, count: 1},
		franz(0, 0, []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 0}))
	b = mustNext(t, commit)
	if got, err := readAll(b, 0); err != nil || !b.Control || !b.Transactional || b.ProducerID != 8 || got[0].Key[3] != 1 {
		t.Error(b, got, err)
	}
}

func varint(v int64) []byte { return binary.AppendVarint(nil, v) }

// raw is a record with a right length, of the parts behind its attributes.
func raw(parts ...[]byte) []byte {
	body := append([]byte{0}, bytes.Join(parts, nil)...)
	return append(varint(int64(len(body))), body...)
}

// TestMalformedRecords: a right CRC does not save a record that is malformed.
func TestMalformedRecords(t *testing.T) {
	null, zero := varint(-1), varint(0)
	long := bytes.Repeat([]byte{0x80}, 10)
	cases := []struct {
		name    string
		count   int32
		payload []byte
		want    string
	}{
		{"2^60 headers", 1, raw(zero, zero, null, null, varint(1<<60)), "record 1 has a number that is too long"},
		{"2^31-1 headers", 1, raw(zero, zero, null, null, varint(math.MaxInt32)), "record 1 says it has 2147483647 headers in 0 bytes"},
		{"a header too many", 1, raw(zero, zero, null, null, varint(2), []byte{0, 0, 0}), "record 1 says it has 2 headers in 3 bytes"},
		{"negative headers", 1, raw(zero, zero, null, null, null), "record 1 says it has -1 headers in 0 bytes"},
		{"negative key", 1, raw(zero, zero, varint(-2), null, zero), "record 1 has a field of -2 bytes in 2 bytes"},
		{"long key", 1, raw(zero, zero, varint(3), null, zero), "record 1 has a field of 3 bytes in 2 bytes"},
		{"long value", 1, raw(zero, zero, null, varint(math.MaxInt32), zero), "record 1 has a field of 2147483647 bytes in 1 bytes"},
		{"null header key", 1, raw(zero, zero, null, null, varint(1), null, null), "record 1 has a header whose key is null"},
		{"long header", 1, raw(zero, zero, null, null, varint(1), zero, varint(1)), "record 1 has a field of 1 bytes in 0 bytes"},
		{"no value", 1, raw(zero, zero, null), "it ends within record 1, or the record within a number"},
		{"bytes behind", 1, raw(zero, zero, null, null, zero, zero), "record 1 has 1 bytes behind its last field"},
		{"a time of 11 bytes", 1, raw(append(long, 0), zero, null, null, zero), "record 1 has a number that is too long"},
		{"a length of 11 bytes", 1, append(long, 0), "record 1 has a number that is too long"},
		{"a key of 6 bytes' length", 1, raw(zero, zero, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0}, null, zero), "record 1 has a number that is too long"},
		{"a key of 33 bits", 1, raw(zero, zero, []byte{0x80, 0x80, 0x80, 0x80, 0x10}, null, zero), "record 1 has a number that is too long"},
		{"no length", 1, []byte{0x80}, "it ends within record 1, or the record within a number"},
		{"length 0", 1, zero, "record 1 has a length of 0, where at most 0 bytes are left"},
		{"negative length", 1, varint(-20), "record 1 has a length of -20, where at most 0 bytes are left"},
		{"long length", 1, varint(8), "record 1 has a length of 8, where at most 0 bytes are left"},
		{"only attributes", 1, raw(), "it ends within record 1, or the record within a number"},
		{"fewer records", 2, raw(zero, zero, null, null, zero), "it ends within record 2, or the record within a number"},
		{"more records", 0, raw(zero, zero, null, null, zero), "more bytes follow its 0 records"},
		{"trailing byte", 1, append(raw(zero, zero, null, null, zero), 0), "more bytes follow its 1 records"},
		{"negative offset", 1, raw(zero, null, null, null, zero), "record 1 has offset 99, behind 99 in a batch that ends at 109"},
		{"offset beyond", 1, raw(zero, varint(10), null, null, zero), "record 1 has offset 110, behind 99 in a batch that ends at 109"},
		{"offset again", 2, append(franz(0, 4, nil, nil), franz(0, 4, nil, nil)...), "record 2 has offset 104, behind 104 in a batch that ends at 109"},
	}
	for _, codec := range codecs {
		for _, c := range cases {
			set := seal(header{base: 100, attributes: int16(codec), lastDelta: 9, count: c.count}, compress(t, codec, c.payload))
			_, err := readAll(mustNext(t, set), 1000)
			var corrupt *recordbatch.CorruptError
			if !errors.As(err, &corrupt) || corrupt.Offset != 100 {
				t.Errorf("%s, %s: %v", codec, c.name, err)
			} else if codec == recordbatch.None && corrupt.Why != c.want {
				t.Errorf("%s: %s", c.name, corrupt.Why)
			}
		}
	}
}

// TestReuse: a decoder keeps nothing of what it inflated before, wherever it was stopped, and leaves no goroutine.
func TestReuse(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for _, codec := range codecs {
		one := seal(header{attributes: int16(codec), lastDelta: 1, count: 2}, compress(t, codec,
			append(franz(0, 0, nil, bytes.Repeat([]byte("secret "), 10_000)), franz(0, 1, nil, []byte("s"))...)))
		two := seal(header{attributes: int16(codec), count: 1}, compress(t, codec, franz(0, 0, nil, []byte("other"))))
		for range 20 {
			var r recordbatch.Record
			rs := mustNext(t, one).Records(0)
			if err := rs.Next(&r); err != nil {
				t.Fatal(err)
			}
			rs.Close()
			rs.Close()
			if err := rs.Next(&r); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			got, err := readAll(mustNext(t, two), 0)
			if err != nil || string(got[0].Value) != "other" {
				t.Fatal(codec, err)
			}
		}
	}
}

// TestBuffer: records share a buffer, do not run into each other, and take a new array only where there is no room.
func TestBuffer(t *testing.T) {
	h := kmsg.Header{Key: "hk", Value: []byte("hv")}
	payload := append(franz(0, 0, []byte("k0"), []byte("v0"), h), franz(0, 1, []byte("k1"), []byte("v1"), h, h)...)
	rs := mustNext(t, seal(header{lastDelta: 1, count: 2}, payload)).Records(10)
	var a, b recordbatch.Record
	if err := rs.Next(&a); err != nil {
		t.Fatal(err)
	}
	buf := recordbatch.Buffer{Bytes: make([]byte, 0, a.Size), Headers: make([]protocol.Header, 0, 1)}
	first := buf.Bytes[:1]
	if err := rs.Read(&a, &buf); err != nil || &buf.Bytes[0] != &first[0] {
		t.Fatal(err)
	}
	if err := rs.Next(&b); err != nil {
		t.Fatal(err)
	}
	if err := rs.Read(&b, &buf); err != nil {
		t.Fatal(err)
	}
	_ = append(a.Key, "XXXX"...)
	_ = append(a.Value, "XXXX"...)
	_ = append(a.Headers[0].Value, "XXXX"...)
	_ = append(b.Headers, protocol.Header{})
	got := fmt.Sprintf("%s %s %s %s %s %s", a.Key, a.Value, a.Headers, b.Key, b.Value, b.Headers)
	if want := "k0 v0 [{hk hv}] k1 v1 [{hk hv} {hk hv}]"; got != want {
		t.Error(got)
	}
}
