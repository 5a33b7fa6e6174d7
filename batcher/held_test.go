package batcher_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasksink/tasksink/batcher"
)

// TestHeld: an object whose first record is held is neither ripe nor sealed until Recheck finds it free.
func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := "ac"
		b := batcher.New(batcher.Config[string]{Size: 2, Bytes: 1 << 20, Wait: time.Minute,
			Held: func(r string) bool { return strings.Contains(held, r[:1]) }})
		add(b, "a1", "c1", "a2")
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if b.Ripe(ctx) == nil {
			t.Error("what is held is ripe")
		}
		add(b, "b1")
		batch := b.Seal(100)
		if got := show(batch); got != "b=b1" {
			t.Errorf("sealed %q, want b=b1", got)
		}
		held = "b"
		b.Recheck()
		b.Back(batch[0], batcher.Again{})
		_ = b.Ripe(t.Context())
		wantBatches(t, b, 100, "a=a1+a2 c=c1")
		add(b, "d1", "e1")
		held = "bde"
		b.Recheck()
		wantBatches(t, b, 100)
		held = ""
		b.Recheck()
		wantBatches(t, b, 100, "b=b1 d=d1", "e=e1")
	})
}

// TestHeldRests: what is held as it rests goes on resting when it is free; what is held in its unit stays in the unit.
func TestHeldRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := ""
		b := batcher.New(batcher.Config[string]{Size: 3, Bytes: 1 << 20,
			Held: func(r string) bool { return strings.Contains(held, r[:1]) }})
		add(b, "a1", "b1", "c1")
		s := b.Seal(100)
		b.Back(s[0], batcher.Again{After: 8 * time.Second})
		b.Together(s[1:], 0)
		add(b, "b2")
		held = "ab"
		b.Recheck()
		wantBatches(t, b, 100, "c=c1")
		held = ""
		b.Recheck()
		wantBatches(t, b, 100, "b=b1", "b=b2")
		_ = b.Ripe(t.Context())
		wantBatches(t, b, 100, "a=a1")
	})
}

// TestWakeTogether: the rest of a part ends, whichever of its objects is liked, and nothing joins it.
func TestWakeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := ""
		b := batcher.New(batcher.Config[string]{Size: 4, Bytes: 1 << 20,
			Held: func(r string) bool { return strings.Contains(held, r[:1]) }})
		add(b, "a1", "b1", "c1", "d1")
		s := b.Seal(100)
		b.Together(s[:2], time.Hour)
		b.Back(s[2], batcher.Again{After: time.Hour})
		b.Back(s[3], batcher.Again{After: time.Hour})
		held = "ab"
		b.Recheck()
		b.WakeTogether(liking("ac"))
		held = ""
		b.Recheck()
		wantBatches(t, b, 100, "a=a1 b=b1", "c=c1")
	})
}

func TestWakeEndsRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := batcher.New(batcher.Config[string]{Size: 3, Bytes: 1 << 20, Held: liking("c")})
		b.Add("", "a", "a1", 1, false)
		b.Add("", "b", "b1", 1, false)
		for _, s := range b.Seal(100) {
			b.Back(s, batcher.Again{After: time.Hour})
		}
		add(b, "c1")
		b.Wake(liking("ac"))
		wantBatches(t, b, 100, "a=a1")
	})
}

