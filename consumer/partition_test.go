package consumer

import (
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"pgregory.net/rapid"

	"github.com/tasksink/tasksink/consumer/offsetmap"
)

// twin is a partition as a child would keep it: every record ever delivered, with what happened to it, and every offset
// that an earlier owner settled.
type twin struct {
	records []*twinRecord
	earlier map[int64]bool
	next    int64
	revoked bool
	lost    bool
	cut     []*twinRecord // no longer in the log
}

type twinRecord struct {
	rec     *Record
	settled bool
	out     bool // on the wire
}

// cutFrom says that the log is another one from an offset on.
func (w *twin) cutFrom(at int64) {
	kept := w.records[:0:0]
	for _, r := range w.records {
		if r.rec.Offset >= at {
			w.cut = append(w.cut, r)
			continue
		}
		kept = append(kept, r)
	}
	w.records = kept
	for offset := range w.earlier {
		if offset >= at {
			delete(w.earlier, offset)
		}
	}
}

func (w *twin) open() (open []*twinRecord) {
	for _, r := range w.records {
		if !r.settled {
			open = append(open, r)
		}
	}
	return open
}

func (w *twin) position() int64 {
	if open := w.open(); len(open) > 0 {
		return open[0].rec.Offset
	}
	return w.next
}

// settledAt tells whether nobody needs to send what stands at an offset beyond the position. Where no record stands it
// does not matter.
func (w *twin) settledAt(offset int64) (settled, matters bool) {
	for _, r := range w.records {
		if r.rec.Offset == offset {
			return r.settled, true
		}
	}
	return w.earlier[offset], offset >= w.next || w.earlier[offset]
}

func (w *twin) drained() bool {
	return !slices.ContainsFunc(w.open(), func(r *twinRecord) bool { return r.out })
}

// TestJump: behind what retention deleted, no leader is asked about the epoch that was read before.
func TestJump(t *testing.T) {
	t.Parallel()
	p := newPartition("tasks", 0, newRoom(10, 1<<20).seat(), nil)
	p.resume(100, -1, nil)
	p.ask()
	p.pass(101, 3)
	if epoch, due := p.compare(7); !due || epoch != 3 {
		t.Errorf("a new leader is asked about epoch %d: %v", epoch, due)
	}
	if _, ok := p.jump(101, 500); !ok {
		t.Error("no jump")
	}
	if _, due := p.compare(7); due || p.nextOffset() != 500 {
		t.Error("a new leader is asked about an epoch whose end lies before the position")
	}
}

// TestLeaderChangesInARequest: a fetch names the leadership under which the log was compared, though another one begins
// meanwhile. That one's log is compared before it is fetched.
func TestLeaderChangesInARequest(t *testing.T) {
	t.Parallel()
	p := newPartition("tasks", 0, newRoom(10, 1<<20).seat(), nil)
	p.resume(100, -1, nil)
	p.ask()
	p.pass(101, 3)
	p.health.lead(1, 3)
	p.compare(p.health.leaderEpoch())
	p.health.lead(1, 5) // while the leader is asked
	p.compared()
	if at := query([]*partition{p}, 0).topics[0].partitions[0]; at.leaderEpoch != 3 || at.offset != 101 {
		t.Errorf("the fetch of offset %d names leadership %d", at.offset, at.leaderEpoch)
	}
	if _, due := p.compare(p.health.leaderEpoch()); !due {
		t.Error("the new leader's log is not compared")
	}
}

