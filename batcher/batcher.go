// Package batcher decides which records travel together, and when.
//
// Records are queued under the object they write. A batch is sealed late: Ripe tells that one is worth sending,
// the caller gets everything a request needs (a slot, a permit, a token), and only then does Seal take what is
// there by now. While the caller is throttled, batches fill by themselves.
//
// The package promises:
//   - The records of one object leave in the order in which they were added, and an object is in at most one
//     batch at a time: its later records wait until Done, Refused or Back returns it.
//   - A record that was added by AddAside leaves by itself, and in no batch. It waits for the earlier records of its
//     object and for nothing else.
//   - Records that are not late leave before those that are, unless they wait behind them in their own object.
//   - Records of one object that wait together leave as one input, at most MaxMerge of them.
//   - What comes Back takes its old place in the queue, and needs no room there: nothing in here blocks, so
//     nothing can deadlock. The bound on what is queued is the caller's, who takes room before he adds.
//   - One batch holds the objects of one group only.
//
// It knows neither Kafka nor HubSpot. A Batcher is safe for concurrent use, except that Ripe has one caller at a
// time. It starts no goroutine, so there is nothing to stop. The tests run in testing/synctest, to the instant.
package batcher

import (
	"context"
	"sync"
	"time"
)

// MaxMerge is the most records that travel as one input. It bounds what a refusal costs: finding the guilty one
// among them takes log₂(MaxMerge) requests.
const MaxMerge = 100

// Config bounds a batch.
type Config[T any] struct {
	Size  int           // the most inputs in a batch
	Bytes int           // the most bytes in a batch; an input that is larger travels alone
	Wait  time.Duration // how long the oldest sealable record waits for company

	// Leave is called for each record as Seal takes it, Return for each that comes Back: gone ones are forgotten. Both
	// are called under the queue's lock, and may be nil.
	Leave  func(T)
	Return func(T) (gone bool)
	// Aside takes records that leave by themselves, when their turn has come: those of an object that stand next to each
	// other, at most MaxMerge. It is called under no lock, by whichever call brought the turn about, and may call the
	// queue. It may be nil if nobody calls AddAside.
	Aside func(*Sealed[T])
}

// Sealed is one input of a batch, or records that left by themselves. It belongs to whoever got it until it is returned
// by Done, Refused or Back.
type Sealed[T any] struct {
	Records []T // of one object, oldest first
	object  *object[T]
	items   []item[T]
}

// Again says how an input goes out again.
type Again struct {
	Cap     int           // the most inputs in the batch that carries it next; 0 = no bound
	Suspect bool          // its records were refused as one: next time only a part of them leaves
	After   time.Duration // not before this has passed
}

// Batcher is a queue of records by object.
type Batcher[T any] struct {
	cfg    Config[T]
	born   time.Time     // instants are counted from here: a third of the size of a time.Time
	wake   chan struct{} // one place: something happened that may make a batch ripe earlier
	mu     sync.Mutex
	seq    uint64
	queued int
	groups map[string]*group[T]
	asides []*Sealed[T] // whose turn has come; unlock hands them out
}

// New returns an empty queue.
func New[T any](cfg Config[T]) *Batcher[T] {
	return &Batcher[T]{cfg: cfg, born: time.Now(), wake: make(chan struct{}, 1), groups: map[string]*group[T]{}}
}

// SetWait changes how long the oldest sealable record waits for company, for those that wait already, too.
func (b *Batcher[T]) SetWait(wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cfg.Wait != wait {
		b.cfg.Wait = wait
		b.stir()
	}
}

// Add queues a record, of the given size in bytes, behind the others of its object. A late one leaves behind all
// objects whose first record is not late. Object names are the group's own.
func (b *Batcher[T]) Add(groupName, objectName string, rec T, bytes int, late bool) {
	b.add(groupName, objectName, item[T]{rec: rec, bytes: bytes}, late)
}

// AddAside queues a record that leaves by itself, behind the others of its object.
func (b *Batcher[T]) AddAside(groupName, objectName string, rec T) {
	b.add(groupName, objectName, item[T]{rec: rec, aside: true}, false)
}

func (b *Batcher[T]) add(groupName, objectName string, it item[T], late bool) {
	b.mu.Lock()
	defer b.unlock()
	g := b.groups[groupName]
	if g == nil {
		g = &group[T]{name: groupName, objects: map[string]*object[T]{}}
		b.groups[groupName] = g
	}
	o := g.objects[objectName]
	if o == nil {
		o = &object[T]{name: objectName, group: g, place: -1}
		o.items = o.first[:0]
		g.objects[objectName] = o
	}
	b.seq++
	b.queued++
	it.seq, it.at = b.seq, b.now()
	if late {
		it.seq |= lateSeq
	}
	o.items = append(o.items, it)
	switch {
	case o.place >= 0 && !o.waiting:
		g.bytes += it.bytes
	case o.place < 0:
		b.settle(o)
	}
	if n := g.ready.len(); n == 1 || n == b.cfg.Size || g.bytes >= b.cfg.Bytes {
		b.stir()
	}
}

// Ripe waits until a batch is worth sending: a full one, or one whose oldest sealable record has waited long enough.
// It returns an error only when ctx ends.
func (b *Batcher[T]) Ripe(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		left, some := b.ripeIn()
		var due <-chan time.Time
		if some {
			if left <= 0 {
				return nil
			}
			timer.Reset(left)
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-b.wake:
		case <-due:
		}
	}
}