// TestProbesVary: a probe takes only what came back least often, the newest first, whether it is ready, rests, is held
// or belongs to a unit.
func TestProbesVary(t *testing.T) {
	b := batcher.New(batcher.Config[string]{Size: 100, Bytes: 1 << 20, Held: liking("d")})
	add(b, "b1", "c1", "a1", "d1", "e1", "x1")
	b.Add("other", "a", "a9", 1, false)
	all := func(r string) bool { return r != "x1" }
	back := func(want string, end func([]*batcher.Sealed[string])) {
		t.Helper()
		batch, aside := b.Probe(2, batcher.LeastTried, all)
		if got := show(batch); got != want || aside {
			t.Errorf("probe %q (aside: %v), want %q", got, aside, want)
		}
		end(batch)
	}
	rest := func(batch []*batcher.Sealed[string]) {
		for _, s := range batch {
			b.Back(s, batcher.Again{After: time.Hour})
		}
	}
	together := func(batch []*batcher.Sealed[string]) { b.Together(batch, time.Hour) }
	back("a=a9", rest) // the other group's
	back("e=e1 d=d1", rest)
	back("a=a1 c=c1", together)
	back("b=b1", rest) // the others came back once
	back("a=a9", rest)
	back("e=e1 d=d1", rest)
	back("a=a1 c=c1", func(batch []*batcher.Sealed[string]) {
		b.Done(batch[0])
		b.Done(batch[1])
	})
	back("b=b1", rest)
	if batch, _ := b.Probe(2, batcher.LeastTried, liking("z")); batch != nil {
		t.Errorf("probe %q, want none", show(batch))
	}
	wantBatches(t, b, 100, "x=x1")
}

// TestProbeAside: if only records that leave by themselves are left, a probe takes one record of one.
func TestProbeAside(t *testing.T) {
	b := batcher.New(batcher.Config[string]{Size: 100, Bytes: 1 << 20, Held: func(string) bool { return true }})
	add(b, "c1")
	for _, r := range []string{"a1", "a2", "b1"} {
		b.AddAside("", r[:1], r)
	}
	back := func(s *batcher.Sealed[string]) { b.Back(s, batcher.Again{}) }
	for _, tc := range []struct {
		want  string
		aside bool
		end   func(*batcher.Sealed[string])
	}{
		{"c=c1", false, b.Done},
		{"a=a1", true, back},
		{"b=b1", true, back},
		{"a=a1", true, b.Refused},
		{"a=a2", true, b.Refused},
		{"b=b1", true, back},
	} {
		batch, aside := b.Probe(9, batcher.LeastTried, liking("abc"))
		if got := show(batch); got != tc.want || aside != tc.aside {
			t.Errorf("probe %q (aside: %v), want %q", got, aside, tc.want)
		}
		tc.end(batch[0])
	}
}

// TestHeldAside: a record that leaves by itself does not while it is held, and stops those before it from taking it
// along. Aside may give back what it got.
func TestHeldAside(t *testing.T) {
	var b *batcher.Batcher[string]
	held, handed := map[string]bool{"a2": true}, []string{}
	b = batcher.New(batcher.Config[string]{Size: 100, Bytes: 1 << 20,
		Held: func(r string) bool { return held[r] },
		Aside: func(s *batcher.Sealed[string]) {
			handed = append(handed, strings.Join(s.Records, "+"))
			if s.Records[0] == "b1" && len(handed) < 3 { // the caller sees the hold before the queue does
				held["b1"] = true
				b.Back(s, batcher.Again{})
				return
			}
			b.Refused(s)
		}})
	add(b, "a0")
	batch := b.Seal(100)
	for _, r := range []string{"a1", "a2", "a3", "b1"} {
		b.AddAside("", r[:1], r)
	}
	b.Done(batch[0])
	if want := []string{"b1", "a1"}; !slices.Equal(handed, want) || b.Len() != 3 {
		t.Fatalf("%q left by themselves and %d wait, want %q and 3", handed, b.Len(), want)
	}
	clear(held)
	b.Recheck()
	slices.Sort(handed[2:])
	if want := []string{"b1", "a1", "a2+a3", "b1"}; !slices.Equal(handed, want) || b.Len() != 0 {
		t.Fatalf("%q left by themselves and %d wait, want %q and 0", handed, b.Len(), want)
	}
}

