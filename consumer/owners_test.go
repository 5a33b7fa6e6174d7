package consumer

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tasksink/tasksink/consumer/offsetmap"
)

// event is one record of the log in TestOwners. No two events are equal: what stands at an offset after a truncation is
// another event.
type event struct {
	topic  topicID
	epoch  int32
	offset int64
	object int
}

// world is what owners of a partition come and go in: the log, the group's commit, and HubSpot. It knows what the
// owners cannot know.
type world struct {
	topic topicID
	epoch int32
	log   []event // without gaps: the index is the offset

	offset   int64 // the commit
	leader   int32
	metadata string
	pending  *promise       // a commit that was sent, and that the coordinator has not stored
	covered  map[event]bool // by a commit that was accepted

	settled map[event]bool
	hubspot map[int]event // what was written last, by object

	p      *partition // the owner's
	room   *room
	open   []*Record
	events map[*Record]event
}

// promise is a commit on the wire.
type promise struct {
	offset   int64
	leader   int32
	metadata string
	covers   []event
}

var ownersPlace = offsetmap.Place{Cluster: "c", Group: "g"}

// start gives the partition to a new owner.
func (w *world) start() {
	w.room = newRoom(1000, 1<<30)
	w.p = newPartition("tasks", 0, w.room.seat(), nil)
	w.open, w.events, w.pending = nil, map[*Record]event{}, nil
	var stored *offsetmap.Stored
	if s, err := offsetmap.Decode(w.metadata); err == nil && s.SameCluster("c") && s.SameGroup("g") &&
		s.Committed == w.offset {
		stored = &s
	}
	w.p.resume(w.offset, w.leader, stored)
	if w.offset < 0 {
		w.p.skipTo(0)
	}
	w.look()
}

// look is what the owner does before each fetch: it asks for the topic's id, and a new leader for its log.
func (w *world) look() {
	if w.p.bind(w.topic) {
		w.p.restart()
		w.p.skipTo(0)
		w.p.ask()
		w.forget()
	}
	if epoch, due := w.p.compare(w.epoch); due {
		end := int64(0)
		for _, e := range w.log {
			if e.epoch <= epoch {
				end = e.offset + 1
			}
		}
		w.p.truncate(end, epoch)
		w.p.confirm(end)
		w.p.compared()
		w.forget()
	}
}

// forget drops what the owner gave up.
func (w *world) forget() { w.open = slices.DeleteFunc(w.open, (*Record).Gone) }

// fetch delivers up to n records.
func (w *world) fetch(t *rapid.T, n int) {
	w.look()
	w.p.leap()
	at, _ := w.p.ask()
	if at > int64(len(w.log)) {
		t.Fatalf("the position %d lies behind the end %d of the log", at, len(w.log))
	}
	for ; at < int64(len(w.log)) && n > 0; n-- {
		e := w.log[at]
		at++
		known := skipping{spans: w.p.known(e.epoch)}
		if known.has(e.offset) {
			if !w.settled[e] {
				t.Fatalf("%+v is skipped, and was never settled", e)
			}
			w.p.pass(at, e.epoch)
			continue
		}
		if w.covered[e] {
			t.Fatalf("%+v is delivered, and an accepted commit covers it", e)
		}
		r := &Record{Offset: e.offset, Value: []byte("x")}
		if w.p.seat.take([]*Record{r}) != 1 || !w.p.add([]*Record{r}, e.epoch) {
			t.Fatal("not added")
		}
		w.p.pass(at, e.epoch)
		w.events[r], w.open = e, append(w.open, r)
	}
}

// heads are the open records that no earlier record of their object stands before.
func (w *world) heads() (heads []*Record) {
	seen := map[int]bool{}
	for _, r := range w.open {
		if object := w.events[r].object; !seen[object] {
			seen[object], heads = true, append(heads, r)
		}
	}
	return heads
}

// settle writes a record to HubSpot.
func (w *world) settle(r *Record) {
	e := w.events[r]
	r.Leave()
	r.Settle(time.Now())
	w.settled[e], w.hubspot[e.object] = true, e
	w.open = slices.DeleteFunc(w.open, func(x *Record) bool { return x == r })
}

// commit sends what the owner would commit now.
func (w *world) commit(limit int) (s snapshot, sent bool) {
	s, sent = w.p.unsaved()
	if !sent {
		return s, false
	}
	place := ownersPlace
	place.Topic = s.log
	text := ""
	if place.Topic != (topicID{}) {
		text, _ = new(offsetmap.Encoder).Encode(place, offsetmap.Map{Committed: s.offset, Epoch: s.newest,
			Settled: s.settled},
			limit)
	}
	w.pending = &promise{offset: s.offset, leader: s.epoch, metadata: text}
	known := skipping{}
	if stored, err := offsetmap.Decode(text); err == nil {
		known.spans = stored.Settled
	}
	if place.Topic == w.topic {
		for _, e := range w.log {
			if e.offset < s.offset || known.has(e.offset) {
				w.pending.covers = append(w.pending.covers, e)
			}
		}
	}
	return s, true
}

