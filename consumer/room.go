package consumer

import (
	"slices"
	"sync"
)

// room bounds the records and bytes in memory. Places are taken before a record is delivered, and given back when the
// settled run passes it.
//
// Half of the room is divided among the partitions: each has a share of its own, which no other can fill. The other
// half is common, first come, first served. A partition that finds no place waits for its turn; what found no place is
// fetched again then, so that nothing waits inside of the room.
//
// A record that does not fit passes all the same when its partition holds nothing else, one such at a time. So the room
// is exceeded by one record at the most, and a large record starves behind no backlog.
type room struct {
	max amount

	mu     sync.Mutex
	parts  int     // partitions
	share  amount  // of each partition
	pool   amount  // the common part
	common amount  // what of the pool is taken or kept free
	used   amount  // of the whole room
	others int64   // bytes that something else than records takes: see reserve
	queue  []*seat // the partitions that wait for the common part, the first come first
	large  *seat   // whose partition holds a record that did not fit
	freed  signal  // rung when a turn has come
}

// amount is a number of records, and the memory that they take.
type amount struct {
	records int
	bytes   int64
}

func (a amount) plus(b amount) amount  { return amount{a.records + b.records, a.bytes + b.bytes} }
func (a amount) minus(b amount) amount { return amount{a.records - b.records, a.bytes - b.bytes} }
func (a amount) within(b amount) bool  { return a.records <= b.records && a.bytes <= b.bytes }
func (a amount) part(n int) amount     { return amount{a.records / n, a.bytes / int64(n)} }
func (a amount) least(b amount) amount {
	return amount{min(a.records, b.records), min(a.bytes, b.bytes)}
}
func (a amount) most(b amount) amount {
	return amount{max(a.records, b.records), max(a.bytes, b.bytes)}
}

// quantum is what a partition gets whose turn has come, or half of its share or a quarter of the pool if that is less.
// For fewer places a fetch would cost too much: while HubSpot sets the pace the room is always full.
var quantum = amount{256, 128 << 10}

// turn is how many places must be free for a seat that waits.
func (s *seat) turn(of amount) amount { return s.needs.most(quantum.least(of)) }

func newRoom(records int, bytes int64) *room {
	m := &room{max: amount{records, bytes}}
	m.divide(1)
	return m
}

// divide gives each of n partitions a share, while none has a place. Seats from before wait for nothing any more.
func (m *room) divide(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue, m.large, m.common = nil, nil, amount{}
	n = max(n, 1)
	m.parts, m.share = n, m.max
	if n > 1 {
		m.share = amount{m.max.records / 2 / n, m.max.bytes / 2 / int64(n)}
	}
	m.pool = m.max.minus(amount{m.share.records * n, m.share.bytes * int64(n)}).most(amount{})
}

// reserve takes bytes for something else than records, or gives them back if they are negative. It waits for nothing:
// what is taken makes the common part smaller, then the shares, so that fetching waits.
func (m *room) reserve(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.others += bytes
	m.used.bytes += bytes
	if bytes < 0 {
		m.admit()
	}
}

// open is what of its share a partition may take now. The lock is held.
func (m *room) open() amount {
	return m.share.minus(amount{0, max(0, m.others-m.pool.bytes) / int64(m.parts)})
}

func (m *room) seat() *seat { return &seat{room: m} }

func (m *room) usage() (records int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used.records, m.used.bytes
}

// seat is one partition's place in the room. The room's mutex guards it.
type seat struct {
	room  *room
	held  amount // of its records
	kept  amount // kept free for it since its turn came
	needs amount // of the record that found no place; zero: it does not wait
}

// take takes places for as many of the records, from the first on, as there are. If that is not all of them, the seat
// waits from now on.
func (s *seat) take(recs []*Record) (n int) {
	m := s.room
	m.mu.Lock()
	defer m.mu.Unlock()
	promised := s.held.plus(s.kept)
	s.set(s.held, amount{})
	for n < len(recs) && s.enter(amount{1, recs[n].size()}, promised) {
		n++
	}
	if n < len(recs) && s.needs == (amount{}) {
		s.needs = amount{1, recs[n].size()}
		m.queue = append(m.queue, s)
	}
	m.admit() // what was kept free for it, and was not needed, is for the next
	return n
}

