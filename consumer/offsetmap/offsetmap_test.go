package offsetmap_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tasksink/tasksink/consumer/offsetmap"
)

type (
	Map  = offsetmap.Map
	Span = offsetmap.Span
)

const usual = 4096 // the broker's offset.metadata.max.bytes

var here = offsetmap.Place{Cluster: "4L6g3nShT-eMCtK--X86sw", Group: "tasksink",
	Topic: [16]byte{0x5a, 0x1d, 0x0c, 0x2e, 0x8f, 0x31, 0x4b, 0x7a, 0x9c, 0x05, 0x64, 0xe0, 0x7b, 0x12, 0xd9, 0xa3}}

// broken says which of the rules of Map a map breaks.
func broken(m Map) string {
	if m.Committed < 0 || m.Epoch < -1 {
		return fmt.Sprintf("committed %d, epoch %d", m.Committed, m.Epoch)
	}
	end := m.Committed - 1
	for _, s := range m.Settled {
		if s.From <= end || s.To <= s.From {
			return fmt.Sprintf("%v after %d", s, end)
		}
		end = s.To
	}
	return ""
}

func equal(a, b Map) bool {
	return a.Committed == b.Committed && a.Epoch == b.Epoch && slices.Equal(a.Settled, b.Settled)
}

func settled(spans []Span) (n int64) {
	for _, s := range spans {
		n += s.To - s.From
	}
	return n
}

// encode encodes a map, and checks all that holds for every map and limit.
func encode(t rapid.TB, e *offsetmap.Encoder, m Map, limit int) (text string, back Map) {
	t.Helper()
	text, left := e.Encode(here, m, limit)
	if len(text) > max(0, limit) {
		t.Fatalf("%d bytes, limit %d", len(text), limit)
	}
	if text == "" {
		if limit >= 70 {
			t.Fatalf("nothing in %d bytes", limit)
		}
		if left != settled(m.Settled) {
			t.Fatalf("%d are left out, not %d", settled(m.Settled), left)
		}
		return "", Map{}
	}
	for _, r := range text {
		if r <= ' ' || r > '~' {
			t.Fatalf("%q in %s", r, text)
		}
	}
	s, err := offsetmap.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if !s.SameCluster(here.Cluster) || !s.SameGroup(here.Group) || s.Topic != here.Topic {
		t.Fatal("another place")
	}
	if s.SameCluster("other") || s.SameCluster("") || s.SameGroup("other") {
		t.Fatal("the place is any")
	}
	n := len(s.Settled)
	if want := (Map{m.Committed, m.Epoch, m.Settled[:n]}); !equal(s.Map, want) {
		t.Fatalf("read back\n%v\nof\n%v", s.Map, want)
	}
	if want := settled(m.Settled[n:]); left != want {
		t.Fatalf("%d are left out, not %d", want, left)
	}
	return text, s.Map
}

// maps draws maps of many kinds: dense and sparse, at low and at the highest offsets.
func maps(t *rapid.T) Map {
	m := Map{Committed: rapid.Int64Range(0, math.MaxInt64).Draw(t, "committed"),
		Epoch: rapid.Int32Min(-1).Draw(t, "epoch")}
	spans := rapid.IntRange(0, 3000).Draw(t, "spans")
	openMean := rapid.SampledFrom([]int64{1, 2, 20, 1e6, 1e18}).Draw(t, "open")
	settledMean := rapid.SampledFrom([]int64{1, 2, 100, 1e6, 1e18}).Draw(t, "settled")
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	end := m.Committed
	for range spans {
		open, done := 1+r.Int64N(openMean), 1+r.Int64N(settledMean)
		if len(m.Settled) == 0 {
			open-- // the committed offset may be settled
		}
		if open > math.MaxInt64-end || done > math.MaxInt64-end-open {
			break
		}
		m.Settled = append(m.Settled, Span{end + open, end + open + done})
		end += open + done
	}
	return m
}

