package kafkatest

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy passes TCP connections on to a target, and breaks them as networks do. It ends with its test.
//
// Each connection has two goroutines, one a direction. They read, wait at the gate, and write: so a frozen connection
// keeps what was sent on it, and after Thaw nothing is missing.
type Proxy struct {
	target   string
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	gate   sync.Cond // signals every change of what follows
	frozen bool
	refuse bool
	links  map[*link]bool
}

// link is a client's connection and its continuation to the target. The proxy's mutex guards it.
type link struct {
	client, target net.Conn // target is nil until it is dialed
	stuck          bool     // passes nothing any more
	ended          bool     // is closed
}

// NewProxy starts a proxy to the target, a host and port.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("start a proxy: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{target: target, listener: listener, links: map[*link]bool{}}
	p.gate.L = &p.mu
	p.work.Go(func() { p.accept(ctx) })
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		p.Refuse(true) // whatever is accepted meanwhile
		p.Cut()
		p.work.Wait()
	})
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Freeze makes the network half open: connections stay, and new ones are accepted, but none passes a byte, and none
// passes on that the other side closed it, until Thaw. Bytes that the proxy is writing at this moment still arrive.
func (p *Proxy) Freeze() { p.change(func() { p.frozen = true }) }

// Thaw ends what Freeze began. What was sent meanwhile arrives now.
func (p *Proxy) Thaw() { p.change(func() { p.frozen = false }) }

// FreezeExisting makes the connections that there are pass nothing any more, for ever, as if a NAT had forgotten them.
// New ones work. Only Cut, or the end of the proxy, closes what is frozen.
func (p *Proxy) FreezeExisting() {
	p.change(func() {
		for l := range p.links {
			l.stuck = true
		}
	})
}

// Cut closes all connections that there are, the frozen ones, too.
func (p *Proxy) Cut() {
	p.change(func() {
		for l := range p.links {
			p.end(l)
		}
	})
}

// Refuse makes the proxy reset each new connection at once, or ends this. Connections that there are stay.
func (p *Proxy) Refuse(refuse bool) { p.change(func() { p.refuse = refuse }) }

// Conns is the number of connections that the proxy holds. A frozen one counts, even if its client has closed it.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

func (p *Proxy) change(what func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	what()
	p.gate.Broadcast()
}

// end closes a link. The caller holds the mutex.
func (p *Proxy) end(l *link) {
	if l.ended {
		return
	}
	l.ended = true
	delete(p.links, l)
	_ = l.client.Close()
	if l.target != nil {
		_ = l.target.Close()
	}
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // the client was gone before it was accepted, or no file descriptor is free
			continue
		}
		l := &link{client: client}
		p.mu.Lock()
		if p.refuse {
			reset(client)
		} else {
			p.links[l] = true
			p.work.Go(func() { p.carry(ctx, l) })
		}
		p.mu.Unlock()
	}
}

// carry dials the target, and passes bytes until either side closes.
func (p *Proxy) carry(ctx context.Context, l *link) {
	if !p.pass(l) {
		return
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	target, err := dialer.DialContext(ctx, "tcp", p.target)
	if err != nil {
		reset(l.client) // a killed broker refuses connections; a reset is the closest that a proxy has
		p.change(func() { p.end(l) })
		return
	}
	p.mu.Lock()
	l.target = target
	if l.ended {
		_ = target.Close()
	}
	p.mu.Unlock()
	p.work.Go(func() { p.pump(l, l.client, target) })
	p.pump(l, target, l.client)
}

// pump passes bytes in one direction, and closes both when the source is closed.
func (p *Proxy) pump(l *link, dst, src net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, readErr := src.Read(buf)
		if !p.pass(l) {
			return
		}
		_, writeErr := dst.Write(buf[:n])
		if readErr != nil || writeErr != nil {
			p.change(func() { p.end(l) })
			return
		}
	}
}

// pass waits at the gate while the link is frozen. It is false if the link was closed.
func (p *Proxy) pass(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !l.ended && (p.frozen || l.stuck) {
		p.gate.Wait()
	}
	return !l.ended
}

// reset closes a connection so that its peer sees a reset, not an orderly end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
