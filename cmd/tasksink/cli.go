package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tasksink/tasksink/cmd/tasksink/worker"
)

// Exit statuses.
const (
	exitDone   = 0 // stopped by a signal; drain and final commit done
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
)

const envPrefix = "TASKSINK"

type cli struct {
	Run struct {
		File string `name:"config" help:"YAML file with settings; a key is a flag's name." placeholder:"FILE"`
		worker.Config
	} `cmd:"" help:"Consume, upsert, commit, until SIGTERM."`
	Version struct {
		JSON bool `name:"json" help:"As JSON."`
	} `cmd:"" help:"Print the version."`
}

// run is the program, but for the process around it.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	var c cli
	exited := false // kong has done what was asked for, such as --help
	parser, err := kong.New(&c, kong.Name("tasksink"), kong.Description("Kafka task events in, HubSpot tasks out: in full batches, none lost."),
		kong.Writers(stdout, stderr), kong.Exit(func(int) { exited = true }), kong.DefaultEnvars(envPrefix),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "tasksink:", err)
		return exitUsage
	}
	file, mistakes := readFile(parser, configPath(args))
	if err := kong.Resolvers(file).Apply(parser); err != nil {
		mistakes = append(mistakes, err)
	}
	parsed, err := parser.Parse(args)
	if exited {
		return exitDone
	}
	if err != nil {
		mistakes = append(mistakes, err)
	}
	if parsed != nil && parsed.Command() == "run" && err == nil {
		mistakes = append(mistakes, c.Run.Check())
	}
	if err := errors.Join(mistakes...); err != nil {
		_, _ = fmt.Fprintf(stderr, "tasksink: these settings need your attention:\n  %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
		return exitUsage
	}
	if parsed.Command() == "version" {
		printVersion(stdout, c.Version.JSON)
		return exitDone
	}
	log := newLog(stderr, c.Run.LogLevel, c.Run.LogFormat)
	warnUnknown(parser, environ, log)
	if err := worker.Run(ctx, c.Run.Config, log); err != nil {
		log.Error().Err(err).Msg("tasksink failed")
		return exitFailed
	}
	return exitDone
}
