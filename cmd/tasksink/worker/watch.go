package worker

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/internal/watchdog"
)

// bound is how long one piece of a loop's work may take before the loop counts as wedged. Each attempt within it has a
// deadline that is shorter; package watchdog lists them.
func bound(cfg config.Config) time.Duration {
	return max(time.Minute, 2*cfg.HubspotTimeout, 2*cfg.DrainTimeout)
}

// endPanicked ends the process after a panic with status 1, and says on standard error where it was. The value may
// quote a record, so only the runtime's own errors are written out.
func endPanicked(loop string, value any, stack []byte) {
	what := fmt.Sprintf("%T", value)
	if err, ok := value.(runtime.Error); ok {
		what = err.Error()
	}
	_, _ = fmt.Fprintf(os.Stderr, "panic in %s: %s\nThis is a bug in tasksink: report it with what follows.\n\n%s", loop,
		what,
		stack)
	os.Exit(1)
}

const wedgedRemedy = "restart tasksink; Kubernetes does so by itself, as /livez answers 503. What is not committed " +
	"is read again. A wedged loop is a fault of tasksink: report it, if you can with /debug/pprof/goroutine?debug=2 of " +
	"--pprof from before the restart"

// watch runs the watchdog until ctx ends, and logs each loop that is wedged, once.
func watch(ctx context.Context, dog *watchdog.Dog, log zerolog.Logger) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { dog.Run(ctx) })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var known []string
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		wedged := dog.Wedged()
		fresh := slices.DeleteFunc(slices.Clone(wedged), func(name string) bool { return slices.Contains(known, name) })
		if known = wedged; len(fresh) > 0 {
			log.Error().Strs("loops", fresh).Str("remedy", wedgedRemedy).
				Msg("wedged: " + strings.Join(fresh, ", ") + ": a piece of work began and did not end")
		}
	}
}
