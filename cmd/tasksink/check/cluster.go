package check

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// settings of a topic, as far as they matter here.
type settings struct {
	err       error // they could not be read
	largest   int64
	retention time.Duration // negative: for ever
	policy    string        // delete, compact, or both
	inSync    int           // replicas that must have a record before it is acknowledged
}

// clusterRows looks at topics, rights, the group and its offsets. from is a broker that answered, or nil.
func (k *kafkaLook) clusterRows(ctx context.Context, from *brokerSeen) (rows []Row) {
	if from == nil {
		const because = "no broker answers"
		for _, topic := range k.topics {
			rows = append(rows, skip("topic", topic, because))
		}
		for _, topic := range k.letters {
			rows = append(rows, skip("dead-letter topic", topic, because))
		}
		return append(rows, skip("rights", "", because), skip("group", k.cfg.KafkaGroup, because),
			skip("offsets", strings.Join(k.topics, ", "), because))
	}
	topics := map[string]metadata.ResponseTopic{}
	for _, t := range from.meta.Topics {
		topics[t.Name] = t
	}
	var of map[string]settings
	var group groupSeen
	var open held
	var openErr error
	var all sync.WaitGroup
	all.Go(func() { of = k.settings(ctx, from.addr) })
	all.Go(func() { group = k.lookAtGroup(ctx, from, topics) })
	all.Go(func() { open, openErr = k.openTransactions(ctx, topics) })
	all.Wait()
	for _, topic := range k.topics {
		rows = append(rows, k.topicRow("topic", topics[topic], of))
	}
	for _, topic := range k.letters {
		rows = append(rows, k.topicRow("dead-letter topic", topics[topic], of))
	}
	rows = append(rows, k.rightsRows(topics, group)...)
	rows = append(rows, k.letterRows(topics, of)...)
	rows = append(rows, k.groupRows(topics, group)...)
	return append(rows, k.transactionRows(topics, open, openErr)...)
}

// settings reads the topics' configuration, as Kafka has it after all defaults.
func (k *kafkaLook) settings(ctx context.Context, addr string) map[string]settings {
	ctx, done := within(ctx, k.waiting, "the topics' settings")
	defer done()
	all, req := map[string]settings{}, &configsRequest{}
	for _, topic := range slices.Concat(k.topics, k.letters) {
		all[topic] = settings{err: errors.New("Kafka does not tell")}
		req.Resources = append(req.Resources, describeconfigs.RequestResource{ResourceType: int8(kafka.ResourceTypeTopic),
			ResourceName: topic,
			ConfigNames:  []string{"max.message.bytes", "retention.ms", "cleanup.policy", "min.insync.replicas"}})
	}
	res, err := ask[*describeconfigs.Response](ctx, k.transport, addr, req)
	if err != nil {
		for topic := range all {
			all[topic] = settings{err: err}
		}
		return all
	}
	for _, r := range res.Resources {
		s := settings{err: code(r.ErrorCode)}
		for _, c := range r.ConfigEntries {
			n, _ := strconv.ParseInt(c.ConfigValue, 10, 64) // what is no number is the policy
			switch c.ConfigName {
			case "max.message.bytes":
				s.largest = n
			case "retention.ms":
				// Kafka takes numbers that are no duration: for ever.
				if s.retention = time.Duration(n) * time.Millisecond; n < 0 || n > int64(1<<63-1)/int64(time.Millisecond) {
					s.retention = -1
				}
			case "cleanup.policy":
				s.policy = c.ConfigValue
			case "min.insync.replicas":
				s.inSync = int(n)
			}
		}
		all[r.ResourceName] = s
	}
	return all
}

// topicRow looks whether a topic and its leaders are there.
func (k *kafkaLook) topicRow(check string, t metadata.ResponseTopic, of map[string]settings) Row {
	row := Row{Check: check, Subject: t.Name, Result: Failed}
	letters := check == "dead-letter topic"
	switch err := code(t.ErrorCode); {
	case errors.Is(err, kafka.TopicAuthorizationFailed):
		return skip(check, t.Name, "Kafka does not let "+principal(k.cfg)+" see it: see rights")
	case errors.Is(err, kafka.UnknownTopicOrPartition):
		row.Seen = "is not there; tasksink creates no topics"
		if letters {
			row.Remedy = "create it: " + tool(k.cfg, "kafka-topics",
				"--create --topic %s --partitions 1 --config max.message.bytes=%d --config retention.ms=%d", t.Name,
				k.largest(t.Name, of)+letterRoom, k.longest(t.Name, of)/time.Millisecond)
		} else {
			row.Remedy = "correct --kafka-topics, or create it: " +
				tool(k.cfg, "kafka-topics", "--create --topic %s --partitions 6", t.Name)
		}
		return row
	case err != nil:
		row.Seen, row.Remedy = plain(err), "see what is the matter: "+tool(k.cfg, "kafka-topics", "--describe --topic %s",
			t.Name)
		return row
	}
	var leaderless, thin []string
	replicas := 0
	slices.SortFunc(t.Partitions, func(x, y metadata.ResponsePartition) int {
		return cmp.Compare(x.PartitionIndex,
			y.PartitionIndex)
	})
	for _, p := range t.Partitions {
		id := strconv.Itoa(int(p.PartitionIndex))
		if p.LeaderID < 0 {
			leaderless = append(leaderless, id)
		} else if letters && len(p.IsrNodes) < of[t.Name].inSync {
			thin = append(thin, id)
		}
		replicas = max(replicas, len(p.ReplicaNodes))
	}
	switch {
	case len(leaderless) > 0:
		row.Seen = "no leader for partition " + strings.Join(leaderless, ", ")
		row.Remedy = "start a broker that has a replica of it: " +
			tool(k.cfg, "kafka-topics", "--describe --unavailable-partitions --topic %s", t.Name)
	case len(thin) > 0:
		row.Seen = "fewer replicas in sync than min.insync.replicas=" + strconv.Itoa(of[t.Name].inSync) + ", for partition " +
			strings.Join(thin, ", ")
		row.Remedy = "start the brokers that are missing, as no dead letter can be written: " +
			tool(k.cfg, "kafka-topics", "--describe --under-min-isr-partitions --topic %s", t.Name)
		if replicas < of[t.Name].inSync {
			row.Remedy = "no dead letter can ever be written: add replicas, or " +
				setTopic(k.cfg, t.Name, "min.insync.replicas", replicas)
		}
	default:
		row.Result, row.Seen = OK, plural(len(t.Partitions), "partition")+", each with a leader, "+plural(replicas, "replica")
	}
	return row
}
