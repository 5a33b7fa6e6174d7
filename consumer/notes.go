package consumer

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go"
)

// balancer is Kafka's range assignment. The group protocol lets each member say something as it joins, which all
// members can read: here it is the member's note.
type balancer struct {
	kafka.RangeGroupBalancer
	note func() []byte
}

// UserData is called when the member has drained, for each join anew.
func (b balancer) UserData() ([]byte, error) { return b.note(), nil }

// notes asks for what the other members said as they joined this generation. What is missing is no error: a rebalance
// that has begun already hides them.
func (c *Consumer) notes(ctx context.Context, own string) ([][]byte, error) {
	ctx, stop := context.WithTimeout(ctx, notesTimeout)
	defer stop()
	res, err := c.client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{c.cfg.Group}})
	if err != nil {
		return nil, fmt.Errorf("describe the group: %w", err)
	}
	var notes [][]byte
	for _, g := range res.Groups {
		if g.Error != nil {
			return nil, fmt.Errorf("describe the group: %w", g.Error)
		}
		for _, m := range g.Members {
			if m.MemberID != own {
				notes = append(notes, m.MemberMetadata.UserData)
			}
		}
	}
	return notes, nil
}
