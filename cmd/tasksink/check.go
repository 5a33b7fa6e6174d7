package main

import (
	"context"

	"github.com/tasksink/tasksink/cmd/tasksink/check"
)

type checkCommand struct {
	settings
	JSON bool `name:"json" help:"An array of {check, subject, result, seen, remedy}; result is ok, warning, failed or skipped."`
}

func (c *checkCommand) run(ctx context.Context, s screen) error {
	if err := check.Run(ctx, c.Config, c.JSON, s.out, s.err); err != nil {
		s.report("tasksink check: %v", err)
		return errReported
	}
	return nil
}
