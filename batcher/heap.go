package batcher

import "container/heap"

// ranked is what stands in a heap and knows its place there: an object, or a unit.
type ranked[E any] interface {
	before(E) bool
	setPlace(place int) // -1: in no heap
}

// ranks is a heap. It is used through push, remove and fix; the other methods are container/heap's.
type ranks[E ranked[E]] []E

func (h *ranks[E]) push(e E)         { heap.Push(h, e) }
func (h *ranks[E]) remove(place int) { heap.Remove(h, place) }

func (h ranks[E]) Len() int           { return len(h) }
func (h ranks[E]) Less(i, j int) bool { return h[i].before(h[j]) }

func (h ranks[E]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].setPlace(i)
	h[j].setPlace(j)
}

func (h *ranks[E]) Push(x any) {
	e := x.(E)
	e.setPlace(len(*h))
	*h = append(*h, e)
}

func (h *ranks[E]) Pop() any {
	old := *h
	e := old[len(old)-1]
	clear(old[len(old)-1:])
	*h = old[:len(old)-1]
	e.setPlace(-1)
	return e
}