// TestRandom: what fits is read back as it was, whatever the map and the limit, and an Encoder forgets the map before.
func TestRandom(t *testing.T) {
	var e offsetmap.Encoder
	rapid.Check(t, func(t *rapid.T) {
		m := maps(t)
		limit := rapid.OneOf(rapid.IntRange(-1, 300), rapid.IntRange(300, 5000), rapid.Just(1<<20)).Draw(t, "limit")
		text, back := encode(t, &e, m, limit)
		if limit >= 200 && len(m.Settled) > 0 && len(back.Settled) == 0 {
			t.Fatal("no span fits")
		}
		if rest := len(m.Settled) - len(back.Settled); rest > 0 && limit >= 300 && limit <= 5000 && len(text) < limit*8/10 {
			t.Fatalf("%d of %d bytes are used, and %d of %d spans are left out", len(text), limit, rest, len(m.Settled))
		}
	})
}

// every makes a map of alternating runs from offset 1,000 on.
func every(open, done int64, spans int) Map {
	m := Map{Committed: 1000, Epoch: 3}
	for i := range int64(spans) {
		from := m.Committed + i*(open+done) + open
		m.Settled = append(m.Settled, Span{from, from + done})
	}
	return m
}

// random makes a map in which each offset is open with a probability.
func random(offsets int64, open float64) Map {
	m := Map{Committed: 1000, Epoch: 3}
	r := rand.New(rand.NewPCG(1, 2))
	for at := m.Committed + 1; at < m.Committed+offsets; at++ {
		switch last := len(m.Settled) - 1; {
		case r.Float64() < open:
		case last >= 0 && m.Settled[last].To == at:
			m.Settled[last].To++
		default:
			m.Settled = append(m.Settled, Span{at, at + 1})
		}
	}
	return m
}

// TestCoverage: how much of a large map fits in what brokers take by default.
func TestCoverage(t *testing.T) {
	var e offsetmap.Encoder
	for _, tc := range []struct {
		name   string
		m      Map
		size   int   // at most
		offset int64 // how far the map reaches, at least
	}{
		{"nothing settled", Map{Committed: 1 << 40, Epoch: -1}, 70, 0},
		{"one open, 10 million settled", every(1, 10_000_000, 1), 80, 10_000_001},
		{"every 100th open", every(1, 99, 6000), 120, 600_000},
		{"alternating", every(1, 1, 100_000), 500, 200_000},
		{"alternating, a million", every(1, 1, 500_000), 800, 500_000},
		{"64 runs", every(3, 200, 64), 350, 64 * 203},
		{"1% open, 20,000 offsets", random(20_000, 0.01), 500, 19_900},
		{"1% open, 600,000 offsets", random(600_000, 0.01), usual, 220_000},
		{"10% open", random(600_000, 0.1), usual, 48_000},
		{"half open", random(600_000, 0.5), usual, 23_500},
		{"99% open", random(600_000, 0.99), usual, 220_000},
	} {
		text, back := encode(t, &e, tc.m, usual)
		reach := int64(0)
		if n := len(back.Settled); n > 0 {
			reach = back.Settled[n-1].To - back.Committed
		}
		t.Logf("%s: %d of %d runs, %d offsets, %d bytes", tc.name, len(back.Settled), len(tc.m.Settled), reach, len(text))
		if len(text) > tc.size || reach < tc.offset {
			t.Errorf("%s: %d offsets in %d bytes, want %d in %d", tc.name, reach, len(text), tc.offset, tc.size)
		}
	}
}

// TestBounds: what is more than the format or a small limit holds is left out, and the rest stands.
func TestBounds(t *testing.T) {
	var e offsetmap.Encoder
	for _, tc := range []struct {
		name  string
		m     Map
		limit int
		spans int // at least
	}{
		{"runs of more than 1 MiB", every(20_000, 20_000, 250_000), usual, 170_000},
		{"as many runs as there can be", every(1, 128, 262_144), usual, 262_144},
		{"too many runs", every(1, 1, 262_145), usual, 262_144},
		{"a text longer than Kafka's strings", random(600_000, 0.5), 1 << 20, 30_000},
		{"a small body that fits only if compressed", every(1, 99, 90), 100, 90},
	} {
		if _, back := encode(t, &e, tc.m, tc.limit); len(back.Settled) < tc.spans {
			t.Errorf("%s: %d runs, want %d", tc.name, len(back.Settled), tc.spans)
		}
	}
}