// enter takes places for one record, if there are: those kept free, those of the share, those of the pool if nobody
// waits for them, or, for a record that is alone, those beyond all bounds.
func (s *seat) enter(one, promised amount) bool {
	m, after := s.room, s.held.plus(one)
	switch {
	case after.within(promised):
	case after.within(m.open()):
	case len(m.queue) == 0 && s.poolFits(after):
	case s.held == amount{} && (m.large == nil || m.large == s):
		m.large = s
	default:
		return false
	}
	s.set(after, amount{})
	return true
}

// open tells whether the seat could take one more record of about that amount. If not, it waits from now on.
func (s *seat) open(one amount) bool {
	m := s.room
	m.mu.Lock()
	defer m.mu.Unlock()
	after := s.held.plus(one)
	if one.within(s.kept) || after.within(m.open()) || len(m.queue) == 0 && s.poolFits(after) ||
		s.held == (amount{}) && (m.large == nil || m.large == s) {
		return true
	}
	if s.needs == (amount{}) {
		s.set(s.held, amount{})
		s.needs = one
		m.queue = append(m.queue, s)
		m.admit()
	}
	return false
}

// poolFits tells whether the seat could hold so much with what the pool has left.
func (s *seat) poolFits(held amount) bool {
	m := s.room
	return m.common.minus(s.beyond(s.held.plus(s.kept))).plus(s.beyond(held)).within(m.pool.minus(amount{0, m.others}))
}

// beyond is what an amount takes of the pool.
func (s *seat) beyond(a amount) amount { return a.minus(s.room.share).most(amount{}) }

// set changes what the seat holds, and what is kept free for it.
func (s *seat) set(held, kept amount) {
	m := s.room
	m.used = m.used.minus(s.held).plus(held)
	m.common = m.common.minus(s.beyond(s.held.plus(s.kept))).plus(s.beyond(held.plus(kept)))
	s.held, s.kept = held, kept
}

// give gives places back.
func (s *seat) give(records int, bytes int64) {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.set(s.held.minus(amount{records, bytes}), s.kept)
	s.leaveLarge()
}

// yield gives up the seat's turn, or what is kept free for it: its partition is sick, has nothing, or is given up.
func (s *seat) yield() {
	m := s.room
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.needs == (amount{}) && s.kept == (amount{}) && m.large != s {
		return
	}
	s.set(s.held, amount{})
	s.needs = amount{}
	m.queue = slices.DeleteFunc(m.queue, func(w *seat) bool { return w == s })
	s.leaveLarge()
}

// leaveLarge lets another large record pass when ours no longer exceeds the room.
func (s *seat) leaveLarge() {
	m := s.room
	if m.large == s && (s.held == amount{} || s.held.within(m.share) || m.common.within(m.pool)) {
		m.large = nil
	}
	m.admit()
}

// waits tells whether the seat waits for its turn.
func (s *seat) waits() bool {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	return s.needs != amount{}
}

// free is about how much the seat could take now.
func (s *seat) free() amount {
	m := s.room
	m.mu.Lock()
	defer m.mu.Unlock()
	free := s.kept.most(m.open().minus(s.held))
	if len(m.queue) == 0 {
		free = free.most(m.share.plus(m.pool).minus(m.common).minus(s.held).minus(amount{0, m.others}))
	}
	return free.most(amount{})
}

// admit tells those whose turn has come. Places of the pool are kept free for the first of the queue only, those of
// their own shares for all. The lock is held.
func (m *room) admit() {
	first, rung := true, false
	m.queue = slices.DeleteFunc(m.queue, func(s *seat) bool {
		own, common := s.turn(m.share.part(2)), s.turn(m.pool.part(4))
		switch {
		case s.held.plus(own).within(m.open()):
			s.set(s.held, own)
		case first && s.poolFits(s.held.plus(common)):
			s.set(s.held, common)
		case s.held == amount{} && m.large == nil:
			m.large = s
		default:
			first = false
			return false
		}
		s.needs, rung = amount{}, true
		return true
	})
	if rung {
		m.freed.ring()
	}
}