// TestAnswerFromBeforeARestart: the topic is created again while a request is out. Its answer counts nothing as lost,
// and moves no position of the new log.
func TestAnswerFromBeforeARestart(t *testing.T) {
	t.Parallel()
	c := &Consumer{}
	g := &generation{c: c}
	for name, res := range map[string]fetchedPartition{
		"records":      {logStart: 40, highWatermark: 200, lastStable: 200},
		"out of range": {err: kafka.OffsetOutOfRange, logStart: -1, highWatermark: -1},
	} {
		p := newPartition("tasks", 0, newRoom(10, 1<<20).seat(), nil)
		p.resume(100, -1, nil)
		p.ask()
		p.restart()
		if err := g.take(t.Context(), 1, p, true, &res, &intake{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, started := p.begun(); started || c.lost.Load() != 0 || p.nextOffset() != -1 {
			t.Errorf("%s: %d records count as lost, and the position is %d", name, c.lost.Load(), p.nextOffset())
		}
		if _, ok := p.jump(100, 150); ok || p.truncate(60, -1) != 0 || p.nextOffset() != -1 {
			t.Errorf("%s: what the old log's answer says has moved the position to %d", name, p.nextOffset())
		}
	}
}

// TestPartition holds the ledger against its twin, through deliveries with gaps, and records that leave, come back and
// are settled in any order, over what an earlier owner settled.
func TestPartition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		room := newRoom(1000, 1<<30)
		p := newPartition("tasks", 0, room.seat(), nil)
		start := rapid.Int64Range(0, 5).Draw(t, "start")
		w := &twin{earlier: map[int64]bool{}, next: start}
		stored := &offsetmap.Stored{Map: offsetmap.Map{Committed: start, Epoch: 3}}
		for from := start + 1; rapid.Bool().Draw(t, "another run"); {
			from += rapid.Int64Range(1, 4).Draw(t, "open")
			to := from + rapid.Int64Range(1, 6).Draw(t, "settled")
			stored.Settled = append(stored.Settled, offsetmap.Span{From: from, To: to})
			for ; from < to; from++ {
				w.earlier[from] = true
			}
		}
		p.resume(start, 3, stored)
		pick := func(t *rapid.T, of func(*twinRecord) bool) *twinRecord {
			var some []*twinRecord
			for _, r := range w.records {
				if of(r) {
					some = append(some, r)
				}
			}
			if len(some) == 0 {
				t.Skip()
			}
			return rapid.SampledFrom(some).Draw(t, "record")
		}
		t.Repeat(map[string]func(*rapid.T){
			"deliver": func(t *rapid.T) {
				var recs []*Record
				known, end := skipping{spans: p.known(3)}, w.next
				for range rapid.IntRange(1, 4).Draw(t, "records") {
					offset := end + rapid.Int64Range(0, 3).Draw(t, "gap")
					end = offset + 1
					if skip := known.has(offset); skip != w.earlier[offset] {
						t.Fatalf("offset %d is skipped: %v", offset, skip)
					} else if !skip {
						recs = append(recs, &Record{Offset: offset, Value: []byte("x")})
					}
				}
				recs = recs[:p.seat.take(recs)]
				added := p.add(recs, 3)
				if added == (w.revoked || w.lost) {
					t.Fatalf("added: %v", added)
				}
				if !added {
					p.seat.give(len(recs), sizes(recs))
					return
				}
				for i := range recs {
					w.records = append(w.records, &twinRecord{rec: recs[i]})
					w.next = recs[i].Offset + 1
				}
			},
			"skip": func(t *rapid.T) {
				if w.revoked {
					t.Skip()
				}
				w.next += rapid.Int64Range(1, 3).Draw(t, "offsets")
				p.skipTo(w.next)
			},
			"leave": func(t *rapid.T) {
				r := pick(t, func(r *twinRecord) bool { return !r.settled })
				if left := r.rec.Leave(); left == w.lost {
					t.Fatalf("offset %d leaves: %v", r.rec.Offset, left)
				}
				r.out = !w.lost
			},
			"return": func(t *rapid.T) {
				r := pick(t, func(r *twinRecord) bool { return r.out && !r.settled })
				r.out = false
				r.rec.Return()
			},
			"settle": func(t *rapid.T) {
				r := pick(t, func(r *twinRecord) bool { return r.out && !w.lost })
				r.settled = true
				r.rec.Settle(time.Now())
			},
			"truncate": func(t *rapid.T) {
				if w.revoked || w.lost {
					t.Skip()
				}
				at := rapid.Int64Range(max(0, w.next-6), w.next).Draw(t, "at")
				if at == w.next { // that is no truncation
					t.Skip()
				}
				p.truncate(at, 0)
				p.ask()
				w.cutFrom(at)
				w.next = at
			},
			"the log ends before what an earlier owner knew": func(t *rapid.T) {
				at := w.next + rapid.Int64Range(0, 5).Draw(t, "at")
				p.confirm(at)
				for offset := range w.earlier {
					if offset >= at {
						delete(w.earlier, offset)
					}
				}
			},
			"restart": func(t *rapid.T) {
				if w.revoked || w.lost {
					t.Skip()
				}
				p.restart()
				p.skipTo(0)
				p.ask()
				w.cutFrom(0)
				w.next = 0
			},
			"revoke": func(*rapid.T) {
				w.revoked = true
				p.revoke()
			},
			"lose": func(*rapid.T) {
				w.revoked, w.lost = true, true
				p.lose()
			},
			"what was cut off leaves, comes back and is settled": func(t *rapid.T) {
				if len(w.cut) == 0 {
					t.Skip()
				}
				r := rapid.SampledFrom(w.cut).Draw(t, "record")
				if r.rec.Leave() {
					t.Fatalf("offset %d leaves", r.rec.Offset)
				}
				r.rec.Return()
				r.rec.Settle(time.Now())
			},
			"": func(t *rapid.T) {
				for _, r := range w.cut {
					if !r.settled && !r.rec.Gone() {
						t.Fatalf("offset %d was cut off, and is not gone", r.rec.Offset)
					}
				}
				for _, r := range w.open() {
					if gone := w.lost || w.revoked && !r.out; r.rec.Gone() != gone {
						t.Fatalf("offset %d is gone: %v", r.rec.Offset, r.rec.Gone())
					}
				}
				records, _ := room.usage()
				if w.lost {
					if done, _ := p.drained(); !done || records != 0 {
						t.Fatalf("lost: drained %v, %d places", done, records)
					}
					return
				}
				if done, _ := p.drained(); done != w.drained() {
					t.Fatalf("drained %v, want %v", done, w.drained())
				}
				if want := len(w.open()); records != want {
					t.Fatalf("%d places are taken, want %d", records, want)
				}
				w.compare(t, p)
			},
		})
	})
}

