package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/internal/visible"
)

// Exit statuses.
const (
	exitDone   = 0 // stopped by a signal; drain and final commit done
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
)

// cli is the command line. Each command is a struct of its flags.
type cli struct {
	Run     runCommand     `cmd:"" help:"Consume, upsert, commit, until SIGTERM."`
	Check   checkCommand   `cmd:"" help:"Look at the settings, Kafka and HubSpot, and say what is wrong. Changes nothing, except with --live."`
	Config  configCommand  `cmd:"" help:"Print the settings in force, and where each comes from."`
	DLQ     dlqCommands    `cmd:"" name:"dlq" help:"List, show and redrive dead letters."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// command is what each command can do.
type command interface {
	check() error                            // names every mistake in its flags and settings
	run(ctx context.Context, s screen) error // does it; of errors, errReported has been shown already
}

// errReported is for a command that has shown its error itself, or has nobody left to show it to.
var errReported = errors.New("reported")

// settings are what each command takes that has to do with the worker: all its settings, and the file they may stand
// in.
type settings struct {
	File string `name:"config" help:"YAML file with settings." placeholder:"FILE"`
	config.Config
}

func (s *settings) check() error { return s.Check() }

// Help stands above the flags.
func (*settings) Help() string {
	return `Needed are --kafka-brokers and a way to log in to HubSpot, mostly --hubspot-token-file.

Each flag is also a variable and a key of the YAML file that --config names: --batch-size=50 is TASKSINK_BATCH_SIZE=50, and batch-size: 50. A flag goes over a variable, a variable over the file.`
}

// run is the program, but for the process around it.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	var c cli
	exited := false // kong has done what was asked for, such as --help
	s := screen{out: stdout, err: stderr, settings: config.NewReader(environ)}
	parser, err := kong.New(&c, append(s.settings.Options(), kong.Name("tasksink"),
		kong.Description("Kafka task events in, HubSpot tasks out: in full batches, none lost."),
		kong.Writers(stdout, stderr), kong.Exit(func(int) { exited = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.TypeMapper(reflect.TypeFor[moment](), config.Mapper(s.settings, parseMoment)))...)
	if err != nil {
		s.report("tasksink: %v", err)
		return exitUsage
	}
	hideOthers(parser)
	node := s.settings.Parse(parser, args)
	if exited {
		return exitDone
	}
	var cmd command
	if node != nil {
		cmd = node.Target.Addr().Interface().(command)
		s.settings.AddCheck(cmd.check())
	}
	if wrong := s.settings.Mistakes(); len(wrong) > 0 || cmd == nil {
		s.report("tasksink: please correct\n  %s\nSee tasksink --help, and tasksink run --help for the settings.",
			strings.Join(wrong, "\n  "))
		return exitUsage
	}
	switch cmd.(type) {
	case *runCommand, *versionCommand: // one warns in its log, the other takes no settings
	default: // people read what the others say, however the worker logs
		s.settings.WarnUnknown(zerolog.New(console(stderr)).With().Timestamp().Logger())
	}
	err = cmd.run(ctx, s)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errReported):
	case errors.Is(err, context.Canceled):
		s.report("tasksink: interrupted")
	default:
		s.report("tasksink: %s", visible.Text(err.Error()))
	}
	return exitFailed
}

// screen is where the output goes, results to out and all else to err, and what the command line says of the settings.
type screen struct {
	out, err io.Writer
	settings *config.Reader
}

func (s screen) report(format string, args ...any) { _, _ = fmt.Fprintf(s.err, format+"\n", args...) }
