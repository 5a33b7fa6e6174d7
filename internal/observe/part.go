package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	startLimit = time.Minute      // until a program says where it is
	stopLimit  = 30 * time.Second // after SIGTERM; a worker's drain takes 20 s
	bytesKept  = 4 << 10          // of what a program says, for when it ends too early
)

// part is a program that runs beside this one.
type part struct {
	name string
	cmd  *exec.Cmd
	said *speech
	done chan struct{} // closed when it has ended
	err  error         // how; valid after done
}

// start runs a program and waits until what it writes matches ready, whose groups are returned. The program is in a
// process group of its own, so that Ctrl-C reaches it by way of stop, in its turn. When the program ends, it calls
// fail, which is meant to end ctx.
func start(ctx context.Context, fail context.CancelCauseFunc, name string, ready *regexp.Regexp, path string,
	args ...string) (*part, []string, error) {
	p := &part{name: name, cmd: exec.CommandContext(context.WithoutCancel(ctx), path, args...), done: make(chan struct{}),
		said: &speech{ready: ready, found: make(chan []string, 1)}}
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the program, and stop waits for that
		p.err = p.cmd.Wait()
		close(p.done)
		fail(fmt.Errorf("%s ended by itself (%v):\n%s", name, p.cmd.ProcessState, p.said))
	}()
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	var err error
	select {
	case m := <-p.said.found:
		return p, m, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-limit.C:
		err = fmt.Errorf("%s did not say within %s that it is ready:\n%s", name, startLimit, p.said)
	}
	return nil, nil, errors.Join(err, p.stop())
}

// stop asks the program to end, and waits for it.
func (p *part) stop() error {
	select {
	case <-p.done:
		return nil // by itself; fail was told
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("stop %s: %w:\n%s", p.name, p.err, p.said)
		}
		return nil
	case <-limit.C:
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("stop %s: it was killed, as it did not end within %s of SIGTERM", p.name, stopLimit)
	}
}

// speech is what a program writes.
type speech struct {
	ready *regexp.Regexp
	found chan []string // gets the groups of the first match that are not empty

	mu     sync.Mutex
	heard  bool   // ready has matched
	latest []byte // all until then, afterwards the end of it
}

func (s *speech) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = append(s.latest, b...)
	if !s.heard {
		m := s.ready.FindSubmatch(s.latest)
		if m == nil {
			return len(b), nil
		}
		s.heard = true
		var groups []string
		for _, g := range m[1:] {
			if len(g) > 0 {
				groups = append(groups, string(g))
			}
		}
		s.found <- groups // it has a place for the one
	}
	s.latest = slices.Delete(s.latest, 0, max(0, len(s.latest)-bytesKept))
	return len(b), nil
}

// String is the last of it.
func (s *speech) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.latest[max(0, len(s.latest)-bytesKept):])
}
