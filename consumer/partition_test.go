package consumer

import (
	"testing"

	"github.com/segmentio/kafka-go"
	"pgregory.net/rapid"
)

// twin is a partition as a child would keep it: every record ever delivered, with what happened to it.
type twin struct {
	records []*twinRecord
	next    int64
	sent    int64
	revoked bool
	lost    bool
	cut     []*twinRecord // no longer in the log
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
	w.records, w.sent = kept, min(w.sent, at-1)
}

type twinRecord struct {
	rec     *Record
	settled bool
	waits   bool // for its turn
	called  int
}

// run is how many records from the front are settled.
func (w *twin) run() (n int) {
	for n < len(w.records) && w.records[n].settled {
		n++
	}
	return n
}

func (w *twin) position() int64 {
	if n := w.run(); n < len(w.records) {
		return w.records[n].rec.Offset
	}
	return w.next
}

func (w *twin) drained() bool {
	for _, r := range w.records {
		if !r.settled && r.rec.Offset <= w.sent {
			return false
		}
	}
	return true
}

// due tells whether nothing that is neither settled nor sent lies before the i-th record.
func (w *twin) due(i int) bool {
	if w.records[i].rec.Offset <= w.sent {
		return true
	}
	for _, r := range w.records[:i] {
		if !r.settled && r.rec.Offset > w.sent {
			return false
		}
	}
	return !w.revoked
}

// TestJump: behind what retention deleted, no leader is asked about the epoch that was read before.
func TestJump(t *testing.T) {
	t.Parallel()
	p := newPartition("tasks", 0, newRoom(10, 1<<20).seat(), nil)
	p.resume(100, -1)
	p.ask()
	p.pass(101, 3)
	if epoch, due := p.compare(7); !due || epoch != 3 {
		t.Errorf("a new leader is asked about epoch %d: %v", epoch, due)
	}
	if !p.jump(101, 500) {
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
	p.resume(100, -1)
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
		p.resume(100, -1)
		p.ask()
		p.restart()
		if err := g.take(t.Context(), 1, p, true, &res, &intake{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, started := p.begun(); started || c.lost.Load() != 0 || p.nextOffset() != -1 {
			t.Errorf("%s: %d records count as lost, and the position is %d", name, c.lost.Load(), p.nextOffset())
		}
		if p.jump(100, 150) || p.truncate(60, -1) != 0 || p.nextOffset() != -1 {
			t.Errorf("%s: what the old log's answer says has moved the position to %d", name, p.nextOffset())
		}
	}
}

// TestPartition holds the tracking of offsets against its twin, through deliveries with gaps, and records that are
// sent and settled in any order.
func TestPartition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		room := newRoom(1000, 1<<30)
		p := newPartition("tasks", 0, room.seat(), nil)
		p.resume(rapid.Int64Range(0, 5).Draw(t, "start"), -1)
		w := &twin{next: p.next, sent: -1}
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
				recs, end := make([]Record, rapid.IntRange(1, 4).Draw(t, "records")), w.next
				for i := range recs {
					recs[i].Offset, recs[i].Value = end+rapid.Int64Range(0, 3).Draw(t, "gap"), []byte("x")
					end = recs[i].Offset + 1
				}
				recs = recs[:p.seat.take(recs)]
				added := p.add(recs, 0)
				if added == (w.revoked || w.lost) {
					t.Fatalf("added: %v", added)
				}
				if !added {
					p.seat.give(len(recs), sizes(recs))
					return
				}
				for i := range recs {
					w.records = append(w.records, &twinRecord{rec: &recs[i]})
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
			"send": func(t *rapid.T) {
				r := pick(t, func(r *twinRecord) bool { return !w.lost && !r.rec.gone() && !r.waits })
				w.sent = max(w.sent, r.rec.Offset)
				r.rec.Sent()
			},
			"settle": func(t *rapid.T) {
				r := pick(t, func(r *twinRecord) bool { return r.rec.Offset <= w.sent })
				r.settled = true
				r.rec.Settle()
			},
			"wait for its turn": func(t *rapid.T) {
				// As the consumer calls it: in order, when a record is delivered; those of its group are added by then.
				if w.revoked {
					t.Skip()
				}
				last := int64(-1)
				for _, r := range w.records {
					if r.waits {
						last = r.rec.Offset
					}
				}
				r := pick(t, func(r *twinRecord) bool { return r.rec.Offset > last && !r.settled && r.rec.Offset > w.sent })
				r.waits = true
				r.rec.WhenDue(func() { r.called++; r.rec.Sent() })
			},
			"truncate": func(t *rapid.T) {
				if w.revoked || w.lost {
					t.Skip()
				}
				at := rapid.Int64Range(max(0, w.next-6), w.next).Draw(t, "at")
				p.truncate(at, 0)
				p.ask()
				w.cutFrom(at)
				w.next = at
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
			"send or settle what was cut off": func(t *rapid.T) {
				if len(w.cut) == 0 {
					t.Skip()
				}
				r := rapid.SampledFrom(w.cut).Draw(t, "record")
				r.rec.Sent()
				r.rec.Settle()
			},
			"": func(t *rapid.T) {
				for _, r := range w.cut {
					if !r.rec.gone() || !r.rec.Lost() {
						t.Fatalf("offset %d was cut off: gone %v, lost %v", r.rec.Offset, r.rec.gone(), r.rec.Lost())
					}
				}
				for i, r := range w.records {
					if r.waits && w.due(i) && !w.lost { // its turn sends it
						w.sent = max(w.sent, r.rec.Offset)
					}
				}
				for i, r := range w.records {
					if r.called > 1 || r.waits && !w.lost && (r.called == 1) != w.due(i) {
						t.Fatalf("record %d of %d: called %d times, due %v", i, len(w.records), r.called, w.due(i))
					}
					if gone := w.lost || w.revoked && r.rec.Offset > w.sent; r.rec.gone() != gone || r.rec.Lost() != w.lost {
						t.Fatalf("record %d: gone %v, lost %v", i, r.rec.gone(), r.rec.Lost())
					}
				}
				records, _ := room.usage()
				if w.lost {
					if done, _ := p.drained(); !done || records != 0 {
						t.Fatalf("lost: drained %v, %d places", done, records)
					}
					return
				}
				if at, _ := p.position(); at != w.position() {
					t.Fatalf("position %d, want %d", at, w.position())
				}
				if done, _ := p.drained(); done != w.drained() {
					t.Fatalf("drained %v, want %v", done, w.drained())
				}
				if want := len(w.records) - w.run(); records != want {
					t.Fatalf("%d places are taken, want %d", records, want)
				}
			},
		})
	})
}
