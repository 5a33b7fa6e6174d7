package consumer

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/consumer"
	"pgregory.net/rapid"
)

// TestDivide: each partition goes to one member that subscribes to its topic, in runs, and as evenly as subscriptions
// allow.
func TestDivide(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		topics, partitions := []string{"a", "b", "c", "d", "e", "f"}, parts{}
		for _, topic := range topics {
			for id := range rapid.IntRange(0, 7).Draw(t, "partitions of "+topic) {
				partitions[topic] = append(partitions[topic], id)
			}
		}
		var members []subscription
		same := rapid.Bool().Draw(t, "all subscribe to the same")
		for _, name := range []string{"m3", "m1", "m2", "m4"}[:rapid.IntRange(1, 4).Draw(t, "members")] {
			s := subscription{member: name, topics: topics}
			if !same {
				s.topics = rapid.SliceOfDistinct(rapid.SampledFrom(topics), rapid.ID[string]).Draw(t, "topics of "+name)
			}
			members = append(members, s)
		}
		assigned := divide(members, partitions)
		owners, most, least := map[string]map[int]string{}, 0, 1<<30
		for _, m := range members {
			n := 0
			for topic, ids := range assigned[m.member] {
				if !slices.Contains(m.topics, topic) {
					t.Fatalf("%s got %s, to which it does not subscribe", m.member, topic)
				}
				for i, id := range ids {
					if i > 0 && id != ids[i-1]+1 {
						t.Fatalf("%s got %v of %s: not a run", m.member, ids, topic)
					}
					if owners[topic] == nil {
						owners[topic] = map[int]string{}
					}
					if before := owners[topic][id]; before != "" {
						t.Fatalf("%s/%d has two owners: %s and %s", topic, id, before, m.member)
					}
					owners[topic][id] = m.member
				}
				n += len(ids)
			}
			most, least = max(most, n), min(least, n)
		}
		for topic, ids := range partitions {
			wanted := slices.ContainsFunc(members, func(m subscription) bool { return slices.Contains(m.topics, topic) })
			if wanted && len(owners[topic]) != len(ids) {
				t.Fatalf("%d of %d partitions of %s have an owner", len(owners[topic]), len(ids), topic)
			}
		}
		if same && most-least > 1 {
			t.Fatalf("one member has %d partitions and another %d", most, least)
		}
	})
}

// TestFormats: what we write is what Kafka's own formats say, and what older versions of tasksink read.
func TestFormats(t *testing.T) {
	t.Parallel()
	s := subscription{member: "m", topics: []string{"tasks", "more"}, note: []byte(`{"share":1}`)}
	var sub consumer.Subscription
	if err := protocol.Unmarshal(s.bytes(), 0, &sub); err != nil || sub.Version != 0 ||
		!slices.Equal(sub.Topics, s.topics) ||
		!bytes.Equal(sub.UserData, s.note) {
		t.Errorf("read as %+v, %v", sub, err)
	}
	p := parts{"tasks": {0, 1, 5}, "more": {2}}
	var assignment consumer.Assignment
	if err := protocol.Unmarshal(p.bytes(), 0, &assignment); err != nil {
		t.Error(err)
	}
	back, err := parseAssignment(p.bytes())
	if err != nil || !maps.EqualFunc(back, p, slices.Equal) {
		t.Errorf("read as %v, %v", back, err)
	}
	newer, err := protocol.Marshal(1, consumer.Subscription{Version: 1, Topics: []string{"tasks"},
		UserData:        []byte("note"),
		OwnedPartitions: []consumer.TopicPartition{{Topic: "tasks", Partitions: []int32{3}}}})
	if err != nil {
		t.Fatal(err)
	}
	if read, err := parseSubscription("m", newer); err != nil || string(read.note) != "note" {
		t.Errorf("a newer subscription is read as %+v, %v", read, err)
	}
}

// FuzzFormats: another program's bytes are refused or read, and take no more memory than they have.
func FuzzFormats(f *testing.F) {
	f.Add(subscription{topics: []string{"tasks"}, note: []byte("note")}.bytes())
	f.Add(parts{"tasks": {0, 1}}.bytes())
	f.Add([]byte{0, 1, 0x7f, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseSubscription("m", b); err == nil && len(strings.Join(s.topics, ""))+len(s.note) > len(b) {
			t.Errorf("read more than there is: %+v", s)
		}
		if p, err := parseAssignment(b); err == nil {
			n := 0
			for _, ids := range p {
				n += len(ids)
			}
			if n > len(b) {
				t.Errorf("%d partitions in %d bytes", n, len(b))
			}
		}
	})
}
