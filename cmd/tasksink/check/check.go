// Package check looks at all that tasksink run will need, and says of each what it saw and what to do about it. Run
// changes nothing: it writes no record, creates no topic, joins no group, commits no offset and sends no upsert.
// RunLive writes tasks to find out how HubSpot answers. It writes at most 120, archives every one, and names those that
// it could not archive.
//
// Use: Run, which is the whole of tasksink check, or RunLive, which is the whole of tasksink check --live. Each look
// has five seconds and all together thirty; looks that do not need each other run side by side, and all end when the
// context does. RunLive first finishes the request that is on the wire, and archives.
//
// The tests run against Apache Kafka and kfake, and the simulated HubSpot. Every row that can fail does so in one of
// them, and the simulated account answers each question of RunLive in every way.
package check

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
)

const (
	lookTime = 5 * time.Second  // for one look
	allTime  = 30 * time.Second // for all of them
)

// Result is how a look ended.
type Result string

// The results.
const (
	OK      Result = "ok"
	Warning Result = "warning" // tasksink runs, but see the remedy
	Failed  Result = "failed"  // tasksink would hold, or lose something
	Skipped Result = "skipped" // not looked at; Seen says why
)

// Row is what one look saw.
type Row struct {
	Check   string `json:"check"`
	Subject string `json:"subject"` // what was looked at: a broker, a topic, a file
	Result  Result `json:"result"`
	Seen    string `json:"seen"`
	Remedy  string `json:"remedy"` // one line; empty if there is nothing to do
}

// Run looks at everything that cfg names, which must have no mistakes, and shows what it saw on out: a table, or an
// array in JSON. While that takes longer than a second, and progress is a terminal, it says there what it waits for.
// Run returns an error if a look failed or ctx ended.
func Run(ctx context.Context, cfg config.Config, asJSON bool, out, progress io.Writer) error {
	w := &waiting{names: map[string]bool{}}
	stop := w.show(progress)
	rows := look(ctx, cfg, w)
	stop()
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", ctx.Err())
	}
	if err := show(out, rows, asJSON); err != nil {
		return fmt.Errorf("show what was seen: %w", err)
	}
	failed := 0
	for _, r := range rows {
		if r.Result == Failed {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(rows))
	}
	return nil
}

// look takes all looks, and returns what they saw in an order that does not depend on who was first.
func look(ctx context.Context, cfg config.Config, w *waiting) []Row {
	ctx, cancel := context.WithTimeout(ctx, allTime)
	defer cancel()
	rows := []Row{{Check: "settings", Result: OK, Seen: "no mistakes"}}
	var atKafka, atHubSpot []Row
	var both sync.WaitGroup
	both.Go(func() { atKafka = lookAtKafka(ctx, cfg, w) })
	both.Go(func() { atHubSpot = lookAtHubSpot(ctx, cfg, w) })
	both.Wait()
	return slices.Concat(rows, atKafka, atHubSpot)
}

// skip makes a row of what cannot be looked at.
func skip(check, subject, because string) Row {
	return Row{Check: check, Subject: subject, Result: Skipped, Seen: "not looked at, because " + because}
}

// within gives a look its deadline, and lets w know of it.
func within(ctx context.Context, w *waiting, name string) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	w.begin(name)
	return ctx, func() { cancel(); w.end(name) }
}
