package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// share is a part of the worker's CPU: a package, or the kernel.
type share struct {
	Part      string   `json:"part"`
	Percent   float64  `json:"percent"`
	Functions []string `json:"functions"` // the heaviest, with their own per cents
}

// profile says where the worker's CPU goes while it works off a backlog, by perf's samples of it. Without perf, or
// without leave to use it, it says nothing but why.
func (b *bench) profile(ctx context.Context) ([]share, error) {
	b.say("row a: where the time goes")
	topic, err := b.backlog(ctx, 6, 6, b.records, recordBytes)
	if err != nil {
		return nil, err
	}
	defer b.lab.drop(ctx, topic)
	data := filepath.Join(b.lab.dir, "perf.data")
	var perf *process
	defer func() {
		if perf != nil {
			perf.kill()
		}
	}()
	var started error
	_, err = b.drainOnce(ctx, b.subject(), topic, b.records, conditions{inFlight: 8}, func(p *process) {
		perf, started = launch("perf", exec.CommandContext(context.WithoutCancel(ctx), "perf", "record", "-q", "-F", "997",
			"-o", data, "-p", strconv.Itoa(p.cmd.Process.Pid)))
	})
	if err = cmp.Or(started, err); err != nil {
		return nil, err
	}
	_ = perf.cmd.Process.Signal(syscall.SIGINT) // it ends with the worker, and writes its file
	select {
	case <-perf.ended:
	case <-time.After(20 * time.Second):
		return nil, fmt.Errorf("perf does not end: %s", perf.said)
	}
	out, err := exec.CommandContext(ctx, "perf", "report", "-i", data, "--stdio", "-q", "--no-children", "-F",
		"overhead,sym").Output()
	if err != nil {
		return nil, fmt.Errorf("perf report: %w: %s", err, perf.said)
	}
	return shares(out), nil
}

var (
	reported = regexp.MustCompile(`^\s*([\d.]+)%\s+\[(.)\]\s+(\S.*?)\s*$`)
	inPath   = regexp.MustCompile(`^((?:[^\s(\[]*/)?[^\s./(\[]+)\.`)
)

// shares sums up perf's report by packages.
func shares(report []byte) []share {
	parts := map[string]*share{}
	for line := range bytes.Lines(report) {
		m := reported.FindStringSubmatch(strings.TrimRight(string(line), "\n"))
		if m == nil {
			continue
		}
		percent, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			continue
		}
		part, function := partOf(m[2], m[3])
		s := parts[part]
		if s == nil {
			s = &share{Part: part}
			parts[part] = s
		}
		s.Percent += percent
		if len(s.Functions) < 4 && percent >= 0.3 { // the report is sorted
			s.Functions = append(s.Functions, fmt.Sprintf("%s %.1f", function, percent))
		}
	}
	all := slices.Collect(maps.Values(parts))
	slices.SortFunc(all, func(a, b *share) int {
		return cmp.Or(cmp.Compare(b.Percent, a.Percent),
			cmp.Compare(a.Part, b.Part))
	})
	var some []share
	rest := share{Part: "all others"}
	for _, s := range all {
		if s.Percent >= 0.75 {
			some = append(some, *s)
		} else {
			rest.Percent += s.Percent
		}
	}
	return append(some, rest)
}

// partOf is the package of a symbol, and the function in it.
func partOf(kind, symbol string) (part, function string) {
	if kind == "k" {
		return "kernel", symbol
	}
	m := inPath.FindStringSubmatch(symbol)
	if m == nil {
		return "runtime", symbol // its assembly: memeqbody, aeshashbody
	}
	part = strings.TrimPrefix(m[1], module)
	if strings.HasPrefix(part, "internal/runtime/") || part == "internal/bytealg" {
		part = "runtime"
	}
	return part, strings.TrimPrefix(symbol, m[1]+".")
}

func profileTable(all []share) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"part", "% of the CPU", "most of it in"})
	for _, s := range all {
		t.AppendRow(table.Row{s.Part, fmt.Sprintf("%.1f", s.Percent), strings.Join(s.Functions, ", ")})
	}
	return t
}
