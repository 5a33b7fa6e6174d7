// Command observe lets people look at tasksink at work: it starts the demo's Kafka and HubSpot, tasksink, and
// Prometheus with tasksink's alerts, says where to look, and stops them on Ctrl-C. Prometheus is Debian's; compose.yaml
// has Grafana, too.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

const program = "github.com/tasksink/tasksink/"

type options struct {
	Records    int    `default:"20000" help:"Task events that wait at the start."`
	Stream     int    `default:"200" help:"Task events a second after that."`
	Bad        int    `default:"1" help:"How many of them are bad, in per cent."`
	KafkaPort  int    `default:"9092" help:"Kafka's port on 127.0.0.1; 0 = any, here and below."`
	Hubspot    string `default:"127.0.0.1:8090" placeholder:"ADDRESS" help:"Where the simulated HubSpot listens."`
	Listen     string `default:"127.0.0.1:8080" placeholder:"ADDRESS" help:"Where tasksink listens."`
	Prometheus string `default:"127.0.0.1:9090" placeholder:"ADDRESS" help:"Where Prometheus listens."`

	Scrape time.Duration `default:"5s" help:"How often Prometheus scrapes."`
}

func main() {
	var o options
	kong.Parse(&o, kong.Name("observe"), kong.Description("tasksink at work, with Prometheus and its alerts beside it, "+
		"until Ctrl-C."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := observe(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "observe:", err)
		os.Exit(1)
	}
}

// observe starts everything, tells out where it is, and stops everything when ctx ends, or one of the programs.
func observe(ctx context.Context, o options, out io.Writer) (err error) {
	prometheus, err := exec.LookPath("prometheus")
	if err != nil {
		return fmt.Errorf("%w; on Debian: apt-get install --no-install-recommends prometheus", err)
	}
	rules, err := rulesFile(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tasksink-observe-")
	if err != nil {
		return fmt.Errorf("make a directory for programs and data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	build := exec.CommandContext(ctx, "go", "build", "-o", dir, program+"cmd/demo", program+"cmd/tasksink")
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the demo and tasksink: %w\n%s", err, said)
	}

	// Stopped in the order that is the reverse of this one, and tasksink before the Kafka that it commits to.
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var parts []*part
	defer func() {
		for i := len(parts) - 1; i >= 0; i-- {
			err = errors.Join(err, parts[i].stop())
		}
	}()
	run := func(name, ready, path string, args ...string) ([]string, error) {
		p, says, err := start(running, fail, name, regexp.MustCompile(ready), path, args...)
		if err == nil {
			parts = append(parts, p)
		}
		return says, err
	}
	says, err := run("the demo", `Kafka on (\S+); HubSpot is on (http://\S+)\. `, filepath.Join(dir, "demo"), "--serve",
		fmt.Sprintf("--records=%d", o.Records), fmt.Sprintf("--stream=%d", o.Stream), fmt.Sprintf("--bad=%d", o.Bad),
		fmt.Sprintf("--kafka-port=%d", o.KafkaPort), "--hubspot="+o.Hubspot)
	if err != nil {
		return err
	}
	kafka, hubspot := says[0], says[1]
	if says, err = run("tasksink", `"address":"([^"]+)"[^\n]*admin server listens`, filepath.Join(dir, "tasksink"), "run",
		"--kafka-brokers="+kafka, "--hubspot-url="+hubspot, "--hubspot-token=demo", "--hubspot-id-property=external_task_id",
		"--listen="+o.Listen); err != nil {
		return err
	}
	tasksink := says[0]
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, prometheusConfig, o.Scrape, o.Scrape, rules, tasksink),
		0o600); err != nil {
		return fmt.Errorf("configure Prometheus: %w", err)
	}
	// It listens before it is ready.
	if says, err = run("Prometheus", `(?s)Listening on"? address=(\S+).*Server is ready|Server is ready.*Listening on"? address=(\S+)\s`, prometheus, "--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+o.Prometheus); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, guide, tasksink, tasksink, tasksink, says[0], says[0], kafka, hubspot)
	<-running.Done()
	if ctx.Err() == nil {
		return context.Cause(running)
	}
	return nil
}

// prometheusConfig is Prometheus's. The dashboard can choose by the label group.
const prometheusConfig = `global:
  scrape_interval: %s
  evaluation_interval: %s
rule_files: [%q]
scrape_configs:
  - job_name: tasksink
    static_configs:
      - targets: [%q]
        labels: {group: tasksink}
`

const guide = `
  tasksink     http://%s/          whether it flows, and what holds it
               http://%s/status
               http://%s/metrics
  Prometheus   http://%s/alerts    what is wrong, by docs/runbook.md
               http://%s/graph
  Kafka        %s
  HubSpot      %s

Ctrl-C stops them all.
`

// rulesFile is where the alerts are, wherever in the repository this is started.
func rulesFile(ctx context.Context) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", strings.TrimSuffix(program, "/")).Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w; start this within it", err)
	}
	return filepath.Join(strings.TrimSpace(string(root)), "helm", "tasksink", "files", "rules.yaml"), nil
}
