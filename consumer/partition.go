package consumer

import (
	"strconv"
	"sync"
	"time"

	"github.com/tasksink/tasksink/tracing"
)

// partition is what a member knows of one partition during one generation: what was delivered of it, which of that
// is open, and hence what may be committed. Offsets have gaps (compaction, transaction markers): an offset below the
// position at which no record is open is settled, or no record ever stood there.
type partition struct {
	topic  string
	id     int
	seat   *seat // in the room
	ages   *tracing.Ages
	health health

	mu       sync.Mutex
	open     ledger
	settled  settled
	next     int64         // the offset to fetch next
	resolved bool          // the group's commits were asked where to begin
	started  bool          // next is known
	revoked  bool          // fetches no more; what is not on the wire is given up
	lost     bool          // no longer ours: nothing of it may be started, settled or committed
	idle     chan struct{} // closed when nothing is on the wire any more; nil while nobody waits

	committed int64  // the offset last committed, as far as we know; -1 if none
	saved     uint64 // the version of what is settled that was committed with it
	covered   int64  // how many settled offsets beyond it that commit covers

	log   topicID // that the offsets belong to; zero if the broker has no ids
	epoch int32   // of the leader that wrote the last record before next; -1 if that is unknown
	under int32   // the leadership that the request which is out names; -1 if that is unknown
	same  int32   // the newest leadership under which the log is known to be the same
	asked int     // how many cuts there were at the last request
	cuts  int     // how often the log turned out to be another one

	followed []*followed // traces of settled records that are not committed yet

	wire     int64 // bytes of the log that a record took lately
	end      int64 // the log's end as of the last fetch, -1 before
	logStart int64
	waits    time.Time // since when the log is known to hold records while none of them is in memory; zero: it is not
}

// farBehind is how many newer records a partition has when its records are late: they leave behind those of partitions
// that keep up, so that one partition's backlog does not hold up the others' live traffic.
const farBehind = 1000

func newPartition(topic string, id int, seat *seat, ages *tracing.Ages) *partition {
	return &partition{topic: topic, id: id, seat: seat, ages: ages, health: health{leader: -1, epoch: -1},
		settled: settled{newest: -1}, next: -1, committed: -1, end: -1, epoch: -1, under: -1, same: -1, wire: 1 << 10}
}

func (p *partition) String() string { return p.topic + "/" + strconv.Itoa(p.id) }

// begun tells whether the group's commits were asked, and whether an offset to fetch from is known.
func (p *partition) begun() (resolved, started bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resolved, p.started
}

// nextOffset is what to fetch next; -1 if that is not known yet.
func (p *partition) nextOffset() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// roomy is about how many bytes of the log the partition has room for, as its last records were.
func (p *partition) roomy() int32 {
	free := p.seat.free()
	p.mu.Lock()
	defer p.mu.Unlock()
	return int32(max(leastBytes, min(free.bytes, int64(free.records)*max(p.wire, 1), partitionBytes)))
}

// pass moves the fetch position behind a batch.
func (p *partition) pass(next int64, epoch int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked == p.cuts {
		p.move(next)
		p.epoch = epoch
	}
}

// weigh takes in how many bytes of the log some records took.
func (p *partition) weigh(bytes, records int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if records > 0 {
		p.wire = int64(bytes / records)
	}
}

// leastBytes is what a fetch asks for at the least.
const leastBytes = 4 << 10

// starts takes in where the log begins.
func (p *partition) starts(at int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logStart = at
}

// add takes records in that are about to be delivered, which a leader wrote in one epoch. It returns false if the
// partition was given up, or its log cut, meanwhile.
func (p *partition) add(recs []*Record, epoch int32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.revoked || p.lost || p.asked != p.cuts {
		return false
	}
	p.waits = time.Time{}
	for _, r := range recs {
		r.part = p
		r.Late = p.end-r.Offset-p.settled.ahead(r.Offset) > farBehind
		p.open.push(r)
		p.next, p.epoch = r.Offset+1, epoch
	}
	p.settled.moved(p.next)
	return true
}

