package main

import (
	"context"
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
	var wrong mistakes
	parser, err := kong.New(&c, append(wrong.mappers(), kong.Name("tasksink"), kong.Description("Kafka task events in, HubSpot tasks out: in full batches, none lost."),
		kong.Writers(stdout, stderr), kong.Exit(func(int) { exited = true }), kong.DefaultEnvars(envPrefix),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))...)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "tasksink:", err)
		return exitUsage
	}
	file := readFile(parser, configPath(args), &wrong)
	if err := kong.Resolvers(file).Apply(parser); err != nil {
		wrong.add(err)
	}
	parsed, err := parser.Parse(args)
	for err != nil && !exited {
		wrong.add(err)
		rest := without(args, err)
		if len(rest) == len(args) {
			break
		}
		args = rest // whatever else is wrong is told as well
		parsed, err = parser.Parse(args)
	}
	if exited {
		return exitDone
	}
	if err == nil && parsed.Command() == "run" {
		wrong.addOthers(c.Run.Check())
	}
	if len(wrong) > 0 {
		_, _ = fmt.Fprintf(stderr, "tasksink: please correct\n  %s\nSee tasksink --help, and tasksink run --help for the settings.\n", strings.Join(wrong, "\n  "))
		return exitUsage
	}
	if parsed.Command() == "version" {
		printVersion(stdout, c.Version.JSON)
		return exitDone
	}
	log, flush := openLog(stderr, c.Run.LogLevel, c.Run.LogFormat)
	defer flush()
	warnUnknown(parser, environ, log)
	if err := worker.Run(ctx, c.Run.Config, log); err != nil {
		log.Error().Err(err).Msg("tasksink failed")
		return exitFailed
	}
	return exitDone
}
