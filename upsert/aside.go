package upsert

import (
	"slices"
	"sync"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
)

// aside is a record that is no task event, and whose turn has come.
type aside struct {
	task   *Task
	sealed *batcher.Sealed[*Task] // nil if the record names no object: then it waits for none
}

// Refuse takes a record that is no task event. It becomes a dead letter when the earlier records of its object have
// ended; the later ones wait until Kafka has the letter. A record that names no object is written at once.
func (s *Sender) Refuse(t *Task, reason *dlq.Reason) {
	t.refused = reason
	if t.ID == "" {
		s.aside(aside{task: t})
		return
	}
	s.cfg.Queue.AddAside(t.IDProperty, t.ID, t)
}

// Aside takes a refused record from the queue, as its turn has come.
func (s *Sender) Aside(sealed *batcher.Sealed[*Task]) { s.aside(aside{sealed.Records[0], sealed}) }

// aside dead-letters a record that is no task event, or holds it back while a flood is held.
func (s *Sender) aside(a aside) {
	if !s.floods(*a.task.refused) {
		s.deadLetter(a.task, *a.task.refused, a.sealed)
		return
	}
	s.heldBack.add(a)
	// While the record was on its way from the queue to here, its partition may have been given up and Drop called.
	if a.task.Record.Gone() {
		s.dropHeldBack((*consumer.Record).Gone)
	}
}

func (s *Sender) dropHeldBack(gone func(*consumer.Record) bool) {
	for _, a := range s.heldBack.drop(gone) {
		if a.sealed != nil {
			s.cfg.Queue.Back(a.sealed, batcher.Again{}) // which forgets it
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
	h.asides = slices.DeleteFunc(h.asides, func(a aside) bool {
		is := gone(a.task.Record)
		if is {
			dropped = append(dropped, a)
		}
		return is
	})
	return dropped
}

func (h *heldBack) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.asides)
}
