package consumer

import (
	"context"
	"net"
	"sync"
)

// sockets are the open connections to the group's coordinator. kafka-go cannot close one that is in use.
type sockets struct {
	mu   sync.Mutex
	open map[*socket]struct{}
}

type socket struct {
	net.Conn
	owner *sockets
}

// over returns dial, with the connections that it makes kept.
func (s *sockets) over(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return s.keep(conn), nil
	}
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

func (s *sockets) keep(conn net.Conn) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*socket]struct{}{}
	}
	k := &socket{conn, s}
	s.open[k] = struct{}{}
	return k
}

func (k *socket) Close() error {
	k.owner.mu.Lock()
	delete(k.owner.open, k)
	k.owner.mu.Unlock()
	return k.Conn.Close()
}

// cut closes them all.
func (s *sockets) cut() {
	s.mu.Lock()
	open := s.open
	s.open = nil
	s.mu.Unlock()
	for k := range open {
		_ = k.Conn.Close()
	}
}
