package batcher_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tasksink/tasksink/batcher"
)

const modelObjects, modelScopes = 8, 3

// bubble hides a test's deadline from rapid: there is none in testing/synctest.
type bubble struct{ *testing.T }

// TestModel plays random histories against a naive twin, which says of each batch what exactly is in it, whether one is
// ripe, and what leaves by itself. In the end nothing is held: all leaves, and each object's records ended in order.
func TestModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubble{t}, func(t *rapid.T) {
			p := newPlay()
			p.t = t
			t.Repeat(map[string]func(*rapid.T){
				"add": p.on((*play).add), "add ": p.on((*play).add),
				"add aside": p.on((*play).addAside),
				"end aside": p.on((*play).endAside),
				"seal":      p.on((*play).seal), "seal ": p.on((*play).seal),
				"probe":  p.on((*play).probe),
				"take":   p.on((*play).take),
				"answer": p.on((*play).answer), "answer ": p.on((*play).answer),
				"answer halves": p.on((*play).answerHalves), "answer halves ": p.on((*play).answerHalves),
				"hold":  p.on((*play).hold),
				"wake":  p.on((*play).wake),
				"drop":  p.on((*play).drop),
				"bound": p.on((*play).bound),
				"time":  func(t *rapid.T) { time.Sleep(ms * time.Duration(rapid.IntRange(1, 20).Draw(t, "ms"))) },
				"":      p.on((*play).check),
			})
			p.t = t
			p.finish()
		})
	})
}

// play is one history: the queue, its twin, and what is away.
type play struct {
	t      *rapid.T
	q      *batcher.Batcher[rec]
	w      *twin
	out    [][]*batcher.Sealed[rec]
	asides []*batcher.Sealed[rec]
	last   int
	ending bool
}

func newPlay() *play {
	born := time.Now()
	w := &twin{size: 4, bytes: 20, wait: 5 * ms, now: func() time.Duration { return time.Since(born) },
		held: map[int]bool{}, gone: map[int]bool{}}
	for range modelObjects {
		w.objects = append(w.objects, &twinObject{})
	}
	p := &play{w: w}
	p.q = batcher.New(batcher.Config[rec]{Size: w.size, Bytes: w.bytes, Wait: w.wait,
		Held:   func(r rec) bool { return w.held[r.scope] },
		Return: func(r rec) bool { return w.gone[r.id] },
		Aside:  p.aside})
	return p
}

func (p *play) on(do func(*play)) func(*rapid.T) {
	return func(t *rapid.T) {
		p.t = t
		do(p)
	}
}

func (p *play) object(s *batcher.Sealed[rec]) *twinObject { return p.w.objects[s.Records[0].object] }

// aside is the queue's Config.Aside. The twin has already done what the queue was asked to do.
func (p *play) aside(s *batcher.Sealed[rec]) {
	o := p.object(s)
	if !o.toHandOut || !slices.Equal(o.away, s.Records) {
		p.t.Fatalf("%v leave by themselves, want %v (%v)", s.Records, o.away, o.toHandOut)
	}
	o.toHandOut = false
	switch aside := s.Records[0].aside; {
	case p.ending || aside == "refused":
		p.w.end(o, 0)
		p.q.Refused(s)
	case aside == "stays":
		p.asides = append(p.asides, s)
	case aside == "held":
		p.w.held[s.Records[0].scope] = true
		p.w.back(o, 0, false, false, 0)
		p.q.Back(s, batcher.Again{})
	}
}

func (p *play) rec(aside string) rec {
	p.last++
	return rec{object: rapid.IntRange(0, modelObjects-1).Draw(p.t, "object"), id: p.last, at: p.w.now(), aside: aside,
		scope: rapid.IntRange(0, modelScopes-1).Draw(p.t, "scope")}
}

func (p *play) add() {
	r := p.rec("")
	r.late, r.bytes = rapid.Bool().Draw(p.t, "late"), rapid.IntRange(1, 30).Draw(p.t, "bytes")
	p.w.add(r)
	p.q.Add(fmt.Sprint(r.group()), fmt.Sprint(r.object), r, r.bytes, r.late)
}

