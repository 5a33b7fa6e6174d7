package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a child of the bench: a worker, the simulator, or kfake. It dies with the bench.
type process struct {
	name  string
	cmd   *exec.Cmd
	said  *tail
	ended chan struct{} // closed when it has been waited for
	err   error         // of its end; valid after ended
}

// tail keeps the last of what a process said, for the message when it fails.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	t.text = t.text[max(0, len(t.text)-4096):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}

// launch starts a command.
func launch(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, said: &tail{}, ended: make(chan struct{})}
	cmd.Stderr = p.said
	if cmd.Stdout == nil {
		cmd.Stdout = p.said
	}
	// It must not outlive the bench, however that ends. (It follows the thread that starts it; Go keeps its threads.)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { p.err = cmd.Wait(); close(p.ended) }() // stop and kill wait for it
	return p, nil
}

// startRole starts this program in another role, and reads the first lines that it prints.
func startRole(ctx context.Context, role string, lines int, args ...string) (*process, []string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, append([]string{role}, args...)...)
	in, err := cmd.StdinPipe() // stays open as long as we live
	if err != nil {
		return nil, nil, err
	}
	reads, writes, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = reads.Close() }()
	cmd.Stdout = writes
	p, err := launch(role, cmd)
	_ = writes.Close()
	if err != nil {
		_ = in.Close()
		return nil, nil, err
	}
	_ = reads.SetReadDeadline(time.Now().Add(20 * time.Second))
	var said []string
	for scanner := bufio.NewScanner(reads); len(said) < lines && scanner.Scan(); {
		said = append(said, scanner.Text())
	}
	if len(said) < lines {
		p.kill()
		return nil, nil, fmt.Errorf("start the %s: %s", role, p.said)
	}
	return p, said, nil
}

// usage is what a process took of the machine.
type usage struct {
	cpu  time.Duration // user and system, of all its threads
	peak float64       // resident memory, MiB
}

// now is what the process has taken so far. The operating system counts its CPU in steps of 10 ms.
func (p *process) now() (u usage, err error) {
	dir := "/proc/" + strconv.Itoa(p.cmd.Process.Pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, fmt.Errorf("measure %s: %w", p.name, err)
	}
	for line := range strings.Lines(string(status)) {
		if kib, is := strings.CutPrefix(line, "VmHWM:"); is {
			n, err := strconv.ParseFloat(strings.Fields(kib)[0], 64)
			if err != nil {
				return u, fmt.Errorf("measure %s: %w", p.name, err)
			}
			u.peak = n / 1024
		}
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u, fmt.Errorf("measure %s: %w", p.name, err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name before it may hold anything
	fields := strings.Fields(rest)
	for _, f := range fields[11:13] { // utime, stime
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, fmt.Errorf("measure %s: %w", p.name, err)
		}
		u.cpu += time.Duration(ticks) * (time.Second / 100)
	}
	return u, nil
}

// stop ends the process as an operator does, and tells what it took in its whole life. The peak comes from its
// status, because the rusage of a child begins with its parent's memory.
func (p *process) stop() (usage, error) {
	u, err := p.now()
	if err != nil {
		p.kill()
		return u, errors.Join(err, p.failed())
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may just have ended
	select {
	case <-p.ended:
	case <-time.After(40 * time.Second):
		p.kill()
		return u, fmt.Errorf("%s does not stop within 40 s of SIGTERM", p.name)
	}
	state := p.cmd.ProcessState
	u.cpu = state.UserTime() + state.SystemTime()
	return u, nil
}

// kill ends the process at once, and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// failed is an error if the process has ended by itself.
func (p *process) failed() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended: %w\n%s", p.name, p.err, p.said)
	default:
		return nil
	}
}
