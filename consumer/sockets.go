package consumer

import (
	"context"
	"net"
	"sync"

	"github.com/segmentio/kafka-go"
)

// sockets are the open connections of the consumer group. kafka-go cannot interrupt a join that the broker holds
// back; closing its socket does.
type sockets struct {
	mu   sync.Mutex
	open map[*socket]struct{}
}

type socket struct {
	net.Conn
	owner *sockets
}

// dialer returns d, whose connections are kept in s.
func (s *sockets) dialer(d *kafka.Dialer) *kafka.Dialer {
	dial := d.DialFunc
	d.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return s.keep(conn), nil
	}
	return d
}

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
