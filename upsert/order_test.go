package upsert_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/upsert"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// The kinds of events in the model test.
const (
	good         = "good"
	refused      = "refused"         // by HubSpot, by name
	badProperty  = "a bad property"  // no task event; its id can be read
	keyOnly      = "only a key"      // no JSON; its key names the object
	nameless     = "nameless"        // no JSON, and no key
	panicDecode  = "panic in decode" // its key names the object
	panicUpsert  = "panic in upsert" // as its input is encoded
	modelObjects = 4
)

// happening is a step of the model test.
type happening struct {
	kind   string // of an event, or: wait, letters fail, letters pass, revoke, operator
	object int
	wait   time.Duration
}

// TestOrder plays random histories: events of a few objects, HubSpot's answers out of order or missing, letters that
// are acknowledged late or fail for a while, partitions that are given up and come back, an operator who lists all bad
// events. At each moment the settled
// records of an object are the first of its records, so that whoever skips them skips nothing that an open one needs.
// In the end HubSpot holds of each object what its good events say in their order, and each bad event has one letter,
// in their order, too. Giving up a partition waits only for what is on the wire.
func TestOrder(t *testing.T) {
	defer upsert.Inspect(func(stage string, rec *consumer.Record) {
		if strings.Contains(string(rec.Value), "panic in "+stage) {
			panic("as the test wants it")
		}
	})()
	kinds := []string{good, good, good, good, refused, badProperty, keyOnly, nameless, panicDecode, panicUpsert,
		"wait", "wait", "letters fail", "letters pass", "revoke", "operator"}
	rapid.Check(t, func(rt *rapid.T) {
		story := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) happening {
			return happening{rapid.SampledFrom(kinds).Draw(rt, "kind"), rapid.IntRange(0, modelObjects-1).Draw(rt, "object"),
				time.Duration(rapid.IntRange(0, 1500).Draw(rt, "ms")) * time.Millisecond}
		}), 0, 40).Draw(rt, "story")
		delays := rapid.SliceOfN(rapid.IntRange(0, 1000), modelObjects, modelObjects).Draw(rt, "ms of each object's answers")
		faults := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 3).Draw(rt, "faults")
		letterTakes := time.Duration(rapid.IntRange(0, 300).Draw(rt, "ms of a letter")) * time.Millisecond
		m := newModel(letterTakes)
		run(t, setup{letFlood: true, tune: m.tune}, func(r *rig) {
			for _, f := range faults {
				r.hubspot.Inject([]hubspottest.Fault{{Times: 1, Status: 503}, {Times: 1, DropResults: 1},
					{Times: 1, AfterWrite: true, Reset: true}, {Times: 1, BatchStatus: "PENDING"}}[f])
			}
			for object, ms := range delays {
				r.hubspot.Inject(hubspottest.Fault{Delay: time.Duration(ms) * time.Millisecond,
					Match: func(in []hubspottest.Input) bool { return in[0].ID == fmt.Sprint("o", object) }})
			}
			m.play(r, story)
		})
		if m.problem != "" {
			rt.Fatal(m.problem)
		}
	})
}

// model is Kafka as the test's Sender sees it: two partitions, and a writer of letters that works as dlq.Writer does.
type model struct {
	takes time.Duration // a write of letters

	mu      sync.Mutex
	parts   [2]modelPart
	wire    map[*consumer.Record]bool
	of      map[*consumer.Record]*term
	queue   []modelLetter
	failing bool
	broken  bool // the dead-letter topic cannot be written
	letters []place
	problem string // the first one
}

type place struct {
	partition int
	offset    int64
}

type modelPart struct {
	term    *term
	kinds   []string // of its events, by offset
	objects []string // "" of those that name none
	records []*consumer.Record
}

// term is the time from when a partition is assigned until it is given up.
type term struct{ revoked, lost bool }

type modelLetter struct {
	rec  *consumer.Record
	done func(bool)
}

func newModel(takes time.Duration) *model {
	m := &model{takes: takes, wire: map[*consumer.Record]bool{}, of: map[*consumer.Record]*term{}}
	for i := range m.parts {
		m.parts[i].term = &term{}
	}
	return m
}

func (m *model) locked(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *model) fail(format string, args ...any) {
	if m.problem == "" {
		m.problem = fmt.Sprintf(format, args...)
	}
}

// gone, leave and back are a consumer.Record's Gone, Leave and Return; m.mu is held.
func (m *model) gone(rec *consumer.Record) bool {
	t := m.of[rec]
	return t.lost || t.revoked && !m.wire[rec]
}

func (m *model) leave(rec *consumer.Record) { m.wire[rec] = !m.of[rec].lost }

