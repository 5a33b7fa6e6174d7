package upsert

import (
	"fmt"
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
	reasons map[dlq.Kind]int
}

type decision struct {
	partition int
	at        time.Time
	failed    bool
	reason    dlq.Kind
}

func newFloods() *floods { return &floods{topics: map[string]*decided{}} }

func (f *floods) of(topic string) *decided {
	d := f.topics[topic]
	if d == nil {
		d = &decided{reasons: map[dlq.Kind]int{}}
		f.topics[topic] = d
	}
	return d
}

// confirmed counts records that HubSpot took.
func (f *floods) confirmed(records []*Task, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range records {
		if !dlq.Redriven(t.Record) {
			f.of(t.Record.Topic).add(decision{partition: t.Record.Partition, at: now})
		}
	}
}

// refused counts a record that is about to be dead-lettered. It returns the partitions that flood, and for which
// reasons; usually none. Their records are forgotten then.
func (f *floods) refused(rec *consumer.Record, reason dlq.Reason, now time.Time) (partitions []int, detail string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.of(rec.Topic)
	d.add(decision{partition: rec.Partition, at: now, failed: true, reason: reason.Kind()})
	if !d.floods() {
		return nil, ""
	}
	detail = d.detail()
	partitions = d.flooding()
	d.forget(partitions)
	return partitions, detail
}

// empty forgets what became of a partition's records.
func (f *floods) empty(topic string, partition int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(topic).forget([]int{partition})
}

func (d *decided) add(one decision) {
	for d.n == floodRecords || d.n > 0 && one.at.Sub(d.oldest().at) > floodWithin {
		d.drop()
	}
	d.ring[d.next] = one
	d.next, d.n = (d.next+1)%floodRecords, d.n+1
	if one.failed {
		d.failed++
		d.reasons[one.reason]++
	}
}

func (d *decided) oldest() *decision { return &d.ring[(d.next-d.n+floodRecords)%floodRecords] }

func (d *decided) drop() {
	old := d.oldest()
	if d.n--; old.failed {
		d.failed--
		if d.reasons[old.reason]--; d.reasons[old.reason] == 0 {
			delete(d.reasons, old.reason)
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
func (d *decided) most() (reasons []dlq.Kind, records int) {
	for kind := range d.reasons {
		reasons = append(reasons, kind)
	}
	slices.SortFunc(reasons, func(a, b dlq.Kind) int { return d.reasons[b] - d.reasons[a] })
	reasons = reasons[:min(len(reasons), floodReasons)]
	for _, kind := range reasons {
		records += d.reasons[kind]
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
	for i, kind := range reasons {
		words[i] = strings.TrimSpace(kind.Stage + " " + kind.Category + " " + kind.Code)
	}
	return fmt.Sprintf("%d of the last %d records failed alike: %s", records, d.n, strings.Join(words, "; "))
}

// flooding returns the partitions whose records failed, and that have a fair part in the flood.
func (d *decided) flooding() (partitions []int) {
	all, failed := map[int]int{}, map[int]int{}
	for _, one := range d.all() {
		all[one.partition]++
		if one.failed {
			failed[one.partition]++
		}
	}
	least := min(floodPart, d.n/(2*len(all)))
	for p, n := range all {
		if failed[p] >= least && float64(failed[p]) >= floodShare*float64(n) {
			partitions = append(partitions, p)
		}
	}
	slices.Sort(partitions)
	return partitions
}

// forget leaves out the decisions of partitions.
func (d *decided) forget(partitions []int) {
	rest := slices.DeleteFunc(d.all(), func(one decision) bool { return slices.Contains(partitions, one.partition) })
	*d = decided{reasons: map[dlq.Kind]int{}}
	for _, one := range rest {
		d.add(one)
	}
}