// Seal takes the batch that is due: at most limit inputs of one group, in the queue's order. With varied it prefers
// those that came back least often, so that probes carry different records each time. Nil means that nothing is
// sealable.
func (b *Batcher[T]) Seal(limit int, varied bool) []*Sealed[T] {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	g := b.due(now)
	if g == nil {
		return nil
	}
	picked := g.pick(now, min(limit, b.cfg.Size), b.cfg.Bytes, varied)
	total := 0
	for _, o := range picked {
		total += o.next(b.cfg.Bytes)
	}
	batch, all, recs := make([]*Sealed[T], len(picked)), make([]Sealed[T], len(picked)), make([]T, total)
	for i, o := range picked {
		n := o.next(b.cfg.Bytes)
		o.seal(&all[i], n, recs[:n:n])
		batch[i], recs = &all[i], recs[n:]
		b.queued -= n
		if b.cfg.Leave != nil {
			for _, rec := range all[i].Records {
				b.cfg.Leave(rec)
			}
		}
	}
	b.stir()
	return batch
}

// Done returns an input whose records were accepted.
func (b *Batcher[T]) Done(s *Sealed[T]) {
	b.release(s, func(o *object[T]) {
		o.limit, o.tries = 0, 0
		o.suspect = max(0, o.suspect-len(s.Records))
	})
}

// Refused returns an input whose single record was refused for good.
func (b *Batcher[T]) Refused(s *Sealed[T]) {
	b.release(s, func(o *object[T]) { o.limit, o.tries, o.suspect = 0, 0, 0 })
}

// Back returns an input that is to be sent again: its records take their old place, before the object's later ones.
func (b *Batcher[T]) Back(s *Sealed[T], again Again) {
	b.release(s, func(o *object[T]) {
		items := make([]item[T], 0, len(s.items)+len(o.items))
		for _, it := range s.items {
			if b.cfg.Return == nil || !b.cfg.Return(it.rec) {
				items = append(items, it)
			}
		}
		kept := len(items)
		b.queued += kept
		o.items = append(items, o.items...)
		o.tries++
		o.limit = again.Cap
		if again.Suspect {
			o.suspect = kept
		}
		if again.After > 0 {
			o.notBefore = b.now() + again.After
		}
	})
}

// Drop forgets every queued record of which gone is true; gone runs under the queue's lock. Records that are sealed
// stay with whoever sealed them.
func (b *Batcher[T]) Drop(gone func(T) bool) {
	b.mu.Lock()
	defer b.unlock()
	for _, g := range b.groups {
		for _, o := range g.objects {
			b.dropFrom(o, gone)
		}
	}
	b.stir()
}

func (b *Batcher[T]) dropFrom(o *object[T], gone func(T) bool) {
	kept := make([]item[T], 0, len(o.items))
	for i, it := range o.items {
		if !gone(it.rec) {
			kept = append(kept, it)
		} else if i < o.suspect {
			o.suspect = 0 // the guilty one may be among those that went
		}
	}
	if len(kept) == len(o.items) {
		return
	}
	b.queued -= len(o.items) - len(kept)
	if o.place >= 0 {
		o.group.leave(o)
	}
	o.items = kept
	b.settle(o)
}

// Len is how many records are queued; those that are sealed do not count.
func (b *Batcher[T]) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queued
}

func (b *Batcher[T]) release(s *Sealed[T], change func(*object[T])) {
	b.mu.Lock()
	defer b.unlock()
	o := s.object
	o.flying = false
	change(o)
	b.settle(o)
	b.stir()
}

// settle puts an object that is nowhere where it belongs: into the queue, or out of memory. If its first record leaves
// by itself, that record's turn has come.
func (b *Batcher[T]) settle(o *object[T]) {
	switch {
	case o.flying:
	case len(o.items) > 0 && o.items[0].aside:
		n := o.asides()
		s := new(Sealed[T])
		o.seal(s, n, make([]T, n))
		b.queued -= n
		b.asides = append(b.asides, s)
	case len(o.items) > 0:
		o.group.enter(o, b.now())
	default:
		delete(o.group.objects, o.name)
		if len(o.group.objects) == 0 {
			delete(b.groups, o.group.name)
		}
	}
}

// unlock ends a change of the queue, and hands out the records that leave by themselves and whose turn has come.
func (b *Batcher[T]) unlock() {
	asides := b.asides
	b.asides = nil
	b.mu.Unlock()
	for _, s := range asides {
		b.cfg.Aside(s)
	}
}

// stir makes Ripe look again.
func (b *Batcher[T]) stir() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// now is the time since the Batcher was made.
func (b *Batcher[T]) now() time.Duration { return time.Since(b.born) }

// ripeIn tells how long it takes until the first batch is ripe, if nothing else happens; false if nothing is queued.
func (b *Batcher[T]) ripeIn() (left time.Duration, some bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	for _, g := range b.groups {
		t, ok := g.ripeAt(now, b.cfg.Size, b.cfg.Bytes, b.cfg.Wait)
		if ok && (!some || t-now < left) {
			left, some = t-now, true
		}
	}
	return left, some
}

// due is the group to seal from: of those with a ripe batch, else of all with something sealable, the one whose
// oldest record came first, so that no group starves another.
func (b *Batcher[T]) due(now time.Duration) *group[T] {
	var best *group[T]
	bestRipe := false
	for _, g := range b.groups {
		g.thaw(now)
		if g.ready.len() == 0 {
			continue
		}
		at, _ := g.ripeAt(now, b.cfg.Size, b.cfg.Bytes, b.cfg.Wait)
		ripe := at <= now
		older := best == nil || g.ready.first().items[0].seq < best.ready.first().items[0].seq
		if best == nil || ripe && !bestRipe || ripe == bestRipe && older {
			best, bestRipe = g, ripe
		}
	}
	return best
}
