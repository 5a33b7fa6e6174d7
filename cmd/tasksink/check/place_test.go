package check_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/cmd/tasksink/check"
	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// Each secret contains this, and no output may.
const canary = "canary-bird"

const roomForLetters = "1114124" // what Kafka takes by default, and 64 KiB

// place is a Kafka and a HubSpot where all is well, unless a test sees to it that it is not.
type place struct {
	t       *testing.T
	b       *kafkatest.Broker
	hubspot *hubspottest.Server
	name    string // of the topic and of the group
	cfg     config.Config
	told    string // what the last look showed
}

func newPlace(t *testing.T, b *kafkatest.Broker) *place {
	t.Helper()
	p := &place{t: t, b: b, name: fmt.Sprintf("check-%d", time.Now().UnixNano())}
	parser, err := kong.New(&p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	p.cfg.KafkaTopics, p.cfg.KafkaGroup = []string{p.name}, p.name
	p.cfg.HubspotIDProperty, p.cfg.HubspotToken = "external_task_id", canary
	if b != nil {
		p.cfg.KafkaBrokers = b.Addrs
	}
	p.account(hubspottest.Config{})
	return p
}

// account puts another HubSpot there.
func (p *place) account(cfg hubspottest.Config) {
	p.t.Helper()
	if cfg.Token == "" && cfg.App == nil {
		cfg.Token = canary
	}
	p.hubspot = hubspottest.New(cfg)
	server := httptest.NewServer(p.hubspot)
	p.t.Cleanup(server.Close)
	p.cfg.HubspotURL = server.URL
}

// topics makes the topic and its dead letters' one, with settings in pairs.
func (p *place) topics(source, letters map[string]string) {
	p.t.Helper()
	p.b.CreateTopic(p.t, p.name, 4, source)
	p.b.CreateTopic(p.t, p.name+".dlq", 1, letters)
}

func good() map[string]string { return map[string]string{"max.message.bytes": roomForLetters} }

// with is good and one more setting.
func with(name, value string) map[string]string {
	m := good()
	m[name] = value
	return m
}

// file writes a file that only this test sees.
func (p *place) file(name string, content []byte) string {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// look takes the looks and returns what they saw.
func (p *place) look() (rows []check.Row) {
	p.t.Helper()
	var out, progress bytes.Buffer
	start := time.Now()
	err := check.Run(p.t.Context(), p.cfg, true, &out, &progress)
	if took := time.Since(start); took > 30*time.Second {
		p.t.Errorf("it took %v", took)
	}
	p.told = out.String() + progress.String()
	if strings.Contains(p.told, canary) {
		p.t.Errorf("a secret is in %s", p.told)
	}
	if jsonErr := json.Unmarshal(out.Bytes(), &rows); jsonErr != nil {
		p.t.Fatalf("%v: %s", jsonErr, out.String())
	}
	failed := 0
	for _, r := range rows {
		if r.Result == check.Failed {
			failed++
		}
		if (r.Result == check.Failed || r.Result == check.Warning) && r.Remedy == "" || strings.Contains(r.Remedy, "\n") {
			p.t.Errorf("a remedy of one line is needed: %+v", r)
		}
	}
	if (err != nil) != (failed > 0) {
		p.t.Errorf("%d failed, and the error is %v", failed, err)
	}
	return rows
}

var (
	hosts     = regexp.MustCompile(`at 127\.0\.0\.1(:\d+)?`)
	times     = regexp.MustCompile(`\b20\d\d-\d\d-\d\dT\S+Z`)
	dates     = regexp.MustCompile(`\b20\d\d-\d\d-\d\d\b`)
	brokerIDs = regexp.MustCompile(`--broker-id \d+`)
	loopback  = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	temporary = regexp.MustCompile(`/tmp/\S+/`)
)

// troubles tells what is not well, for a golden: the rows that are neither ok nor, without a remedy, skipped.
func (p *place) troubles(name string, rows []check.Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", name)
	for _, r := range rows {
		if r.Result == check.OK || r.Result == check.Skipped && (r.Check == "TLS" || r.Check == "SASL") {
			continue
		}
		fmt.Fprintf(&b, "%s %s, %s: %s\n", r.Result, r.Check, r.Subject, r.Seen)
		if r.Remedy != "" {
			fmt.Fprintf(&b, "  to do: %s\n", r.Remedy)
		}
	}
	return p.neutral(b.String()) + "\n"
}

// neutral leaves out what differs from one test to the next.
func (p *place) neutral(s string) string {
	more := []string{p.name, "tasks", strings.TrimPrefix(p.cfg.HubspotURL, "http://"), "hubspot"}
	if p.b != nil {
		more = append(more, strings.Join(p.cfg.KafkaBrokers, ","), "kafka:9092")
	}
	s = strings.NewReplacer(more...).Replace(s)
	s = times.ReplaceAllString(s, "TIME")
	s = hosts.ReplaceAllString(s, "at HOST")
	s = brokerIDs.ReplaceAllString(s, "--broker-id N")
	return temporary.ReplaceAllString(dates.ReplaceAllString(loopback.ReplaceAllString(s, "kafka:9092"), "DATE"), "")
}

// client is the test's own.
func (p *place) client() *kafka.Client {
	transport := &kafka.Transport{MetadataTTL: 2 * time.Second}
	p.t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(p.b.Addrs...), Transport: transport}
}

// produce writes n records.
func (p *place) produce(n int) {
	p.t.Helper()
	msgs := make([]kafka.Message, n)
	for i := range msgs {
		msgs[i] = kafka.Message{Key: fmt.Appendf(nil, "%d", i), Value: []byte("{}")}
	}
	p.b.Produce(p.t, p.name, msgs...)
}

// commit commits an offset of partition 0, as no member.
func (p *place) commit(offset int64) {
	p.t.Helper()
	p.commitAll(kafka.OffsetCommit{Partition: 0, Offset: offset})
}

// commitAll commits offsets of the topic, as no member.
func (p *place) commitAll(commits ...kafka.OffsetCommit) {
	p.t.Helper()
	client := p.client()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		res, err := client.OffsetCommit(p.t.Context(), &kafka.OffsetCommitRequest{GroupID: p.name, GenerationID: -1,
			Topics: map[string][]kafka.OffsetCommit{p.name: commits}})
		if err == nil {
			for _, r := range res.Topics[p.name] {
				err = cmp.Or(err, r.Error)
			}
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) { // the first group of a cluster waits for its coordinator
			p.t.Fatal(err)
		}
	}
}

