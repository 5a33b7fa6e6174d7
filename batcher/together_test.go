package batcher_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasksink/tasksink/batcher"
)

// wantBatches seals until nothing is sealable, each batch accepted at once, and compares.
func wantBatches(t *testing.T, b *batcher.Batcher[string], limit int, want ...string) {
	t.Helper()
	var got []string
	for batch := b.Seal(limit); batch != nil; batch = b.Seal(limit) {
		got = append(got, show(batch))
		for _, s := range batch {
			b.Done(s)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("sealed\n got %q\nwant %q", got, want)
	}
}

func liking(objects string) func(string) bool {
	return func(r string) bool { return strings.Contains(objects, r[:1]) }
}

// TestSplit follows a batch of eight with one bad record, refused as a whole, down to the guilty one.
func TestSplit(t *testing.T) {
	b := batcher.New(batcher.Config[string]{Size: 8, Bytes: 1 << 20})
	add(b, "a1", "b1", "c1", "d1", "e1", "f1", "g1", "h1")
	requests, accepted := 0, ""
	for b.Len() > 0 {
		batch := b.Seal(100)
		requests++
		bad := strings.Contains(show(batch), "f")
		switch half := len(batch) / 2; {
		case bad && len(batch) == 1:
			b.Refused(batch[0])
		case bad:
			b.Together(batch[:half], 0)
			b.Together(batch[half:], 0)
		default:
			for _, s := range batch {
				b.Done(s)
				accepted += s.Records[0][:1]
			}
		}
	}
	if accepted != "abcdghe" || requests != 7 {
		t.Errorf("accepted %q in %d requests, want abcdghe in 7", accepted, requests)
	}
}

// TestTogether holds what leaves after a batch a1 b1 c1 d1 came back in the units a1 c1 and b1 d1. Meanwhile a2 and e1
// have joined the queue.
func TestTogether(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*batcher.Batcher[string])
		limit  int
		want   []string
	}{
		{"units mix with nothing, and the one that was made first leaves first", nil, 100,
			[]string{"a=a1 c=c1", "b=b1 d=d1", "a=a2 e=e1"}},
		{"a smaller limit leaves the others together", nil, 1,
			[]string{"a=a1", "c=c1", "b=b1", "d=d1", "a=a2", "e=e1"}},
		{"bytes bound a unit", func(b *batcher.Batcher[string]) { b.SetBytes(1) }, 100,
			[]string{"a=a1", "c=c1", "b=b1", "d=d1", "a=a2", "e=e1"}},
		{"what is awake goes in company", func(b *batcher.Batcher[string]) { b.Wake(liking("abc")) }, 100,
			[]string{"a=a1+a2 b=b1 c=c1 e=e1", "d=d1"}},
		{"what was dropped leaves its unit", func(b *batcher.Batcher[string]) {
			b.Drop(func(r string) bool { return r == "a1" || r == "b1" || r == "d1" })
		}, 100, []string{"c=c1", "a=a2 e=e1"}},
		{"a probe leaves the others together", func(b *batcher.Batcher[string]) { b.Probe(9, batcher.LeastTried, liking("ab")) }, 100,
			[]string{"c=c1", "d=d1", "e=e1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := batcher.New(batcher.Config[string]{Size: 8, Bytes: 1 << 20})
			add(b, "a1", "b1", "c1", "d1")
			s := b.Seal(100)
			add(b, "a2", "e1")
			b.Together([]*batcher.Sealed[string]{s[2], s[0]}, 0)
			b.Together([]*batcher.Sealed[string]{s[1], s[3]}, 0)
			if tc.change != nil {
				tc.change(b)
			}
			wantBatches(t, b, tc.limit, tc.want...)
		})
	}
}

// TestTogetherThenBack: an input of a unit that comes back by itself is an ordinary one again.
func TestTogetherThenBack(t *testing.T) {
	b := batcher.New(batcher.Config[string]{Size: 8, Bytes: 1 << 20})
	add(b, "a1", "b1", "c1")
	b.Together(b.Seal(100), 0)
	unit := b.Seal(100)
	add(b, "a2", "d1")
	b.Back(unit[0], batcher.Again{})
	b.Together(unit[1:], 0)
	wantBatches(t, b, 100, "a=a1+a2 d=d1", "b=b1 c=c1")
}

// TestTogetherRests: a unit rests in slots, and is ripe when its rest ends: it waits for no company. One that was
// dropped as it rested makes nothing ripe, and what joined the queue meanwhile keeps its own time.
func TestTogetherRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := batcher.New(batcher.Config[string]{Size: 8, Bytes: 1 << 20, Wait: time.Minute})
		start := time.Now()
		want := func(at time.Duration, want string) {
			t.Helper()
			_ = b.Ripe(t.Context())
			if got := show(b.Seal(100)); got != want || time.Since(start) != at {
				t.Errorf("sealed %q after %v, want %q after %v", got, time.Since(start), want, at)
			}
		}
		add(b, "a1", "b1", "c1")
		s := b.Seal(100)
		time.Sleep(time.Second)
		add(b, "d1")
		b.Together(s[:2], 8*time.Second)
		b.Together(s[2:], 20*time.Second)
		if got := b.Seal(1); show(got) != "d=d1" {
			t.Errorf("sealed %q while the units rest", show(got))
		} else {
			b.Back(got[0], batcher.Again{After: 50 * time.Second})
		}
		want(10*time.Second, "a=a1 b=b1")
		b.Drop(liking("c"))
		want(62500*ms, "d=d1")
	})
}

// TestSuspectTogether: of an input that was refused as one only half travels with its unit.
func TestSuspectTogether(t *testing.T) {
	b := batcher.New(batcher.Config[string]{Size: 8, Bytes: 1 << 20})
	add(b, "a1", "a2", "a3", "a4")
	b.Back(b.Seal(100)[0], batcher.Again{Suspect: true})
	add(b, "b1")
	b.Together(b.Seal(100), 0) // a1+a2, b1
	wantBatches(t, b, 100, "a=a1+a2 b=b1", "a=a3", "a=a4")
}

// TestSuspectsAlone: the records of an input that was refused alone have no company until the guilty one is found.
func TestSuspectsAlone(t *testing.T) {
	b := batcher.New(batcher.Config[string]{Size: 8, Bytes: 1 << 20})
	add(b, "a1", "a2", "a3")
	b.Back(b.Seal(100)[0], batcher.Again{Suspect: true, Alone: true})
	add(b, "b1", "a4")
	wantBatches(t, b, 100, "a=a1+a2", "a=a3", "b=b1 a=a4")
}
