package batcher_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tasksink/tasksink/batcher"
)

// rec is a record of the model test: the n-th of its object, the at-th of all; late ones count on from late.
type rec struct {
	object string
	n, at  int
	aside  bool // it leaves by itself
	quick  bool // and is returned at once
}

// TestModel plays random histories against the few rules that everything else rests on: an object is in one batch at
// a time, its records leave in order and none is skipped, the oldest of all that are sealable leaves first, late ones
// behind the others, a batch keeps its bounds, and in the end nothing is left. A record that leaves by itself is in no
// batch, and leaves at the instant at which nothing of its object is before it.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size, bytes, late, none = 4, 20, 1 << 40, 1 << 50
		added, done := map[string]int{}, map[string]int{}
		flying := map[string]bool{}
		var out [][]*batcher.Sealed[rec]
		var asides []*batcher.Sealed[rec]
		var queue []rec
		last := 0
		var q *batcher.Batcher[rec]
		q = batcher.New(batcher.Config[rec]{Size: size, Bytes: bytes, Aside: func(s *batcher.Sealed[rec]) {
			object := s.Records[0].object
			for i, r := range s.Records {
				if !r.aside || flying[object] || r.n != done[object]+i {
					t.Fatalf("%v leave by themselves, want number %d; in flight: %v", s.Records, done[object], flying[object])
				}
			}
			queue = slices.DeleteFunc(queue, func(other rec) bool { return slices.Contains(s.Records, other) })
			if s.Records[0].quick {
				done[object] += len(s.Records)
				q.Refused(s)
				return
			}
			flying[object] = true
			asides = append(asides, s)
		}})

		seal := func(t *rapid.T) {
			limit := rapid.IntRange(1, 6).Draw(t, "limit")
			varied := rapid.Bool().Draw(t, "varied")
			first := map[string]rec{} // of each sealable object
			for _, r := range queue {
				if f, is := first[r.object]; !flying[r.object] && (!is || r.n < f.n) {
					first[r.object] = r
				}
			}
			oldest := none
			for _, r := range first {
				oldest = min(oldest, r.at)
			}
			batch := q.Seal(limit, varied)
			if (batch == nil) != (oldest == none) {
				t.Fatalf("sealed %d inputs, while the oldest sealable record is the %d-th of %d", len(batch), oldest, last)
			}
			if batch == nil {
				return
			}
			if first := batch[0].Records[0]; !varied && first.at != oldest {
				t.Fatalf("sealed the %d-th record first, want the %d-th", first.at, oldest)
			}
			if len(batch) > min(limit, size) {
				t.Fatalf("%d inputs in a batch of at most %d", len(batch), min(limit, size))
			}
			for _, s := range batch {
				object := s.Records[0].object
				if flying[object] {
					t.Fatalf("object %s is in two batches", object)
				}
				flying[object] = true
				for i, r := range s.Records {
					if r.object != object || r.n != done[object]+i || r.aside {
						t.Fatalf("sealed %v, want number %d of %s", r, done[object]+i, object)
					}
				}
				queue = slices.DeleteFunc(queue, func(r rec) bool { return slices.Contains(s.Records, r) })
			}
			out = append(out, batch)
		}
		answer := func(t *rapid.T) {
			if len(out) == 0 {
				return
			}
			i := rapid.IntRange(0, len(out)-1).Draw(t, "batch")
			batch := out[i]
			out = append(out[:i], out[i+1:]...)
			for _, s := range batch {
				object := s.Records[0].object
				flying[object] = false
				switch verdict := rapid.SampledFrom([]string{"done", "refused", "back", "smaller", "suspect"}).Draw(t, "verdict"); {
				case verdict == "done":
					done[object] += len(s.Records)
					q.Done(s)
				case verdict == "refused" && len(s.Records) == 1:
					done[object]++
					q.Refused(s)
				default:
					queue = append(queue, s.Records...)
					q.Back(s, batcher.Again{Cap: map[string]int{"smaller": 1 + len(batch)/2}[verdict], Suspect: verdict == "suspect"})
				}
			}
		}
		end := func(s *batcher.Sealed[rec], back bool) {
			object := s.Records[0].object
			flying[object] = false
			if back {
				queue = append(queue, s.Records...)
				q.Back(s, batcher.Again{})
				return
			}
			done[object] += len(s.Records)
			q.Refused(s)
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				object := fmt.Sprint("o", rapid.IntRange(0, 9).Draw(t, "object"))
				last++
				r, isLate := rec{object: object, n: added[object], at: last}, rapid.Bool().Draw(t, "late")
				if isLate {
					r.at += late
				}
				queue = append(queue, r)
				added[object]++
				q.Add("", object, r, rapid.IntRange(1, 30).Draw(t, "bytes"), isLate)
			},
			"add aside": func(t *rapid.T) {
				object := fmt.Sprint("o", rapid.IntRange(0, 9).Draw(t, "object"))
				last++
				r := rec{object, added[object], last, true, rapid.Bool().Draw(t, "quick")}
				queue = append(queue, r)
				added[object]++
				q.AddAside("", object, r)
			},
			"end aside": func(t *rapid.T) {
				if len(asides) > 0 {
					i := rapid.IntRange(0, len(asides)-1).Draw(t, "aside")
					s := asides[i]
					asides = slices.Delete(asides, i, i+1)
					end(s, rapid.Bool().Draw(t, "back"))
				}
			},
			"drop": func(t *rapid.T) {
				object := fmt.Sprint("o", rapid.IntRange(0, 9).Draw(t, "object"))
				gone := func(r rec) bool { return r.object == object }
				before := len(queue)
				queue = slices.DeleteFunc(queue, gone)
				added[object] -= before - len(queue)
				q.Drop(gone)
			},
			"seal":   seal,
			"answer": answer,
			"": func(t *rapid.T) {
				if q.Len() != len(queue) {
					t.Fatalf("%d queued, want %d", q.Len(), len(queue))
				}
				for _, r := range queue {
					if r.aside && r.n == done[r.object] && !flying[r.object] {
						t.Fatalf("%v waits, and nothing is before it", r)
					}
				}
			},
		})
		for _, batch := range out {
			for _, s := range batch {
				flying[s.Records[0].object] = false
				q.Back(s, batcher.Again{})
			}
		}
		out = nil
		for q.Len() > 0 || len(asides) > 0 {
			batch := q.Seal(size, false)
			if batch == nil && len(asides) == 0 {
				t.Fatalf("%d records are stuck", q.Len())
			}
			for _, s := range batch {
				done[s.Records[0].object] += len(s.Records)
				q.Done(s)
			}
			left := asides
			asides = nil
			for _, s := range left {
				end(s, false)
			}
		}
		for object, n := range added {
			if done[object] != n {
				t.Fatalf("object %s: %d of %d records left", object, done[object], n)
			}
		}
	})
}
