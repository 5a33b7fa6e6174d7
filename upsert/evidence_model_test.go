package upsert_test

import (
	"fmt"
	"net/http"
	"slices"
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

const second = "second_id" // another idProperty

var asJSON = http.Header{"Content-Type": {"application/json"}}

// poisons are what HubSpot may answer whenever it gets a certain record.
var poisons = map[string]hubspottest.Fault{
	"400 VALIDATION_ERROR": {Status: 400, Header: asJSON, Body: hubspottest.JSONError(400, "VALIDATION_ERROR",
		`Property values were not valid: [{"isValid":false,"error":"INVALID_OPTION","name":"hs_task_body"}]`, nil)},
	"400 that quotes": {Status: 400, Header: asJSON, Body: hubspottest.JSONError(400, "VALIDATION_ERROR",
		`Property "idProperty" is non-unique`, nil)},
	"400 without a category": {Status: 400, Header: asJSON, Body: hubspottest.JSONError(400, "", "Invalid input JSON", nil)},
	"403":                    {Status: 403, Header: asJSON, Body: hubspottest.JSONError(403, "MISSING_SCOPES", "no", nil)},
	"404":                    {Status: 404, Header: asJSON, Body: hubspottest.JSONError(404, "OBJECT_NOT_FOUND", "no", nil)},
	"409":                    {Status: 409, Header: asJSON, Body: hubspottest.JSONError(409, "CONFLICT", "exists", nil)},
	"page 500":               {Status: 500, Body: hubspottest.Page(500, "Oops")},
	"page 403":               {Status: 403, Body: hubspottest.Page(403, "Forbidden")},
	"page 413":               {Status: 413, Body: hubspottest.Page(413, "Request Entity Too Large")},
	"reset":                  {Reset: true},
	"hang":                   {Hang: true},
	"empty 200":              {Status: 200, Header: asJSON, Body: "{}"},
	"PENDING":                {BatchStatus: "PENDING"},
	"INTERNAL_ERROR":         {Items: hubspottest.Every("INTERNAL_ERROR")},
	"omitted":                {Omit: func(hubspottest.Input) bool { return true }},
}

// outages are what HubSpot may answer to a share of all requests for a while.
var outages = map[string]hubspottest.Fault{
	"503":            poisons["page 500"],
	"reset":          {Reset: true},
	"hang":           {Hang: true},
	"page 403":       poisons["page 403"],
	"page 413":       poisons["page 413"],
	"403":            poisons["403"],
	"404":            poisons["404"],
	"409":            poisons["409"],
	"401":            {Status: 401, Header: asJSON, Body: hubspottest.JSONError(401, "INVALID_AUTHENTICATION", "no", nil)},
	"423":            {Status: 423, Header: asJSON, Body: hubspottest.JSONError(423, "LOCKED", "locked", nil)},
	"429":            {Status: 429, Header: asJSON, Body: hubspottest.JSONError(429, "TEN_SECONDLY_ROLLING", "slow", nil)},
	"empty 200":      poisons["empty 200"],
	"CANCELED":       {BatchStatus: "CANCELED"},
	"INTERNAL_ERROR": poisons["INTERNAL_ERROR"],
	"written, reset": {Reset: true, AfterWrite: true},
	"cut":            {CutBody: true},
}

// evidenceStep is an event, an outage, or nothing; and the time until the next.
type evidenceStep struct {
	kind   string // good, refused, undecodable, or one of poisons; outage
	lane   int
	object int
	outage string
	share  float64
	long   time.Duration
	wait   time.Duration
}

func sortedKeys(m map[string]hubspottest.Fault) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func drawSteps(rt *rapid.T) []evidenceStep {
	var kinds []string
	for _, poison := range sortedKeys(poisons) {
		kinds = append(kinds, good, good, poison)
	}
	kinds = append(kinds, "refused", "undecodable", "outage", "outage", "outage", "outage", "outage", "outage")
	step := rapid.Custom(func(rt *rapid.T) evidenceStep {
		return evidenceStep{
			kind: rapid.SampledFrom(kinds).Draw(rt, "kind"),
			lane: rapid.IntRange(0, 3).Draw(rt, "lane"), object: rapid.IntRange(0, 5).Draw(rt, "object"),
			outage: rapid.SampledFrom(sortedKeys(outages)).Draw(rt, "outage"),
			share:  rapid.SampledFrom([]float64{0.3, 0.5, 0.7, 0, 0}).Draw(rt, "share"), // 0: all
			long:   time.Duration(rapid.IntRange(1, 120).Draw(rt, "s of the outage")) * time.Second,
			wait:   time.Duration(rapid.SampledFrom([]int{0, 0, 0, 100, 700, 3000, 30_000}).Draw(rt, "ms")) * time.Millisecond,
		}
	})
	return rapid.SliceOfN(step, 0, 60).Draw(rt, "story")
}

// TestEvidence plays random histories: events of a few objects in two topics, by two idProperties, with poison among
// them; outages of all kinds, of everything or of a share of the requests. When the last outage is over, and good
// records keep coming, each good one is written, each bad one is a dead letter, no other is, and no hold remains.
// HubSpot holds of each object what its last good event says, and the letters of an object stand in the order of its
// events.
func TestEvidence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := drawSteps(rt)
		m := &evidenceModel{bad: map[int64]bool{}, objectOf: map[int64]string{}, last: map[string]string{}}
		inFlight := rapid.SampledFrom([]int{1, 8}).Draw(rt, "in flight")
		run(t, setup{long: true, timeout: 5 * time.Second, inFlight: inFlight, tune: m.tune,
			hubspot: hubspottest.Config{IDProperties: []string{key, second}, Latency: 20 * time.Millisecond}}, func(r *rig) {
			r.decoder.IDProperties = []string{second}
			m.r = r
			m.play(steps)
			m.finish()
		})
		if m.problem != "" {
			rt.Fatal(m.problem)
		}
	})
}

