package kafkatest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// process is a node of Apache Kafka that runs in Java, with a directory of its own for settings, output and data.
type process struct {
	dir, lib string
	cmd      *exec.Cmd // the last one that was started
	out      *os.File
}

const logging = `
log4j.rootLogger=WARN, stdout
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=[%d] %p %m (%c)%n
`

// launchJava starts a broker whose settings configure makes for a controller's port and a directory of data.
func launchJava(version string, configure func(controller int, data string) string) (*process, error) {
	controller, err := freePort()
	if err != nil {
		return nil, err
	}
	p, err := newProcess(version, func(data string) string { return configure(controller, data) })
	if err != nil {
		return nil, err
	}
	if err := p.start(); err != nil {
		p.remove()
		return nil, err
	}
	return p, nil
}

// newProcess writes the settings of a node and formats its storage, but does not start it.
func newProcess(version string, configure func(data string) string) (p *process, err error) {
	lib, err := jars(version)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kafkatest-")
	if err != nil {
		return nil, err
	}
	p = &process{dir: dir, lib: lib}
	defer func(made *process) { // a return with an error has made p nil by then
		if err != nil {
			made.remove()
		}
	}(p)
	if err := os.WriteFile(p.path("server.properties"), []byte(configure(p.data())), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(p.path("log4j.properties"), []byte(logging), 0o600); err != nil {
		return nil, err
	}
	if p.out, err = os.Create(p.path("log")); err != nil {
		return nil, err
	}
	const cluster = "kafkatestkafkatestkafkw"
	format := exec.Command("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", p.classes(),
		"kafka.tools.StorageTool", "format", "-t", cluster, "-c", p.path("server.properties"))
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format the storage: %w\n%s", err, out)
	}
	return p, nil
}

func (p *process) path(name string) string { return filepath.Join(p.dir, name) }
func (p *process) data() string            { return p.path("data") }
func (p *process) classes() string         { return filepath.Join(p.lib, "*") }

// start starts the node, for the first time or again.
func (p *process) start() error {
	cmd := exec.Command("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j.configuration=file:"+p.path("log4j.properties"), "-cp", p.classes(),
		"kafka.Kafka", p.path("server.properties"))
	cmd.Stdout, cmd.Stderr = p.out, p.out
	// It must not outlive the test process, however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd = cmd
	return nil
}

func (p *process) signal(s syscall.Signal) error {
	if p.cmd == nil {
		return errors.New("the node does not run")
	}
	return p.cmd.Process.Signal(s)
}

// kill ends the node, which has no time to say good-bye. Its data stays.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

// remove ends the node and deletes its directory.
func (p *process) remove() {
	p.kill()
	if p.out != nil {
		_ = p.out.Close()
	}
	_ = os.RemoveAll(p.dir)
}

// tail is the end of what the node printed, for the message of a failure.
func (p *process) tail() string {
	all, err := os.ReadFile(p.path("log"))
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(all), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
}
