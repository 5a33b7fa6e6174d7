package broker

import (
	"net"
	"sync/atomic"
	"time"
)

// deadlineConn is a connection on which nothing takes for ever: whatever comes without a deadline gets one.
type deadlineConn struct {
	net.Conn
	reads, writes atomic.Bool // kafka-go has set a deadline of its own
}

func (c *deadlineConn) SetDeadline(t time.Time) error {
	c.reads.Store(!t.IsZero())
	c.writes.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

func (c *deadlineConn) SetReadDeadline(t time.Time) error {
	c.reads.Store(!t.IsZero())
	return c.Conn.SetReadDeadline(t)
}

func (c *deadlineConn) SetWriteDeadline(t time.Time) error {
	c.writes.Store(!t.IsZero())
	return c.Conn.SetWriteDeadline(t)
}

func (c *deadlineConn) Read(b []byte) (int, error) {
	if !c.reads.Load() {
		if err := c.Conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(b)
}

func (c *deadlineConn) Write(b []byte) (int, error) {
	if !c.writes.Load() {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(silence)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}
