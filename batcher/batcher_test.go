package batcher_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasksink/tasksink/batcher"
)

const ms = time.Millisecond

// arrival is a record that joins the queue at an instant after the start.
type arrival struct {
	at     time.Duration
	object string
	bytes  int
}

// TestDepartures holds the exact instant at which each batch leaves, and what is in it.
func TestDepartures(t *testing.T) {
	cfg := batcher.Config[string]{Size: 3, Bytes: 100, Wait: 500 * ms}
	for _, tc := range []struct {
		name     string
		arrivals []arrival
		answer   time.Duration // how long each request takes
		want     []string      // instant: object=records …
	}{
		{"a full batch leaves at once",
			[]arrival{{0, "a", 1}, {10 * ms, "b", 1}, {20 * ms, "c", 1}}, 0,
			[]string{"20ms: a=a1 b=b1 c=c1"}},
		{"a lone record leaves when it has waited",
			[]arrival{{100 * ms, "a", 1}}, 0,
			[]string{"600ms: a=a1"}},
		{"the oldest record sets the time for all",
			[]arrival{{0, "a", 1}, {499 * ms, "b", 1}, {501 * ms, "c", 1}}, 0,
			[]string{"500ms: a=a1 b=b1", "1.001s: c=c1"}},
		{"records of one object leave as one input, and do not fill a batch",
			[]arrival{{0, "a", 1}, {1 * ms, "a", 1}, {2 * ms, "a", 1}, {3 * ms, "b", 1}}, 0,
			[]string{"500ms: a=a1+a2+a3 b=b1"}},
		{"bytes fill a batch too",
			[]arrival{{0, "a", 60}, {5 * ms, "b", 60}}, 0,
			[]string{"5ms: a=a1", "505ms: b=b1"}},
		{"a record larger than a batch travels alone",
			[]arrival{{0, "a", 1}, {5 * ms, "b", 1000}}, 0,
			[]string{"5ms: a=a1", "5ms: b=b1"}},
		{"merging stops where the bytes end",
			[]arrival{{0, "a", 60}, {0, "a", 60}}, 0,
			[]string{"0s: a=a1", "500ms: a=a2"}},
		{"an object in flight waits for its answer, others do not",
			[]arrival{{0, "a", 1}, {0, "b", 1}, {0, "c", 1}, {10 * ms, "a", 1}, {20 * ms, "d", 1}}, 700 * ms,
			[]string{"0s: a=a1 b=b1 c=c1", "520ms: d=d1", "700ms: a=a2"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := batcher.New(cfg)
				start := time.Now()
				go func() {
					count := map[string]int{}
					for _, a := range tc.arrivals {
						time.Sleep(time.Until(start.Add(a.at)))
						count[a.object]++
						b.Add("", a.object, fmt.Sprint(a.object, count[a.object]), a.bytes, false)
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var got []string
				for b.Ripe(ctx) == nil {
					batch := b.Seal(100)
					got = append(got, time.Since(start).String()+": "+show(batch))
					go func() {
						time.Sleep(tc.answer)
						for _, s := range batch {
							b.Done(s)
						}
					}()
					synctest.Wait()
				}
				if !reflect.DeepEqual(got, tc.want) {
					t.Errorf("departures\n got %q\nwant %q", got, tc.want)
				}
				if b.Len() != 0 {
					t.Errorf("%d records left behind", b.Len())
				}
			})
		})
	}
}

func show(batch []*batcher.Sealed[string]) string {
	var inputs []string
	for _, s := range batch {
		inputs = append(inputs, strings.TrimRight(s.Records[0], "0123456789")+"="+strings.Join(s.Records, "+"))
	}
	return strings.Join(inputs, " ")
}

func add(b *batcher.Batcher[string], records ...string) {
	for _, r := range records {
		b.Add("", r[:1], r, 1, false)
	}
}

// TestLate: late records leave behind the others, but not behind younger ones of their own object.
func TestLate(t *testing.T) {
	b := batcher.New(batcher.Config[string]{Size: 3, Bytes: 100, Wait: 500 * ms})
	for _, r := range []string{"a1", "b1", "c1"} {
		b.Add("", r[:1], r, 1, true)
	}
	for _, r := range []string{"d1", "a2", "e1"} {
		b.Add("", r[:1], r, 1, false)
	}
	for _, want := range []string{"d=d1 e=e1 a=a1+a2", "b=b1 c=c1"} {
		if got := show(b.Seal(100)); got != want {
			t.Errorf("sealed %s, want %s", got, want)
		}
	}
}

// TestPassingOver: an input that is too large for what is left of a batch waits, smaller ones join; but a batch passes
// over no more inputs than it holds.
func TestPassingOver(t *testing.T) {
	b := batcher.New(batcher.Config[string]{Size: 4, Bytes: 100})
	for i, bytes := range []int{50, 60, 20, 60, 60, 20, 60, 10} {
		object := string(rune('a' + i))
		b.Add("", object, object+"1", bytes, false)
	}
	for _, want := range []string{"a=a1 c=c1 f=f1", "b=b1 h=h1", "d=d1", "e=e1", "g=g1"} {
		if got := show(b.Seal(100)); got != want {
			t.Errorf("sealed %q, want %q", got, want)
		}
	}
}

