package main_test

import (
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestNobodyReads: a full pipe behind the log, and scrapes that never read their answer, do not stop the worker, nor
// its end.
func TestNobodyReads(t *testing.T) {
	t.Parallel()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	b := kafkatest.Fake(t)
	topic, _, args := world(t, b, 1, hubspottest.Config{}, "--log-level=debug", "--batch-size=5")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil { // the log is not read, so the address must be known
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = read.Close() })
	m := &member{cmd: exec.Command(path, append([]string{"run", "--listen=" + address}, args...)...), log: &log{},
		done: make(chan error, 1)}
	m.cmd.Stdout, m.cmd.Stderr = write, write
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close() // the child has its own
	go func() { m.done <- m.cmd.Wait() }()
	t.Cleanup(func() { _ = m.cmd.Process.Kill() })
	until(t, "it listens", 20*time.Second, func() bool {
		for range 20 {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
			if err != nil {
				return false
			}
			t.Cleanup(func() { _ = conn.Close() })
			for range 50 {
				if _, err := conn.Write([]byte("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
					return true // it has had enough
				}
			}
		}
		return true
	})
	b.Produce(t, topic, versions(0, 20_000, 20_000)...)
	until(t, "all is committed", 2*time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}