// Leave says that a request, or the write of a dead letter, is about to leave with the record: it is on the wire until
// it is settled, or comes back. It returns false if the record is no longer ours, and need not leave.
func (r *Record) Leave() bool {
	p := r.part
	if p == nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.state == stateOpen && !r.out {
		r.out = true
		p.open.out++
	}
	return r.state == stateOpen
}

// Return says that the record is no longer on the wire, and not settled.
func (r *Record) Return() {
	p := r.part
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.out {
		r.out = false
		p.open.out--
		p.rest()
	}
}

// Settle says that HubSpot has confirmed the record, or that the dead-letter topic has it, and when.
func (r *Record) Settle(at time.Time) {
	if r.done.Swap(true) || r.part == nil {
		return
	}
	p := r.part
	p.ages.Observe(r.age(at))
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.state != stateOpen {
		return
	}
	p.settled.top = max(p.settled.top, r.Offset+1)
	p.settled.version++
	p.free(p.open.remove(r, stateSettled))
}

// Gone tells whether the record is given up: its partition is no longer ours, or about to be and the record is not on
// the wire, or its log does not have it any more.
func (r *Record) Gone() bool {
	p := r.part
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return r.state == stateGone || p.revoked && r.state == stateOpen && !r.out
}

// free gives places of the room back. The lock is held.
func (p *partition) free(places amount) {
	p.seat.give(places.records, places.bytes)
	p.rest()
}

// rest ends the waiting for what is on the wire, if nothing is. The lock is held.
func (p *partition) rest() {
	if p.open.out == 0 && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
}

// at is the offset to commit: of the oldest open record, else what would be fetched next. The lock is held.
func (p *partition) at() int64 {
	if p.open.oldest != nil {
		return p.open.oldest.Offset
	}
	return p.next
}

// grows takes in where the log ends now, and returns how many records came since the last look.
func (p *partition) grows(end int64) (came int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end >= 0 {
		came = max(0, end-p.end)
	}
	p.end = max(p.end, end)
	if p.open.records == 0 && p.started && p.next < p.end && p.waits.IsZero() {
		p.waits = time.Now()
	}
	return came
}

// age is how old the oldest open record is, as far as it is known; 0 if there is none. The lock is held.
func (p *partition) age(now time.Time) time.Duration {
	switch {
	case p.open.oldest != nil:
		return p.open.oldest.age(now)
	case p.next >= p.end || p.waits.IsZero():
		return 0 // what was noticed may have been a transaction's marker, which nobody delivers
	default:
		return max(0, now.Sub(p.waits))
	}
}

// lag is how many records are not settled yet: those that are open, and the offsets that were not read yet. It is not
// known before the log's end is.
func (p *partition) lag() (records int64, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end < 0 || !p.started {
		return 0, false
	}
	from := max(p.next, p.logStart)
	return int64(p.open.records) + max(0, p.end-from-p.settled.ahead(from)), true
}

// status is what the partition shows of itself.
func (p *partition) status(now time.Time) PartitionStatus {
	s := PartitionStatus{Topic: p.topic, Partition: p.id, Problem: p.health.problem(now)}
	if lag, known := p.lag(); known {
		s.Lag = &lag
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Committed, s.Position, s.End, s.LagSeconds = p.committed, p.at(), p.end, p.age(now).Seconds()
	s.Open, s.SettledBeyond = p.open.records, p.covered
	return s
}

// skipTo moves the fetch position past what holds no records for us.
func (p *partition) skipTo(next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.move(next)
}

// move is skipTo while the lock is held.
func (p *partition) move(next int64) {
	if next > p.next {
		p.waits = time.Time{}
	}
	p.next, p.started = max(p.next, next), true
	p.settled.moved(p.next)
}

// revoke ends the fetching, and gives up what is not on the wire.
func (p *partition) revoke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked = true
}

// lose ends everything: what is in memory of it counts no more, and what still comes back is ignored.
func (p *partition) lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked, p.lost = true, true
	p.free(p.open.cut(0))
}

// drained tells whether nothing is on the wire; if something is, wait ends when that may have changed.
func (p *partition) drained() (done bool, wait <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open.out == 0 {
		return true, nil
	}
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	return false, p.idle
}
