package check

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tasksink/tasksink/internal/terminal"
)

// waiting knows which looks are being taken.
type waiting struct {
	mu    sync.Mutex
	names map[string]bool
}

func (w *waiting) begin(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[name] = true
}

func (w *waiting) end(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.names, name)
}

func (w *waiting) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(w.names)), ", ")
}

// show says once a second on a terminal what is waited for, in a line that stop wipes.
func (w *waiting) show(out io.Writer) (stop func()) {
	width, ok := terminal.Width(out)
	if !ok {
		return func() {}
	}
	over := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		start, tick := time.Now(), time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if names := w.String(); names != "" {
					// only a picture
					_, _ = fmt.Fprintf(out, "\r\x1b[K%.*s", width-1,
						fmt.Sprintf("%.0f s: waiting for %s", time.Since(start).Seconds(), names))
				}
			case <-over:
				_, _ = fmt.Fprint(out, "\r\x1b[K")
				return
			}
		}
	})
	return func() { close(over); shown.Wait() }
}
