package check

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tasksink/tasksink/consumer/offsetmap"
)

// mapsSeen is what the metadata of the group's commits holds. Whether a topic is still the one that a map is about is
// not looked at: kafka-go does not ask for topic ids.
type mapsSeen struct {
	commits int // partitions with a committed offset
	good    int // those whose metadata is a map for this group and offset, in this cluster
	settled int64
	ignored map[string]int // the others that have metadata, by what it is
	spans   map[place][]offsetmap.Span
}

// place names a partition.
type place struct {
	topic string
	id    int
}

// between counts the settled offsets of a partition from one offset on, and before another.
func (m *mapsSeen) between(at place, from, to int64) (n int64) {
	for _, s := range m.spans[at] {
		n += max(0, min(s.To, to)-max(s.From, from))
	}
	return n
}

const ofNewer = "of a newer version"

// add takes in one partition's commit.
func (m *mapsSeen) add(at place, cluster, group string, committed int64, metadata string) {
	m.commits++
	if metadata == "" {
		return
	}
	stored, err := offsetmap.Decode(metadata)
	var why string
	switch {
	case errors.Is(err, offsetmap.ErrForeign):
		why = "of another program"
	case errors.Is(err, offsetmap.ErrNewer):
		why = ofNewer
	case err != nil:
		why = "damaged"
	case !stored.SameCluster(cluster):
		why = "of another cluster"
	case !stored.SameGroup(group):
		why = "of another group"
	case stored.Committed != committed:
		why = "for another offset"
	default:
		m.good++
		if m.spans == nil {
			m.spans = map[place][]offsetmap.Span{}
		}
		m.spans[at] = stored.Settled
		for _, s := range stored.Settled {
			m.settled += s.To - s.From
		}
		return
	}
	if m.ignored == nil {
		m.ignored = map[string]int{}
	}
	m.ignored[why]++
}

// mapsRows describes the metadata. If the committed offsets are unknown, the rows for offsets say why.
func (k *kafkaLook) mapsRows(g groupSeen) []Row {
	if g.err != nil || g.fetched != nil {
		return nil
	}
	m := g.maps
	row := Row{Check: "commit metadata", Subject: k.cfg.KafkaGroup, Result: OK, Seen: "nothing is committed yet"}
	if m.commits == 0 {
		return []Row{row}
	}
	row.Seen = fmt.Sprintf("%d of %s have a map; %d settled offsets beyond the committed ones", m.good,
		plural(m.commits, "partition"), m.settled)
	var ignored []string
	for _, why := range slices.Sorted(maps.Keys(m.ignored)) {
		ignored = append(ignored, fmt.Sprintf("%d %s", m.ignored[why], why))
	}
	if len(ignored) > 0 {
		row.Seen += "; ignored: " + strings.Join(ignored, ", ")
	}
	if m.ignored[ofNewer] > 0 {
		row.Result = Warning
		row.Remedy = "run the newer tasksink that wrote them: this version ignores them, sends again the records that are " +
			"settled beyond the committed offsets, and loses none"
	}
	return []Row{row}
}
