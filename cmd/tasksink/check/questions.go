package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// questions are asked in this order. Each is one or a few requests; together they make less than mostTasks tasks.
var questions = []struct {
	text string
	ask  func(*trial, context.Context) (Verdict, error)
}{
	{"Does the id property work?", (*trial).idProperty},
	{"Do results carry the trace id?", (*trial).traceEcho},
	{"Do results carry the id?", (*trial).keyEcho},
	{"Is a bad task refused alone, if each task has a trace id?", (*trial).badWithTrace},
	{"Is a bad task refused alone, if no task has a trace id?", (*trial).badWithoutTrace},
	{"Does HubSpot name a task with an unknown property?", (*trial).unknownProperty},
	{"Does HubSpot refuse a batch that holds an id twice?", (*trial).twice},
	{"Are ids that differ in capital letters two tasks?", (*trial).capitals},
	{"Are ids that differ in a blank at the end two tasks?", (*trial).blanks},
	{"How long does an upsert of 100 tasks take?", (*trial).hundred},
	{"Does HubSpot write nothing of a batch that it refuses?", (*trial).refusedWhole},
	{"What does an upsert to an archived task do?", (*trial).archivedTask},
}

// sendUs is for what we want to know, and the operator need not mend.
const sendUs = "send us this verdict: docs/live-check.md says how"

// idProperty writes the tasks that later questions come back to.
func (t *trial) idProperty(ctx context.Context) (Verdict, error) {
	r, err := t.upsert(ctx, t.task(t.key("A")), t.task(t.key("B")))
	switch {
	case r.failed != "": // such as a missing scope: that is the answer to this question
		return Verdict{Result: Failed, Seen: "No. It answers: " + r.failed + ".",
			Tasksink: "It holds, and writes no dead letter: docs/answers.md says what follows from the status.",
			Remedy:   "do what HubSpot's message says"}, nil
	case err != nil:
		return Verdict{}, err
	}
	t.first = r.results
	if n := len(r.ids()); n == 2 {
		return Verdict{Result: OK, Seen: "Yes. It wrote 2 of 2 tasks by " + t.property + ".",
			Tasksink: "It upserts tasks by " + t.property + "."}, nil
	}
	v := Verdict{Result: Failed}
	switch {
	case r.misfit:
		v.Seen = "No. It refuses the tasks: " + r.refused + "."
		v.Tasksink = "It holds, and writes no dead letter, while HubSpot accepts no task."
		v.Remedy = "name another property in " + idProperty + "; to create one: " + creation("another internal name")
	case r.refused != "":
		v.Seen = "No. It refuses the tasks: " + r.refused + "."
		v.Tasksink = "It holds, and writes no dead letter, while HubSpot accepts no task."
		v.Remedy = "do what HubSpot's message says"
	case len(r.errs) > 0:
		v.Seen = fmt.Sprintf("No. It wrote %d of 2 tasks: %s.", len(r.ids()), r.error())
		v.Tasksink = "It makes an event a dead letter that HubSpot refuses for this reason."
		v.Remedy = "the account requires more of a task than this check sends: let each event bring it; to go on with the " +
			"check, use an account without that requirement"
	default:
		v.Seen = fmt.Sprintf("Nobody knows. It answers with %s for 2 tasks.", plural(len(r.ids()), "result"))
		v.Tasksink = "It sends the tasks again that no result names."
		v.Remedy = sendUs
	}
	return v, nil
}

func (t *trial) traced() (n int) {
	for _, result := range t.first {
		if strings.HasPrefix(result.TraceID, "tasksink-check-"+t.name) {
			n++
		}
	}
	return n
}

func (t *trial) traceEcho(context.Context) (Verdict, error) {
	switch n := t.traced(); n {
	case len(t.first):
		return Verdict{Result: OK, Seen: "Yes, all of them.", Tasksink: "It confirms each event by its trace id."}, nil
	case 0:
		return Verdict{Result: OK, Seen: "No.",
			Tasksink: "It confirms each event by the id in the results, or else by the number of results."}, nil
	default:
		return Verdict{Result: OK, Seen: fmt.Sprintf("%d of %d do.", n, len(t.first)),
			Tasksink: "It confirms these events by the trace id, and the others by the id or by the number of results."}, nil
	}
}

func (t *trial) keyEcho(context.Context) (Verdict, error) {
	v := Verdict{Result: OK}
	counts := "It confirms a batch by the number of results. If one result is missing, it decides nothing about the batch."
	if t.traced() == len(t.first) {
		counts = "It needs no ids in the results, because they carry the trace ids."
	}
	sent, other := 0, ""
	for _, result := range t.first {
		switch key, _ := result.Properties[t.property].(string); key {
		case t.key("A"), t.key("B"):
			sent++
		default:
			other = key
		}
	}
	switch {
	case sent == len(t.first):
		v.Seen, v.Tasksink = "Yes, as it was sent.", "It can confirm each event by its id."
	case other == "":
		v.Seen, v.Tasksink = "No.", counts
	default:
		v.Seen = fmt.Sprintf("In another spelling: %s became %s.", t.key("A"), quote(other))
		v.Tasksink = counts
	}
	if v.Tasksink == counts && t.traced() < len(t.first) {
		v.Result, v.Remedy = Warning, "nothing is lost by it; "+sendUs
	}
	return v, nil
}

// twice sends one task two times in a batch.
func (t *trial) twice(ctx context.Context) (Verdict, error) {
	key := t.key("Twice")
	r, err := t.upsert(ctx, t.task(key), t.task(key))
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Result: OK, Tasksink: "It sends no id twice in a batch: events of one task travel as one."}
	switch {
	case r.refused != "":
		v.Seen = "Yes. It answers: " + r.refused + "."
	case len(r.errs) > 0:
		v.Seen = fmt.Sprintf("No. It names %s of the two: %s.", plural(len(r.errs), "input"), r.error())
	default:
		v.Seen = "No. It takes the batch, and answers with " + plural(len(r.ids()), "task") + "."
	}
	return v, nil
}

func (t *trial) capitals(ctx context.Context) (Verdict, error) {
	return t.variant(ctx, strings.ToLower(t.key("A")), "A-1 and a-1")
}

func (t *trial) blanks(ctx context.Context) (Verdict, error) {
	return t.variant(ctx, t.key("A")+" ", `"A-1" and "A-1 "`)
}

// variant asks whether another spelling of the first id is another task. Each spelling travels alone, because HubSpot
// refuses a batch with both if they are one task.
func (t *trial) variant(ctx context.Context, spelling, example string) (Verdict, error) {
	var found [2]result
	var why string
	for i, key := range []string{t.key("A"), spelling} {
		r, err := t.upsert(ctx, t.task(key))
		if err != nil {
			return Verdict{}, err
		}
		if found[i], why = r.outcome(); why != "" && i == 0 {
			return Verdict{}, errors.New(why)
		}
	}
	switch {
	case why != "":
		return Verdict{Result: OK, Seen: "It refuses the second one: " + why + ".",
			Tasksink: "It makes an event with such an id a dead letter."}, nil
	case found[0].ID != found[1].ID:
		return Verdict{Result: OK, Seen: "Yes.", Tasksink: "It compares ids byte by byte, as HubSpot does."}, nil
	default:
		return Verdict{Result: Warning, Seen: "No. They are one task.", Tasksink: "It takes " + example + " for two tasks: " +
			"their events may overtake each other, and it takes apart a batch that HubSpot refuses because it holds both.",
			Remedy: "let all producers write the id of a task in one spelling"}, nil
	}
}
