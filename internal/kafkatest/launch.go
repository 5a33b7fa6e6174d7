package kafkatest

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
)

//go:embed pom.xml
var pom []byte

const startTimeout = 60 * time.Second

// Start starts Apache Kafka for a program that is no test, and returns its address, and what stops it. It takes the
// release Current from Java and Maven, or from Docker.
func Start() (addr string, stop func(), err error) {
	addr, _, stop, err = launch(Current)
	return addr, stop, err
}

// launch starts Apache Kafka of the given release and returns its address, the directory of its data (empty if it runs
// in Docker), and what stops it.
func launch(version string) (addr, data string, stop func(), err error) {
	port, err := freePort()
	if err != nil {
		return "", "", nil, err
	}
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	_, docker := exec.LookPath("docker")
	switch {
	case installed() == nil:
		var p *process
		p, err = launchJava(version, func(controller int, data string) string {
			return settings(port, controller, data)
		})
		if err == nil {
			data, stop = p.data(), p.remove
		}
	case docker == nil:
		stop, err = launchDocker(version, port)
	default:
		return "", "", nil, errors.New("neither Java with Maven nor Docker is installed")
	}
	if err != nil {
		return "", "", nil, fmt.Errorf("start Apache Kafka %s: %w", version, err)
	}
	if err := serves(addr); err != nil {
		stop()
		return "", "", nil, fmt.Errorf("start Apache Kafka %s: %w", version, err)
	}
	return addr, data, stop, nil
}

// installed is nil if Java and Maven are.
func installed() error {
	for _, name := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("Java and Maven are needed: %w", err)
		}
	}
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// serves waits until the broker answers.
func serves(addr string) error {
	var err error
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var conn *kafka.Conn
		if conn, err = kafka.Dial("tcp", addr); err != nil {
			continue
		}
		_, err = conn.Brokers()
		_ = conn.Close()
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("no answer within %v: %w", startTimeout, err)
}

// jars returns the directory of the release's jars, and resolves them first if they are not cached.
func jars(version string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "tasksink", "kafka-"+version)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	// Test packages run side by side: each resolves into a directory of its own, and the first one keeps the name.
	work, err := os.MkdirTemp(filepath.Dir(dir), "resolve-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom, 0o600); err != nil {
		return "", err
	}
	cmd := exec.Command("mvn", "-q", "-B", "dependency:copy-dependencies", "-Dkafka.version="+version,
		"-DoutputDirectory=jars")
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("resolve the jars with Maven: %w\n%s", err, out)
	}
	if err := os.Rename(filepath.Join(work, "jars"), dir); err != nil && !errors.Is(err, os.ErrExist) &&
		!errors.Is(err, syscall.ENOTEMPTY) {
		return "", err
	}
	return dir, nil
}

// settings are those of one node that is broker and controller, on loopback.
func settings(port, controller int, dir string) string {
	return strings.Join([]string{
		"process.roles=broker,controller",
		"node.id=1",
		fmt.Sprintf("controller.quorum.voters=1@127.0.0.1:%d", controller),
		fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", port, controller),
		fmt.Sprintf("advertised.listeners=PLAINTEXT://127.0.0.1:%d", port),
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=PLAINTEXT",
		"log.dirs=" + dir,
		"auto.create.topics.enable=false",
		"delete.topic.enable=true",
		"offsets.topic.replication.factor=1",
		"offsets.topic.num.partitions=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"transaction.state.log.num.partitions=1",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
		// The default of 3 s only makes tests slow: it gathers members before a group's first assignment.
		"group.initial.rebalance.delay.ms=0",
		"group.min.session.timeout.ms=1000",
		"log.retention.check.interval.ms=1000",
		"log.cleaner.backoff.ms=200",
		"log.cleaner.dedupe.buffer.size=4194304",
		"",
	}, "\n")
}

func launchDocker(version string, port int) (stop func(), err error) {
	env := []string{}
	for _, line := range strings.Fields(settings(9092, 9093, "/tmp/data")) {
		name, value, _ := strings.Cut(line, "=")
		value = strings.ReplaceAll(value, "PLAINTEXT://127.0.0.1:9092,", "PLAINTEXT://:9092,")
		if name == "advertised.listeners" {
			value = fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", port)
		}
		env = append(env, "-e", "KAFKA_"+strings.ToUpper(strings.ReplaceAll(name, ".", "_"))+"="+value)
	}
	args := append([]string{"run", "-d", "--rm", "-p", fmt.Sprintf("127.0.0.1:%d:9092", port)}, env...)
	out, err := exec.Command("docker", append(args, "apache/kafka:"+version)...).Output()
	if err != nil {
		return nil, fmt.Errorf("docker run: %w", err)
	}
	id := strings.TrimSpace(string(out))
	return func() { _ = exec.Command("docker", "kill", id).Run() }, nil
}
