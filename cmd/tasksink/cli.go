package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/cmd/tasksink/check"
	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/cmd/tasksink/worker"
)

// Exit statuses.
const (
	exitDone   = 0 // stopped by a signal; drain and final commit done
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
)

type cli struct {
	Run struct {
		settings
	} `cmd:"" help:"Consume, upsert, commit, until SIGTERM."`
	Check struct {
		settings
		JSON bool `name:"json" help:"An array of {check, subject, result, seen, remedy}; result is ok, warning, failed or skipped."`
	} `cmd:"" help:"Look at the settings, Kafka and HubSpot, and say what is wrong. Changes nothing."`
	Config struct {
		settings
		JSON bool `name:"json" help:"As JSON."`
	} `cmd:"" help:"Print the settings in force, and where each comes from."`
	DLQ     dlqCommands `cmd:"" name:"dlq" help:"List, show and redrive dead letters."`
	Version struct {
		JSON bool `name:"json" help:"As JSON."`
	} `cmd:"" help:"Print the version."`
}

// settings are what each command takes that has to do with the worker: all its settings, and the file they may stand in.
type settings struct {
	File string `name:"config" help:"YAML file with settings." placeholder:"FILE"`
	config.Config
}

// settings are those of the command, nil if it takes none.
func (c *cli) settings(command string) *settings {
	switch command {
	case "run":
		return &c.Run.settings
	case "config":
		return &c.Config.settings
	case "check":
		return &c.Check.settings
	default:
		return nil
	}
}

// Help stands above the flags.
func (*settings) Help() string {
	return `Needed are --kafka-brokers and a way to log in to HubSpot, mostly --hubspot-token-file.

Each flag is also a variable and a key of the YAML file that --config names: --batch-size=50 is TASKSINK_BATCH_SIZE=50, and batch-size: 50. A flag goes over a variable, a variable over the file.`
}

// run is the program, but for the process around it.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	var c cli
	exited := false // kong has done what was asked for, such as --help
	r := config.NewReader(environ)
	parser, err := kong.New(&c, append(r.Options(), kong.Name("tasksink"),
		kong.Description("Kafka task events in, HubSpot tasks out: in full batches, none lost."),
		kong.Writers(stdout, stderr), kong.Exit(func(int) { exited = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.TypeMapper(reflect.TypeFor[moment](), config.Mapper(r, parseMoment)))...)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "tasksink:", err)
		return exitUsage
	}
	hideOthers(parser)
	command := r.Parse(parser, args)
	if exited {
		return exitDone
	}
	s := c.settings(command)
	ofLetters := strings.HasPrefix(command, "dlq ")
	switch {
	case ofLetters:
		r.AddCheck(c.DLQ.check(command))
	case s != nil:
		r.AddCheck(s.Check())
	}
	if wrong := r.Mistakes(); len(wrong) > 0 {
		_, _ = fmt.Fprintf(stderr, "tasksink: please correct\n  %s\nSee tasksink --help, and tasksink run --help for the settings.\n", strings.Join(wrong, "\n  "))
		return exitUsage
	}
	if command == "version" {
		printVersion(stdout, c.Version.JSON)
		return exitDone
	}
	if command != "run" { // people read what these say, however the worker logs
		r.WarnUnknown(zerolog.New(console(stderr)).With().Timestamp().Logger())
	}
	if ofLetters {
		return c.DLQ.run(ctx, command, stdout, stderr)
	}
	switch command {
	case "check":
		if err := check.Run(ctx, s.Config, c.Check.JSON, stdout, stderr); err != nil {
			_, _ = fmt.Fprintln(stderr, "tasksink check:", err)
			return exitFailed
		}
		return exitDone
	case "config":
		return printConfig(stdout, s.Config, r.Source, c.Config.JSON)
	}
	log, flush := openLog(stderr, s.LogLevel, s.LogFormat)
	defer flush()
	r.WarnUnknown(log)
	if err := worker.Run(ctx, s.Config, log); err != nil {
		log.Error().Err(err).Msg("tasksink failed")
		return exitFailed
	}
	return exitDone
}

func printVersion(w io.Writer, asJSON bool) {
	b := config.ReadBuild()
	if asJSON {
		_ = json.NewEncoder(w).Encode(b) // nobody is left to tell
		return
	}
	revision := b.Revision
	if revision == "" {
		revision = "unknown"
	}
	_, _ = fmt.Fprintf(w, "tasksink %s\nrevision %s\n%s\n", b.Version, revision, b.Go)
}
