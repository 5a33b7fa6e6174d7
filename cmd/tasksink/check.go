package main

import (
	"context"
	"errors"

	"github.com/tasksink/tasksink/cmd/tasksink/check"
)

type checkCommand struct {
	settings
	JSON bool `name:"json" help:"An array of {check, subject, result, seen, remedy}; result is ok, warning, failed or skipped. With --live an object that has it as checks."`
	Live bool `name:"live" help:"Ask the HubSpot account how it answers upserts, and do not look at Kafka. Writes at most 120 completed tasks without an owner, and archives them. Asks first."`
	Yes  bool `name:"yes" help:"With --live: do not ask; without a terminal to ask at this is needed."`
}

func (c *checkCommand) check() error {
	err := c.settings.check()
	if c.Yes && !c.Live {
		err = errors.Join(err, errors.New("--yes: only --live asks; add --live, or leave --yes out"))
	}
	return err
}

func (c *checkCommand) run(ctx context.Context, s screen) error {
	var err error
	switch {
	case !c.Live:
		err = check.Run(ctx, c.Config, c.JSON, s.out, s.err)
	case !c.Yes && !s.asks():
		err = errors.New("nothing was written: there is no terminal to ask at, so add --yes")
	default:
		confirm := s.confirm
		if c.Yes {
			confirm = func(context.Context, string) error { return nil }
		}
		err = check.RunLive(ctx, c.Config, c.JSON, confirm, s.out, s.err)
	}
	if err != nil {
		s.report("tasksink check: %v", err)
		return errReported
	}
	return nil
}
