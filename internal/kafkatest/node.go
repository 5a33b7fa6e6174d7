package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Node is one of the brokers of a Pair.
type Node struct {
	ID    int
	Proxy *Proxy // between the node and the program under test

	addr    string // the node's own, past the proxy
	process *process
	changed func() // is called after the node's state has changed: what clients remember is older

	mu      sync.Mutex
	stopped error // why the node does not answer; nil if it does
}

// These are what a dial gets: clients try again after a refused connection.
var (
	errKilled = fmt.Errorf("the test has killed the node: %w", syscall.ECONNREFUSED)
	errFrozen = fmt.Errorf("the test has frozen the node: %w", syscall.ECONNREFUSED)
)

// Kill ends the node with SIGKILL. Its leaders move when the controller has fenced it, about 3 s later. Nothing moves
// if it was the controller, node 1.
func (n *Node) Kill() {
	n.mu.Lock()
	n.process.kill()
	n.stopped = errKilled
	n.mu.Unlock()
	n.changed()
}

// Freeze stops the node's process with SIGSTOP: its connections stay open, and nothing answers.
func (n *Node) Freeze() {
	n.mu.Lock()
	if n.stopped == nil && n.process.signal(syscall.SIGSTOP) == nil {
		n.stopped = errFrozen
	}
	n.mu.Unlock()
	n.changed()
}

// Thaw lets a frozen node go on.
func (n *Node) Thaw() {
	n.mu.Lock()
	if errors.Is(n.stopped, errFrozen) && n.process.signal(syscall.SIGCONT) == nil {
		n.stopped = nil
	}
	n.mu.Unlock()
	n.changed()
}

// Restart starts a killed node again, with its data and its ports, and waits until it serves and its replicas have
// caught up with their leaders. Kafka checks the newest segments after a kill, and cuts off what was corrupted there.
func (n *Node) Restart(t testing.TB) {
	t.Helper()
	n.Kill()
	n.mu.Lock()
	err := n.process.start()
	if err == nil {
		n.stopped = nil
	}
	n.mu.Unlock()
	if err != nil {
		t.Fatalf("restart node %d: %v", n.ID, err)
	}
	n.await(t, "is back, its replicas in sync", n.inSync)
	n.changed()
}

// LogDir is the directory of the node's partitions.
func (n *Node) LogDir() string { return n.process.data() }

// state is nil if the node runs.
func (n *Node) state() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stopped
}

// dial connects past the proxy. It does not wait for a node that cannot answer.
func (n *Node) dial(ctx context.Context) (net.Conn, error) {
	if err := n.state(); err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", n.addr)
}

// metadata is what the node itself knows of topics; without names, of all.
func (n *Node) metadata(ctx context.Context, topics ...string) (*kmsg.MetadataResponse, error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(n.addr), kgo.RequestRetries(0),
		kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dial(ctx) }))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	req := kmsg.NewPtrMetadataRequest()
	for _, topic := range topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, rt)
	}
	res, err := c.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return nil, err
	}
	all := res.(*kmsg.MetadataResponse)
	for _, topic := range all.Topics {
		err = errors.Join(err, kerr.ErrorForCode(topic.ErrorCode))
	}
	return all, err
}

// inSync is nil if the node knows itself as a broker, and is in sync wherever there is a leader.
func (n *Node) inSync(ctx context.Context) error {
	all, err := n.metadata(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all.Brokers, func(b kmsg.MetadataResponseBroker) bool { return int(b.NodeID) == n.ID }) {
		return errors.New("it is not a member of the cluster")
	}
	id := int32(n.ID)
	for _, topic := range all.Topics {
		for _, part := range topic.Partitions {
			if part.Leader >= 0 && slices.Contains(part.Replicas, id) && !slices.Contains(part.ISR, id) {
				return fmt.Errorf("it is not in sync in %s/%d", *topic.Topic, part.Partition)
			}
		}
	}
	return nil
}

// await calls check until it returns nil, and fails the test after startTimeout.
func (n *Node) await(t testing.TB, what string, check func(context.Context) error) {
	t.Helper()
	if err := poll(check); err != nil {
		t.Fatalf("node %d: wait until it %s: %v\n%s", n.ID, what, err, n.process.tail())
	}
}

// poll calls check until it returns nil, and returns its last error after startTimeout.
func poll(check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		once, end := context.WithTimeout(ctx, 5*time.Second)
		err := check(once)
		end()
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// steadyPort finds a port that stays free while its node is down: no port that the system gives to connections. A
// connection to such a port could otherwise even reach itself.
func steadyPort() (int, error) {
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("find a free port between 20000 and 32000: 100 were taken")
}
