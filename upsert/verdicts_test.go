package upsert_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// answers are what a request can meet: each status with HubSpot's JSON and with a page of something before it, no
// answer at all, and bodies that speak for each input.
func answers() (list []struct {
	name  string
	fault hubspottest.Fault
}) {
	add := func(name string, fault hubspottest.Fault) {
		list = append(list, struct {
			name  string
			fault hubspottest.Fault
		}{name, fault})
	}
	add("400 JSON, names a property", refusal(400, "VALIDATION_ERROR", invalidOption, nil))
	add("400 JSON, names nothing", refusal(400, "VALIDATION_ERROR", "something is wrong", nil))
	add("400 JSON, malformed input", refusal(400, "", "Invalid input JSON on line 1, column 3301: Cannot deserialize", nil))
	add("400 JSON, non-unique idProperty", refusal(400, "VALIDATION_ERROR",
		"Unable to perform update/upsert by non-unique 0-27 property external_task_id in portal ID 1", nil))
	for _, status := range []int{401, 402, 403, 404, 405, 408, 409, 410, 413, 414, 422, 423, 429, 431, 477, 500, 502,
		503} {
		category := words[status]
		add(fmt.Sprintf("%d JSON%s", status, strings.TrimRight(" "+category, " ")),
			refusal(status, cmp.Or(category, "HUBSPOTS_WORD"), "no", nil))
	}
	for _, status := range []int{200, 204, 307, 400, 401, 402, 403, 404, 407, 408, 409, 413, 422, 423, 429, 477, 500,
		502, 503, 504, 520, 524, 530} {
		f := page(status, "a page")
		if status == 204 {
			f.Body = ""
		}
		add(fmt.Sprintf("%d page", status), f)
	}
	add("429 JSON DAILY", refusal(429, "DAILY", "You have reached your daily limit.", nil))
	add("no answer: reset", hubspottest.Fault{Reset: true})
	add("no answer: hangs", hubspottest.Fault{Hang: true})
	add("200 empty", hubspottest.Fault{Status: 200, Body: " "})
	add("200 {}", hubspottest.Fault{Status: 200, Body: "{}"})
	for _, status := range []string{"PENDING", "PROCESSING", "CANCELED", "COMPLETE"} {
		add("200 "+status+", no results", hubspottest.Fault{BatchStatus: status})
	}
	add("207, in neither list", hubspottest.Fault{Omit: func(hubspottest.Input) bool { return true }})
	for _, category := range []string{"VALIDATION_ERROR", "OBJECT_NOT_FOUND", "BAD_REQUEST", "USER_DEFINED", "CONFLICT",
		"OBJECT_ALREADY_EXISTS", "INTERNAL_ERROR", "RATE_LIMITS", "SERVICE_UNAVAILABLE", "SOMETHING_NEW"} {
		add("207 item "+category, hubspottest.Fault{Items: hubspottest.Every(category)})
	}
	return list
}

// words are the categories that go with a status in public reports.
var words = map[int]string{401: "INVALID_AUTHENTICATION", 403: "MISSING_SCOPES", 404: "OBJECT_NOT_FOUND", 409: "CONFLICT",
	429: "TEN_SECONDLY_ROLLING", 477: "MIGRATION_IN_PROGRESS", 500: "INTERNAL_ERROR"}

// situations are who gets an answer, and what becomes of the others meanwhile.
var situations = []struct {
	name      string
	everybody bool          // else one record gets it
	others    time.Duration // between the others; for three minutes
	later     time.Duration // and after that; 0: there are none
}{
	{"One record gets it. Others pass, 24 a minute", false, 2500 * time.Millisecond, 5 * time.Minute},
	{"One record gets it. It is a quiet topic, on which a record passes every five minutes", false, 5 * time.Minute, 5 * time.Minute},
	{"One record gets it. There are no others", false, 0, 0},
	{"Everybody of a topic gets it. Another topic passes, 24 records a minute", true, 2500 * time.Millisecond, 5 * time.Minute},
	{"Everybody gets it: twenty records", true, 0, 0},
}

// of makes a fault strike what is asked for only.
func of(f hubspottest.Fault, strikes func(hubspottest.Input) bool) hubspottest.Fault {
	items, omit := f.Items, f.Omit
	switch {
	case items != nil:
		f.Items = func(in hubspottest.Input) string {
			if !strikes(in) {
				return ""
			}
			return items(in)
		}
	case omit != nil:
		f.Omit = strikes
	default:
		f.Match = func(in []hubspottest.Input) bool { return slices.ContainsFunc(in, strikes) }
		if !f.Hang && !f.Reset {
			f.Delay = wireDelay
		}
	}
	return f
}

