package recordbatch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/tasksink/tasksink/consumer/recordbatch"
)

// small is a batch with all its fields set.
func small() []byte {
	payload := append(franz(0, 0, []byte("k"), []byte("v")), franz(5, 2, nil, []byte{})...)
	return seal(header{base: 100, epoch: 7, attributes: 1 << 4, lastDelta: 4, baseTime: 1000, time: 1005, producer: 9,
		count: 2}, payload)
}

func TestBatch(t *testing.T) {
	set := append(small(), small()...)
	set = append(set, small()[:40]...)
	b, rest, err := recordbatch.Next(set)
	if err != nil {
		t.Fatal(err)
	}
	want := recordbatch.Batch{BaseOffset: 100, LastOffset: 104, LeaderEpoch: 7, BaseTime: 1000, MaxTime: 1005,
		ProducerID: 9, Transactional: true, Count: 2, Size: len(small())}
	if got, err := readAll(&b, 0); err != nil || len(got) != 2 || got[1].Offset != 102 || got[1].Time != 1005 {
		t.Error(got, err)
	}
	// what is exported
	is, should := reflect.ValueOf(b), reflect.ValueOf(want)
	for i := range is.NumField() {
		f := is.Type().Field(i)
		if f.IsExported() && !reflect.DeepEqual(is.Field(i).Interface(), should.Field(i).Interface()) {
			t.Errorf("%s is %v, want %v", f.Name, is.Field(i), should.Field(i))
		}
	}
	if _, rest, err = recordbatch.Next(rest); err != nil || len(rest) != 40 {
		t.Fatal(err, len(rest))
	}
	if _, _, err = recordbatch.Next(rest); !errors.Is(err, recordbatch.ErrPartial) {
		t.Fatal(err)
	}
	if _, _, err = recordbatch.Next(nil); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// TestPartial: wherever a broker cuts a batch, it is partial, and not corrupt.
func TestPartial(t *testing.T) {
	whole := small()
	for n := 1; n < len(whole); n++ {
		if _, rest, err := recordbatch.Next(whole[:n:n]); !errors.Is(err, recordbatch.ErrPartial) || len(rest) != n {
			t.Errorf("%d bytes: %v, %d left", n, err, len(rest))
		}
	}
}

func TestMalformedBatches(t *testing.T) {
	with := func(change func(b []byte)) []byte {
		b := small()
		change(b)
		return reseal(b)
	}
	for _, c := range []struct {
		name string
		set  []byte
		want string
	}{
		{"magic 3", with(func(b []byte) { b[16] = 3 }), "the batch at offset 100 is corrupt: its magic is 3"},
		{"magic -1", with(func(b []byte) { b[16] = 0xff }), "the batch at offset 100 is corrupt: its magic is -1"},
		{"magic 0", with(func(b []byte) { b[16] = 0 }), "the batch at offset 100 has record format v0; only v2 is supported"},
		{"magic 1", with(func(b []byte) { b[16] = 1 }), "the batch at offset 100 has record format v1; only v2 is supported"},
		{"length 48", with(func(b []byte) { b[11] = 48 }), "the batch at offset 100 is corrupt: its length is 48, less than a header"},
		{"negative length", with(func(b []byte) { b[8] = 0xff }), "the batch at offset 100 is corrupt: its length is -16777151, less than a header"},
		{"CRC", append(with(func([]byte) {})[:17], small()[18:]...), ""},
		{"codec 5", with(func(b []byte) { b[22] = 5 }), "the batch at offset 100 is corrupt: its codec is 5"},
		{"negative offset", with(func(b []byte) { b[0] = 0xff }), "the batch at offset -72057594037927836 is corrupt: its base offset is out of range"},
		{"largest offset", with(func(b []byte) { binary.BigEndian.PutUint64(b, 1<<63-5) }), "the batch at offset 9223372036854775803 is corrupt: its base offset is out of range"},
		{"last offset", with(func(b []byte) { b[23] = 0xff }), "the batch at offset 100 is corrupt: its last offset is -16777112"},
		{"negative count", with(func(b []byte) { b[57] = 0xff }), "the batch at offset 100 is corrupt: it has -16777214 records at 5 offsets"},
		{"count", with(func(b []byte) { b[60] = 6 }), "the batch at offset 100 is corrupt: it has 6 records at 5 offsets"},
	} {
		_, rest, err := recordbatch.Next(c.set)
		if err == nil || c.want != "" && err.Error() != c.want || !bytes.Equal(rest, c.set) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	flipped := small()
	flipped[20]++
	var corrupt *recordbatch.CorruptError
	if _, _, err := recordbatch.Next(flipped); !errors.As(err, &corrupt) || corrupt.Offset != 100 {
		t.Error(err)
	}
}

// TestFlips flips each bit of a batch. The CRC covers all but a few fields.
func TestFlips(t *testing.T) {
	for _, codec := range codecs {
		payload := append(franz(0, 0, []byte("k"), []byte("value")), franz(5, 2, nil, []byte{})...)
		h := header{base: 100, epoch: 7, attributes: int16(codec), lastDelta: 4, count: 2}
		whole := seal(h, compress(t, codec, payload))
		sound := *mustNext(t, whole)
		want, err := readAll(&sound, 10)
		if err != nil {
			t.Fatal(err)
		}
		for at := range whole {
			for bit := range 8 {
				set := bytes.Clone(whole)
				set[at] ^= 1 << bit
				b, _, err := recordbatch.Next(set)
				var corrupt *recordbatch.CorruptError
				var old *recordbatch.OldFormatError
				switch {
				case errors.As(err, &corrupt), errors.As(err, &old) && at == 16:
				case errors.Is(err, recordbatch.ErrPartial) && at >= 8 && at < 12: // the length
				case err == nil && at < 8: // the base offset
					got, err := readAll(&b, 10)
					if err != nil || len(got) != len(want) || got[1].Offset != b.BaseOffset+2 || b.LastOffset != b.BaseOffset+4 {
						t.Errorf("%s, byte %d: %v %v", codec, at, got, err)
					}
				case err == nil && at >= 12 && at < 16: // the epoch
					got, err := readAll(&b, 10)
					if err != nil || !reflect.DeepEqual(got, want) || b.LeaderEpoch == 7 || b.BaseOffset != 100 {
						t.Errorf("%s, byte %d: %v %v", codec, at, got, err)
					}
				default:
					t.Errorf("%s, byte %d, bit %d: %v", codec, at, bit, err)
				}
			}
		}
	}
}

// TestFlipsUnderCRC flips each bit of what the CRC covers and gives the batch a right CRC: whatever comes of it, it
// is no panic, and an error is a *CorruptError.
func TestFlipsUnderCRC(t *testing.T) {
	for _, codec := range codecs {
		payload := append(franz(0, 0, []byte("k"), []byte("value")), franz(5, 2, nil, bytes.Repeat([]byte("ab"), 50))...)
		whole := seal(header{base: 100, attributes: int16(codec), lastDelta: 4, count: 2}, compress(t, codec, payload))
		for at := 21; at < len(whole); at++ {
			for bit := range 8 {
				set := bytes.Clone(whole)
				set[at] ^= 1 << bit
				b, _, err := recordbatch.Next(reseal(set))
				if err == nil {
					_, err = readAll(&b, 10)
				}
				var corrupt *recordbatch.CorruptError
				if err != nil && (!errors.As(err, &corrupt) || corrupt.Offset != 100) {
					t.Errorf("%s, byte %d, bit %d: %v", codec, at, bit, err)
				}
			}
		}
	}
}
