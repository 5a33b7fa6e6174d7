package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describegroups"
	"github.com/segmentio/kafka-go/protocol/listgroups"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// groupSeen is what Kafka tells of the group.
type groupSeen struct {
	err   error // it told nothing
	group describegroups.ResponseGroup
	newer bool // it is a group of a kind that the classic protocol does not show

	committed map[string]map[int]int64 // topic → partition → offset; what was never committed is left out
	maps      mapsSeen
	fetched   error
	log       map[string][]kafka.PartitionOffsets
	listed    error
}

// dead is the state of a group that Kafka does not know: it has neither members nor offsets.
const dead = "Dead"

func (k *kafkaLook) lookAtGroup(ctx context.Context, from *brokerSeen,
	topics map[string]metadata.ResponseTopic) (g groupSeen) {
	var both sync.WaitGroup
	both.Go(func() {
		var coordinator string
		if coordinator, g.group, g.err = k.describe(ctx, from.meta); g.err != nil {
			return
		}
		if g.group.GroupState == dead {
			if g.newer = k.isListed(ctx, coordinator); !g.newer {
				return // nothing can have been committed
			}
		}
		g.committed, g.maps, g.fetched = k.committed(ctx, coordinator, from.meta.ClusterID, topics)
	})
	both.Go(func() { g.log, g.listed = k.logs(ctx, topics) })
	both.Wait()
	return g
}

// describe asks all brokers for the group: one of them coordinates it. To ask which would make Kafka create its topic
// of offsets, where there is none yet.
func (k *kafkaLook) describe(ctx context.Context, meta *metadataResponse) (coordinator string,
	group describegroups.ResponseGroup, err error) {
	ctx, done := within(ctx, k.waiting, "the group")
	defer done()
	type told struct {
		addr  string
		group describegroups.ResponseGroup
		err   error
	}
	answers := make([]told, len(meta.Brokers))
	var all sync.WaitGroup
	for i, b := range meta.Brokers {
		all.Go(func() {
			addr := address(b)
			res, err := ask[*describegroups.Response](ctx, k.transport, addr,
				&groupRequest{Groups: []string{k.cfg.KafkaGroup}, IncludeAuthorizedOperations: true})
			answers[i] = told{addr: addr, err: err}
			if err == nil && len(res.Groups) == 1 {
				answers[i].group, answers[i].err = res.Groups[0], code(res.Groups[0].ErrorCode)
			}
		})
	}
	all.Wait()
	err = kafka.GroupCoordinatorNotAvailable
	for _, a := range answers {
		switch {
		case a.err == nil:
			return a.addr, a.group, nil
		case !errors.Is(a.err, kafka.NotCoordinatorForGroup) && !errors.Is(a.err, kafka.GroupCoordinatorNotAvailable):
			err = a.err
		}
	}
	if errors.Is(err, kafka.GroupCoordinatorNotAvailable) && k.neverAnyGroup(ctx, meta) {
		return "", describegroups.ResponseGroup{GroupState: dead, AuthorizedOperations: untoldOperations}, nil
	}
	return "", group, err
}

// neverAnyGroup tells whether Kafka has no topic of offsets yet.
func (k *kafkaLook) neverAnyGroup(ctx context.Context, meta *metadataResponse) bool {
	res, err := ask[*metadataResponse](ctx, k.transport, address(meta.Brokers[0]),
		&metadataRequest{TopicNames: []string{"__consumer_offsets"}})
	return err == nil && len(res.Topics) == 1 && errors.Is(code(res.Topics[0].ErrorCode), kafka.UnknownTopicOrPartition)
}

// isListed tells whether the coordinator lists the group.
func (k *kafkaLook) isListed(ctx context.Context, coordinator string) bool {
	if coordinator == "" {
		return false
	}
	ctx, done := within(ctx, k.waiting, "the list of groups")
	defer done()
	res, err := ask[*listgroups.Response](ctx, k.transport, coordinator, &groupsRequest{})
	return err == nil && slices.ContainsFunc(res.Groups,
		func(g listgroups.ResponseGroup) bool { return g.GroupID == k.cfg.KafkaGroup })
}

