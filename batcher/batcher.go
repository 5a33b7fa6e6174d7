// Package batcher decides which records travel together, and when.
//
// Records are queued under the object they write. A batch is sealed late: Ripe tells that one is worth sending,
// the caller gets everything a request needs (a slot, a permit, a token), and only then does Seal take what is
// there by now. While the caller is throttled, batches fill by themselves.
//
// The package promises:
//   - The records of one object leave in the order in which they were added, and an object is in at most one
//     batch at a time: its later records wait until Done, Refused, Back or Together returns it.
//   - A record that was added by AddAside leaves by itself, and in no batch. It waits for the earlier records of its
//     object, while it is held, and for nothing else.
//   - Records that are not late leave before those that are, unless they wait behind them in their own object.
//   - Records of one object that wait together leave as one input, at most MaxMerge of them.
//   - What comes back takes its old place in the queue, and needs no room there: nothing in here blocks, so
//     nothing can deadlock. The bound on what is queued is the caller's, who takes room before he adds.
//   - One batch holds the objects of one group only.
//   - What comes back by Together travels together again, and nothing else joins it. It is ripe as soon as its rest
//     ends, and may pass records that wait for company.
//   - An object whose first record is held is parked: only Probe and Take take it. Parked objects cost Ripe and Seal
//     nothing.
//
// Ripe and Seal look at few objects, however many there are. Take looks at them until it finds one; Probe, Recheck,
// Wake and Drop look at all of them.
//
// The package knows neither Kafka nor HubSpot. A Batcher is safe for concurrent use, except that Ripe has one caller at
// a time. It starts no goroutine, so there is nothing to stop. The tests run in testing/synctest, to the instant, and
// play random histories against a naive twin.
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

	// Held tells whether a record may not leave now. It is asked about an object's first record when the object is to be
	// placed, and again by Recheck; and about each record that leaves by itself. It may be nil: then none is held.
	Held func(T) bool
	// Leave is called for each record as Seal, Probe or Take takes it, unless it leaves by itself; Return for each that
	// comes back: gone ones are forgotten. Both may be nil. Held, Leave and Return are called under the queue's lock.
	Leave  func(T)
	Return func(T) (gone bool)
	// Aside takes records that leave by themselves, when their turn has come: those of an object that stand next to each
	// other, at most MaxMerge. It is called under no lock, by whichever call brought the turn about, and may call the
	// queue: if it finds its first record held meanwhile, it gives the records Back. It may be nil if nobody calls
	// AddAside.
	Aside func(*Sealed[T])
}

// Sealed is one input of a batch, or records that left by themselves. It belongs to whoever got it until it is returned
// by Done, Refused, Back or Together.
type Sealed[T any] struct {
	Records []T // of one object, oldest first
	object  *object[T]
	items   []item[T]
}

// Again says how an input goes out again.
type Again struct {
	After   time.Duration // not before this has passed; the rest ends in slots of a quarter of it
	Suspect bool          // its records were refused as one: next time only half of them leave
	Alone   bool          // with Suspect: the request had nothing else, and no other input joins them until that is over
}

// Batcher is a queue of records by object.
type Batcher[T any] struct {
	born  time.Time     // instants are counted from here: a third of the size of a time.Time
	wake  chan struct{} // one place: something happened that may make a batch ripe earlier
	mu    sync.Mutex
	queue queue[T] // guarded by mu
}

// New returns an empty queue.
func New[T any](cfg Config[T]) *Batcher[T] {
	return &Batcher[T]{born: time.Now(), wake: make(chan struct{}, 1),
		queue: queue[T]{cfg: cfg, groups: map[string]*group[T]{}}}
}

// SetWait changes how long the oldest sealable record waits for company, for those that wait already, too.
func (b *Batcher[T]) SetWait(wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queue.cfg.Wait != wait {
		b.queue.cfg.Wait = wait
		b.stir()
	}
}