func (p *play) addAside() {
	r := p.rec(rapid.SampledFrom([]string{"stays", "refused", "held"}).Draw(p.t, "and then"))
	p.w.add(r)
	p.q.AddAside(fmt.Sprint(r.group()), fmt.Sprint(r.object), r)
}

func (p *play) seal() {
	limit := rapid.IntRange(1, 6).Draw(p.t, "limit")
	var want [][]rec
	if lots := p.w.lots(); len(lots) > 0 {
		want = p.w.fill(lots[0].objects, limit)
	}
	p.same(p.q.Seal(limit), want)
}

// same compares a batch with the twin's, and keeps it.
func (p *play) same(batch []*batcher.Sealed[rec], want [][]rec) {
	var got [][]rec
	for _, s := range batch {
		got = append(got, s.Records)
	}
	if !slices.EqualFunc(got, want, slices.Equal[[]rec]) {
		p.t.Fatalf("sealed\n%v, want\n%v", got, want)
	}
	if batch != nil {
		p.out = append(p.out, batch)
	}
}

// liked draws a predicate on records.
func (p *play) liked() func(rec) bool {
	scopes := rapid.IntRange(1, 1<<modelScopes-1).Draw(p.t, "scopes")
	return func(r rec) bool { return scopes>>r.scope&1 == 1 }
}

func (p *play) probe() {
	limit, of := rapid.IntRange(1, 6).Draw(p.t, "limit"), p.liked()
	prefer := rapid.SampledFrom([]batcher.Preference{batcher.LeastTried, batcher.Oldest}).Draw(p.t, "prefer")
	want, wantAside := p.w.probe(limit, prefer == batcher.Oldest, of)
	batch, aside := p.q.Probe(limit, prefer, of)
	if aside != wantAside {
		p.t.Fatalf("a probe of records that leave by themselves: %v, want %v", aside, wantAside)
	}
	p.same(batch, want)
	if aside {
		p.asides, p.out = append(p.asides, batch...), p.out[:len(p.out)-1]
	}
}

// take keeps what leaves by itself among the asides, and any other record as a batch of its own.
func (p *play) take() {
	of := p.liked()
	candidates := p.w.take(of)
	s, aside := p.q.Take(of)
	if s == nil {
		if len(candidates) > 0 {
			p.t.Fatalf("nothing is taken, %v could be", candidates[0].queue[0])
		}
		return
	}
	o := p.object(s)
	if !slices.Contains(candidates, o) || !slices.Equal(s.Records, o.queue[:1]) || aside != (o.queue[0].aside != "") {
		p.t.Fatalf("%v is taken (aside: %v), which is no first record that may be taken", s.Records, aside)
	}
	o.takeAway(1)
	if aside {
		p.asides = append(p.asides, s)
	} else {
		p.out = append(p.out, []*batcher.Sealed[rec]{s})
	}
}

// draw draws one of several, and removes it.
func draw[E any](t *rapid.T, of *[]E) (e E, ok bool) {
	if len(*of) == 0 {
		return e, false
	}
	i := rapid.IntRange(0, len(*of)-1).Draw(t, "which")
	e = (*of)[i]
	*of = slices.Delete(*of, i, i+1)
	return e, true
}

func (p *play) rest() time.Duration {
	return rapid.SampledFrom([]time.Duration{0, 0, 4 * ms, 40 * ms}).Draw(p.t, "rest")
}

func (p *play) endAside() {
	s, ok := draw(p.t, &p.asides)
	switch {
	case !ok:
	case rapid.Bool().Draw(p.t, "back"):
		p.back(s, batcher.Again{})
	default:
		p.w.end(p.object(s), 0)
		p.q.Refused(s)
	}
}

func (p *play) done(s *batcher.Sealed[rec]) {
	o := p.object(s)
	p.w.end(o, max(0, o.suspect-len(s.Records)))
	p.q.Done(s)
}

func (p *play) back(s *batcher.Sealed[rec], again batcher.Again) {
	p.w.back(p.object(s), p.w.restEnd(again.After), again.Suspect, again.Alone, 0)
	p.q.Back(s, again)
}