func (k *kafkaLook) groupRows(topics map[string]metadata.ResponseTopic, g groupSeen) (rows []Row) {
	name := k.cfg.KafkaGroup
	if errors.Is(g.err, kafka.GroupAuthorizationFailed) {
		because := "Kafka does not let " + principal(k.cfg) + " see it: see rights"
		rows = append(rows, skip("group", name, because))
	} else if g.err != nil {
		rows = append(rows, skip("group", name, untoldGroup(g.err)))
	} else {
		rows = append(rows, k.membersRow(g), k.replicasRow(topics, g))
	}
	for _, topic := range k.topics {
		rows = append(rows, k.offsetsRow(topic, topics[topic], g))
	}
	return append(rows, k.mapsRows(g)...)
}

// untoldGroup says why nothing is known of the group.
func untoldGroup(err error) string {
	if errors.Is(err, kafka.GroupCoordinatorNotAvailable) {
		return "no broker coordinates it: Kafka may have had no group yet"
	}
	return "no broker tells of it: " + plain(err)
}

// membersRow looks who is in the group beside tasksink.
func (k *kafkaLook) membersRow(g groupSeen) Row {
	row := Row{Check: "group", Subject: k.cfg.KafkaGroup, Result: Failed,
		Remedy: "give tasksink a group of its own with --kafka-group, or stop the other program"}
	if g.newer {
		row.Seen = "is a group of Kafka's newer protocol (KIP-848), or a share group; tasksink speaks the classic one"
		return row
	}
	if kind := g.group.ProtocolType; kind != "" && kind != "consumer" {
		row.Seen = "is a group of another kind: " + kind
		return row
	}
	var strangers, differing []string
	for _, m := range g.group.Members {
		who := m.ClientID + " at " + strings.TrimPrefix(m.ClientHost, "/")
		topics, _, _ := subscription(m.MemberMetadata)
		if why := foreign(m); why != "" {
			strangers = append(strangers, who+" ("+why+")")
		} else if topics != nil && !slices.Equal(topics, slices.Sorted(slices.Values(k.topics))) {
			differing = append(differing, who+" ("+strings.Join(topics, ", ")+")")
		}
	}
	switch {
	case len(strangers) > 0:
		row.Seen = plural(len(strangers), "member") + " of another program, which may take records away: " +
			strings.Join(strangers, "; ")
	case len(differing) > 0:
		row.Result, row.Seen = Warning, plural(len(differing), "member")+" with other topics: "+strings.Join(differing, "; ")
		row.Remedy = "give all replicas of a group the same --kafka-topics; during a rollout that changes them, wait for " +
			"its end"
	case g.group.GroupState == dead:
		row.Result, row.Seen, row.Remedy = OK, "is new", ""
	case len(g.group.Members) == 0:
		row.Result, row.Seen, row.Remedy = OK, "has no members now", ""
	default:
		row.Result, row.Seen, row.Remedy = OK, plural(len(g.group.Members), "member")+", all tasksink's", ""
	}
	return row
}

// replicasRow looks whether there is a partition for each replica.
func (k *kafkaLook) replicasRow(topics map[string]metadata.ResponseTopic, g groupSeen) Row {
	most := 0
	for _, topic := range k.topics {
		most += len(topics[topic].Partitions)
	}
	members := len(g.group.Members)
	row := Row{"replicas", k.cfg.KafkaGroup, OK, fmt.Sprintf("%s for %s", plural(members, "replica"),
		plural(most, "partition")), ""}
	switch {
	case most == 0:
		return skip("replicas", k.cfg.KafkaGroup, "no topic's partitions are known")
	case members == most:
		row.Seen += ": one more would get none"
	case members > most:
		row.Result = Warning
		row.Seen += fmt.Sprintf(": %d of them idle", members-most)
		row.Remedy = fmt.Sprintf("run at most %s, or add partitions (objects then move between partitions, once out of "+
			"order): %s", plural(most, "replica"),
			tool(k.cfg, "kafka-topics", "--alter --topic %s --partitions %d", k.topics[0], members))
	}
	return row
}
