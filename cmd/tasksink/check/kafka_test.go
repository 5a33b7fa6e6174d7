package check_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/cmd/tasksink/check"
	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// TestKafka: what can be wrong at Kafka shows in its row, with its remedy, and in no other; the same at both kinds of
// brokers.
func TestKafka(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(p *place)
	}{
		{"all is well", func(p *place) { p.topics(nil, good()) }},
		{"all is well, and replicas work", func(p *place) {
			p.topics(nil, good())
			p.produce(100)
			p.commit(1)
			p.join("tasksink-a", 1, p.name)
			p.join("tasksink-b", 2, p.name)
		}},
		{"the topics are not there", func(*place) {}},
		{"the dead-letter topic is not there", func(p *place) {
			p.b.CreateTopic(p.t, p.name, 4, map[string]string{"retention.ms": "1209600000", "max.message.bytes": "2097152"})
		}},
		{"with Kafka's defaults large dead letters do not fit", func(p *place) { p.topics(nil, nil) }},
		{"dead letters go before their records", func(p *place) { p.topics(nil, with("retention.ms", "86400000")) }},
		{"dead letters go, records stay", func(p *place) { p.topics(map[string]string{"retention.ms": "-1"}, good()) }},
		{"records are kept for an hour", func(p *place) { p.topics(map[string]string{"retention.ms": "3600000"}, good()) }},
		{"dead letters are compacted", func(p *place) { p.topics(nil, with("cleanup.policy", "compact")) }},
		{"two topics, one dead-letter topic", func(p *place) {
			p.topics(nil, good())
			p.b.CreateTopic(p.t, p.name+"-large", 1, map[string]string{"max.message.bytes": "2097152"})
			p.cfg.KafkaTopics, p.cfg.DLQTopic = append(p.cfg.KafkaTopics, p.name+"-large"), p.name+".dlq"
		}},
		{"too few replicas are in sync", func(p *place) { p.topics(nil, with("min.insync.replicas", "2")) }},
		{"a stranger is in the group", func(p *place) {
			p.topics(nil, good())
			p.joinWith(kafka.RangeGroupBalancer{}, "billing", 1, p.name)
		}},
		{"a member goes by tasksink's name, without its notes", func(p *place) {
			p.topics(nil, good())
			p.join("tasksink-a", 1, p.name)
			p.joinWith(kafka.RangeGroupBalancer{}, "tasksink-copy", 2, p.name)
		}},
		{"a member brings notes, without tasksink's name", func(p *place) {
			p.topics(nil, good())
			p.join("billing", 1, p.name)
		}},
		{"a member's metadata is unreadable", func(p *place) {
			p.topics(nil, good())
			p.b.Unreadable(p.t, p.name, p.name, "tasksink-odd")
			p.stable(1)
		}},
		{"a transaction is open", func(p *place) {
			p.topics(nil, good())
			p.b.BeginTransaction(p.t, p.name, 1, 3)
			p.b.BeginTransaction(p.t, p.name, 0, 1)
		}},
		{"a replica has other topics", func(p *place) {
			p.topics(nil, good())
			p.b.CreateTopic(p.t, p.name+"-other", 1, nil)
			p.join("tasksink-old", 1, p.name, p.name+"-other")
		}},
		{"the group is of another kind", func(p *place) {
			p.topics(nil, good())
			p.joinAs("connect")
		}},
		{"a replica is idle", func(p *place) {
			p.b.CreateTopic(p.t, p.name, 1, nil)
			p.b.CreateTopic(p.t, p.name+".dlq", 1, good())
			p.join("tasksink-a", 1, p.name)
			p.join("tasksink-b", 2, p.name)
		}},
		{"records were deleted before they were read", func(p *place) {
			p.topics(nil, good())
			p.produce(1000)
			p.commit(10)
			p.b.DeleteRecords(p.t, p.name, 0, 100)
		}},
		{"the topic was created anew", func(p *place) {
			p.topics(nil, good())
			p.commit(1000)
		}},
	}
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		// What a cluster tells before its first group is another test's.
		first := newPlace(t, b)
		first.topics(nil, nil)
		first.commit(0)
		var got strings.Builder
		for _, tc := range cases {
			t.Run(tc.name, func(t *testing.T) {
				p := newPlace(t, b)
				tc.spoil(p)
				got.WriteString(p.troubles(tc.name, p.look()))
			})
		}
		golden.Compare(t, "kafka.golden", got.String())
	})
}