// TestUnknownCluster: a map from where the cluster's id was unknown is nowhere believed.
func TestUnknownCluster(t *testing.T) {
	var e offsetmap.Encoder
	text, _ := e.Encode(offsetmap.Place{Group: "tasksink"}, Map{Committed: 1}, usual)
	s, err := offsetmap.Decode(text)
	if err != nil || s.SameCluster("") || s.SameCluster("another") {
		t.Error(s, err)
	}
}

// TestMalformed: an encoder that is given spans which break the rules keeps those before them.
func TestMalformed(t *testing.T) {
	var e offsetmap.Encoder
	for name, spans := range map[string][]Span{
		"touching":      {{12, 15}, {15, 17}},
		"overlapping":   {{12, 15}, {14, 17}},
		"descending":    {{12, 15}, {2, 3}},
		"empty":         {{12, 15}, {17, 17}},
		"turned around": {{12, 15}, {20, 17}, {30, 31}},
	} {
		text, left := e.Encode(here, Map{Committed: 10, Settled: spans}, usual)
		s, err := offsetmap.Decode(text)
		if err != nil || !slices.Equal(s.Settled, spans[:1]) {
			t.Errorf("%s: %v %v", name, s, err)
		}
		want := int64(0)
		for _, sp := range spans[1:] {
			want += max(0, sp.To-sp.From)
		}
		if left != want {
			t.Errorf("%s: %d left, want %d", name, left, want)
		}
	}
	text, left := e.Encode(here, Map{Committed: 10, Settled: []Span{{10, 12}}}, usual)
	if s, err := offsetmap.Decode(text); err != nil || !slices.Equal(s.Settled, []Span{{10, 12}}) || left != 0 {
		t.Error("the committed offset is settled", s, left, err)
	}
	if text, left := e.Encode(here, Map{Committed: -1, Settled: []Span{{10, 12}}}, usual); text != "" || left != 2 {
		t.Error("committed -1", text, left)
	}
	text, _ = e.Encode(here, Map{Committed: 10, Epoch: -7}, usual)
	if s, err := offsetmap.Decode(text); err != nil || s.Epoch != -1 {
		t.Error("epoch -7", s, err)
	}
}

// TestAllocations: an ordinary commit costs the text, and no more.
func TestAllocations(t *testing.T) {
	var e offsetmap.Encoder
	m := every(3, 50, 64)
	e.Encode(here, m, usual)
	if n := testing.AllocsPerRun(100, func() { e.Encode(here, m, usual) }); n != 1 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, bm := range []struct {
		name string
		m    Map
	}{{"empty", every(1, 1, 0)}, {"64-runs", every(3, 50, 64)}, {"6000-random-runs", random(600_000, 0.01)},
		{"150000-random-runs", random(600_000, 0.5)}, {"regular-6000-runs", every(1, 99, 6000)}, {"alternating-262144", every(1, 1, 300_000)}} {
		b.Run(bm.name, func(b *testing.B) {
			var e offsetmap.Encoder
			size := 0
			b.ReportAllocs()
			for b.Loop() {
				text, _ := e.Encode(here, bm.m, usual)
				size = len(text)
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, bm := range []struct {
		name string
		m    Map
	}{{"64-runs", every(3, 50, 64)}, {"6000-random-runs", random(600_000, 0.01)}} {
		b.Run(bm.name, func(b *testing.B) {
			var e offsetmap.Encoder
			text, _ := e.Encode(here, bm.m, usual)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := offsetmap.Decode(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestEncoderForgets: the text does not depend on what was encoded before.
func TestEncoderForgets(t *testing.T) {
	var used offsetmap.Encoder
	for _, m := range []Map{random(100_000, 0.3), every(1, 1, 70), random(600_000, 0.01), {Committed: 7},
		every(9, 9, 900)} {
		var fresh offsetmap.Encoder
		got, _ := used.Encode(here, m, usual)
		want, _ := fresh.Encode(here, m, usual)
		if got != want {
			t.Errorf("%d spans: %s, with a new encoder %s", len(m.Settled), got, want)
		}
	}
	if text, _ := used.Encode(here, Map{}, 69); strings.TrimSpace(text) != "" {
		t.Error("69 bytes are too few, and it is", text)
	}
}
