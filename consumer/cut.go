package consumer

import (
	"time"
)

// topicID is Kafka's own name of a topic. A topic that is deleted and created again has another one.

// A log can turn out to be another one than it was: its topic was deleted and created again, or it was truncated, and
// other records stand at the same offsets. Then the partition is cut: what was delivered from there on is no longer in
// the log. It is not settled or committed any more, and not sent if it was not sent yet.

// ask is what to fetch next, and under which leadership: the one that compare has seen, as the log of a newer one may
// be another. What the answer brings is taken in only if the log is not cut meanwhile.
func (p *partition) ask() (offset int64, leadership int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = p.cuts
	return p.next, p.under
}

// bind takes in which log the offsets belong to. anew tells whether they belonged to another one.
func (p *partition) bind(log topicID) (anew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if log == (topicID{}) || log == p.log {
		return false
	}
	if anew = p.log != (topicID{}); !anew {
		p.settled.version++ // the next commit says whose offsets they are
	}
	p.log = log
	return anew
}

// identity is the log that the offsets belong to; zero if that is unknown.
func (p *partition) identity() topicID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log
}

// compare begins a request under a leadership. It tells whether the leader must first be asked if its log has the
// record before the position, and the epoch of that record.
func (p *partition) compare(leadership int32) (epoch int32, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.under = leadership
	epoch = max(p.epoch, p.settled.asks())
	return epoch, epoch >= 0 && leadership > p.same
}

// compared says that the log was found to be the same under the leadership of the request.
func (p *partition) compared() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.same = p.under
}

// jump moves the position to where the log begins now: retention deleted what lay before. Nobody knows in which epoch
// the record before it was written. lost is how many offsets are passed that were not settled. ok is false if the
// position is no longer from: the topic was created again.
func (p *partition) jump(from, next int64) (lost int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != from {
		return 0, false
	}
	lost = next - from - (p.settled.ahead(from) - p.settled.ahead(next))
	p.move(next)
	p.epoch = -1
	return lost, true
}

// restart begins a new log at its first offset, which is not known yet. Its position is committed as soon as it is: a
// commit of the old log's that was on the wire is overwritten by it.
func (p *partition) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAt(0)
	p.next, p.committed, p.started, p.epoch, p.same = -1, -1, false, -1, -1
	p.settled.newest = -1
	p.resolved = true // what the group committed was the old log's
}

// truncate goes on at an offset at which the log was truncated, and returns how many records were taken in beyond it.
// If there are none, the log was not truncated, or the topic was created again meanwhile, and nothing changes.
func (p *partition) truncate(at int64, epoch int32) (beyond int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if beyond = p.next - at; beyond <= 0 {
		return 0
	}
	p.cutAt(at)
	p.next, p.epoch = at, epoch
	return beyond
}

// cutAt forgets what was delivered from an offset on. The lock is held.
func (p *partition) cutAt(from int64) {
	p.cuts++
	p.settled.cut(from)
	p.end, p.waits = -1, time.Time{}
	p.free(p.open.cut(from))
}
