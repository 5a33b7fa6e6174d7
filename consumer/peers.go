package consumer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go/protocol/describegroups"
)

// peers is what Kafka says of the group's members.
type peers struct {
	stable   bool // the group is not rebalancing
	first    bool // of tasksink's members we are the first
	notes    [][]byte
	foreign  []foreigner
	assigned map[place]bool // to anybody
}

// foreigner is a member that is not tasksink's: another program in our group.
type foreigner struct {
	clientID, host string
	has            parts
}

func (f foreigner) String() string { return f.clientID + " at " + strings.TrimPrefix(f.host, "/") }

// peers asks Kafka who is in the group. While it rebalances, members say nothing of themselves.
func (c *Consumer) peers(ctx context.Context, own string) (peers, error) {
	ctx, stop := context.WithTimeout(ctx, peersTimeout)
	defer stop()
	res, err := exchange[*describegroups.Response](ctx, c.transport, c.addr,
		&describegroups.Request{Groups: []string{c.cfg.Group}})
	if err == nil && len(res.Groups) == 1 {
		err = failure(res.Groups[0].ErrorCode)
	}
	if err != nil || len(res.Groups) != 1 {
		return peers{}, fmt.Errorf("describe the group: %w", err)
	}
	seen := peers{stable: res.Groups[0].GroupState == "Stable", first: true, assigned: map[place]bool{}}
	for _, m := range res.Groups[0].Members {
		has, err := parseAssignment(m.MemberAssignment)
		if err == nil {
			for topic, ids := range has {
				for _, id := range ids {
					seen.assigned[place{topic, id}] = true
				}
			}
		}
		s, err := parseSubscription(m.MemberID, m.MemberMetadata)
		switch {
		case m.MemberID == own:
		case len(m.MemberMetadata) == 0: // it has not joined yet
		case err != nil || !c.cfg.Ours(s.note):
			seen.foreign = append(seen.foreign, foreigner{m.ClientID, m.ClientHost, has})
		default:
			seen.notes = append(seen.notes, s.note)
			seen.first = seen.first && own < m.MemberID
		}
	}
	return seen, nil
}

// missing tells whether a partition of the topics is assigned to nobody.
func (p peers) missing(topics layout) bool {
	for topic, ids := range topics.partitions() {
		for _, id := range ids {
			if !p.assigned[place{topic, id}] {
				return true
			}
		}
	}
	return false
}

// watchForeigners holds the topics whose partitions members of other programs have. If those members have no
// partitions, it holds all our topics. A hold here only reports: nothing stops.
func (c *Consumer) watchForeigners(foreign []foreigner) {
	var who []string
	takes := map[string]int{}
	for _, f := range foreign {
		who = append(who, f.String())
		for topic, ids := range f.has {
			takes[topic] += len(ids)
		}
	}
	some := slices.ContainsFunc(c.cfg.Topics, func(topic string) bool { return takes[topic] > 0 })
	for _, topic := range c.cfg.Topics {
		if len(who) == 0 || some && takes[topic] == 0 {
			c.cfg.Board.Clear(holdGroup, topic)
			continue
		}
		detail := fmt.Sprintf("another program is a member of the consumer group %s: %s", c.cfg.Group,
			strings.Join(who, ", "))
		if n := takes[topic]; n > 0 {
			detail += fmt.Sprintf("; partitions of %s that it has: %d. Their records do not reach tasksink", topic, n)
		}
		c.cfg.Board.Set(holdGroup, topic, detail,
			"give tasksink a group of its own with --kafka-group, or stop the other program")
	}
}
