package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
)

type versionCommand struct {
	JSON bool `name:"json" help:"As JSON."`
}

func (c *versionCommand) check() error { return nil }

func (c *versionCommand) run(_ context.Context, s screen) error { //nolint:unparam // the form of a command
	b := config.ReadBuild()
	if c.JSON {
		_ = json.NewEncoder(s.out).Encode(b) // nobody is left to show an error to
		return nil
	}
	revision := b.Revision
	if revision == "" {
		revision = "unknown"
	}
	_, _ = fmt.Fprintf(s.out, "tasksink %s\nrevision %s\n%s\n", b.Version, revision, b.Go)
	return nil
}