// verdict says what became of records.
func (r *rig) verdict(records []*consumer.Record) string {
	beside := -len(records)
	for _, rec := range r.records {
		if rec.Settled() {
			beside++
		}
	}
	r.mu.Lock()
	letters, open, category := 0, 0, ""
	for _, rec := range records {
		reason, isLetter := r.letters[rec.Offset]
		switch {
		case isLetter:
			letters, category = letters+1, reason.Category
		case !rec.Settled():
			open++
		}
	}
	strange, beside := len(r.letters)-letters, beside+open
	r.mu.Unlock()
	var said []string
	say := func(n int, what string) {
		if n > 0 && len(records) == 1 {
			said = append(said, what)
		} else if n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, what))
		}
	}
	say(letters, "letter "+category)
	say(open, "open")
	say(len(records)-letters-open, "written")
	if strange > 0 {
		said = append(said, fmt.Sprintf("%d OTHERS ARE LETTERS", strange))
	}
	if holds := r.holds(); holds != "" {
		said = append(said, "hold "+holds)
	}
	return strings.Join(said, ", ") + ", " + about(len(r.hubspot.Requests())-beside)
}

// about is a number of requests so roughly that jitter does not change it.
func about(n int) string {
	for _, most := range []int{12, 40, 130, 400, 1300} {
		if n <= most {
			return fmt.Sprintf("≤ %d requests", most)
		}
	}
	return "MANY REQUESTS"
}

// decide plays an answer in a situation, and returns what it came to after a minute and after an hour.
func decide(t *testing.T, fault hubspottest.Fault, everybody bool, others, later time.Duration) (minute, hour string) {
	t.Helper()
	run(t, setup{hubspot: hubspottest.Config{Latency: wireDelay}}, func(r *rig) {
		strikes := func(in hubspottest.Input) bool { return strings.HasPrefix(in.TraceID, "sick-") }
		topic := "sick"
		if !everybody {
			strikes, topic = isPoison, "tasks"
		}
		remove := r.hubspot.Inject(of(fault, strikes))
		began, passing := time.Now(), 0
		var sick []*consumer.Record
		if everybody {
			sick = r.produceTo(topic, many(20, 0)...)
		} else {
			sick = r.produceTo(topic, event("poison", poisonous))
		}
		until := func(end time.Duration, pause time.Duration) {
			for pause > 0 && time.Since(began)+pause <= end {
				time.Sleep(pause)
				r.produceTo("tasks", many(1, 1000+passing)...)
				passing++
			}
			time.Sleep(end - time.Since(began))
		}
		until(time.Minute, others)
		minute = r.verdict(sick)
		until(3*time.Minute, others)
		until(time.Hour, later)
		hour = r.verdict(sick)
		remove()
		if everybody { // it is over
			ended := time.Now()
			for slices.ContainsFunc(r.records, func(rec *consumer.Record) bool { return !rec.Settled() }) {
				if time.Since(ended) > 10*time.Minute {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			for _, within := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, time.Hour} {
				took := time.Since(ended)
				if fault.Hang {
					took -= 15 * time.Second
				}
				if took > 10*time.Second && took <= within {
					hour += fmt.Sprintf(", flows within %v of the end", within)
					break
				}
			}
		}
	})
	return minute, hour
}

// TestVerdicts is held against testdata/verdicts.golden: what becomes of a record, for each answer, whoever gets it, and
// whatever happens to the others meanwhile. A reader can check it against HubSpot's documentation.
func TestVerdicts(t *testing.T) {
	var made strings.Builder
	made.WriteString("# What each answer comes to\n\n" +
		"The answer is given for an hour. An open record is tried again. The requests are those beside\n" +
		"the records that pass, roughly. A category of an item stands for itself as *. Unless it says so,\n" +
		"everything flows within 10 s of the end. A hang costs a timeout more.\n")
	parts := make([]string, len(situations))
	t.Run("situations", func(t *testing.T) {
		for i, s := range situations {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				verdicts, given := []string(nil), map[string][]string{}
				for _, a := range answers() {
					minute, hour := decide(t, a.fault, s.everybody, s.others, s.later)
					verdict := fmt.Sprintf("after 1 min: %s\nafter 1 h:   %s\n", minute, hour)
					if category, ok := strings.CutPrefix(a.name, "207 item "); ok {
						verdict = strings.ReplaceAll(verdict, "letter "+category, "letter *")
					}
					if given[verdict] == nil {
						verdicts = append(verdicts, verdict)
					}
					given[verdict] = append(given[verdict], a.name)
				}
				parts[i] = "\n## " + s.name + "\n"
				for _, verdict := range verdicts {
					parts[i] += "\n" + verdict + "    " + strings.Join(given[verdict], "\n    ") + "\n"
				}
			})
		}
	})
	made.WriteString(strings.Join(parts, ""))
	golden := filepath.Join("testdata", "verdicts.golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(made.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	got, old := strings.Split(made.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(old)) {
		if i >= len(got) || i >= len(old) || got[i] != old[i] {
			t.Errorf("line %d is\n%s\nwant\n%s", i+1, at(got, i), at(old, i))
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}
