package dlq

import "time"

// target is a partition of a dead-letter topic.
type target struct {
	topic     string
	partition int // unknown: of a topic that could not be looked up yet
}

const unknown = -1

// lane is the letters that go to one partition, in their order. Its fields belong to the backlog, whose mutex is locked
// in all its methods.
type lane struct {
	target
	wake    chan struct{} // one place
	letters []letter
	held    []*heldBack // what the topic takes in no form; the first is tried again next
	heldBy  map[heldKey]*heldBack
	probe   *heldBack // of them, the one whose first letter is being tried again; it is not in held

	failure failure       // of the last write; zero: it did not fail
	since   time.Time     // of the first failure in a row
	written time.Time     // when a write was acknowledged last
	pause   time.Duration // after the next failure
	retry   time.Time     // no write before; for what is held back, no attempt before
}

// failure is what a hold shows of a write that failed.
type failure struct{ detail, remedy string }

// heldBack is a letter that its topic takes in no form, and the letters behind it that have its key.
type heldBack struct {
	key     heldKey
	letters []letter
	refusal error
}

// heldKey is what a letter holds back: the letters of its key in its source partition. All without a key are one.
type heldKey struct {
	topic     string
	partition int
	hasKey    bool
	key       string
}

func (l *letter) heldKey() heldKey {
	return heldKey{l.rec.Topic, l.rec.Partition, l.rec.Key != nil, string(l.rec.Key)}
}

// append appends letters.
func (ln *lane) append(letters ...letter) {
	if ln.failing() {
		for _, l := range letters {
			l.rec.Return()
		}
	}
	ln.letters = append(ln.letters, letters...)
	signal(ln.wake)
}

// failing tells whether the last write failed: then what waits is not on the wire.
func (ln *lane) failing() bool { return ln.failure != failure{} }

// well ends the lane's failures.
func (ln *lane) well() {
	if ln.failing() {
		for _, l := range ln.letters {
			l.leave()
		}
	}
	ln.failure, ln.pause, ln.since = failure{}, firstPause, time.Time{}
}

// takeHeld takes the probe from what is held back.
func (ln *lane) takeHeld() (l letter, given []letter, ok bool) {
	h := ln.held[0]
	ln.held = ln.held[1:]
	for len(h.letters) > 0 && !h.letters[0].leave() {
		given = append(given, h.letters[0])
		h.letters = h.letters[1:]
	}
	if len(h.letters) == 0 {
		delete(ln.heldBy, h.key)
		return letter{}, given, false
	}
	ln.probe = h
	return h.letters[0], given, true
}
