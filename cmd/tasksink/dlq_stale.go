package main

import (
	"github.com/dustin/go-humanize"

	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/visible"
)

// blind says of which letters nobody knows whether newer events have overtaken them.
func (c *dlqRedrive) blind(s screen, plan *dlq.Plan) {
	if c.Force && plan.Due > 0 {
		s.report("--force: nobody has looked for newer events")
		return
	}
	if plan.Keyless > 0 {
		s.report("letters without a key, so that nobody can look for newer events: %s",
			humanize.Comma(int64(plan.Keyless)))
	}
	if plan.Unseen > 0 {
		s.report("letters whose newer events may be deleted from the source partition: %s",
			humanize.Comma(int64(plan.Unseen)))
	}
}

const listedStale = 20 // letters, unless it is a dry run

// staleList lists stale letters.
type staleList struct {
	s       screen
	most, n int
	topics  []string
}

func (l *staleList) add(stale dlq.Stale) {
	if l.n++; l.n <= l.most {
		l.s.report("stale: letter %s of %s; a newer event of its key is %s", place(stale.Letter, l.topics),
			visible.Text(stale.Record.String()), visible.Text(stale.Newer.String()))
	}
}

func (l *staleList) end() {
	if l.n > l.most {
		l.s.report("stale letters that are not listed: %s; --dry-run lists all", humanize.Comma(int64(l.n-l.most)))
	}
}