// noted divides partitions as kafka-go does, and brings a note into the group as tasksink does.
type noted struct{ kafka.RangeGroupBalancer }

func (noted) UserData() ([]byte, error) { return []byte(`{"share":0,"fog_ms":0,"sent_ms":[]}`), nil }

// join adds a tasksink to the group that lives as long as the test, and waits until the group has so many members.
func (p *place) join(clientID string, members int, topics ...string) {
	p.t.Helper()
	p.joinWith(noted{}, clientID, members, topics...)
}

// joinWith is join for any program.
func (p *place) joinWith(balancer kafka.GroupBalancer, clientID string, members int, topics ...string) {
	p.t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: p.b.Addrs, GroupID: p.name, GroupTopics: topics,
		Dialer:           &kafka.Dialer{ClientID: clientID, Timeout: 5 * time.Second},
		GroupBalancers:   []kafka.GroupBalancer{balancer},
		JoinGroupBackoff: 200 * time.Millisecond, HeartbeatInterval: 200 * time.Millisecond,
		RebalanceTimeout: 5 * time.Second, MaxWait: 100 * time.Millisecond})
	p.t.Cleanup(func() { _ = r.Close() })
	p.stable(members)
}

// stable waits until the group has so many members, and has divided the partitions.
func (p *place) stable(members int) {
	p.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(p.b.Addrs...))
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{p.name}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		res, err := req.RequestWith(p.t.Context(), c)
		if err == nil && len(res.Groups) == 1 && res.Groups[0].State == "Stable" && len(res.Groups[0].Members) == members {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the group has not got %d members: %+v, %v", members, res, err)
		}
	}
}
