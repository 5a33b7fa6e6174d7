package dlq

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/hold"
)

// backlog is all letters that are not written yet, and what holds them up. It owns the hold "dlq".
type backlog struct {
	board *hold.Board

	mu      sync.Mutex
	arrived []letter // handed over, and in no lane yet
	lanes   map[target]*lane
	shown   map[string]bool // scopes of the holds that stand
}

func newBacklog(board *hold.Board) *backlog {
	return &backlog{board: board, lanes: map[target]*lane{}, shown: map[string]bool{}}
}

// add takes a letter that is handed over, and puts its record on the wire.
func (b *backlog) add(l letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.leave() // if it is given up, take finds out
	b.arrived = append(b.arrived, l)
}

// handedOver takes the letters that are in no lane yet.
func (b *backlog) handedOver() []letter {
	b.mu.Lock()
	defer b.mu.Unlock()
	arrived := b.arrived
	b.arrived = nil
	return arrived
}

// lane returns the lane of a target, and makes it if there is none.
func (b *backlog) lane(t target) *lane {
	b.mu.Lock()
	defer b.mu.Unlock()
	ln, _ := b.laneLocked(t)
	return ln
}

func (b *backlog) laneLocked(t target) (ln *lane, fresh bool) {
	ln = b.lanes[t]
	if ln == nil {
		ln, fresh = &lane{target: t, wake: make(chan struct{}, 1), heldBy: map[heldKey]*heldBack{}, pause: firstPause}, true
		b.lanes[t] = ln
	}
	return ln, fresh
}

// unsorted is the topics with letters that wait until the topic can be looked up.
func (b *backlog) unsorted() (topics []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for t, ln := range b.lanes {
		if t.partition == unknown && len(ln.letters) > 0 {
			topics = append(topics, t.topic)
		}
	}
	return topics
}

// due tells whether the topic of unsorted letters may be looked up again.
func (b *backlog) due(lobby *lane) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !time.Now().Before(lobby.retry)
}

// nextLookup is when unsorted letters may be looked up again; false if there are none.
func (b *backlog) nextLookup() (pause time.Duration, waits bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for t, ln := range b.lanes {
		if left := time.Until(ln.retry); t.partition == unknown && len(ln.letters) > 0 && (!waits || left < pause) {
			pause, waits = left, true
		}
	}
	return pause, waits
}

// put appends letters to a lane.
func (b *backlog) put(ln *lane, letters []letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ln.append(letters...)
}

// sorted puts the letters of a topic, those that waited first, into the lanes of its n partitions. It returns the lanes
// that are new.
func (b *backlog) sorted(lobby *lane, letters []letter, n int) (fresh []*lane) {
	b.mu.Lock()
	defer b.mu.Unlock()
	letters = slices.Concat(lobby.letters, letters)
	lobby.letters = nil
	lobby.well()
	for _, l := range letters {
		ln, isNew := b.laneLocked(target{lobby.topic, partitionOf(l.rec, n)})
		if isNew {
			fresh = append(fresh, ln)
		}
		if !ln.failing() {
			l.leave()
		}
		ln.append(l)
	}
	b.show()
	return fresh
}

// take takes letters from the front of a lane, and puts them on the wire. Letters whose partitions were given up stand
// apart. From time to time take returns one letter that was held back, as a probe.
func (b *backlog) take(ln *lane) (batch, given []letter, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(ln.held) > 0 && !time.Now().Before(ln.retry) {
		l, given, ok := ln.takeHeld()
		if !ok {
			b.show()
			return nil, given, false
		}
		return []letter{l}, given, true
	}
	n, bytes := 0, 0
	for n < len(ln.letters) && len(batch) < atOnce && bytes < atOnceBytes {
		if l := ln.letters[n]; l.leave() {
			batch = append(batch, l)
			bytes += l.size()
		} else {
			given = append(given, l)
		}
		n++
	}
	ln.letters = slices.Clone(ln.letters[n:])
	return batch, given, false
}