func (p *play) together(batch []*batcher.Sealed[rec], rest time.Duration) {
	p.w.units++
	unit := p.w.units
	for _, s := range batch {
		p.w.back(p.object(s), p.w.restEnd(rest), false, false, unit)
	}
	p.q.Together(batch, rest)
}

func (p *play) answer() {
	batch, _ := draw(p.t, &p.out)
	for _, s := range batch {
		switch verdict := rapid.SampledFrom([]string{"done", "refused", "back", "suspect", "alone"}).Draw(p.t, "verdict"); {
		case verdict == "done":
			p.done(s)
		case verdict == "refused" && len(s.Records) == 1:
			p.w.end(p.object(s), 0)
			p.q.Refused(s)
		default:
			suspect := verdict == "suspect" || verdict == "alone"
			p.back(s, batcher.Again{After: p.rest(), Suspect: suspect, Alone: verdict == "alone"})
		}
	}
}

func (p *play) answerHalves() {
	batch, ok := draw(p.t, &p.out)
	if !ok {
		return
	}
	half := rapid.IntRange(0, len(batch)-1).Draw(p.t, "half")
	p.together(batch[:half], p.rest())
	p.together(batch[half:], p.rest())
}

func (p *play) hold() {
	scope := rapid.IntRange(0, modelScopes-1).Draw(p.t, "scope")
	p.w.held[scope] = !p.w.held[scope]
	if rapid.Bool().Draw(p.t, "recheck") {
		p.w.recheck()
		p.q.Recheck()
	}
}

func (p *play) wake() {
	of := p.liked()
	if rapid.Bool().Draw(p.t, "together") {
		p.w.wakeTogether(of)
		p.q.WakeTogether(of)
		return
	}
	p.w.wake(of)
	p.q.Wake(of)
}

func (p *play) drop() {
	object, from := rapid.IntRange(0, modelObjects-1).Draw(p.t, "object"), rapid.IntRange(0, 3).Draw(p.t, "not of four")
	gone := func(r rec) bool { return r.object == object && r.id%4 >= from }
	p.w.drop(gone)
	p.q.Drop(gone)
}

func (p *play) bound() {
	p.w.bytes, p.w.wait = rapid.IntRange(1, 60).Draw(p.t, "bytes"), ms*time.Duration(rapid.IntRange(0, 20).Draw(p.t, "ms"))
	p.q.SetBytes(p.w.bytes)
	p.q.SetWait(p.w.wait)
}

// check compares what can be seen from outside.
func (p *play) check() {
	if p.q.Len() != p.w.len() {
		p.t.Fatalf("%d queued, want %d", p.q.Len(), p.w.len())
	}
	for _, o := range p.w.objects {
		if o.toHandOut {
			p.t.Fatalf("%v did not leave by themselves", o.away)
		}
	}
	lots := p.w.lots()
	ripe := len(lots) > 0 && lots[0].ripe
	ctx, cancel := context.WithTimeout(context.Background(), 1) // so short that no rest and no wait ends meanwhile
	defer cancel()
	if got := p.q.Ripe(ctx) == nil; got != ripe {
		p.t.Fatalf("ripe: %v, want %v", got, ripe)
	}
}

// finish holds nothing any more, and accepts all that is there.
func (p *play) finish() {
	p.ending = true
	clear(p.w.held)
	p.w.recheck()
	p.q.Recheck()
	for _, batch := range p.out {
		p.together(batch, time.Minute)
	}
	for _, s := range p.asides {
		p.back(s, batcher.Again{})
	}
	all := func(rec) bool { return true }
	p.w.wake(all)
	p.q.Wake(all)
	p.out = nil
	for p.w.len() > 0 {
		p.seal()
		if len(p.out) == 0 {
			p.t.Fatalf("%d records are stuck", p.q.Len())
		}
		for _, s := range p.out[0] {
			p.done(s)
		}
		p.out = nil
	}
	p.check()
	for _, o := range p.w.objects {
		if o.isAway || !slices.IsSorted(o.ended) {
			p.t.Fatalf("records ended in the order %v; some are away: %v", o.ended, o.isAway)
		}
	}
}
