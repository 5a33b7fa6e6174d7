package check_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/cmd/tasksink/check"
	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

// state is all that check could change.
type state struct {
	Topics    []string // Kafka's own among them
	Ends      map[string][]kafka.PartitionOffsets
	Committed map[string]map[int]int64
	Group     kafka.DescribeGroupsResponseGroup
	Journal   int
	Upserts   int
}

func (p *place) state(existing bool) (s state) {
	p.t.Helper()
	client := p.client()
	all, err := client.Metadata(p.t.Context(), &kafka.MetadataRequest{})
	if err != nil {
		p.t.Fatal(err)
	}
	ask := map[string][]kafka.OffsetRequest{}
	for _, t := range all.Topics {
		s.Topics = append(s.Topics, t.Name)
		if strings.HasPrefix(t.Name, p.name) {
			for _, part := range t.Partitions {
				ask[t.Name] = append(ask[t.Name], kafka.FirstOffsetOf(part.ID), kafka.LastOffsetOf(part.ID))
			}
		}
	}
	slices.Sort(s.Topics)
	if len(ask) > 0 {
		res, err := client.ListOffsets(p.t.Context(), &kafka.ListOffsetsRequest{Topics: ask})
		if err != nil {
			p.t.Fatal(err)
		}
		for _, parts := range res.Topics {
			slices.SortFunc(parts, func(x, y kafka.PartitionOffsets) int { return x.Partition - y.Partition })
		}
		s.Ends = res.Topics
	}
	s.Journal, s.Upserts = len(p.hubspot.Journal()), len(p.hubspot.Requests())
	if !existing {
		return s
	}
	s.Committed = p.b.Committed(p.t, p.name, p.name)
	groups, err := client.DescribeGroups(p.t.Context(), &kafka.DescribeGroupsRequest{GroupIDs: []string{p.name}})
	if err != nil {
		p.t.Fatal(err)
	}
	s.Group = groups.Groups[0]
	return s
}

// TestChangesNothing: topics, records, offsets, the group and HubSpot's objects are after a look what they were before.
func TestChangesNothing(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		p := newPlace(t, b)
		p.topics(nil, good())
		p.produce(100)
		p.commit(3)
		unchanged := func(p *place) {
			t.Helper()
			before := p.state(true)
			p.look()
			if after := p.state(true); !reflect.DeepEqual(before, after) {
				t.Errorf("before\n%+v\nafter\n%+v", before, after)
			}
		}
		unchanged(p) // a group without members takes a commit from anybody
		p.join("tasksink-a", 1, p.name)
		unchanged(p)
		p.cfg.KafkaTopics, p.cfg.KafkaGroup = []string{p.name + "-none"}, p.name+"-none"
		unchanged(p)
	})
}

// TestFirst: in a cluster that never had a consumer group a look does not make Kafka create its topic of offsets. The
// old release is nobody else's in this package.
func TestFirst(t *testing.T) {
	p := newPlace(t, kafkatest.Kafka39(t))
	p.topics(nil, good())
	before := p.state(false)
	if slices.Contains(before.Topics, "__consumer_offsets") {
		t.Fatal("there was a group before")
	}
	got := p.troubles("a cluster without any group", p.look())
	// Kafka would make it in its own time
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && !t.Failed(); time.Sleep(100 * time.Millisecond) {
		if after := p.state(false); !reflect.DeepEqual(before, after) {
			t.Errorf("before\n%+v\nafter\n%+v", before, after)
		}
	}
	golden.Compare(t, "first.golden", got)
}

// TestTable: what people see where all is well, and where it is not.
func TestTable(t *testing.T) {
	for name, letters := range map[string]map[string]string{"good.golden": good(), "bad.golden": nil} {
		p := newPlace(t, kafkatest.Fake(t))
		p.name = "tasks"
		p.cfg.KafkaTopics, p.cfg.KafkaGroup = []string{"tasks"}, "tasksink"
		p.topics(nil, letters)
		var out, progress bytes.Buffer
		err := check.Run(t.Context(), p.cfg, false, &out, &progress)
		if (err != nil) != (letters == nil) || progress.Len() > 0 {
			t.Errorf("%v, %s", err, progress.String())
		}
		for line := range strings.Lines(strings.Split(out.String(), "What to do")[0]) {
			if n := len([]rune(line)); n > 100 {
				t.Errorf("a line of the table has %d columns: %s", n, line)
			}
		}
		golden.Compare(t, name, ports.ReplaceAllString(out.String(), "127.0.0.1:54321"))
	}
}

// of another number of digits the widths would differ; such ports are not given out
var ports = regexp.MustCompile(`127\.0\.0\.1:\d{5}`)

// TestInterrupt: Ctrl-C ends the look at once.
func TestInterrupt(t *testing.T) {
	p := newPlace(t, nil)
	p.cfg.KafkaBrokers, p.cfg.HubspotURL = []string{silentPort(t)}, "http://"+silentPort(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	begun := time.Now()
	time.AfterFunc(200*time.Millisecond, func() { cancel(errors.New("Ctrl-C")) })
	var out bytes.Buffer
	err := check.Run(ctx, p.cfg, false, &out, &out)
	if took := time.Since(begun); err == nil || took > time.Second || out.Len() > 0 {
		t.Errorf("after %v: %v, %s", took, err, out.String())
	}
}