type evidenceModel struct {
	r        *rig
	bad      map[int64]bool   // offsets
	objectOf map[int64]string // by offset
	last     map[string]string
	problem  string

	mu      sync.Mutex
	letters []int64 // in their order
}

func (m *evidenceModel) tune(_ *batcher.Config[*upsert.Task], s *upsert.SenderConfig) {
	s.DeadLetter = func(rec *consumer.Record, reason dlq.Reason, done func(bool)) {
		m.mu.Lock()
		m.letters = append(m.letters, rec.Offset)
		m.mu.Unlock()
		rec.Settle(time.Now())
		done(true)
	}
}

func (m *evidenceModel) play(steps []evidenceStep) {
	for _, name := range sortedKeys(poisons) {
		f := poisons[name]
		carries := hubspottest.Carries("hs_task_body", name)
		switch {
		case f.Items != nil:
			f.Items = func(in hubspottest.Input) string {
				if carries([]hubspottest.Input{in}) {
					return "INTERNAL_ERROR"
				}
				return ""
			}
		case f.Omit != nil:
			f.Omit = func(in hubspottest.Input) bool { return carries([]hubspottest.Input{in}) }
		default:
			f.Match = carries
		}
		m.r.hubspot.Inject(f)
	}
	over := time.Now()
	for _, step := range steps {
		if step.kind == "outage" {
			f := outages[step.outage]
			f.Share, f.For = step.share, step.long
			if f.Status == 403 || f.Status == 404 || f.Status == 409 {
				f.Share = 0 // refusals that strike at random cannot be told from those of a record
			}
			m.r.hubspot.Inject(f)
			if end := time.Now().Add(step.long); end.After(over) {
				over = end
			}
		} else {
			m.event(step.kind, step.lane, fmt.Sprint("o", step.object))
		}
		time.Sleep(step.wait)
	}
	time.Sleep(time.Until(over))
}

// event lets an event of the kind arrive.
func (m *evidenceModel) event(kind string, lane int, object string) {
	id := fmt.Sprintf("lane%d-%s", lane, object)
	n := len(m.r.records)
	property := []string{key, second}[lane%2]
	props := fmt.Sprintf(`"hs_timestamp":"2026-11-23T10:00:00Z","hs_task_subject":"%d"`, n)
	switch kind {
	case good:
		m.last[property+"\x00"+id] = fmt.Sprint(n)
	case "refused":
		props += "," + bad
	case "undecodable":
		props += `,"hs_task_body":[]`
	default:
		props += fmt.Sprintf(`,"hs_task_body":%q`, kind)
	}
	rec := m.r.arrive([]string{"tasks", "notes"}[lane/2], 0, fmt.Sprintf(`{"id":%q,"idProperty":%q,"properties":{%s}}`, id,
		property, props))
	m.bad[rec.Offset], m.objectOf[rec.Offset] = kind != good, id
}

// finish lets good records come until all is settled.
func (m *evidenceModel) finish() {
	start, left := time.Now(), 0
	story := len(m.r.records)
	for i := 0; left < story || i < 5; i++ {
		for lane := range 4 {
			m.event(good, lane, fmt.Sprint("later", i))
		}
		time.Sleep(2 * time.Second)
		for left < story && m.r.records[left].Settled() {
			left++
		}
		if time.Since(start) > 3*time.Hour {
			m.problem = fmt.Sprintf("record %d is not settled, holds %v", left, m.r.board.List())
			return
		}
	}
	time.Sleep(10 * time.Second)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check()
}

func (m *evidenceModel) check() {
	last := map[string]int64{}
	for _, offset := range m.letters {
		if !m.bad[offset] {
			m.problem = fmt.Sprintf("record %d is good, and a dead letter", offset)
		}
		delete(m.bad, offset)
		object := m.objectOf[offset]
		if before, ok := last[object]; ok && before > offset {
			m.problem = fmt.Sprintf("the letter of %d comes after that of %d, of the same object", offset, before)
		}
		last[object] = offset
	}
	for offset, is := range m.bad {
		if is {
			m.problem = fmt.Sprintf("record %d is bad, and no dead letter", offset)
		}
	}
	objects := m.r.hubspot.Objects()
	for object, want := range m.last {
		if got := objects[object]["hs_task_subject"]; got != want {
			m.problem = fmt.Sprintf("HubSpot holds %q with the event %s, want %s", object, got, want)
		}
	}
	for _, rec := range m.r.records {
		if !rec.Settled() {
			m.problem = fmt.Sprintf("record %d is not settled", rec.Offset)
		}
	}
	if list := m.r.holds(); list != "" {
		m.problem = "holds remain: " + list
	}
}
