package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/internal/broker"
)

// leave takes the member out of the group. Its last member id is empty if it never got partitions.
//
// A member that is asked to stop while it waits for the others to join cannot be interrupted: kafka-go comes back when
// the broker answers, which is when the last of the others has drained. To close its socket would leave a ghost in the
// group: for the broker a member whose join is pending is there. It may become the leader, and all the others would
// wait, for a session or two, for the assignment that it never sends. So the broker is asked to take it out; that
// answers the join, too.
//
// A first join has no id yet that we could name. It is waited for, and left then: the others' drains have the same
// bound.
func (c *Consumer) leave(group *kafka.ConsumerGroup, member string) {
	closed := make(chan struct{})
	go func() {
		_ = group.Close() // it is always nil
		close(closed)
	}()
	patience := c.cfg.DrainTimeout
	select {
	case <-closed:
		return
	case <-time.After(commitEvery):
	}
	if member != "" {
		if err := c.remove(member); err != nil {
			c.cfg.Log.Warn().Err(err).Msg("leave the consumer group")
		} else {
			patience = time.Second
		}
	}
	cut := time.AfterFunc(patience, c.sockets.cut)
	defer cut.Stop()
	<-closed
}

// remove asks the broker to take a member out of the group.
func (c *Consumer) remove(member string) error {
	ctx, stop := context.WithTimeout(context.Background(), broker.DialTimeout)
	defer stop()
	res, err := c.client.LeaveGroup(ctx, &kafka.LeaveGroupRequest{GroupID: c.cfg.Group,
		Members: []kafka.LeaveGroupRequestMember{{ID: member}}})
	if err == nil {
		err = res.Error
	}
	if err == nil && len(res.Members) > 0 {
		err = res.Members[0].Error
	}
	if err != nil {
		return fmt.Errorf("take %s out of the group: %w", member, err)
	}
	return nil
}
