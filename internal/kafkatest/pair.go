package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Pair is two nodes of Apache Kafka, of one test. Node 1 is controller and broker, node 2 is a broker only. So a test
// kills node 2 if leaders and the groups' coordinator are to move, and moves them there first.
//
// The program under test reaches each node through the node's proxy: Addrs, and what the brokers advertise, are the
// proxies' addresses. The brokers among themselves, and the methods of Broker and Pair, go past the proxies, and do not
// ask a node that is killed or frozen. So they work whatever the proxies do, as far as Kafka has an answer: a partition
// without a leader is left out of Committed, Lag and ReadAll once the controller has fenced its node.
//
// The group's offsets, with one partition, and the transactions' state are on both nodes. Leaders move only when a node
// is fenced or a test calls MoveLeader: Kafka does not move them back.
type Pair struct {
	*Broker
	One, Two *Node
	Three    *Node // a broker only; nil but for Three
}

const offsetsTopic = "__consumer_offsets"

// pairs bounds how many pairs a package's tests have at once: more nodes than that start too slowly on a small machine.
var pairs = make(chan struct{}, 2)

// Two starts two nodes of the release Current, which end with the test. The lines of extra, name=value, override the
// settings of all. It waits until no more than one other test of the package has a pair.
func Two(t testing.TB, extra ...string) *Pair {
	t.Helper()
	return start(t, 2, extra)
}

// Three is Two with a third node. A test can have both replicas of a partition on the nodes 2 and 3, and kill both,
// while node 1 is the controller and the groups' coordinator.
func Three(t testing.TB, extra ...string) *Pair {
	t.Helper()
	return start(t, 3, extra)
}

