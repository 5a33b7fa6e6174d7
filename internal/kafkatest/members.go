package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Members of a group that are not this program, and an administrator who removes members.

// Foreign joins a group as another program would, with franz-go and the balancer range. It consumes the topics and
// commits, until stop or the end of the test. It returns at once: the member joins meanwhile.
func (b *Broker) Foreign(t testing.TB, group string, topics []string, clientID string) (stop func()) {
	t.Helper()
	c := b.franz(t, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...), kgo.ClientID(clientID),
		kgo.Balancers(kgo.RangeBalancer()), kgo.FetchMaxWait(250*time.Millisecond), kgo.HeartbeatInterval(time.Second),
		kgo.DisableAutoCommit(), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 200 * time.Millisecond }))
	return background(t, func(ctx context.Context) {
		for ctx.Err() == nil {
			c.PollFetches(ctx)
			_ = c.CommitUncommittedOffsets(ctx) // what a rebalance refuses, the next owner reads again
		}
		leave, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.LeaveGroupContext(leave) // if it fails, the session ends later
		c.Close()
	})
}

// Unreadable joins a group with the protocol range and metadata that nobody can parse, until stop or the end of the
// test. It never consumes. While it leads the group, it gives the topic's partitions to the others in turn.
func (b *Broker) Unreadable(t testing.TB, group, topic, clientID string) (stop func()) {
	t.Helper()
	m := &unreadable{group: group, topic: topic, partitions: b.Partitions(t, topic)}
	m.client = b.franz(t, kgo.ClientID(clientID))
	joined := make(chan error, 1)
	stop = background(t, func(ctx context.Context) {
		defer m.client.Close()
		m.run(ctx, func(err error) {
			select {
			case joined <- err:
			default: // only the first attempt is reported
			}
		})
	})
	select {
	case err := <-joined:
		if err != nil {
			t.Fatalf("join group %s as an unreadable member: %v", group, err)
		}
	case <-time.After(startTimeout):
		t.Fatalf("join group %s as an unreadable member: no answer within %v", group, startTimeout)
	}
	return stop
}

// background runs work until stop, which waits for its end, or the end of the test.
func background(t testing.TB, work func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { work(ctx) })
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return stop
}

// unreadable is a member that speaks the protocol of groups by hand.
type unreadable struct {
	client       *kgo.Client
	group, topic string
	partitions   []int

	id         string
	generation int32
}

// run joins, and keeps the membership until ctx ends. It reports how each attempt to join ended: the leader may not be
// able to divide the topic among members of which it cannot read one, so a generation may never come.
func (m *unreadable) run(ctx context.Context, report func(error)) {
	for ctx.Err() == nil {
		joined, err := m.join(ctx)
		report(err)
		if err == nil {
			err = m.sync(ctx, joined)
		}
		for err == nil {
			err = m.beat(ctx)
			pause(ctx, 300*time.Millisecond)
		}
		if errors.Is(err, kerr.UnknownMemberID) {
			m.id = ""
		}
		pause(ctx, 50*time.Millisecond)
	}
	leave, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = removeMembers(leave, m.client, m.group, []string{m.id}) // if it fails, the session ends 10 s later
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// join is accepted once all other members have joined the same generation, or were removed from the group.
func (m *unreadable) join(ctx context.Context) (*kmsg.JoinGroupResponse, error) {
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", []byte{0x7f, 0xc3, 0x05}
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.Protocols = m.group, "consumer", append(req.Protocols, protocol)
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 30_000
	for {
		req.MemberID = m.id
		res, err := req.RequestWith(ctx, m.client)
		if err != nil {
			return nil, err
		}
		err = kerr.ErrorForCode(res.ErrorCode)
		if !errors.Is(err, kerr.MemberIDRequired) {
			if err == nil {
				m.id, m.generation = res.MemberID, res.Generation
			}
			return res, err
		}
		m.id = res.MemberID
	}
}

func (m *unreadable) sync(ctx context.Context, joined *kmsg.JoinGroupResponse) error {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	if joined.LeaderID == m.id {
		req.GroupAssignment = m.divide(joined.Members)
	}
	res, err := req.RequestWith(ctx, m.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(res.ErrorCode)
}

// divide gives the partitions to all members but this one.
func (m *unreadable) divide(members []kmsg.JoinGroupResponseMember) (all []kmsg.SyncGroupRequestGroupAssignment) {
	var others int
	for _, member := range members {
		rt := kmsg.NewConsumerMemberAssignmentTopic()
		rt.Topic = m.topic
		if member.MemberID != m.id {
			for i, id := range m.partitions {
				if i%(len(members)-1) == others {
					rt.Partitions = append(rt.Partitions, int32(id))
				}
			}
			others++
		}
		assignment := kmsg.NewConsumerMemberAssignment()
		if len(rt.Partitions) > 0 {
			assignment.Topics = append(assignment.Topics, rt)
		}
		ra := kmsg.NewSyncGroupRequestGroupAssignment()
		ra.MemberID, ra.MemberAssignment = member.MemberID, assignment.AppendTo(nil)
		all = append(all, ra)
	}
	return all
}

func (m *unreadable) beat(ctx context.Context) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.generation
	res, err := req.RequestWith(ctx, m.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(res.ErrorCode)
}

// RemoveMembers removes the members of a group whose client id begins with the prefix, as an administrator does. The
// members learn of it by their next heartbeat. The test fails if there is no such member.
func (b *Broker) RemoveMembers(t testing.TB, group, clientIDPrefix string) {
	t.Helper()
	c := b.franz(t)
	defer c.Close()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	res, err := req.RequestWith(t.Context(), c)
	if err == nil {
		err = kerr.ErrorForCode(res.Groups[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("describe group %s: %v", group, err)
	}
	var ids []string
	for _, member := range res.Groups[0].Members {
		if strings.HasPrefix(member.ClientID, clientIDPrefix) {
			ids = append(ids, member.MemberID)
		}
	}
	if len(ids) == 0 {
		t.Fatalf("group %s has no member whose client id begins with %s", group, clientIDPrefix)
	}
	if err := removeMembers(t.Context(), c, group, ids); err != nil {
		t.Fatalf("remove members from group %s: %v", group, err)
	}
}

func removeMembers(ctx context.Context, c *kgo.Client, group string, ids []string) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	for _, id := range ids {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID, member.Reason = id, kmsg.StringPtr("the test removes it")
		req.Members = append(req.Members, member)
	}
	res, err := req.RequestWith(ctx, c)
	if err != nil {
		return err
	}
	err = kerr.ErrorForCode(res.ErrorCode)
	for _, member := range res.Members {
		if failed := kerr.ErrorForCode(member.ErrorCode); failed != nil {
			err = errors.Join(err, fmt.Errorf("member %s: %w", member.MemberID, failed))
		}
	}
	return err
}
