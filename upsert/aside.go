package upsert

import (
	"strconv"
	"sync/atomic"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/dlq"
)

// Refuse takes a record that is no task event. It becomes a dead letter when the earlier records of its object have
// ended; the later ones wait until Kafka has the letter. A record that names no object is an object of its own.
func (s *Sender) Refuse(t *Task, reason *dlq.Reason) {
	t.refused = reason
	object := t.ID
	if object == "" {
		object = "\x00" + t.Record.Topic + "/" + strconv.Itoa(t.Record.Partition) + "/" +
			strconv.FormatInt(t.Record.Offset, 10)
	}
	s.cfg.Queue.AddAside(t.IDProperty, object, t)
}

// Aside takes refused records from the queue, as their turn has come. Those of a partition that floods go back and wait
// there.
func (s *Sender) Aside(sealed *batcher.Sealed[*Task]) {
	ended := s.returned(sealed)
	waits := false // and so do those behind it, or their letters would overtake its own
	for _, t := range sealed.Records {
		if waits = waits || s.flooded(permit{}, t, *t.refused); waits {
			ended(false)
			continue
		}
		s.deadLetter(t, *t.refused, ended)
	}
}

// asideNow is Aside for the probe of a flood, which becomes a letter whatever it is.
func (s *Sender) asideNow(sealed *batcher.Sealed[*Task]) {
	ended := s.returned(sealed)
	for _, t := range sealed.Records {
		s.deadLetter(t, *t.refused, ended)
	}
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
