package offsetmap_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/tasksink/tasksink/consumer/offsetmap"
	"github.com/tasksink/tasksink/internal/golden"
)

// samples are maps of each kind of body.
var samples = []struct {
	name string
	m    Map
	kind byte
}{
	{"nothing settled", Map{Committed: 1_048_576, Epoch: 17}, 0},
	{"epoch unknown", Map{Committed: 0, Epoch: -1, Settled: []Span{{1, 2}}}, 1},
	{"one open", Map{Committed: 1000, Epoch: 5, Settled: []Span{{1001, 1_001_001}}}, 0},
	{"runs", Map{Committed: 1000, Epoch: 5, Settled: []Span{{1002, 1005}, {1300, 1301}, {1450, 2000}}}, 0},
	{"bitmap", Map{Committed: 1000, Epoch: 5, Settled: []Span{{1001, 1002}, {1003, 1004}, {1005, 1007}, {1009, 1014}}}, 1},
	{"compressed runs", every(1, 99, 150), 2},
	{"compressed bitmap", every(1, 2, 900), 3},
	{"the highest offsets", Map{Committed: math.MaxInt64 - 300, Epoch: math.MaxInt32,
		Settled: []Span{{math.MaxInt64 - 200, math.MaxInt64}}}, 0},
}

// TestFormat: the format is stable. The texts of older programs are read as they were meant, and those with a raw body
// are written alike, byte by byte. (How a body is compressed may change with the library.)
func TestFormat(t *testing.T) {
	var e offsetmap.Encoder
	var now strings.Builder
	before := map[string]string{}
	if old, err := os.ReadFile("testdata/format.golden"); err == nil {
		for line := range strings.Lines(string(old)) {
			name, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
			before[name] = text
		}
	}
	for _, s := range samples {
		text, _ := encode(t, &e, s.m, usual)
		if b := unseal(t, text); b[0] != s.kind {
			t.Errorf("%s: the body's kind is %d, not %d", s.name, b[0], s.kind)
		}
		if old := before[s.name]; s.kind >= 2 && old != "" {
			got, err := offsetmap.Decode(old)
			if err != nil || !equal(got.Map, s.m) {
				t.Errorf("%s: an older program's text is read as %v, %v", s.name, got, err)
			}
			text = old
		}
		fmt.Fprintf(&now, "%s: %s\n", s.name, text)
	}
	golden.Compare(t, "format.golden", now.String())
}

const prefix = "tasksink1."

// unseal returns the bytes before the checksum.
func unseal(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(text, prefix))
	if err != nil {
		t.Fatal(err)
	}
	return b[:len(b)-4]
}

// seal makes a text of bytes, with a right checksum.
func seal(b []byte) string {
	sum := crc32.ChecksumIEEE(append([]byte(prefix), b...))
	return prefix + base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(bytes.Clone(b), sum))
}

func deflate(b []byte) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.BestSpeed)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// TestDamage: a text is refused if one byte of it is another, is missing, or is one too many. Each part of it is
// refused, too.
func TestDamage(t *testing.T) {
	var e offsetmap.Encoder
	for _, s := range samples {
		text, _ := e.Encode(here, s.m, usual)
		refuse := func(what, damaged string) {
			t.Helper()
			if got, err := offsetmap.Decode(damaged); err == nil {
				t.Errorf("%s, %s: read as %v", s.name, what, got)
			}
		}
		for i := range len(text) {
			for c := range 256 {
				if byte(c) != text[i] {
					refuse(fmt.Sprintf("byte %d is %d", i, c), text[:i]+string([]byte{byte(c)})+text[i+1:])
				}
			}
			refuse(fmt.Sprintf("cut at %d", i), text[:i])
			refuse(fmt.Sprintf("begins at %d", i+1), text[i+1:])
			refuse(fmt.Sprintf("without byte %d", i), text[:i]+text[i+1:])
			for _, c := range []string{"\n", "\r", "A", "="} {
				refuse(fmt.Sprintf("%q at %d", c, i), text[:i]+c+text[i:])
			}
		}
		for _, c := range []string{"\n", "A", "=", "==", " "} {
			refuse(fmt.Sprintf("%q at the end", c), text+c)
		}
	}
}

