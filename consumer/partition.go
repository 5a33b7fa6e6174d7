package consumer

import (
	"sort"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tasksink/tasksink/tracing"
)

// partition is what a member knows of one partition during one generation: what was delivered of it, which of that
// is settled, and hence how far it may be committed. Offsets have gaps (compaction, transaction markers), so
// "contiguous" always means in order of delivery, never offset + 1.
type partition struct {
	topic  string
	id     int
	seat   *seat // in the room
	ages   *tracing.Ages
	health health

	mu        sync.Mutex
	delivered []*Record     // that the settled run has not passed yet, oldest first
	next      int64         // the offset to fetch next
	committed int64         // the offset last committed, as far as we know; -1 if none
	resolved  bool          // the group's commits were asked where to begin
	started   bool          // next is known
	sent      int64         // the highest offset that a request or a dead letter carried; -1 if none
	due       []waiter      // for their turn, in order
	revoked   bool          // fetches no more; what lies above sent is given up
	lost      bool          // no longer ours: nothing of it may be started, settled or committed
	progress  chan struct{} // closed when the settled run moves; nil while nobody waits

	log   topicID // that the offsets belong to; zero if the broker has no ids
	epoch int32   // of the leader that wrote the last record before next; -1 if that is unknown
	under int32   // the leadership that the request which is out names; -1 if that is unknown
	same  int32   // the newest leadership under which the log is known to be the same
	asked int     // how many cuts there were at the last request
	cuts  []cut   // where the log turned out to be another one

	followed []followed // traces of settled records that are not committed yet

	wire     int64 // bytes of the log that a record took lately
	late     int64 // offset of the last late record; -1 if there was none
	end      int64 // the log's end as of the last fetch, -1 before
	logStart int64
	waits    time.Time // since when the log is known to hold records while none of them is in memory; zero: it is not
}

// farBehind is how many newer records a partition has when its records are late: they leave behind those of partitions
// that keep up, so that one partition's backlog does not hold up the others' live traffic.
const farBehind = 1000

type waiter struct {
	offset int64
	f      func()
}

func newPartition(topic string, id int, seat *seat, ages *tracing.Ages) *partition {
	return &partition{topic: topic, id: id, seat: seat, ages: ages, health: health{leader: -1, epoch: -1},
		next: -1, committed: -1, sent: -1, end: -1, late: -1, epoch: -1, under: -1, same: -1, wire: 1 << 10}
}

func (p *partition) String() string { return p.topic + "/" + strconv.Itoa(p.id) }