// store lets the coordinator store the commit that is on the wire.
func (w *world) store() {
	w.offset, w.leader, w.metadata = w.pending.offset, w.pending.leader, w.pending.metadata
	clear(w.covered) // what it does not cover may be delivered again
	for _, e := range w.pending.covers {
		w.covered[e] = true
	}
	w.pending = nil
}

// TestOwners lets owners of a partition come and go, cleanly and by crashes, while its log is truncated and its topic
// created again, records are settled in any order, and commits are late, or lost. No owner skips what was not settled,
// and none is given what an accepted commit covers. In the end all is settled, and HubSpot has the newest state of each
// object.
func TestOwners(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{topic: topicID{1}, offset: -1, leader: -1, covered: map[event]bool{}, settled: map[event]bool{},
			hubspot: map[int]event{}}
		w.start()
		produce := func(n int) {
			for range n {
				w.log = append(w.log, event{w.topic, w.epoch, int64(len(w.log)), rapid.IntRange(0, 3).Draw(t, "object")})
			}
		}
		produce(rapid.IntRange(0, 10).Draw(t, "records"))
		t.Repeat(map[string]func(*rapid.T){
			"produce":       func(t *rapid.T) { produce(rapid.IntRange(1, 5).Draw(t, "records")) },
			"another epoch": func(*rapid.T) { w.epoch++ },
			"truncate": func(t *rapid.T) {
				w.log = w.log[:rapid.IntRange(0, len(w.log)).Draw(t, "to")]
				w.epoch++
				produce(rapid.IntRange(0, 5).Draw(t, "records"))
			},
			"create again": func(t *rapid.T) {
				w.topic[0]++
				w.log = nil
				// Kafka deletes the commit with the topic, unless one that was on the wire comes behind the deletion.
				if w.metadata == "" || rapid.Bool().Draw(t, "the commit is deleted") {
					w.offset, w.leader, w.metadata = -1, -1, ""
				}
				produce(rapid.IntRange(0, 5).Draw(t, "records"))
			},
			"fetch": func(t *rapid.T) { w.fetch(t, rapid.IntRange(1, 5).Draw(t, "records")) },
			"settle": func(t *rapid.T) {
				w.forget()
				if heads := w.heads(); len(heads) > 0 {
					w.settle(rapid.SampledFrom(heads).Draw(t, "record"))
				}
			},
			"commit": func(t *rapid.T) {
				w.look()
				s, sent := w.commit(rapid.SampledFrom([]int{4096, 75, 10}).Draw(t, "limit"))
				if !sent {
					return
				}
				switch rapid.SampledFrom([]string{"accepted", "lost", "no answer"}).Draw(t, "outcome") {
				case "accepted":
					w.store()
					w.p.accepted(s, 0)
				case "lost":
					w.pending = nil
					w.p.unanswered(s)
				case "no answer":
					w.p.unanswered(s)
				}
			},
			"a commit arrives late": func(*rapid.T) {
				if w.pending != nil {
					w.store()
				}
			},
			"crash": func(*rapid.T) { w.start() },
			"hand over": func(*rapid.T) {
				w.look()
				if s, sent := w.commit(4096); sent {
					w.store()
					w.p.accepted(s, 0)
				}
				w.start()
			},
			"reset": func(t *rapid.T) {
				w.offset, w.leader, w.metadata = int64(rapid.IntRange(0, len(w.log)).Draw(t, "to")), -1, ""
				for _, e := range w.log[:w.offset] {
					w.settled[e], w.hubspot[e.object], w.leader = true, e, e.epoch // the operator says so
				}
				clear(w.covered)
				w.start()
			},
		})
		for w.fetch(t, len(w.log)+1); len(w.open) > 0; {
			w.settle(w.heads()[0])
		}
		newest := map[int]event{}
		for _, e := range w.log {
			if !w.settled[e] {
				t.Fatalf("%+v was never settled", e)
			}
			newest[e.object] = e
		}
		if at := w.p.at(); at != int64(len(w.log)) {
			t.Fatalf("position %d of %d", at, len(w.log))
		}
		for object, e := range newest {
			if got := w.hubspot[object]; got != e && slices.Contains(w.log, got) { // what the log has lost stays in HubSpot
				t.Fatalf("HubSpot has %+v of object %d, and the newest is %+v", got, object, e)
			}
		}
	})
}
