package check

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspot"
)

const (
	tidyTime    = time.Minute // for archiving, after which no further request leaves
	tidyTries   = 5           // of a request that HubSpot does not answer
	tidyRest    = 500 * time.Millisecond
	mostArchive = 100 // tasks in a request
)

// untidy tells whether a task may be in HubSpot.
func (t *trial) untidy() bool { return len(t.openIDs()) > 0 || len(t.unanswered) > 0 }

// tidy archives the tasks. What it could not archive stays open, or unanswered.
func (t *trial) tidy(ctx context.Context) {
	if !t.untidy() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tidyTime)
	defer cancel()
	const name = "archiving"
	t.look.waiting.begin(name)
	defer t.look.waiting.end(name)
	t.learn(ctx)
	for ids := range slices.Chunk(t.openIDs(), mostArchive) {
		_ = t.archive(ctx, ids...) // the ids stay open
	}
}

// learn finds out the HubSpot ids of the tasks of which nobody knows whether HubSpot has them.
func (t *trial) learn(ctx context.Context) {
	unknown := t.unanswered
	t.unanswered = nil
	for _, keys := range unknown {
		if !t.learnt(ctx, keys) {
			t.unanswered = append(t.unanswered, keys)
		}
	}
}

// learnt sends tasks again, so that the results name them. It tries again while HubSpot does not answer.
func (t *trial) learnt(ctx context.Context, keys []string) bool {
	inputs := make([]input, len(keys))
	for i, key := range keys {
		inputs[i] = t.task(key)
	}
	for rest := range rests {
		r, err := t.exchange(ctx, inputs)
		if err == nil && r.refused == "" && r.decides(len(keys)) {
			return true
		}
		if err == nil || unsent(err) || rest == 0 || !sleep(ctx, rest) {
			break
		}
	}
	return false
}

// rests yields how long to rest after each try; 0 after the last one.
func rests(yield func(time.Duration) bool) {
	rest := tidyRest
	for range tidyTries - 1 {
		if !yield(rest) {
			return
		}
		rest *= 2
	}
	yield(0)
}

func sleep(ctx context.Context, rest time.Duration) bool {
	select {
	case <-time.After(rest):
		return true
	case <-ctx.Done():
		return false
	}
}

// archive archives tasks. It tries again while HubSpot does not answer.
func (t *trial) archive(ctx context.Context, ids ...string) error {
	type object struct {
		ID string `json:"id"`
	}
	inputs := make([]object, len(ids))
	for i, id := range ids {
		inputs[i].ID = id
	}
	body, err := json.Marshal(map[string]any{"inputs": inputs})
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	path := strings.TrimSuffix(t.look.cfg.HubspotPath, "upsert") + "archive"
	for rest := range rests {
		var res hubspot.Answer
		res, _, err = t.send(ctx, func(ctx context.Context) (hubspot.Answer, error) {
			return t.look.client.PostTo(ctx, path, body)
		})
		if err == nil && res.Status/100 != 2 {
			err = fmt.Errorf("status %d", res.Status)
		}
		res.Release()
		if err == nil {
			for _, id := range ids {
				t.open[id] = false
			}
			return nil
		}
		refused := res.Status/100 == 4 && res.Status != http.StatusRequestTimeout
		if refused || unsent(err) || rest == 0 || !sleep(ctx, rest) {
			break
		}
	}
	return err
}