// TestSetWait: a shorter wait counts at once, for what waits already.
func TestSetWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, start := batcher.New(batcher.Config[string]{Size: 3, Bytes: 100, Wait: time.Minute}), time.Now()
		add(b, "a1")
		go func() {
			time.Sleep(10 * time.Second)
			b.SetWait(15 * time.Second)
		}()
		if err := b.Ripe(t.Context()); err != nil || time.Since(start) != 15*time.Second {
			t.Errorf("ripe after %v (%v), want 15s", time.Since(start), err)
		}
	})
}

// TestSetBytes: a smaller bound makes what waits ripe at once, and bounds the next batch.
func TestSetBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, start := batcher.New(batcher.Config[string]{Size: 9, Bytes: 100, Wait: time.Minute}), time.Now()
		add(b, "a1", "b1", "c1", "d1")
		go func() {
			time.Sleep(10 * time.Second)
			b.SetBytes(3)
		}()
		if err := b.Ripe(t.Context()); err != nil || time.Since(start) != 10*time.Second {
			t.Errorf("ripe after %v (%v), want 10s", time.Since(start), err)
		}
		if got, want := show(b.Seal(100)), "a=a1 b=b1 c=c1"; got != want {
			t.Errorf("sealed %q, want %q", got, want)
		}
	})
}

func TestSealedLateTakesWhatIsThereNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := batcher.New(batcher.Config[string]{Size: 100, Bytes: 1 << 20, Wait: 500 * ms})
		add(b, "a1")
		if err := b.Ripe(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the pace makes the request wait
		add(b, "b1", "a2")
		if got, want := show(b.Seal(100)), "a=a1+a2 b=b1"; got != want {
			t.Errorf("sealed %q, want %q", got, want)
		}
	})
}

func TestBackTakesItsOldPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := batcher.New(batcher.Config[string]{Size: 2, Bytes: 1 << 20})
		add(b, "a1", "b1", "c1", "d1")
		first := b.Seal(100)
		add(b, "a2")
		for _, s := range first {
			b.Back(s, batcher.Again{})
		}
		if got, want := show(b.Seal(100)), "a=a1+a2 b=b1"; got != want {
			t.Errorf("sealed %q, want %q", got, want)
		}
	})
}

// TestBackRests holds when a rest ends: in slots of a quarter of it, and never early.
func TestBackRests(t *testing.T) {
	for _, tc := range []struct{ back, rest, want time.Duration }{
		{0, 2 * time.Second, 2 * time.Second},
		{time.Second, 2 * time.Second, 3 * time.Second},
		{1001 * ms, 2 * time.Second, 3500 * ms},
		{1499 * ms, 2 * time.Second, 3500 * ms},
		{70 * time.Second, 5 * time.Minute, 375 * time.Second},
		{1499 * ms, 0, 1499 * ms},
		{1499 * ms, 1, 1499*ms + 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := batcher.New(batcher.Config[string]{Size: 2, Bytes: 1 << 20, Wait: 500 * ms})
			start := time.Now()
			add(b, "a1", "b1")
			batch := b.Seal(100)
			time.Sleep(tc.back)
			for _, s := range batch {
				b.Back(s, batcher.Again{After: tc.rest})
			}
			if tc.rest > 0 && b.Seal(100) != nil {
				t.Errorf("%+v: sealed while it rests", tc)
			}
			_ = b.Ripe(t.Context())
			if got := time.Since(start); got != tc.want {
				t.Errorf("%+v: ripe after %v", tc, got)
			}
			if got, want := show(b.Seal(100)), "a=a1 b=b1"; got != want {
				t.Errorf("sealed %q, want %q", got, want)
			}
		})
	}
}

// TestRestsEndTogether: what came back one by one thaws at one instant, and travels in one batch.
func TestRestsEndTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := batcher.New(batcher.Config[string]{Size: 5, Bytes: 1 << 20, Wait: 500 * ms})
		add(b, "a1", "b1", "c1", "d1", "e1")
		for _, s := range b.Seal(100) {
			time.Sleep(100 * ms)
			b.Back(s, batcher.Again{After: 2 * time.Second})
		}
		_ = b.Ripe(t.Context())
		if got, want := show(b.Seal(100)), "a=a1 b=b1 c=c1 d=d1 e=e1"; got != want {
			t.Errorf("sealed %q, want %q", got, want)
		}
	})
}

