package consumer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
)

// member is this process's place in the consumer group: it joins, shows that it lives, commits, and leaves. It speaks
// Kafka's classic group protocol. kafka-go's own ConsumerGroup is not used: it subscribes to the same topics for ever,
// asks the broker to create those that are missing, cannot be interrupted while it joins, shows no heartbeat's answer,
// and has none while a drain lasts.
//
// The group's requests have a Transport of their own: if an answer does not come in time, its connections are closed,
// as one of them may be half-open, and the next attempt makes new ones.
type member struct {
	cfg       *Config
	addr      net.Addr
	transport *kafka.Transport
	sockets   sockets
	id        string       // the coordinator's name for us; empty until it gave one
	broker    atomic.Int64 // that coordinates the group; -1 while that is unknown
}

// The newest versions in which kafka-go writes the request and reads the answer as Kafka defines them.
const (
	joinVersion      = 5 // from 4 on a first join is told its id before it waits for the others
	syncVersion      = 3
	heartbeatVersion = 0 // from 1 on kafka-go takes the throttle time for the error
	leaveVersion     = 0 // the same
	commitVersion    = 7
)

func newMember(cfg *Config) *member {
	m := &member{cfg: cfg, addr: kafka.TCP(cfg.Brokers...)}
	m.broker.Store(-1)
	m.transport = cfg.Transport()
	m.transport.Dial = m.sockets.over(m.transport.Dial)
	return m
}

// ask sends a request to the group's coordinator. An answer that does not come in time closes the connections; after
// any failure the coordinator is looked up again.
func ask[R protocol.Message](ctx context.Context, m *member, limit time.Duration, newest int16,
	req protocol.Message) (R, error) {
	attempt, stop := context.WithTimeout(ctx, limit)
	defer stop()
	broker, err := m.find(attempt)
	var res R
	if err == nil {
		res, err = exchange[R](attempt, m.transport, m.addr,
			&toBroker{versioned{Message: req, clientID: m.cfg.ClientID, newest: newest}, broker})
	}
	if err == nil {
		return res, nil
	}
	m.lost()
	switch {
	case attempt.Err() != nil && ctx.Err() == nil:
		m.cut()
		err = fmt.Errorf("no answer within %v: %w", limit, err)
	case errors.Is(err, kafka.BrokerNotAvailable):
		// A broker that has just started may say that it is the only one, and kafka-go believes that for a while.
		m.cut()
	}
	return res, err
}

// find returns the broker that coordinates the group. kafka-go would look it up for each request, and take no notice of
// an error in the answer.
func (m *member) find(ctx context.Context) (int, error) {
	if known := m.broker.Load(); known >= 0 {
		return int(known), nil
	}
	res, err := exchange[*findcoordinator.Response](ctx, m.transport, m.addr, &versioned{
		Message: &findcoordinator.Request{Key: m.cfg.Group}, clientID: m.cfg.ClientID, newest: newestVersion})
	if err == nil {
		err = failure(res.ErrorCode)
	}
	if err != nil {
		return 0, fmt.Errorf("find the group's coordinator: %w", err)
	}
	m.broker.Store(int64(res.NodeID))
	return int(res.NodeID), nil
}

// lost says that the coordinator must be looked up again.
func (m *member) lost() { m.broker.Store(-1) }

// moved passes an error of the coordinator's on, and takes in that it may be another broker by now.
func (m *member) moved(err error) error {
	if errors.Is(err, kafka.NotCoordinatorForGroup) || errors.Is(err, kafka.GroupCoordinatorNotAvailable) {
		m.lost()
	}
	return err
}

// cut closes all connections to the group's coordinator.
func (m *member) cut() {
	m.sockets.cut()
	m.transport.CloseIdleConnections()
}

// attempt is how long the coordinator may take for one answer: several attempts fit into a session.
func (m *member) attempt() time.Duration { return min(m.cfg.SessionTimeout/4, 4*time.Second) }

// rebalanceTimeout is how long the group waits for its members to drain and to join again.
func (m *member) rebalanceTimeout() time.Duration { return m.cfg.DrainTimeout + slack }

// joined is the outcome of a join.
type joined struct {
	generation int32
	mine       parts
}

// join joins the group, or joins it again, with the given topics. It returns when all members have joined and the
// leader has assigned the partitions. look asks Kafka for the partitions of topics.
func (m *member) join(ctx context.Context, topics []string,
	look func(context.Context, []string) (layout, error)) (joined, error) {
	own := subscription{topics: topics, note: m.cfg.Note()}
	res, err := m.askToJoin(ctx, own)
	if err != nil {
		return joined{}, err
	}
	m.id = res.MemberID
	var assignments []syncgroup.RequestAssignment
	if res.LeaderID == res.MemberID {
		if assignments, err = m.assign(ctx, res.Members, look); err != nil {
			return joined{}, err
		}
	}
	synced, err := ask[*syncgroup.Response](ctx, m, m.cfg.SessionTimeout+m.attempt(), syncVersion, &syncgroup.Request{
		GroupID: m.cfg.Group, GenerationID: res.GenerationID, MemberID: m.id, Assignments: assignments})
	if err == nil {
		err = m.moved(failure(synced.ErrorCode))
	}
	if err != nil {
		return joined{}, fmt.Errorf("wait for the group's assignment: %w", err)
	}
	all, err := parseAssignment(synced.Assignments)
	if err != nil {
		return joined{}, fmt.Errorf("read what the group's leader assigned: %w", err)
	}
	for topic := range all {
		if !slices.Contains(topics, topic) {
			delete(all, topic) // the leader is another program
		}
	}
	return joined{res.GenerationID, all}, nil
}

