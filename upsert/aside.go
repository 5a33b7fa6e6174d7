package upsert

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
)

// aside are records of one object that are no task events, and whose turn has come, oldest first. A record that names
// no object is alone.
type aside struct {
	tasks []*Task
	ended func(written bool) // to be called for each of them
}

// Refuse takes a record that is no task event. It becomes a dead letter when the earlier records of its object have
// ended; the later ones wait until Kafka has the letter. A record that names no object is written at once.
func (s *Sender) Refuse(t *Task, reason *dlq.Reason) {
	t.refused = reason
	if t.ID == "" {
		s.aside(aside{[]*Task{t}, func(bool) {}})
		return
	}
	s.cfg.Queue.AddAside(t.IDProperty, t.ID, t)
}

// Aside takes refused records from the queue, as their turn has come.
func (s *Sender) Aside(sealed *batcher.Sealed[*Task]) {
	s.aside(aside{sealed.Records, s.returned(sealed)})
}

// returned returns what is to be called for each record of an input that leaves for the dead letters. When all have
// ended the object is free again.
func (s *Sender) returned(sealed *batcher.Sealed[*Task]) (ended func(written bool)) {
	var left, givenUp atomic.Int64
	left.Store(int64(len(sealed.Records)))
	return func(written bool) {
		if !written {
			givenUp.Add(1)
		}
		switch {
		case left.Add(-1) > 0:
		case givenUp.Load() == 0:
			s.cfg.Queue.Refused(sealed)
		default:
			s.cfg.Queue.Back(sealed, batcher.Again{}) // which forgets what is settled or given up
		}
	}
}

// aside dead-letters records that are no task events. While a flood is held it holds them back.
func (s *Sender) aside(a aside) {
	for i, t := range a.tasks {
		if s.floods(*t.refused) {
			s.holdBack(aside{a.tasks[i:], a.ended})
			return
		}
		s.deadLetter(t, *t.refused, a.ended)
	}
}

func (s *Sender) holdBack(a aside) {
	s.heldBack.add(a)
	// While the records were on their way from the queue to here, their partition may have been given up and Drop called.
	if slices.ContainsFunc(a.tasks, func(t *Task) bool { return t.Record.Gone() }) {
		s.dropHeldBack((*consumer.Record).Gone)
	}
}

func (s *Sender) dropHeldBack(gone func(*consumer.Record) bool) {
	for _, a := range s.heldBack.drop(gone) {
		for range a.tasks {
			a.ended(false)
		}
	}
}

// heldBack keeps records that are no task events while a flood is held. Their objects stay locked.
type heldBack struct {
	mu     sync.Mutex
	asides []aside
}

func (h *heldBack) add(a aside) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asides = append(h.asides, a)
}

// take returns all of them.
func (h *heldBack) take() []aside {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.asides
	h.asides = nil
	return all
}

// drop returns those of which gone is true.
func (h *heldBack) drop(gone func(*consumer.Record) bool) (dropped []aside) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := h.asides[:0]
	for _, a := range h.asides {
		stay, given := aside{ended: a.ended}, aside{ended: a.ended}
		for _, t := range a.tasks {
			if gone(t.Record) {
				given.tasks = append(given.tasks, t)
			} else {
				stay.tasks = append(stay.tasks, t)
			}
		}
		if len(given.tasks) > 0 {
			dropped = append(dropped, given)
		}
		if len(stay.tasks) > 0 {
			kept = append(kept, stay)
		}
	}
	clear(h.asides[len(kept):])
	h.asides = kept
	return dropped
}

func (h *heldBack) len() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.asides {
		n += len(a.tasks)
	}
	return n
}
