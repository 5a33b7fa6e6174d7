package check

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Questions about batches: a bad task in company, a full batch, a refused one, and an archived task.

// fate is what became of a batch of a good and a bad task.
type fate int

const (
	named    fate = iota // the bad one is named by its trace id, and the good one is written
	unnamed              // an error names nobody
	refused              // the batch is refused
	accepted             // both are written
	left                 // the answer leaves a task out
)

// company sends a good task and one with a bad property.
func (t *trial) company(ctx context.Context, suffix string, traced bool, property, value string) (fate, string, error) {
	good, bad := t.task(t.key(suffix+"-good")), t.task(t.key(suffix+"-bad"))
	bad.Properties[property] = value
	if !traced {
		good.TraceID, bad.TraceID = "", ""
	}
	r, err := t.upsert(ctx, good, bad)
	switch {
	case err != nil:
		return 0, "", err
	case r.refused != "":
		t.spared = append(t.spared, good.ID)
		return refused, r.refused, nil
	case len(r.errs) > 0:
		if traced && r.errs[0].names(bad.TraceID) && len(r.ids()) == 1 {
			return named, r.error(), nil
		}
		return unnamed, r.error(), nil
	case len(r.ids()) == 2:
		return accepted, fmt.Sprintf("status %d, two results", r.status), nil
	default:
		return left, fmt.Sprintf("status %d, %s", r.status, plural(len(r.ids()), "result")), nil
	}
}

// halving is what a bad task costs that HubSpot does not name.
const halving = "It halves the batch until the bad task travels alone: up to 14 more requests for one bad task in 100."

func (t *trial) badWithTrace(ctx context.Context) (Verdict, error) {
	became, says, err := t.company(ctx, "Traced", true, "hs_task_priority", "NO_SUCH_PRIORITY")
	switch became {
	case named:
		return Verdict{Result: OK, Seen: "Yes. It names the bad one by its trace id: " + says + ".",
			Tasksink: "It makes the bad event a dead letter, and confirms the others of its batch, with one request."}, err
	case refused:
		return Verdict{Result: Warning, Seen: "No. It refuses the batch: " + says + ".", Tasksink: halving,
			Remedy: "keep bad tasks rare: each one costs requests"}, err
	case accepted:
		return Verdict{Result: Warning, Seen: "Nobody knows: it accepts hs_task_priority=NO_SUCH_PRIORITY.",
			Tasksink: "It confirms what HubSpot accepts.", Remedy: sendUs}, err
	default:
		return Verdict{Result: Warning, Seen: "It does not say which one is bad: " + says + ".",
			Tasksink: "It sends the tasks again that no result names, and halves the batch until the bad task travels alone.",
			Remedy:   sendUs}, err
	}
}

func (t *trial) badWithoutTrace(ctx context.Context) (Verdict, error) {
	became, says, err := t.company(ctx, "Untraced", false, "hs_task_priority", "NO_SUCH_PRIORITY")
	v := Verdict{Result: OK, Tasksink: "It gives each task a trace id, so this does not concern it."}
	switch became {
	case refused:
		v.Seen = "No. It refuses the batch: " + says + "."
	case accepted:
		v.Seen = "Nobody knows: it accepts hs_task_priority=NO_SUCH_PRIORITY."
	case left:
		v.Seen = "It does not say: " + says + "."
	default:
		v.Seen = "Yes. Its answer: " + says + "."
	}
	return v, err
}

func (t *trial) unknownProperty(ctx context.Context) (Verdict, error) {
	became, says, err := t.company(ctx, "Unknown", true, "tasksink_check_no_such_property", "x")
	switch became {
	case named:
		return Verdict{Result: OK, Seen: "Yes. It names it by its trace id: " + says + ".",
			Tasksink: "It makes the bad event a dead letter, and confirms the others of its batch, with one request."}, err
	case accepted:
		return Verdict{Result: Warning, Seen: "No. It writes the task without the property.",
			Tasksink: "It confirms such an event: HubSpot loses the value, and nobody is told.",
			Remedy:   "check the property names of producers: a misspelt one makes no dead letter"}, err
	case refused:
		return Verdict{Result: Warning, Seen: "No. It refuses the batch: " + says + ".", Tasksink: halving,
			Remedy: "create the properties that producers send before they send them"}, err
	default:
		return Verdict{Result: Warning, Seen: "No. Its answer: " + says + ".",
			Tasksink: "It sends the tasks again that no result names, and halves the batch until the bad task travels alone.",
			Remedy:   "create the properties that producers send before they send them"}, err
	}
}