// TestUnmerge finds the bad one among the versions of one object: only it is refused, the rest goes in order, and the
// search costs no more than ten requests beside the first.
func TestUnmerge(t *testing.T) {
	for bad := 1; bad <= batcher.MaxMerge; bad++ {
		b := batcher.New(batcher.Config[int]{Size: 100, Bytes: 1 << 20})
		for i := 1; i <= batcher.MaxMerge; i++ {
			b.Add("", "x", i, 1, false)
		}
		var accepted, refused []int
		requests := 0
		for b.Len() > 0 {
			s := b.Seal(100)[0]
			requests++
			first, last := s.Records[0], s.Records[len(s.Records)-1]
			switch {
			case bad < first || bad > last:
				accepted = append(accepted, s.Records...)
				b.Done(s)
			case len(s.Records) == 1:
				refused = append(refused, first)
				b.Refused(s)
			default:
				b.Back(s, batcher.Again{Suspect: true})
			}
		}
		if len(refused) != 1 || refused[0] != bad || len(accepted) != 99 {
			t.Errorf("bad %d: refused %v, accepted %d", bad, refused, len(accepted))
		}
		for i := 1; i < len(accepted); i++ {
			if accepted[i] <= accepted[i-1] {
				t.Errorf("bad %d: %d after %d", bad, accepted[i], accepted[i-1])
			}
		}
		if requests > 11 {
			t.Errorf("bad %d: %d requests beside the first, want at most 10", bad, requests-1)
		}
	}
}

func TestGroupsDoNotShareABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := batcher.New(batcher.Config[string]{Size: 2, Bytes: 1 << 20, Wait: 500 * ms})
		b.Add("email", "a", "a1", 1, false)
		b.Add("key", "a", "b1", 1, false)
		b.Add("key", "c", "c1", 1, false)
		for _, want := range []string{"b=b1 c=c1", "a=a1"} { // the full one first, the other when it has waited
			_ = b.Ripe(t.Context())
			if got := show(b.Seal(100)); got != want {
				t.Errorf("sealed %q, want %q", got, want)
			}
		}
	})
}

func TestDropAndReturn(t *testing.T) {
	gone := map[string]bool{}
	var left, returned []string
	b := batcher.New(batcher.Config[string]{Size: 2, Bytes: 1 << 20,
		Leave:  func(r string) { left = append(left, r) },
		Return: func(r string) bool { returned = append(returned, r); return gone[r] }})
	add(b, "a1", "b1", "a2", "c1", "d1")
	batch := b.Seal(100) // a1+a2, b1
	b.Drop(func(r string) bool { return r == "c1" })
	gone["a2"] = true
	for _, s := range batch {
		b.Back(s, batcher.Again{})
	}
	if got, want := show(b.Seal(100)), "a=a1 b=b1"; got != want {
		t.Errorf("sealed %q, want %q", got, want)
	}
	if got, want := show(b.Seal(100)), "d=d1"; got != want {
		t.Errorf("sealed %q, want %q", got, want)
	}
	if got, want := strings.Join(left, " "), "a1 a2 b1 a1 b1 d1"; got != want {
		t.Errorf("%q left, want %q", got, want)
	}
	if got, want := strings.Join(returned, " "), "a1 a2 b1"; got != want {
		t.Errorf("%q returned, want %q", got, want)
	}
}

// TestAside: records that leave by themselves wait for their object only, not for a rest, and stop a merged input.
// Those that stand next to each other leave together. Ripe and Seal know nothing of them.
func TestAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asides []*batcher.Sealed[string]
		gone := map[string]bool{}
		b := batcher.New(batcher.Config[string]{Size: 1, Bytes: 1 << 20, Wait: 500 * ms,
			Return: func(r string) bool { return gone[r] },
			Aside:  func(s *batcher.Sealed[string]) { asides = append(asides, s) }})
		want := func(queued int, names ...string) {
			t.Helper()
			var got []string
			for _, s := range asides {
				got = append(got, s.Records...)
			}
			if b.Len() != queued || !slices.Equal(got, names) {
				t.Fatalf("%d records wait and %q left by themselves, want %d and %q", b.Len(), got, queued, names)
			}
		}
		b.AddAside("", "a", "a1")
		want(0, "a1")
		add(b, "a2", "a3")
		b.AddAside("", "a", "a4")
		b.AddAside("", "a", "a5")
		add(b, "a6")
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if b.Ripe(ctx) == nil || b.Seal(100) != nil {
			t.Fatal("a batch is ripe while its only object is away")
		}
		b.Refused(asides[0])
		_ = b.Ripe(t.Context())
		batch := b.Seal(100)
		if got := show(batch); got != "a=a2+a3" {
			t.Fatalf("sealed %q", got)
		}
		b.Back(batch[0], batcher.Again{After: time.Hour})
		want(5, "a1")
		b.Drop(func(r string) bool { return r == "a2" || r == "a3" })
		want(1, "a1", "a4", "a5")
		gone["a4"] = true
		b.Back(asides[1], batcher.Again{})
		want(1, "a1", "a4", "a5", "a5")
		b.Refused(asides[2])
		if got := show(b.Seal(100)); got != "a=a6" {
			t.Fatalf("sealed %q", got)
		}
	})
}
