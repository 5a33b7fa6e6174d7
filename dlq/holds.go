package dlq

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/internal/hold"
)

const holdDLQ = "dlq" // dead letters cannot be written

// show sets the holds that stand, and clears the others. b.mu is locked.
func (b *backlog) show() {
	stand := map[string]failure{}
	b.showFailures(stand)
	b.showHeldBack(stand)
	for scope := range b.shown {
		if _, stands := stand[scope]; !stands {
			b.board.Clear(holdDLQ, scope)
			delete(b.shown, scope)
		}
	}
	for scope, f := range stand {
		b.board.Set(holdDLQ, scope, f.detail, f.remedy)
		b.shown[scope] = true
	}
}

// showFailures adds the lanes whose writes fail. It is one hold of everything, unless another lane was written since
// the failures began: then each of those that fail is a hold of its partition, or of its topic.
func (b *backlog) showFailures(stand map[string]failure) {
	var failing []*lane
	var written, since time.Time
	for _, ln := range b.lanes {
		if ln.written.After(written) {
			written = ln.written
		}
		if ln.failing() {
			failing = append(failing, ln)
			if since.IsZero() || ln.since.Before(since) {
				since = ln.since
			}
		}
	}
	for _, ln := range failing {
		switch {
		case !written.After(since):
			stand[hold.All] = ln.failure
		case ln.partition == unknown:
			stand[ln.topic] = ln.failure
		default:
			stand[ln.topic+"/"+strconv.Itoa(ln.partition)] = ln.failure
		}
	}
}

// showHeldBack adds the letters that their topics take in no form, as one hold for each source partition.
func (b *backlog) showHeldBack(stand map[string]failure) {
	type group struct {
		first   *heldBack
		dlq     string
		letters int
	}
	groups := map[string]*group{}
	for _, ln := range b.lanes {
		for _, h := range ln.heldBy {
			scope := h.key.topic + "/" + strconv.Itoa(h.key.partition)
			g := groups[scope]
			if g == nil {
				g = &group{first: h, dlq: ln.topic}
				groups[scope] = g
			}
			if h.letters[0].rec.Offset < g.first.letters[0].rec.Offset {
				g.first, g.dlq = h, ln.topic
			}
			g.letters += len(h.letters)
		}
	}
	for _, scope := range slices.Sorted(maps.Keys(groups)) {
		g := groups[scope]
		detail := fmt.Sprintf("topic %s takes the dead letter of record %s/%d in no form: %v", g.dlq, scope,
			g.first.letters[0].rec.Offset, g.first.refusal)
		if others := g.letters - 1; others > 0 {
			detail += fmt.Sprintf("; other letters of the partition that wait: %d", others)
		}
		stand[scope] = failure{detail, refusalRemedy(g.first.refusal)}
	}
}

func refusalRemedy(err error) string {
	const rest = "; tasksink tries again by itself, and the letters of other keys go on"
	if errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge) ||
		errors.Is(err, kafka.InvalidMessageSize) {
		return "raise max.message.bytes of the dead-letter topic: the letter is too large even without value, headers and " +
			"key" + rest
	}
	return "check the settings of the dead-letter topic, such as cleanup.policy=delete: a compacted topic takes no " +
		"letter without a key" + rest
}
