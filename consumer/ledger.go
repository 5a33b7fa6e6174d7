package consumer

// ledger is what a partition has open: the records that were delivered and are not settled yet, in the order of their
// offsets. All else below the position is settled, or was never there. It holds no settled record, however long an
// earlier one stays open. The partition's lock guards it, and the fields of a Record that belong to it.
type ledger struct {
	oldest, newest *Record
	amount             // what they take of the room
	out            int // how many are on the wire
}

// state is where a record stands in its partition's ledger.
type state uint8

const (
	stateNone    state = iota // no consumer delivered it
	stateOpen                 // delivered, and not settled
	stateSettled              // confirmed, or in the dead-letter topic
	stateGone                 // given up: its partition is not ours any more, or its log does not have it any more
)

// push takes in a record that is newer than all others.
func (l *ledger) push(r *Record) {
	r.state, r.older = stateOpen, l.newest
	if l.newest == nil {
		l.oldest = r
	} else {
		l.newest.newer = r
	}
	l.newest = r
	l.amount = l.plus(amount{1, r.size()})
}

// remove takes a record out, for good, and returns what that frees of the room.
func (l *ledger) remove(r *Record, now state) amount {
	if r.older == nil {
		l.oldest = r.newer
	} else {
		r.older.newer = r.newer
	}
	if r.newer == nil {
		l.newest = r.older
	} else {
		r.newer.older = r.older
	}
	if r.out {
		l.out--
	}
	if r.trace != nil {
		r.trace.open--
	}
	one := amount{1, r.size()}
	l.amount = l.minus(one)
	r.state, r.out, r.older, r.newer, r.trace = now, false, nil, nil, nil
	return one
}

// cut gives up the records from an offset on, and returns what that frees of the room.
func (l *ledger) cut(from int64) (freed amount) {
	for l.newest != nil && l.newest.Offset >= from {
		freed = freed.plus(l.remove(l.newest, stateGone))
	}
	return freed
}
