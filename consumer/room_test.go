package consumer

import (
	"testing"

	"pgregory.net/rapid"
)

// sized is a record that takes so much of the room.
func sized(bytes int64) *Record { return &Record{Value: make([]byte, bytes-recordOverhead)} }

// TestRoomShares holds the room against what it promises, through partitions that take, settle and give up in any
// order.
func TestRoomShares(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.IntRange(1, 20).Draw(t, "partitions")
		m := newRoom(rapid.IntRange(4, 60).Draw(t, "records"), rapid.Int64Range(20_000, 200_000).Draw(t, "bytes"))
		m.divide(partitions)
		seats, held := make([]*seat, partitions), make([][]int64, partitions)
		for i := range seats {
			seats[i] = m.seat()
		}
		pick := rapid.IntRange(0, partitions-1)
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				i := pick.Draw(t, "partition")
				if seats[i].waits() {
					t.Skip() // it is not fetched
				}
				recs := make([]*Record, rapid.IntRange(1, 6).Draw(t, "records"))
				for r := range recs {
					recs[r] = sized(rapid.Int64Range(recordOverhead, 30_000).Draw(t, "bytes"))
				}
				own := seats[i].held.plus(amount{1, recs[0].size()}).within(m.open())
				alone := seats[i].held.records == 0 && m.large == nil
				turn := seats[i].kept != amount{} || m.large == seats[i]
				n := seats[i].take(recs)
				if n == 0 && (own || alone) {
					t.Fatalf("nothing was taken: own share %v, alone %v, its turn %v", own, alone, turn)
				}
				for r := range recs[:n] {
					held[i] = append(held[i], recs[r].size())
				}
				if waits := seats[i].waits(); n == len(recs) && waits {
					t.Fatal("it waits though all was taken")
				}
			},
			"give": func(t *rapid.T) {
				i := pick.Draw(t, "partition")
				n := min(rapid.IntRange(1, 4).Draw(t, "records"), len(held[i]))
				bytes := int64(0)
				for _, b := range held[i][:n] {
					bytes += b
				}
				held[i] = held[i][n:]
				seats[i].give(n, bytes)
			},
			"reserve": func(t *rapid.T) {
				if m.others > 0 {
					m.reserve(-rapid.Int64Range(1, m.others).Draw(t, "given back"))
					return
				}
				m.reserve(rapid.Int64Range(0, 2*m.max.bytes).Draw(t, "reserved"))
			},
			"yield": func(t *rapid.T) { seats[pick.Draw(t, "partition")].yield() },
			"": func(t *rapid.T) {
				all, largest := amount{}, amount{}
				for i := range seats {
					for _, b := range held[i] {
						all = all.plus(amount{1, b})
						largest = largest.most(amount{1, b})
					}
				}
				if all.plus(amount{0, m.others}) != m.used {
					t.Fatalf("the room counts %+v, and %+v is held", m.used, all)
				}
				if m.large == nil && !all.within(m.max) || !all.minus(largest).within(m.max) {
					t.Fatalf("%+v is held of %+v, large: %v", all, m.max, m.large != nil)
				}
				for i, s := range seats { // nobody waits who need not
					own := s.turn(m.share.part(2))
					if s.waits() && (s.held.plus(own).within(m.open()) || s.held.records == 0 && m.large == nil) {
						t.Fatalf("partition %d waits for %+v though there is a place", i, s.needs)
					}
				}
				if len(m.queue) > 0 {
					s := m.queue[0]
					if s.poolFits(s.held.plus(s.turn(m.pool.part(4)))) {
						t.Fatal("the first of the queue waits though there is a place")
					}
				}
			},
		})
	})
}

// TestRoomDividedAgain: what partitions of an earlier generation waited for, or was kept free for them, holds up none
// of the next.
func TestRoomDividedAgain(t *testing.T) {
	t.Parallel()
	m := newRoom(10_000, 1_000_000)
	m.divide(2)
	a, b, c := m.seat(), m.seat(), m.seat()
	large := []*Record{sized(2_000_000)}
	if a.take(large) != 1 || b.take(large) != 0 || c.take(large) != 0 {
		t.Fatal("more than one record that does not fit has passed")
	}
	a.give(1, large[0].size()) // the turn of another one comes, and nobody takes it
	m.divide(2)
	if m.seat().take(large) != 1 {
		t.Error("a large record finds no place in an empty room")
	}
}

// TestLargeRecord: a record larger than the whole room passes when its partition holds nothing else, one such at a
// time.
func TestLargeRecord(t *testing.T) {
	t.Parallel()
	m := newRoom(100, 100_000)
	m.divide(3)
	a, b, c := m.seat(), m.seat(), m.seat()
	large, small := []*Record{sized(1_000_000)}, []*Record{sized(10_000)}
	if n := a.take(large); n != 1 {
		t.Error("a large record found no place in an empty room")
	}
	if n := b.take(large); n != 0 || !b.waits() {
		t.Error("a second large record passed beside the first")
	}
	if n := c.take(small); n != 1 {
		t.Error("a small record found no place in its own share")
	}
	a.give(1, large[0].size())
	if b.waits() {
		t.Error("the second waits though the first is gone")
	}
	if n := b.take(large); n != 1 {
		t.Error("the second found no place when its turn had come")
	}
}

// TestReserve: memory that something else takes is missing in the common part first, then in the shares, and what waits
// gets it when it is given back.
func TestReserve(t *testing.T) {
	t.Parallel()
	m := newRoom(10_000, 100_000)
	m.divide(2) // shares of 25,000 bytes, 50,000 in common
	s, others := m.seat(), m.seat()
	m.reserve(50_000)
	small := []*Record{sized(10_000), sized(10_000), sized(10_000)}
	if n := s.take(small); n != 2 {
		t.Errorf("%d records passed, want 2: those of the share", n)
	}
	m.reserve(40_000)
	if n := others.take(small); n != 1 {
		t.Errorf("%d records passed, want the one of a partition that holds nothing", n)
	}
	if free := others.free(); free.bytes > 0 {
		t.Errorf("%d bytes are to be fetched for a partition that has no room", free.bytes)
	}
	if _, bytes := m.usage(); bytes < 90_000+30_000 {
		t.Errorf("%d bytes are in use", bytes)
	}
	m.reserve(-90_000)
	if s.waits() || s.take(small[2:]) != 1 {
		t.Error("the third waits, though there is room again")
	}
}
