package kafkatest_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tasksink/tasksink/internal/kafkatest"
)

// TestProxy: each state of a proxy does to connections what it says.
func TestProxy(t *testing.T) {
	p := kafkatest.NewProxy(t, echo(t))
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	send := func(c net.Conn, text string) {
		t.Helper()
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
	}
	comes := func(c net.Conn, text string) {
		t.Helper()
		got := make([]byte, len(text))
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
			t.Errorf("%q came back, want %q: %v", got, text, err)
		}
	}
	nothing := func(c net.Conn) {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes came, and the error %v, want nothing", n, err)
		}
	}
	closed := func(c net.Conn) {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection is open: %v", err)
		}
	}

	a := dial()
	send(a, "a1")
	comes(a, "a1")
	p.Freeze()
	b := dial()
	send(a, "a2")
	send(b, "b1")
	nothing(a)
	nothing(b)
	if n := p.Conns(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	p.Thaw()
	comes(a, "a2")
	comes(b, "b1")

	p.FreezeExisting()
	c := dial()
	send(a, "a3")
	send(c, "c1")
	comes(c, "c1")
	p.Thaw()
	nothing(a)

	p.Refuse(true)
	if r, err := net.Dial("tcp", p.Addr()); err == nil { // the reset may come while it dials
		t.Cleanup(func() { _ = r.Close() })
		closed(r)
	}
	send(c, "c2")
	comes(c, "c2")
	p.Refuse(false)

	p.Cut()
	closed(a)
	closed(c)
	if n := p.Conns(); n != 0 {
		t.Errorf("%d connections after all were cut", n)
	}
	d := dial()
	send(d, "d1")
	comes(d, "d1")
	_ = d.Close()
	until(t, "the closed connection is gone", func() bool { return p.Conns() == 0 })

	// The end of the test finds frozen connections of all kinds.
	e := dial()
	send(e, "e1")
	comes(e, "e1")
	p.FreezeExisting()
	send(e, "e2")
	p.Freeze()
	send(dial(), "f1")
}

// TestProxyWithoutTarget: a connection to a dead target is reset, and the proxy forgets it.
func TestProxyWithoutTarget(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := kafkatest.NewProxy(t, l.Addr().String())
	_ = l.Close()
	if c, err := net.Dial("tcp", p.Addr()); err == nil { // the reset may come while it dials
		defer func() { _ = c.Close() }()
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection is open: %v", err)
		}
	}
	until(t, "the connection is gone", func() bool { return p.Conns() == 0 })
}

// echo is a server that sends back what it gets. It ends with the test.
func echo(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { _, _ = io.Copy(c, c); _ = c.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	return l.Addr().String()
}