// resume takes in where the group's commits say to go on, -1 if nothing was ever committed; and the epoch that was
// committed with it, -1 if there is none.
func (p *partition) resume(committed int64, epoch int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resolved = true
	if committed >= 0 {
		p.next, p.committed, p.started, p.epoch = committed, committed, true, epoch
	}
}

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
	if p.asked == len(p.cuts) {
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

// unsaved is the position to commit, if it is not what was committed last, and the epoch of the record that was read
// last. In a log that still has that record, the epoch ends behind the position; in one that was truncated below the
// position, it does not.
func (p *partition) unsaved() (at int64, epoch int32, ok bool) {
	at, known := p.position()
	p.mu.Lock()
	defer p.mu.Unlock()
	return at, p.epoch, known && at != p.committed
}

// saved takes in what was committed, and returns the traces that end with it.
func (p *partition) saved(at int64) []trace.SpanContext {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.committed = at
	return p.covered()
}

// add takes records in that are about to be delivered, which a leader wrote in one epoch. It returns false if the
// partition was given up, or its log cut, meanwhile.
func (p *partition) add(recs []Record, epoch int32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.revoked || p.lost || p.asked != len(p.cuts) {
		return false
	}
	p.waits = time.Time{}
	for i := range recs {
		r := &recs[i]
		r.part, r.cuts = p, len(p.cuts)
		// Never before an earlier late one of its own partition: a drain would have to send all that was overtaken.
		r.Late = p.end-r.Offset > farBehind || len(p.delivered) > 0 && p.delivered[0].Offset <= p.late
		if r.Late {
			p.late = r.Offset
		}
		p.delivered = append(p.delivered, r)
		p.next, p.epoch = r.Offset+1, epoch
	}
	return true
}

// Sent says that a request or a dead letter with the record is about to leave.
func (r *Record) Sent() {
	if p := r.part; p != nil {
		p.mu.Lock()
		if !p.cutOff(r) {
			p.sent = max(p.sent, r.Offset)
		}
		turn := p.turn()
		p.mu.Unlock()
		call(turn)
	}
}

// Settle says that HubSpot confirmed the record, or that the dead-letter topic has it.
func (r *Record) Settle() {
	if r.settled.Swap(true) || r.part == nil {
		return
	}
	p := r.part
	p.ages.Observe(r.age(time.Now()))
	p.mu.Lock()
	turn := p.advance()
	p.mu.Unlock()
	call(turn)
}

// Lost tells whether the record's partition is no longer ours: nothing new may be started for it.
func (r *Record) Lost() bool {
	if r.part == nil {
		return false
	}
	r.part.mu.Lock()
	defer r.part.mu.Unlock()
	return r.part.lost || r.part.cutOff(r)
}

// WhenDue calls f once when every earlier record of the partition is settled or was sent; at once, if that is so.
// f is not called if the record is given up with its partition. A decode failure waits for its turn by it, so that
// its dead letter is not written a second time by whoever takes the partition over in between.
func (r *Record) WhenDue(f func()) {
	p := r.part
	if p == nil {
		f()
		return
	}
	p.mu.Lock()
	if p.cutOff(r) {
		p.mu.Unlock()
		return
	}
	p.due = append(p.due, waiter{r.Offset, f})
	turn := p.turn()
	p.mu.Unlock()
	call(turn)
}

func call(turn []waiter) {
	for _, w := range turn {
		w.f()
	}
}

// advance moves the settled run on, gives back the places it passed, and returns whose turn it is now.
func (p *partition) advance() []waiter {
	n, bytes := 0, int64(0)
	for n < len(p.delivered) && p.delivered[n].settled.Load() {
		bytes += p.delivered[n].size()
		n++
	}
	if n == 0 {
		return nil
	}
	clear(p.delivered[:n])
	p.delivered = p.delivered[n:]
	p.seat.give(n, bytes)
	if p.progress != nil {
		close(p.progress)
		p.progress = nil
	}
	return p.turn()
}

// turn takes those out of the queue whose turn has come: nothing unsent lies before them. After a revoke that can no
// longer come about for a record above the highest sent offset, as nothing above it is sent any more.
func (p *partition) turn() []waiter {
	n := 0
	for n < len(p.due) && (p.due[n].offset <= p.sent || p.first() >= p.due[n].offset) {
		n++
	}
	turn := p.due[:n:n]
	p.due = p.due[n:]
	return turn
}

// first is the offset of the oldest record that was neither settled nor sent; next if there is none.
func (p *partition) first() int64 {
	i := sort.Search(len(p.delivered), func(i int) bool { return p.delivered[i].Offset > p.sent })
	for ; i < len(p.delivered); i++ {
		if !p.delivered[i].settled.Load() {
			return p.delivered[i].Offset
		}
	}
	return p.next
}

// position is the offset to commit: of the first record that is not settled, else what would be fetched next.
func (p *partition) position() (offset int64, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.delivered) > 0 {
		return p.delivered[0].Offset, true
	}
	return p.next, p.started
}

// grows takes in where the log ends now, and returns how many records came since the last look.
func (p *partition) grows(end int64) (came int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end >= 0 {
		came = max(0, end-p.end)
	}
	p.end = max(p.end, end)
	if len(p.delivered) == 0 && p.started && p.next < p.end && p.waits.IsZero() {
		p.waits = time.Now()
	}
	return came
}

// age is how old the oldest record is that is not settled, as far as it is known; 0 if there is none.
func (p *partition) age(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.delivered) > 0:
		return p.delivered[0].age(now)
	case p.next >= p.end || p.waits.IsZero():
		return 0 // what was noticed may have been a transaction's marker, which nobody delivers
	default:
		return max(0, now.Sub(p.waits))
	}
}

// lag is how many records are not settled yet; it is not known before the log's end is.
func (p *partition) lag() (records int64, known bool) {
	position, started := p.position()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end < 0 || !started {
		return 0, false
	}
	return max(0, p.end-max(position, p.logStart)), true
}

// status is what the partition shows of itself.
func (p *partition) status(now time.Time) PartitionStatus {
	position, _ := p.position()
	s := PartitionStatus{Topic: p.topic, Partition: p.id, Position: position, LagSeconds: p.age(now).Seconds(),
		Problem: p.health.problem(now)}
	if lag, known := p.lag(); known {
		s.Lag = &lag
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Committed, s.End = p.committed, p.end
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
}

// revoke ends the fetching. gone then tells of a record whether it is given up unsent.
func (p *partition) revoke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked = true
}

// lose ends everything: what is in memory of it counts no more, and what still comes back is ignored.
func (p *partition) lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost {
		return
	}
	p.revoked, p.lost, p.due = true, true, nil
	bytes := int64(0)
	for _, r := range p.delivered {
		bytes += r.size()
	}
	p.seat.give(len(p.delivered), bytes)
	p.delivered = nil
}

// gone tells whether a record that waits unsent is given up.
func (r *Record) gone() bool {
	p := r.part
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost || p.cutOff(r) || p.revoked && r.Offset > p.sent
}

// drained tells whether everything that was sent is settled; if not, wait ends when that may have changed.
func (p *partition) drained() (done bool, wait <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost || len(p.delivered) == 0 || p.delivered[0].Offset > p.sent {
		return true, nil
	}
	if p.progress == nil {
		p.progress = make(chan struct{})
	}
	return false, p.progress
}