// TestRipeLooksAgain: a Ripe that waits returns at the instant at which a call makes something ripe.
func TestRipeLooksAgain(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(b *batcher.Batcher[string], free func())
		want   string
	}{
		{"Recheck", func(b *batcher.Batcher[string], free func()) { free(); b.Recheck() }, "h=h1"},
		{"Wake", func(b *batcher.Batcher[string], _ func()) { b.Wake(liking("r")) }, "r=r1"},
		{"Together", func(b *batcher.Batcher[string], _ func()) {
			batch, _ := b.Probe(2, batcher.LeastTried, liking("r"))
			b.Together(batch, 0)
		}, "r=r1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				held := true
				b := batcher.New(batcher.Config[string]{Size: 2, Bytes: 1 << 20, Wait: time.Second,
					Held: func(r string) bool { return held && r == "h1" }})
				start := time.Now()
				add(b, "h1", "r1")
				b.Back(b.Seal(100)[0], batcher.Again{After: time.Hour})
				go func() {
					time.Sleep(10 * time.Second)
					tc.change(b, func() { held = false })
				}()
				if err := b.Ripe(t.Context()); err != nil || time.Since(start) != 10*time.Second {
					t.Errorf("ripe after %v (%v), want 10s", time.Since(start), err)
				}
				wantBatches(t, b, 100, tc.want)
			})
		})
	}
}

// TestTake: one record is taken wherever its object waits: ready, resting, parked, in a unit, or as one that leaves by
// itself. What is in a batch, and what stands behind another record of its object, is not.
func TestTake(t *testing.T) {
	for name, tc := range map[string]struct {
		wait  func(b *batcher.Batcher[string], s []*batcher.Sealed[string])
		like  string
		taken string // empty: nothing
		aside bool
		then  string // what is sealed when it was refused
	}{
		"ready": {func(b *batcher.Batcher[string], s []*batcher.Sealed[string]) { b.Back(s[0], batcher.Again{}) }, "a1", "a1", false, "a=a2"},
		"resting": {func(b *batcher.Batcher[string], s []*batcher.Sealed[string]) {
			b.Back(s[0], batcher.Again{After: time.Hour})
		}, "a1", "a1", false, "a=a2"},
		"suspects": {func(b *batcher.Batcher[string], s []*batcher.Sealed[string]) {
			b.Back(s[0], batcher.Again{Suspect: true})
		}, "a1", "a1", false, "a=a2"},
		"a unit": {func(b *batcher.Batcher[string], s []*batcher.Sealed[string]) { b.Together(s, time.Hour) }, "a1", "a1", false, "a=a2"},
		"parked": {nil, "h1", "h1", false, ""},
		"aside":  {nil, "x1", "x1", true, ""},
		"behind": {func(b *batcher.Batcher[string], s []*batcher.Sealed[string]) { b.Back(s[0], batcher.Again{}) }, "a2", "", false, "a=a1+a2"},
		"away":   {nil, "a1", "", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			left := []string{}
			b := batcher.New(batcher.Config[string]{Size: 100, Bytes: 1 << 20, Held: liking("hx"),
				Leave: func(r string) { left = append(left, r) }})
			add(b, "a1", "a2", "h1", "h2")
			b.AddAside("", "x", "x1")
			b.AddAside("", "x", "x2")
			batch := b.Seal(100)
			if tc.wait != nil {
				tc.wait(b, batch)
			}
			queued := b.Len()
			left = nil
			s, aside := b.Take(func(r string) bool { return r == tc.like })
			taken := ""
			if s != nil {
				taken = strings.Join(s.Records, "+")
				queued--
			}
			if taken != tc.taken || aside != tc.aside || b.Len() != queued {
				t.Fatalf("taken: %q (aside: %v), want %q; %d are queued, want %d", taken, aside, tc.taken, b.Len(), queued)
			}
			if want := taken != "" && !aside; slices.Contains(left, taken) != want {
				t.Errorf("left: %q", left)
			}
			if s != nil {
				if again, _ := b.Take(liking(tc.like[:1])); again != nil {
					t.Errorf("%q is taken, though its object is away", again.Records)
				}
				b.Refused(s)
			}
			if got := show(b.Seal(100)); got != tc.then {
				t.Errorf("then %q is sealed, want %q", got, tc.then)
			}
		})
	}
}