// askToJoin returns the coordinator's answer when the others have joined, too.
func (m *member) askToJoin(ctx context.Context, own subscription) (*joingroup.Response, error) {
	for {
		res, err := ask[*joingroup.Response](ctx, m, m.rebalanceTimeout()+m.attempt(), joinVersion, &joingroup.Request{
			GroupID: m.cfg.Group, MemberID: m.id, ProtocolType: "consumer",
			SessionTimeoutMS:   int32(m.cfg.SessionTimeout.Milliseconds()),
			RebalanceTimeoutMS: int32(m.rebalanceTimeout().Milliseconds()),
			Protocols:          []joingroup.RequestProtocol{{Name: "range", Metadata: own.bytes()}}})
		if err == nil {
			err = m.moved(failure(res.ErrorCode))
		}
		switch {
		case err == nil:
			return res, nil
		case errors.Is(err, kafka.MemberIDRequired) && m.id == "":
			m.id = res.MemberID // so that we can leave while we wait for the others
		case errors.Is(err, kafka.UnknownMemberId) && m.id != "":
			m.id = "" // the session ended meanwhile
		default:
			return nil, err
		}
	}
}

// assign is the leader's part: it divides the partitions of all topics. A member that is not tasksink's gets none.
func (m *member) assign(ctx context.Context, all []joingroup.ResponseMember,
	look func(context.Context, []string) (layout, error)) ([]syncgroup.RequestAssignment, error) {
	var members []subscription
	var topics []string
	for _, other := range all {
		s, err := parseSubscription(other.MemberID, other.Metadata)
		if err != nil || !m.cfg.Ours(s.note) {
			continue
		}
		members, topics = append(members, s), append(topics, s.topics...)
	}
	slices.Sort(topics)
	found, err := look(ctx, slices.Compact(topics))
	if err != nil {
		return nil, fmt.Errorf("look up the partitions to divide: %w", err)
	}
	var assignments []syncgroup.RequestAssignment
	for id, mine := range divide(members, found.partitions()) {
		assignments = append(assignments, syncgroup.RequestAssignment{MemberID: id, Assignment: mine.bytes()})
	}
	return assignments, nil
}

// heartbeat shows that the member lives. kafka.RebalanceInProgress asks it to drain and to join again: until then the
// partitions are its own.
func (m *member) heartbeat(ctx context.Context, generation int32) error {
	res, err := ask[*heartbeat.Response](ctx, m, m.attempt(), heartbeatVersion, &heartbeat.Request{
		GroupID: m.cfg.Group, GenerationID: generation, MemberID: m.id})
	if err != nil {
		return err
	}
	return m.moved(failure(res.ErrorCode))
}

// commit commits offsets, and returns what became of each partition. An error concerns all of them.
func (m *member) commit(ctx context.Context, generation int32,
	topics []offsetcommit.RequestTopic) (map[string]map[int]error, error) {
	res, err := ask[*offsetcommit.Response](ctx, m, m.attempt(), commitVersion, &offsetcommit.Request{
		GroupID: m.cfg.Group, GenerationID: generation, MemberID: m.id, RetentionTimeMs: -1, Topics: topics})
	if err != nil {
		return nil, err
	}
	results := map[string]map[int]error{}
	for _, t := range res.Topics {
		results[t.Name] = map[int]error{}
		for _, p := range t.Partitions {
			results[t.Name][int(p.PartitionIndex)] = m.moved(failure(p.ErrorCode))
		}
	}
	return results, nil
}

// leave takes the member out of the group. It also answers a join that is waiting for the others, so that no ghost
// stays: for the coordinator a member whose join is pending is there, and if it became the leader all others would wait
// for its assignment.
func (m *member) leave(ctx context.Context) error {
	if m.id == "" {
		return nil
	}
	ctx, stop := context.WithTimeout(ctx, leaveTimeout)
	defer stop()
	var err error
	for {
		var res *leavegroup.Response
		res, err = ask[*leavegroup.Response](ctx, m, m.attempt(), leaveVersion,
			&leavegroup.Request{GroupID: m.cfg.Group, MemberID: m.id})
		if err == nil {
			err = m.moved(failure(res.ErrorCode))
		}
		if err == nil || evicting(err) {
			m.id = ""
			return nil
		}
		select {
		case <-time.After(commitEvery):
		case <-ctx.Done():
			return fmt.Errorf("leave the consumer group: %w", err)
		}
	}
}

const leaveTimeout = 5 * time.Second

// evicting tells whether an error says that we are no member of the generation any more: the partitions may be somebody
// else's.
func evicting(err error) bool {
	return errors.Is(err, kafka.IllegalGeneration) || errors.Is(err, kafka.UnknownMemberId) ||
		errors.Is(err, kafka.FencedInstanceID)
}