func start(t testing.TB, nodes int, extra []string) *Pair {
	t.Helper()
	pairs <- struct{}{}
	t.Cleanup(func() { <-pairs })
	if err := installed(); err != nil {
		unavailable(t, err)
	}
	if _, err := jars(Current); err != nil {
		unavailable(t, err)
	}
	ports := make([]int, 2*nodes+1) // of each node, for clients and for the brokers; and the controller's
	for i := range ports {
		var err error
		for ports[i] == 0 || slices.Contains(ports[:i], ports[i]) {
			if ports[i], err = steadyPort(); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := &Pair{}
	p.One = p.node(t, 1, ports[0])
	p.Two = p.node(t, 2, ports[2])
	if nodes == 3 {
		p.Three = p.node(t, 3, ports[4])
	}
	errs := make([]error, nodes)
	var starting sync.WaitGroup
	for i, n := range p.nodes() {
		starting.Go(func() {
			n.process, errs[i] = newProcess(Current, func(data string) string {
				return n.settings(ports[2*i+1], ports[2*nodes], data, extra)
			})
			if errs[i] == nil {
				errs[i] = n.process.start()
			}
		})
	}
	starting.Wait()
	t.Cleanup(func() {
		for _, n := range p.nodes() {
			if n.process != nil {
				n.process.remove()
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("start %d nodes of Apache Kafka %s: %v", nodes, Current, err)
	}
	p.connect(t)
	for _, n := range p.nodes() {
		n.await(t, "knows all brokers", func(ctx context.Context) error {
			all, err := n.metadata(ctx)
			if err == nil && len(all.Brokers) != nodes {
				err = fmt.Errorf("it knows %d", len(all.Brokers))
			}
			return err
		})
	}
	p.Coordinator(t, "of nobody") // Kafka creates the topic of the offsets now, while all nodes can hold it
	p.awaitLeaders(t, offsetsTopic, p.settledLeaders(offsetsTopic))
	return p
}

func (p *Pair) nodes() []*Node {
	if p.Three == nil {
		return []*Node{p.One, p.Two}
	}
	return []*Node{p.One, p.Two, p.Three}
}

func (p *Pair) node(t testing.TB, id, port int) *Node {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	return &Node{ID: id, Proxy: NewProxy(t, addr), addr: addr, changed: func() { p.close() }}
}

// settings are a node's. The brokers talk to each other on a listener of their own, which has no proxy.
func (n *Node) settings(internal, controller int, data string, extra []string) string {
	listeners := fmt.Sprintf("PLAINTEXT://%s,INTERNAL://127.0.0.1:%d", n.addr, internal)
	roles := "broker"
	if n.ID == 1 {
		listeners, roles = fmt.Sprintf("%s,CONTROLLER://127.0.0.1:%d", listeners, controller), "broker,controller"
	}
	return settings(0, controller, data) + strings.Join(append([]string{ // the last line of a name counts
		"process.roles=" + roles,
		fmt.Sprintf("node.id=%d", n.ID),
		"listeners=" + listeners,
		fmt.Sprintf("advertised.listeners=PLAINTEXT://%s,INTERNAL://127.0.0.1:%d", n.Proxy.Addr(), internal),
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name=INTERNAL",
		"min.insync.replicas=1",
		"offsets.topic.replication.factor=2",
		"transaction.state.log.replication.factor=2",
		"auto.leader.rebalance.enable=false",
		"broker.session.timeout.ms=3000",
		"broker.heartbeat.interval.ms=500",
		// A replica that falls behind leaves the in-sync set soon: records with all acks do not wait for it longer.
		"replica.lag.time.max.ms=5000",
	}, append(extra, "")...), "\n")
}

// connect makes the Broker, whose clients take the proxies' addresses and connect to the nodes themselves.
func (p *Pair) connect(t testing.TB) {
	var addrs []string
	data := map[int32]string{}
	for _, n := range p.nodes() {
		addrs = append(addrs, n.Proxy.Addr())
		data[int32(n.ID)] = n.LogDir()
	}
	dial := func(ctx context.Context, _, addr string) (net.Conn, error) {
		for i, n := range p.nodes() {
			if addr == addrs[i] {
				return n.dial(ctx)
			}
		}
		return nil, fmt.Errorf("%s is not the address of a node", addr)
	}
	p.Broker = newBroker("kafka", addrs)
	p.client.Transport = &kafka.Transport{MetadataTTL: 2 * time.Second, Dial: dial}
	p.opts = []kgo.Opt{kgo.Dialer(dial)}
	p.data = data
	t.Cleanup(p.close)
}

// CreateTopicOn creates a topic whose partition i has its replicas on the nodes replicas[i], the first one its leader,
// and waits until all nodes know the leaders. Kafka wants as many replicas for each partition of a topic.
func (p *Pair) CreateTopicOn(t testing.TB, name string, config map[string]string, replicas ...[]int) {
	t.Helper()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, -1, -1
	for i, ids := range replicas {
		ra := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		ra.Partition, ra.Replicas = int32(i), int32s(ids)
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, ra)
	}
	for k, v := range config {
		rc := kmsg.NewCreateTopicsRequestTopicConfig()
		rc.Name, rc.Value = k, kmsg.StringPtr(v)
		topic.Configs = append(topic.Configs, rc)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics, req.TimeoutMillis = append(req.Topics, topic), 10_000
	c := p.franz(t)
	defer c.Close()
	res, err := req.RequestWith(t.Context(), c)
	if err == nil {
		err = kerr.ErrorForCode(res.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
	p.awaitLeaders(t, name, func(parts map[int32]placement) error {
		for i, ids := range replicas {
			if part, ok := parts[int32(i)]; !ok || part.Leader != int32(ids[0]) {
				return fmt.Errorf("partition %d has leader %d", i, part.Leader)
			}
		}
		return nil
	})
	p.close() // what kafka-go remembers is older than the topic
}

// awaitLeaders waits until every node that runs has metadata of the topic that satisfy check.
func (p *Pair) awaitLeaders(t testing.TB, topic string, check func(map[int32]placement) error) {
	t.Helper()
	for _, n := range p.nodes() {
		if n.state() != nil {
			continue
		}
		n.await(t, "knows the leaders of "+topic, func(ctx context.Context) error {
			all, err := n.metadata(ctx, topic)
			if err != nil {
				return err
			}
			parts := map[int32]placement{}
			for _, part := range all.Topics[0].Partitions {
				parts[part.Partition] = part
			}
			return check(parts)
		})
	}
}

// settledLeaders checks that each partition has a leader and both replicas in sync.
func (p *Pair) settledLeaders(topic string) func(map[int32]placement) error {
	return func(parts map[int32]placement) error {
		for id, part := range parts {
			if part.Leader < 0 || len(part.ISR) != len(part.Replicas) {
				return fmt.Errorf("%s/%d has leader %d and in-sync replicas %v", topic, id, part.Leader, part.ISR)
			}
		}
		return nil
	}
}

// MoveLeader makes a node the leader of a partition. A node that has no replica gets one, in place of the leader's if
// the partition has only one. The partition's other replica stays.
func (p *Pair) MoveLeader(t testing.TB, topic string, partition, node int) {
	t.Helper()
	c := p.franz(t)
	defer c.Close()
	before := p.partition(t, topic, partition)
	replicas := slices.DeleteFunc(slices.Clone(before.Replicas), func(id int32) bool { return id == int32(node) })
	if !slices.Contains(before.Replicas, int32(node)) {
		replicas = replicas[:len(replicas)-1]
	}
	replicas = append([]int32{int32(node)}, replicas...)
	if err := reassign(t.Context(), c, topic, int32(partition), replicas); err != nil {
		t.Fatalf("put the replicas of %s/%d on the nodes %v: %v", topic, partition, replicas, err)
	}
	elected := func(parts map[int32]placement) error {
		part := parts[int32(partition)]
		if part.Leader == int32(node) && slices.Equal(part.Replicas, replicas) {
			return nil
		}
		if !slices.Contains(part.ISR, int32(node)) || !slices.Equal(part.Replicas, replicas) {
			return fmt.Errorf("its replicas are %v, in sync are %v", part.Replicas, part.ISR)
		}
		if err := elect(t.Context(), c, topic, int32(partition)); err != nil {
			return err
		}
		return fmt.Errorf("node %d is its leader", part.Leader)
	}
	p.awaitLeaders(t, topic, elected)
	p.close()
}

func reassign(ctx context.Context, c *kgo.Client, topic string, partition int32, replicas []int32) error {
	rp := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
	rp.Partition, rp.Replicas = partition, replicas
	rt := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10_000
	res, err := req.RequestWith(ctx, c)
	if err != nil {
		return err
	}
	err = kerr.ErrorForCode(res.ErrorCode)
	for _, rt := range res.Topics {
		for _, rp := range rt.Partitions {
			err = errors.Join(err, kerr.ErrorForCode(rp.ErrorCode))
		}
	}
	return err
}

// elect makes the first replica of a partition its leader.
func elect(ctx context.Context, c *kgo.Client, topic string, partition int32) error {
	rt := kmsg.NewElectLeadersRequestTopic()
	rt.Topic, rt.Partitions = topic, []int32{partition}
	req := kmsg.NewPtrElectLeadersRequest()
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10_000
	res, err := req.RequestWith(ctx, c)
	if err != nil {
		return err
	}
	err = kerr.ErrorForCode(res.ErrorCode)
	for _, rt := range res.Topics {
		for _, rp := range rt.Partitions {
			if failed := kerr.ErrorForCode(rp.ErrorCode); !errors.Is(failed, kerr.ElectionNotNeeded) {
				err = errors.Join(err, failed)
			}
		}
	}
	return err
}

func int32s(ids []int) (all []int32) {
	for _, id := range ids {
		all = append(all, int32(id))
	}
	return all
}
