package batcher

// ready holds the sealable objects of a group, and knows the one with the oldest record. Nearly all of them join with
// a record that is newer than all the others: they stand in a row, where joining and leaving cost the same however
// many there are. Those that come back with older records are in a heap beside it.
type ready[T any] struct {
	row    []*object[T] // by their oldest record; nil where one left
	head   int          // where the first one stands
	moved  int          // how far the row has moved up: an object's place counts from the first ever
	inRow  int
	newest uint64 // the oldest record of the last object in the row
	heap   ranks[*object[T]]
}

func (r *ready[T]) len() int { return r.inRow + len(r.heap) }

// first is the object with the oldest record; there must be one.
func (r *ready[T]) first() *object[T] {
	if r.inRow == 0 || len(r.heap) > 0 && r.heap[0].seq() < r.row[r.head].seq() {
		return r.heap[0]
	}
	return r.row[r.head]
}

func (r *ready[T]) push(o *object[T]) {
	seq := o.seq()
	o.inRow = r.inRow == 0 || seq > r.newest
	if !o.inRow {
		r.heap.push(o)
		return
	}
	r.newest = seq
	o.place = r.moved + len(r.row)
	r.row = append(r.row, o)
	r.inRow++
}

func (r *ready[T]) remove(o *object[T]) {
	if !o.inRow {
		r.heap.remove(o.place)
		return
	}
	r.row[o.place-r.moved] = nil
	r.inRow--
	o.place, o.inRow = -1, false
	for r.head < len(r.row) && r.row[r.head] == nil {
		r.head++
	}
	if 2*r.head >= len(r.row) { // move up: no place moves more often than others left before it
		n := copy(r.row, r.row[r.head:])
		clear(r.row[n:])
		r.row, r.moved, r.head = r.row[:n], r.moved+r.head, 0
	}
}
