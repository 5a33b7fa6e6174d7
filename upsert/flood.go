package upsert

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
)

const (
	floodRecords = 1000 // of a topic, decided last, that are looked at
	floodLeast   = 200  // or as few as that
	floodShare   = 0.95 // of them that failed
	floodReasons = 3    // for so many reasons
	floodWithin  = time.Hour
	floodProbe   = 30 * time.Second
	floodPart    = 20 // records that a partition must have among them to be held, or half of its part if that is less
)

// floods looks at what becomes of the records of each topic: a producer's new bug, or a property deleted in HubSpot,
// would otherwise dead-letter everything there is.
type floods struct {
	mu     sync.Mutex
	topics map[string]*decided
}

// decided are the records of a topic that were decided last.
type decided struct {
	ring    [floodRecords]decision
	next, n int
	failed  int
	reasons map[dlq.Kind]*failures
}

type decision struct {
	partition int
	at        int64     // in ns since 1970
	failed    *failures // of the same kind; nil: it was confirmed
}

// failures are the records among those decided last that failed for one reason.
type failures struct {
	kind    dlq.Kind
	records int
}

func newFloods() *floods { return &floods{topics: map[string]*decided{}} }

func (f *floods) of(topic string) *decided {
	d := f.topics[topic]
	if d == nil {
		d = &decided{reasons: map[dlq.Kind]*failures{}}
		f.topics[topic] = d
	}
	return d
}

// confirmed counts the records of the inputs that HubSpot took.
func (f *floods) confirmed(inputs []input, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var d *decided
	topic := ""
	for _, in := range inputs {
		for _, t := range in {
			if d == nil || t.Record.Topic != topic {
				topic = t.Record.Topic
				d = f.of(topic)
			}
			if !dlq.Redriven(t.Record) {
				d.add(decision{partition: t.Record.Partition, at: now.UnixNano()})
			}
		}
	}
}

// refused counts a record that is about to be dead-lettered. It returns the partitions that flood, usually none.
func (f *floods) refused(rec *consumer.Record, reason dlq.Reason, now time.Time) (partitions []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.of(rec.Topic)
	d.add(decision{partition: rec.Partition, at: now.UnixNano(), failed: d.of(reason.Kind())})
	return d.flooding()
}

// still tells whether a partition of which it was thought that it floods still may: by its own records, as those of
// others say nothing about it.
func (f *floods) still(topic string, partition int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, failed := f.of(topic).byPartition()
	return float64(failed[partition]) >= floodShare*float64(all[partition])
}

// detail says for which reasons a topic floods.
func (f *floods) detail(topic string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of(topic).detail()
}

// empty forgets what became of a partition's records.
func (f *floods) empty(topic string, partition int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(topic).forget([]int{partition})
}

// of returns the failures of a kind.
func (d *decided) of(kind dlq.Kind) *failures {
	if d.reasons[kind] == nil {
		d.reasons[kind] = &failures{kind: kind}
	}
	return d.reasons[kind]
}

func (d *decided) add(one decision) {
	for d.n == floodRecords || d.n > 0 && one.at-d.oldest().at > int64(floodWithin) {
		d.drop()
	}
	d.ring[d.next] = one
	d.next, d.n = (d.next+1)%floodRecords, d.n+1
	if one.failed != nil {
		d.failed++
		one.failed.records++
		d.reasons[one.failed.kind] = one.failed // drop may just have forgotten it
	}
}

func (d *decided) oldest() *decision { return &d.ring[(d.next-d.n+floodRecords)%floodRecords] }

func (d *decided) drop() {
	old := d.oldest()
	if d.n--; old.failed != nil {
		d.failed--
		if old.failed.records--; old.failed.records == 0 {
			delete(d.reasons, old.failed.kind)
		}
	}
}

// all returns the decisions that count, the oldest first.
func (d *decided) all() []decision {
	all := make([]decision, 0, d.n)
	for i := range d.n {
		all = append(all, d.ring[(d.next-d.n+i+floodRecords)%floodRecords])
	}
	return all
}

// most returns the commonest reasons, and how many records failed for them.
func (d *decided) most() (reasons []*failures, records int) {
	reasons = slices.Collect(maps.Values(d.reasons))
	slices.SortFunc(reasons, func(a, b *failures) int { return b.records - a.records })
	reasons = reasons[:min(len(reasons), floodReasons)]
	for _, r := range reasons {
		records += r.records
	}
	return reasons, records
}

func (d *decided) floods() bool {
	if d.n < floodLeast || float64(d.failed) < floodShare*float64(d.n) {
		return false
	}
	_, records := d.most()
	return float64(records) >= floodShare*float64(d.n)
}

func (d *decided) detail() string {
	reasons, records := d.most()
	words := make([]string, len(reasons))
	for i, r := range reasons {
		words[i] = strings.TrimSpace(r.kind.Stage + " " + r.kind.Category + " " + r.kind.Code)
	}
	return fmt.Sprintf("%d of the last %d records failed alike: %s", records, d.n, strings.Join(words, "; "))
}

// flooding returns the partitions whose records failed, and that have a fair part in the flood, if there is one.
func (d *decided) flooding() (partitions []int) {
	if !d.floods() {
		return nil
	}
	all, failed := d.byPartition()
	least := min(floodPart, d.n/(2*len(all)))
	for p, n := range all {
		if failed[p] >= least && float64(failed[p]) >= floodShare*float64(n) {
			partitions = append(partitions, p)
		}
	}
	slices.Sort(partitions)
	return partitions
}

// byPartition counts the decisions, and those that were failures.
func (d *decided) byPartition() (all, failed map[int]int) {
	all, failed = map[int]int{}, map[int]int{}
	for _, one := range d.all() {
		all[one.partition]++
		if one.failed != nil {
			failed[one.partition]++
		}
	}
	return all, failed
}

// forget leaves out the decisions of partitions.
func (d *decided) forget(partitions []int) {
	rest := slices.DeleteFunc(d.all(), func(one decision) bool { return slices.Contains(partitions, one.partition) })
	*d = decided{reasons: map[dlq.Kind]*failures{}}
	for _, one := range rest {
		if one.failed != nil {
			one.failed = d.of(one.failed.kind)
		}
		d.add(one)
	}
}