func (m *model) back(rec *consumer.Record) { m.wire[rec] = false }

func (m *model) isGone(rec *consumer.Record) (gone bool) {
	m.locked(func() { gone = m.gone(rec) })
	return gone
}

func (m *model) tune(queue *batcher.Config[*upsert.Task], sender *upsert.SenderConfig) {
	queue.Size, queue.Wait, sender.BatchSize = 2, 100*time.Millisecond, 2
	queue.Leave = func(t *upsert.Task) { m.locked(func() { m.leave(t.Record) }) }
	queue.Return = func(t *upsert.Task) (gone bool) {
		m.locked(func() {
			m.back(t.Record)
			gone = m.gone(t.Record) || t.Record.Settled()
		})
		return gone
	}
	sender.DeadLetter = func(rec *consumer.Record, _ dlq.Reason, done func(bool)) {
		m.locked(func() {
			if m.failing {
				m.back(rec)
			} else if !m.gone(rec) {
				m.leave(rec)
			}
			m.queue = append(m.queue, modelLetter{rec, done})
		})
	}
	sender.DropLetters = func(gone func(*consumer.Record) bool) {
		m.mu.Lock()
		queue := m.queue
		m.queue = nil
		m.mu.Unlock()
		var kept []modelLetter
		for _, l := range queue {
			if gone(l.rec) {
				l.done(false)
			} else {
				kept = append(kept, l)
			}
		}
		m.locked(func() { m.queue = append(kept, m.queue...) })
	}
}

// write writes the letters that wait, or fails to.
func (m *model) write() {
	var batch, given []modelLetter
	m.locked(func() {
		for _, l := range m.queue {
			if m.gone(l.rec) {
				given = append(given, l)
				continue
			}
			m.leave(l.rec)
			batch = append(batch, l)
		}
		m.queue = nil
	})
	for _, l := range given {
		l.done(false)
	}
	if len(batch) == 0 {
		return
	}
	time.Sleep(m.takes)
	failed := false
	m.locked(func() {
		if failed = m.broken; failed {
			m.queue = append(batch, m.queue...)
		}
		for _, l := range m.queue {
			if failed {
				m.back(l.rec)
			} else if m.failing && !m.gone(l.rec) {
				m.leave(l.rec)
			}
		}
		m.failing = failed
	})
	for _, l := range batch {
		if !failed {
			m.locked(func() {
				m.letters = append(m.letters, place{l.rec.Partition, l.rec.Offset})
				l.rec.Settle(time.Now())
			})
			m.check()
			l.done(true)
		}
	}
}

// play plays a story to its end, and holds the result against the rules.
func (m *model) play(r *rig, story []happening) {
	var parts sync.WaitGroup
	stop := make(chan struct{})
	loop := func(every time.Duration, f func()) {
		parts.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(every):
					f()
				}
			}
		})
	}
	loop(10*time.Millisecond, m.write)
	loop(5*time.Millisecond, m.check)
	for _, h := range story {
		switch h.kind {
		case "wait":
			time.Sleep(h.wait)
		case "letters fail", "letters pass":
			m.locked(func() { m.broken = h.kind == "letters fail" })
		case "revoke":
			m.revoke(r, h.object%2)
		case "operator":
			m.operate(r)
		default:
			m.produce(r, h)
		}
	}
	m.locked(func() { m.broken = false })
	for start := time.Now(); m.open() > 0 && time.Since(start) < 10*time.Minute; {
		time.Sleep(10 * time.Millisecond)
	}
	close(stop)
	parts.Wait()
	m.judge(r)
}

// operate makes letters of the bad events that failed. They would become letters anyway.
func (m *model) operate(r *rig) {
	r.sender.DeadLetterListed(func(rec *consumer.Record) (bad bool) {
		m.locked(func() { bad = m.parts[rec.Partition].kinds[rec.Offset] != good })
		return bad
	})
}

func (m *model) produce(r *rig, h happening) {
	p, id := &m.parts[h.object%2], fmt.Sprint("o", h.object)
	offset := len(p.records)
	rec := &consumer.Record{Topic: "tasks", Partition: h.object % 2, Offset: int64(offset)}
	written := fmt.Sprintf(`"hs_task_subject":"%d","%s":"%d"`, offset, property(offset), offset)
	object := id
	switch h.kind {
	case good:
		rec.Value = []byte(event(id, written))
	case refused:
		rec.Value = []byte(event(id, written, bad))
	case badProperty:
		rec.Value = []byte(event(id, `"x":[]`))
	case keyOnly:
		rec.Key, rec.Value = []byte(id), []byte("{")
	case nameless:
		rec.Value, object = []byte("{"), ""
	default: // it panics
		rec.Key, rec.Value = []byte(id), []byte(event(id, subject(h.kind)))
	}
	m.locked(func() {
		p.kinds, p.objects, p.records = append(p.kinds, h.kind), append(p.objects, object), append(p.records, rec)
	})
	m.deliver(r, rec)
}

