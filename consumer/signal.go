package consumer

import "sync"

// signal wakes all that wait for it.
type signal struct {
	mu   sync.Mutex
	rung chan struct{}
}

// next is closed at the next ring.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rung == nil {
		s.rung = make(chan struct{})
	}
	return s.rung
}

func (s *signal) ring() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rung != nil {
		close(s.rung)
		s.rung = nil
	}
}