// TestForeign: what other programs write, and what later versions do, is called so.
func TestForeign(t *testing.T) {
	for _, text := range []string{"", " ", "{}", "tasksink", "tasksink.", "tasksink0.AA", "tasksink01.AA", "tasksink-1.AA",
		"tasksink+1.AA", "tasksink1", "tasksink1234567890.AA", "Tasksink1.AA", "bm9uZQ==", "kafka-connect", "tasksink1,AA"} {
		if _, err := offsetmap.Decode(text); !errors.Is(err, offsetmap.ErrForeign) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"tasksink2.AA", "tasksink10.", "tasksink999999999.{}"} {
		number := strings.TrimPrefix(strings.Split(text, ".")[0], "tasksink")
		if _, err := offsetmap.Decode(text); !errors.Is(err, offsetmap.ErrNewer) ||
			!strings.Contains(err.Error(), "version "+number+";") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestHostile: bodies that no encoder makes are refused, though their checksum is right.
func TestHostile(t *testing.T) {
	varints := func(runs ...uint64) (b []byte) {
		for _, r := range runs {
			b = binary.AppendUvarint(b, r)
		}
		return b
	}
	var e offsetmap.Encoder
	text, _ := e.Encode(here, Map{Committed: 1000, Epoch: 5}, usual)
	head := unseal(t, text)
	with := func(kind byte, body []byte) []byte {
		b := append(bytes.Clone(head), body...)
		b[0] = kind
		return b
	}
	at := func(committed uint64, b []byte) []byte {
		binary.BigEndian.PutUint64(b[29:], committed)
		return b
	}
	epoch := func(epoch int32, b []byte) []byte {
		binary.BigEndian.PutUint32(b[37:], uint32(epoch))
		return b
	}
	for _, tc := range []struct {
		name string
		b    []byte
		want string // in the error
	}{
		{"an unknown kind", with(4, nil), "unknown kind"},
		{"a negative committed offset", at(1<<63, with(0, nil)), "committed offset is negative"},
		{"a negative epoch", epoch(-2, with(0, nil)), "epoch is negative"},
		{"a cut head", head[:40], "cut"},
		{"an open run of 0 behind the first", with(0, varints(1, 5, 0, 5)), "open offsets"},
		{"a settled run of 0", with(0, varints(5, 0)), "settled offsets"},
		{"no settled run at the end", with(0, varints(5, 5, 5)), "settled offsets"},
		{"a cut number", with(0, []byte{5, 0x85}), "settled offsets"},
		{"a number that is too long", with(0, append(bytes.Repeat([]byte{0x80}, 10), 1)), "open offsets"},
		{"beyond the highest offset", with(0, varints(5, math.MaxInt64)), "settled offsets"},
		{"beyond the highest offset, open", with(0, varints(math.MaxUint64, 1)), "open offsets"},
		{"beyond the highest offset, bitmap", at(math.MaxInt64-7, with(1, []byte{2})), "highest offset"},
		{"too many runs", with(2, deflate(bytes.Repeat([]byte{1}, 600_000))), "too many runs"},
		{"too many runs, bitmap", with(3, deflate(bytes.Repeat([]byte{0xaa}, 100_000))), "too many runs"},
		{"too large", with(2, deflate(bytes.Repeat([]byte{0x80}, 1<<20+1))), "1 MiB"},
		{"much too large", with(3, deflate(make([]byte, 10<<20))), "1 MiB"},
		{"not compressed", with(2, []byte{7, 7, 7}), "inflated"},
		{"a cut compressed body", with(2, deflate(varints(1, 1))[:3]), "inflated"},
		{"bytes after the compressed body", with(2, append(deflate(varints(1, 1)), 0)), "bytes follow"},
		{"longer than Kafka's strings", with(1, make([]byte, 25_000)), "longer than"},
	} {
		_, err := offsetmap.Decode(seal(tc.b))
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	for _, good := range [][]byte{with(0, nil), with(1, nil), with(2, deflate(nil)), with(3, deflate([]byte{0, 0})),
		with(2, deflate(varints(1, math.MaxInt64-1001))), at(math.MaxInt64, with(0, nil))} {
		if s, err := offsetmap.Decode(seal(good)); err != nil || broken(s.Map) != "" {
			t.Errorf("%x: %v %s", good, err, broken(s.Map))
		}
	}
}

// FuzzDecode: nothing panics; what is read has the form that Map describes, and is read alike after it was written
// again. The fuzzer makes up whole texts, and heads and bodies that get a right checksum, compressed or not.
func FuzzDecode(f *testing.F) {
	var e offsetmap.Encoder
	for _, s := range samples {
		text, _ := e.Encode(here, s.m, usual)
		b := unseal(f, text)
		f.Add([]byte(text), false, false)
		f.Add(b, true, false)
		if s.kind < 2 {
			f.Add(b, true, true)
		}
	}
	f.Add([]byte("tasksink2.AA"), false, false)
	f.Fuzz(func(t *testing.T, b []byte, sealed, compressed bool) {
		text := string(b)
		if sealed {
			if compressed && len(b) > 41 {
				b = append(append([]byte{b[0] | 2}, b[1:41]...), deflate(b[41:])...)
			}
			text = seal(b)
		}
		s, err := offsetmap.Decode(text)
		if err != nil {
			return
		}
		if why := broken(s.Map); why != "" {
			t.Fatalf("%q: %s", text, why)
		}
		var e offsetmap.Encoder
		again, left := e.Encode(offsetmap.Place{Topic: s.Topic}, s.Map, 1<<20)
		if left > 0 {
			return // a large one may compress worse than it was
		}
		if back, err := offsetmap.Decode(again); err != nil || !equal(back.Map, s.Map) || back.Topic != s.Topic {
			t.Fatalf("%v becomes %v, %v", s, back, err)
		}
	})
}
