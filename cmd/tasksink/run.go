package main

import (
	"context"

	"github.com/tasksink/tasksink/cmd/tasksink/worker"
)

type runCommand struct {
	settings
}

func (c *runCommand) run(ctx context.Context, s screen) error {
	log, flush := openLog(s.err, c.LogLevel, c.LogFormat)
	defer flush()
	s.settings.WarnUnknown(log)
	c.WarnIDProperties(log)
	if err := worker.Run(ctx, c.Config, log); err != nil {
		log.Error().Err(err).Msg("tasksink failed")
		return errReported
	}
	return nil
}