// withhold leaves out of a batch the letters behind one that is held back.
func (b *backlog) withhold(ln *lane, batch []letter) []letter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(ln.heldBy) == 0 {
		return batch
	}
	var free []letter
	for _, l := range batch {
		if h := ln.heldBy[l.heldKey()]; h != nil {
			l.rec.Return()
			h.letters = append(h.letters, l)
		} else {
			free = append(free, l)
		}
	}
	if len(free) < len(batch) {
		b.show()
	}
	return free
}

// holdBack keeps a letter that its topic takes in no form.
func (b *backlog) holdBack(ln *lane, l letter, refusal error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.rec.Return()
	if len(ln.held) == 0 {
		ln.retry = time.Now().Add(lastPause)
	}
	h := &heldBack{key: l.heldKey(), letters: []letter{l}, refusal: refusal}
	ln.held, ln.heldBy[h.key] = append(ln.held, h), h
	b.show()
}

// probed says what became of the probe. If it was written, all that is held back goes on. If not, it waits again; the
// refusal is nil if Kafka did not look at the letter.
func (b *backlog) probed(ln *lane, written bool, refusal error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := ln.probe
	ln.probe, ln.retry = nil, time.Now().Add(lastPause)
	if !written {
		h.letters[0].rec.Return()
		if refusal != nil {
			h.refusal = refusal
		}
		ln.held = append(ln.held, h)
		return
	}
	freed := slices.Clone(h.letters[1:])
	for _, h := range ln.held {
		freed = append(freed, h.letters...)
	}
	for _, l := range freed {
		l.leave()
	}
	ln.letters = append(freed, ln.letters...)
	ln.held = nil
	clear(ln.heldBy)
	b.show()
}

// failed puts letters before the others of their lane again, after a write that failed. The zero failure is the end of
// the Writer, and shows nothing.
func (b *backlog) failed(ln *lane, letters []letter, f failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ln.letters = append(letters, ln.letters...)
	if (f == failure{}) {
		return
	}
	for _, l := range ln.letters {
		l.rec.Return()
	}
	if !ln.failing() {
		ln.since = time.Now()
	}
	ln.failure = f
	ln.retry = time.Now().Add(ln.pause)
	ln.pause = min(2*ln.pause, lastPause)
	b.show()
}

// wrote says that the lane's partition took something.
func (b *backlog) wrote(ln *lane) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ln.written = time.Now()
	ln.well()
	if len(b.shown) > 0 {
		b.show()
	}
}

// wait waits until the lane has something to do: a new letter, the end of its pause, or a probe.
func (b *backlog) wait(ctx context.Context, ln *lane) {
	b.mu.Lock()
	failing, retry := ln.failing(), time.Until(ln.retry)
	timed := failing || len(ln.held) > 0
	b.mu.Unlock()
	wake := ln.wake
	if failing {
		wake = nil
	}
	var timer <-chan time.Time
	if timed {
		timer = time.After(retry)
	}
	select {
	case <-wake:
	case <-timer:
	case <-ctx.Done():
	}
}

// drop takes the letters of whose record gone is true, but for those that are being written.
func (b *backlog) drop(gone func(*consumer.Record) bool) (given []letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	without := func(letters []letter) []letter {
		return slices.DeleteFunc(letters, func(l letter) bool {
			drop := gone(l.rec)
			if drop {
				given = append(given, l)
			}
			return drop
		})
	}
	b.arrived = without(b.arrived)
	for _, ln := range b.lanes {
		ln.letters = without(ln.letters)
		if h := ln.probe; h != nil {
			h.letters = append(h.letters[:1:1], without(h.letters[1:])...)
		}
		ln.held = slices.DeleteFunc(ln.held, func(h *heldBack) bool {
			h.letters = without(h.letters)
			if len(h.letters) == 0 {
				delete(ln.heldBy, h.key)
			}
			return len(h.letters) == 0
		})
	}
	b.show()
	return given
}

// len is how many letters wait.
func (b *backlog) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.arrived)
	for _, ln := range b.lanes {
		n += len(ln.letters)
		for _, h := range ln.heldBy {
			n += len(h.letters)
		}
	}
	return n
}