// property is one that not every event writes.
func property(offset int) string {
	return []string{"hs_task_body", "hs_queue_membership_ids"}[offset%2]
}

func (m *model) deliver(r *rig, rec *consumer.Record) {
	m.locked(func() { m.of[rec] = m.parts[rec.Partition].term })
	task, reason := r.decoder.Decode(rec)
	if reason != nil {
		r.sender.Refuse(task, reason)
		return
	}
	r.queue.Add(task.IDProperty, task.ID, task, upsert.InputSize(task), false)
}

// revoke gives up a partition as a consumer does, and takes it over again: what is not settled is delivered once more.
func (m *model) revoke(r *rig, partition int) {
	p := &m.parts[partition]
	m.locked(func() { p.term.revoked = true })
	r.sender.Drop(m.isGone)
	for start := time.Now(); m.onWire(p) > 0; time.Sleep(time.Millisecond) {
		if time.Since(start) > 3*time.Second {
			m.locked(func() { m.fail("partition %d: a drain waits for more than what is on the wire", partition) })
			break
		}
	}
	m.locked(func() { p.term.lost = true })
	r.sender.Drop(m.isGone)
	var again []*consumer.Record
	m.locked(func() {
		p.term = &term{}
		for i, rec := range p.records {
			if !rec.Settled() {
				p.records[i] = &consumer.Record{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Key: rec.Key,
					Value: rec.Value}
				again = append(again, p.records[i])
			}
		}
	})
	for _, rec := range again {
		m.deliver(r, rec)
	}
}

func (m *model) onWire(p *modelPart) (n int) {
	m.locked(func() {
		for _, rec := range p.records {
			if m.wire[rec] && !rec.Settled() {
				n++
			}
		}
	})
	return n
}

func (m *model) open() (n int) {
	m.locked(func() {
		for _, p := range m.parts {
			for _, rec := range p.records {
				if !rec.Settled() {
					n++
				}
			}
		}
	})
	return n
}

// check wants the settled records of each object to be its first ones. It looks at the last ones first: the Sender goes
// on meanwhile, and settles in their order.
func (m *model) check() {
	m.locked(func() {
		for id, p := range m.parts {
			settled := map[string]int{}
			for offset, rec := range slices.Backward(p.records) {
				object := p.objects[offset]
				if rec.Settled() {
					settled[object] = offset
				} else if later, is := settled[object]; is && object != "" {
					m.fail("object %s: %d/%d is settled, and %d before it is not", object, id, later, offset)
				}
			}
		}
	})
}

// judge compares the end with what the events say.
func (m *model) judge(r *rig) {
	if n := m.open(); n > 0 {
		m.fail("%d records are not settled", n)
	}
	want, bad := map[string]map[string]string{}, 0
	for _, p := range m.parts {
		for offset, kind := range p.kinds {
			if kind != good {
				bad++
				continue
			}
			if want[p.objects[offset]] == nil {
				want[p.objects[offset]] = map[string]string{}
			}
			want[p.objects[offset]]["hs_task_subject"] = fmt.Sprint(offset)
			want[p.objects[offset]][property(offset)] = fmt.Sprint(offset)
		}
	}
	objects := r.hubspot.Objects()
	if len(objects) != len(want) {
		m.fail("HubSpot holds %d objects, want %d", len(objects), len(want))
	}
	for id, properties := range want {
		for name, value := range properties {
			if got := objects[key+"\x00"+id][name]; got != value {
				m.fail("HubSpot holds %s.%s = %q, want %q", id, name, got, value)
			}
		}
	}
	last, seen := map[string]int64{}, map[place]bool{}
	for _, l := range m.letters {
		object := m.parts[l.partition].objects[l.offset]
		if before, has := last[object]; object != "" && has && l.offset < before {
			m.fail("object %s: the letter of offset %d stands behind that of %d", object, l.offset, before)
		}
		if seen[l] || m.parts[l.partition].kinds[l.offset] == good {
			m.fail("%+v (%s) has a letter too many", l, m.parts[l.partition].kinds[l.offset])
		}
		last[object], seen[l] = l.offset, true
	}
	if len(seen) != bad {
		m.fail("%d letters, want %d: %v", len(seen), bad, slices.Collect(maps.Keys(seen)))
	}
}
