// Command demo runs tasksink's main job in one process, with nothing installed: Kafka (kfake, its data on disk),
// HubSpot (the simulator, with an account's real rate limit), a producer, and the worker itself. HubSpot fails for a
// while, some events are bad. In the end it draws up a ledger of every record, from HubSpot's journal and the
// dead-letter topic, and exits with 1 if that does not balance.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tasksink/tasksink/internal/terminal"
)

type options struct {
	Records int           `default:"20000" help:"Task events to produce."`
	Bad     float64       `default:"1" placeholder:"PERCENT" help:"How many of them are bad, in per cent."`
	Outage  time.Duration `default:"10s" help:"How long HubSpot fails, once a fifth of the records are through; 0 = not at all."`
	Rate    int           `default:"100" help:"The account's requests per 10 s; 0 = unlimited."`
	Seed    uint64        `default:"1" help:"Of the events: the same seed makes the same ones."`
	JSON    bool          `name:"json" help:"Print the ledger as one JSON object on standard output."`
	Serve   bool          `help:"Only keep Kafka on 127.0.0.1:9092, filled, and HubSpot on 127.0.0.1:8090, for a tasksink run beside it."`

	KafkaPort int      `group:"With --serve:" default:"9092" help:"Kafka's port on 127.0.0.1; 0 = any."`
	Brokers   []string `group:"With --serve:" placeholder:"HOST:PORT" help:"Fill these brokers, which have the topics, instead of an embedded Kafka."`
	Hubspot   string   `group:"With --serve:" default:"127.0.0.1:8090" placeholder:"ADDRESS" help:"Where HubSpot listens."`
	Advertise string   `group:"With --serve:" placeholder:"HOST" help:"Serve pods and other machines, too: listen on all addresses, and say that Kafka is at this host."`
	Stream    int      `group:"With --serve:" placeholder:"EVENTS" help:"Go on with so many events a second, after those of --records."`
}

func main() {
	var o options
	kong.Parse(&o, kong.Name("demo"), kong.Description("tasksink's main job in one process, on embedded parts. "+
		"mean_fill counts every answered request that left while a backlog existed, the small ones after the outage "+
		"included; "+
		"quota_used can exceed 1 in a short run, as the account's window starts empty."))
	if o.Records < 1 || o.Bad < 0 || o.Bad > 100 || o.Outage < 0 || o.Rate < 0 || o.Stream < 0 {
		fmt.Fprintln(os.Stderr, "demo: --records must be at least 1, --bad between 0 and 100, --outage, --rate and "+
			"--stream not negative")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout, terminal.Is(os.Stderr))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer, watched bool) error {
	w, err := open(o)
	if err != nil {
		return err
	}
	defer w.close()
	if o.Serve {
		return w.serve(ctx, out)
	}
	f, err := w.play(ctx, watched)
	if err != nil {
		return err
	}
	l := draw(f)
	if o.JSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(l); err != nil {
			return fmt.Errorf("print the ledger: %w", err)
		}
	} else {
		show(out, l)
	}
	if !l.Balanced {
		return fmt.Errorf("the ledger does not balance: %d lost, %d duplicates, %d order violations, %d objects in a wrong "+
			"state, %d wrong dead letters",
			l.Lost, l.Duplicates, l.OrderViolations, l.WrongState, l.WrongLetters)
	}
	return nil
}