// TestOpenTransaction: an open transaction is named with the broker to ask, and one that ends within the look is not.
func TestOpenTransaction(t *testing.T) {
	p := newPlace(t, kafkatest.Kafka(t))
	p.topics(nil, good())
	commit, _ := p.b.BeginTransaction(t, p.name, 2, 49)
	commit() // its marker takes an offset, too
	row := func() check.Row {
		t.Helper()
		rows := p.look()
		i := slices.IndexFunc(rows, func(r check.Row) bool { return r.Check == "transactions" })
		if i < 0 {
			t.Fatalf("no row for transactions: %+v", rows)
		}
		return rows[i]
	}
	well := check.Row{Check: "transactions", Subject: p.name, Result: check.OK, Seen: "none holds records back"}
	if got := row(); got != well {
		t.Errorf("after a transaction: %+v", got)
	}
	meta, err := p.client().Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{p.name}})
	if err != nil {
		t.Fatal(err)
	}
	_, abort := p.b.BeginTransaction(t, p.name, 2, 1)
	got := row()
	command := fmt.Sprintf("kafka-transactions.sh --bootstrap-server %s find-hanging --broker-id %d",
		strings.Join(p.b.Addrs, ","), meta.Topics[0].Partitions[0].Leader.ID)
	if got.Result != check.Warning || got.Seen != "an open transaction holds "+p.name+"/2 at offset 50" ||
		!strings.HasSuffix(got.Remedy, command) {
		t.Errorf("in a transaction: %+v, want %s", got, command)
	}
	time.AfterFunc(500*time.Millisecond, abort)
	if got := row(); got != well {
		t.Errorf("a transaction ended meanwhile: %+v", got)
	}
}

// TestNewer: members by the newer protocol, which the classic one does not show, are seen. kfake shows such a group as
// an empty one.
func TestNewer(t *testing.T) {
	p := newPlace(t, kafkatest.Kafka(t))
	p.topics(nil, good())
	p.joinNewer()
	golden.Compare(t, "newer.golden", p.troubles("the group speaks the newer protocol", p.look()))
}

// joinAs makes a member of another kind than consumers are, which gets no further than to join.
func (p *place) joinAs(kind string) {
	p.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(p.b.Addrs...))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = p.name, kind, 30_000, 1000
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name = "sessioned"
	req.Protocols = append(req.Protocols, protocol)
	for range 2 { // the first answer is a member id
		res, err := req.RequestWith(p.t.Context(), c)
		if err != nil {
			p.t.Fatal(err)
		}
		if res.ErrorCode == 0 {
			return
		}
		req.MemberID = res.MemberID
	}
	p.t.Fatal("not joined")
}

// joinNewer makes a member by KIP-848.
func (p *place) joinNewer() {
	p.t.Helper()
	//nolint:staticcheck // the key is franz-go's
	ctx := context.WithValue(p.t.Context(), "opt_in_kafka_next_gen_balancer_beta", true)
	c, err := kgo.NewClient(kgo.SeedBrokers(p.b.Addrs...), kgo.ConsumerGroup(p.name), kgo.ConsumeTopics(p.name),
		kgo.WithContext(ctx))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	p.produce(1)
	poll, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	if c.PollFetches(poll).NumRecords() == 0 {
		p.t.Fatal("the member got nothing")
	}
}

// TestBrokers: each broker of --kafka-brokers is looked at, and each that these advertise.
func TestBrokers(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	page, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = page.Close() })
	go func() {
		for {
			c, err := page.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	cases := []struct {
		name  string
		spoil func(p *place)
	}{
		{"nobody listens", func(p *place) { p.cfg.KafkaBrokers = []string{closed.Addr().String()} }},
		{"one of two does not listen", func(p *place) { p.cfg.KafkaBrokers = append([]string{closed.Addr().String()}, p.b.Addrs...) }},
		{"no such name", func(p *place) { p.cfg.KafkaBrokers = []string{"kafka.invalid:9092"} }},
		{"no answer", func(p *place) { p.cfg.KafkaBrokers = []string{silent.Addr().String()} }},
		{"it hangs up", func(p *place) { p.cfg.KafkaBrokers = []string{page.Addr().String()} }},
		{"an address is advertised that is none here", func(p *place) {
			p.metadata(func(res *kmsg.MetadataResponse) {
				other := kmsg.NewMetadataResponseBroker()
				other.NodeID, other.Host, other.Port = 7, "kafka-7.internal.invalid", 9092
				res.Brokers = append(res.Brokers, other)
			})
		}},
		{"a partition has no leader", func(p *place) {
			p.metadata(func(res *kmsg.MetadataResponse) {
				for i := range res.Topics {
					for j := range res.Topics[i].Partitions {
						if part := &res.Topics[i].Partitions[j]; *res.Topics[i].Topic == p.name && part.Partition > 1 {
							part.Leader, part.ErrorCode = -1, 5
						}
					}
				}
			})
		}},
	}
	var got strings.Builder
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t, kafkatest.Fake(t))
			p.topics(nil, good())
			tc.spoil(p)
			got.WriteString(p.troubles(tc.name, p.look()))
		})
	}
	golden.Compare(t, "brokers.golden", got.String())
}

// metadata lets kfake tell something else of its brokers and topics than is true.
func (p *place) metadata(change func(*kmsg.MetadataResponse)) {
	c, err := kgo.NewClient(kgo.SeedBrokers(p.b.Addrs...))
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	req := kmsg.NewPtrMetadataRequest()
	for _, topic := range []string{p.name, p.name + ".dlq"} {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, t)
	}
	req.IncludeTopicAuthorizedOperations = true
	res, err := req.RequestWith(p.t.Context(), c)
	if err != nil {
		p.t.Fatal(err)
	}
	change(res)
	p.b.Fake.ControlKey(int16(kmsg.Metadata), func(asked kmsg.Request) (kmsg.Response, error, bool) {
		p.b.Fake.KeepControl()
		answer := *res
		answer.SetVersion(asked.GetVersion())
		return &answer, nil, true
	})
}