// hundred writes a full batch, and writes it again.
func (t *trial) hundred(ctx context.Context) (Verdict, error) {
	const full, window = 100, 10 * time.Second
	var took [2]time.Duration
	for i := range took {
		inputs := make([]input, full)
		for n := range inputs {
			inputs[n] = t.task(t.key(fmt.Sprint("Full-", n)))
		}
		r, err := t.upsert(ctx, inputs...)
		if err != nil {
			return Verdict{}, err
		}
		if n := len(r.ids()); n != full {
			says := fmt.Sprintf("%d results and %d errors", n, len(r.errs))
			if r.refused != "" {
				says = r.refused
			}
			return Verdict{Result: Failed, Seen: "It does not write all of 100 good tasks: " + says + ".",
				Tasksink: "It sends the tasks again that no result names.",
				Remedy:   sendUs}, nil
		}
		took[i] = r.took
	}
	limit := 100 // until HubSpot says
	if t.limits.Max != nil && *t.limits.Max > 0 {
		limit = *t.limits.Max
	}
	slowest, cfg := max(took[0], took[1]), t.look.cfg
	out := int(math.Ceil(float64(limit) * float64(slowest) / float64(window)))
	v := Verdict{Result: OK,
		Seen: fmt.Sprintf("%v to create them, %v to update them.", rounded(took[0]), rounded(took[1])),
		Tasksink: fmt.Sprintf("It uses up a limit of %d in 10 s with %s out at once (--max-in-flight=%d).", limit,
			plural(out, "request"), cfg.MaxInFlight)}
	if out > cfg.MaxInFlight {
		v.Result, v.Remedy = Warning, fmt.Sprintf("set --max-in-flight=%d, or add replicas", out)
		v.Tasksink = fmt.Sprintf("One replica cannot use up a limit of %d in 10 s: %s would be out at once, and "+
			"--max-in-flight=%d allows fewer.", limit, plural(out, "request"), cfg.MaxInFlight)
	}
	if slowest > cfg.HubspotTimeout/2 {
		v.Result, v.Remedy = Warning, fmt.Sprintf("set --hubspot-timeout to %v or more", rounded(4*slowest))
		v.Tasksink = fmt.Sprintf("It ends a request after --hubspot-timeout=%v, and sends it again.", cfg.HubspotTimeout)
	}
	return v, nil
}

func rounded(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return max(d.Round(time.Millisecond), time.Millisecond)
}

// refusedWhole sends the good tasks of refused batches, and looks whether they are new.
func (t *trial) refusedWhole(ctx context.Context) (Verdict, error) {
	if len(t.spared) == 0 {
		return Verdict{Result: Skipped, Seen: "It was not asked, because HubSpot refused no batch with a good task in it.",
			Tasksink: "It sends what was refused again, in parts."}, nil
	}
	inputs := make([]input, len(t.spared))
	for i, key := range t.spared {
		inputs[i] = t.task(key)
	}
	r, err := t.upsert(ctx, inputs...)
	if err != nil {
		return Verdict{}, err
	}
	unknown, old := len(inputs)-len(r.ids()), 0
	for _, result := range r.results {
		switch {
		case result.New == nil:
			unknown++
		case !*result.New:
			old++
		}
	}
	v := Verdict{Result: OK, Tasksink: "It sends the parts of a refused batch at once, without waiting for late writes."}
	switch {
	case old > 0:
		v.Result = Warning
		v.Seen = fmt.Sprintf("No. It had written %s of a refused batch.", plural(old, "good task"))
		v.Remedy = "nothing is lost by it, because an upsert may be repeated; " + sendUs
	case unknown > 0:
		v.Seen = "It does not say whether the good tasks of refused batches were new."
	default:
		v.Seen = fmt.Sprintf("Yes. It had written none of the good tasks of refused batches (looked at: %d).", len(inputs))
	}
	return v, nil
}

// archivedTask archives the first task, and writes it again.
func (t *trial) archivedTask(ctx context.Context) (Verdict, error) {
	key := t.key("A")
	r, err := t.upsert(ctx, t.task(key))
	if err != nil {
		return Verdict{}, err
	}
	before, why := r.outcome()
	if why != "" {
		return Verdict{}, errors.New(why)
	}
	if err := t.archive(ctx, before.ID); err != nil {
		return Verdict{}, fmt.Errorf("archive a task: %w", err)
	}
	delete(t.keys, key) // the next upsert may make another task
	if r, err = t.upsert(ctx, t.task(key)); err != nil {
		return Verdict{}, err
	}
	after, why := r.outcome()
	const events = "It does not know which tasks are archived: "
	switch {
	case why != "":
		return Verdict{Result: Warning, Seen: "It refuses the upsert: " + why + ".",
			Tasksink: events + "an event for one is a dead letter.",
			Remedy:   "restore the task in HubSpot before you redrive its dead letters"}, nil
	case after.ID != before.ID:
		return Verdict{Result: OK, Seen: "It makes another task.",
			Tasksink: events + "an event for one makes the task again, with the properties of that event only."}, nil
	case after.Archived:
		return Verdict{Result: Warning, Seen: "It writes to the task, which stays archived.",
			Tasksink: events + "it confirms an event for one, and nobody sees the task.",
			Remedy:   "restore the task in HubSpot if it is to be seen"}, nil
	default:
		return Verdict{Result: OK, Seen: "It restores the task.",
			Tasksink: events + "an event for one restores the task."}, nil
	}
}
