// Command bench measures tasksink as its users run it: the broker, a simulated HubSpot and the worker are three
// processes on one machine, what counts is counted at the receiver, and the worker's CPU and memory are the operating
// system's figures. docs/performance.md says what each row means, and holds the last results.
//
// Use: make bench, or make bench ROWS="a b" OUT=bench.json. Ctrl-C ends it, and its children with it. The tests run
// one tiny row on kfake.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Rows     string `env:"ROWS" help:"Rows to run, such as \"a b\"; default: all."`
	Runs     int    `env:"RUNS" default:"3" help:"Runs of each case; figures are their medians."`
	Records  int    `env:"RECORDS" default:"500000" help:"Records of row a's backlog."`
	Worker   string `env:"WORKER" placeholder:"COMMAND" help:"Another program to measure instead of tasksink; docs/performance.md says what it finds in its environment."`
	Kfake    bool   `env:"KFAKE" help:"Use kfake even where Apache Kafka is to be had."`
	Out      string `env:"OUT" placeholder:"FILE" help:"Write the figures as JSON."`
	Pictures string `env:"PICTURES" placeholder:"DIR" help:"Draw a picture of each row, as SVG."`
	Page     string `env:"PAGE" placeholder:"FILE" help:"Put the tables into this Markdown page, such as docs/performance.md."`
	Profile  bool   `env:"PROFILE" help:"Also say where the worker's CPU goes in row a at 0 ms, with perf."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := role(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// role is what this process is: the simulated HubSpot, kfake, or the bench itself.
func role(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "simulator":
		return simulate(context.WithoutCancel(ctx)) // Ctrl-C reaches it too; the bench ends it
	case len(args) == 2 && args[0] == "kfake":
		return runFake(args[1])
	}
	var o options
	parser, err := kong.New(&o, kong.Name("bench"), kong.Description("Measures tasksink: broker, simulated HubSpot and "+
		"worker as processes of their own."))
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil {
		return err
	}
	return measure(ctx, o)
}

// chosen are the rows to run.
func (o options) chosen() (some []row, err error) {
	for _, name := range strings.FieldsFunc(o.Rows, func(r rune) bool { return r == ' ' || r == ',' }) {
		found := false
		for _, r := range rows {
			if r.name == name {
				some, found = append(some, r), true
			}
		}
		if !found {
			err = errors.Join(err, fmt.Errorf("there is no row %q; the rows are %s", name, strings.Join(rowNames(), " ")))
		}
	}
	if len(some) == 0 {
		some = rows
	}
	if o.Runs < 1 || o.Records < 1000 {
		err = errors.Join(err, errors.New("at least 1 run and 1000 records are needed"))
	}
	return some, err
}

func measure(ctx context.Context, o options) error {
	chosen, err := o.chosen()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "building the programs, starting the broker")
	lab, err := openLab(ctx, o.Worker, o.Kfake)
	if err != nil {
		return err
	}
	defer lab.close()
	b := &bench{lab: lab, runs: o.Runs, records: o.Records, tell: os.Stderr, ends: time.Now(),
		curves: map[string][]curve{}}
	for _, r := range chosen {
		b.ends = b.ends.Add(r.takes(b))
	}
	var failed error
	for _, r := range chosen {
		if failed = r.run(b, ctx); failed != nil {
			failed = fmt.Errorf("row %s: %w", r.name, failed)
			break // what was measured is shown all the same
		}
	}
	b.judge()
	rep := report{Time: time.Now(), Machine: thisMachine(lab.broker), Runs: o.Runs, Results: b.results}
	if o.Profile && failed == nil {
		if rep.Profile, err = b.profile(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "no profile:", err)
		}
	}
	if len(rep.Results) > 0 {
		rep.print()
	}
	if o.Out != "" {
		failed = errors.Join(failed, rep.write(o.Out))
	}
	if failed != nil {
		return failed
	}
	if o.Pictures != "" {
		if err := b.pictures(o.Pictures); err != nil {
			return err
		}
	}
	if o.Page != "" {
		return rep.page(o.Page)
	}
	return nil
}