// compare holds what would be committed against what it should be.
func (w *twin) compare(t *rapid.T, p *partition) {
	p.settled.version++
	s, _ := p.unsaved()
	if s.offset != w.position() {
		t.Fatalf("position %d, want %d", s.offset, w.position())
	}
	last := s.offset
	for _, span := range s.settled {
		if span.From <= last && last > s.offset || span.From < s.offset || span.To <= span.From {
			t.Fatalf("spans %v, committed %d", s.settled, s.offset)
		}
		last = span.To
	}
	known := skipping{spans: s.settled}
	for offset := s.offset; offset < w.next+20; offset++ {
		has := known.has(offset)
		if settled, matters := w.settledAt(offset); matters && has != settled {
			t.Fatalf("offset %d: settled %v, want %v; %v", offset, has, settled, s.settled)
		}
	}
}

// TestUntilDeleted: a record that retention has reached has no time left. Nobody knows how much one has whose time
// cannot be. (Kafka might delete such records in the middle of a test.)
func TestUntilDeleted(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		written time.Time
		left    time.Duration
		ok      bool
	}{
		"in time":        {now.Add(-20 * time.Minute), 40 * time.Minute, true},
		"over":           {now.Add(-61 * time.Minute), 0, true},
		"an absurd time": {time.Unix(1_700_000, 0), 0, false},
	} {
		p := newPartition("tasks", 0, newRoom(10, 1<<20).seat(), nil)
		p.resume(0, -1, nil)
		if !p.add([]*Record{{Time: c.written}}, 0) {
			t.Fatal("not added")
		}
		if left, ok := p.untilDeleted(time.Hour, now); left != c.left || ok != c.ok {
			t.Errorf("%s: %v %v, want %v %v", name, left, ok, c.left, c.ok)
		}
	}
}