// SetBytes changes the most bytes in a batch, for records that wait already, too.
func (b *Batcher[T]) SetBytes(bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queue.cfg.Bytes != bytes {
		b.queue.cfg.Bytes = bytes
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
	it.at = b.now()
	if b.queue.add(groupName, objectName, it, late) {
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

// Seal takes the batch that is due: at most limit inputs of one group, in the queue's order. Nil means that nothing is
// sealable.
func (b *Batcher[T]) Seal(limit int) []*Sealed[T] {
	b.mu.Lock()
	defer b.mu.Unlock()
	picked := b.queue.pick(min(limit, b.queue.cfg.Size), b.now())
	if picked == nil {
		return nil
	}
	return b.queue.seal(picked)
}

// Preference is what a probe carries if there is more than it can.
type Preference int

const (
	LeastTried Preference = iota // only what came back least often, the newest first: each probe carries other records
	Oldest                       // the oldest first
)

// Probe seals a batch for a question: at most limit inputs of one group whose first record of likes, though they are
// held, rest, or wait for company. If all of them are records that leave by themselves, it returns one record and
// aside: the caller settles it as one that Config.Aside gets. Nil means that none waits.
func (b *Batcher[T]) Probe(limit int, prefer Preference, of func(T) bool) (batch []*Sealed[T], aside bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := &b.queue
	objects, aside := q.candidates(prefer, of)
	switch {
	case len(objects) == 0:
		return nil, false
	case aside:
		return []*Sealed[T]{q.sealSome(objects[0], 1)}, true
	default:
		return q.seal(objects[0].group.pickFrom(objects, min(limit, q.cfg.Size), q.cfg.Bytes)), false
	}
}

// Take seals one record: the first one of an object, if of likes it, though it is held, rests, or belongs to a unit.
// aside tells whether it leaves by itself: the caller settles it as one that Config.Aside gets. Nil means that no such
// record waits. Which one comes, if there are several, is left to chance.
func (b *Batcher[T]) Take(of func(T) bool) (s *Sealed[T], aside bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for o := range b.queue.waiting {
		if of(o.items[0].rec) {
			return b.queue.sealFirst(o)
		}
	}
	return nil, false
}

// Recheck says that Held answers differently now: objects are parked, or may leave, by its new answers.
func (b *Batcher[T]) Recheck() {
	b.mu.Lock()
	defer b.unlock()
	now := b.now()
	for o := range b.queue.waiting {
		if b.queue.held(o.items[0].rec) != (o.state == isParked) {
			o.group.leave(o)
			b.queue.place(o, now)
		}
	}
	b.stir()
}

// Wake ends the rests of the objects whose first record of likes. What was to travel together goes in company.
func (b *Batcher[T]) Wake(of func(T) bool) {
	b.mu.Lock()
	defer b.unlock()
	now := b.now()
	for o := range b.queue.waiting {
		if o.state != isReady && of(o.items[0].rec) {
			o.group.leave(o)
			o.notBefore = 0
			o.detach()
			b.queue.place(o, now)
		}
	}
	b.stir()
}

// WakeTogether ends the same rests as Wake, and those of all that travels together with such an object. It goes on
// doing so.
func (b *Batcher[T]) WakeTogether(of func(T) bool) {
	b.mu.Lock()
	defer b.unlock()
	now, units := b.now(), map[*unit[T]]bool{}
	for o := range b.queue.waiting {
		if o.state != isReady && of(o.items[0].rec) {
			units[o.unit] = o.unit != nil
			o.group.leave(o)
			o.notBefore = 0
			b.queue.place(o, now)
		}
	}
	for o := range b.queue.waiting {
		if units[o.unit] {
			o.notBefore = 0
			o.group.wake(o.unit)
		}
	}
	b.stir()
}

// Done returns an input whose records were accepted.
func (b *Batcher[T]) Done(s *Sealed[T]) {
	b.mu.Lock()
	defer b.unlock()
	b.end(s, max(0, s.object.suspect-len(s.Records)))
}

// Refused returns an input whose single record was refused for good.
func (b *Batcher[T]) Refused(s *Sealed[T]) {
	b.mu.Lock()
	defer b.unlock()
	b.end(s, 0)
}

// end frees the object of an input that does not come back. The caller holds the lock.
func (b *Batcher[T]) end(s *Sealed[T], suspect int) {
	o := s.object
	o.state, o.tries, o.suspect = isNowhere, 0, suspect
	b.queue.place(o, b.now())
	b.stir()
}

// Back returns an input that is to be sent again, in company: its records take their old place, before the object's
// later ones.
func (b *Batcher[T]) Back(s *Sealed[T], again Again) {
	b.mu.Lock()
	defer b.unlock()
	kept := b.queue.comeBack(s, restEnd(b.now(), again.After))
	if again.Suspect {
		s.object.suspect, s.object.alone = kept, 0
		if again.Alone {
			b.queue.units++
			s.object.alone = b.queue.units
		}
	}
	b.queue.place(s.object, b.now())
	b.stir()
}

// Together returns inputs of one batch that are to be sent again as a batch of their own. After the rest, which ends in
// slots as that of Again does, they leave together. No other input joins them, and each carries only the records that
// came back; later records of the object wait. If they are too many for a Seal, the others stay together for the next.
func (b *Batcher[T]) Together(batch []*Sealed[T], after time.Duration) {
	b.mu.Lock()
	defer b.unlock()
	now := b.now()
	b.queue.units++
	u := &unit[T]{number: b.queue.units, notBefore: restEnd(now, after), place: -1}
	for _, s := range batch {
		if kept := b.queue.comeBack(s, u.notBefore); kept > 0 {
			s.object.unit, s.object.bound = u, kept
		}
		b.queue.place(s.object, now)
	}
	b.stir()
}

// Drop forgets every queued record of which gone is true; gone runs under the queue's lock. Records that are sealed
// stay with whoever sealed them.
func (b *Batcher[T]) Drop(gone func(T) bool) {
	b.mu.Lock()
	defer b.unlock()
	b.queue.drop(gone, b.now())
	b.stir()
}

// Len is how many records are queued; those that are sealed do not count.
func (b *Batcher[T]) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queue.queued
}

// unlock ends a change of the queue, and hands out the records that leave by themselves and whose turn has come.
func (b *Batcher[T]) unlock() {
	asides := b.queue.asides
	b.queue.asides = nil
	b.mu.Unlock()
	for _, s := range asides {
		b.queue.cfg.Aside(s)
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
	for _, g := range b.queue.groups {
		t, ok := g.ripeAt(now, b.queue.cfg.Size, b.queue.cfg.Bytes, b.queue.cfg.Wait)
		if ok && (!some || t-now < left) {
			left, some = t-now, true
		}
	}
	return left, some
}
