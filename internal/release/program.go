package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// architectures of Linux that are released.
var architectures = []string{"amd64", "arm64"}

// buildFlags, of go build. Without DWARF (-w) the program is a quarter smaller; the symbols stay, as vulnerability
// scanners tell by them which functions are linked in. The Dockerfile has the same flags, and a test compares.
var buildFlags = []string{"-trimpath", "-ldflags=-w"}

// program is one built tasksink, and what the toolchain wrote into it.
type program struct {
	path, arch string
	version    string    // the tag, a pseudo-version, or "devel" where no commit is known
	revision   string    // the commit, or empty
	time       time.Time // the commit's, or 1970
}

// build makes the program for one architecture in a directory of its own below dir.
func build(ctx context.Context, root, arch, dir string) (program, error) {
	path, err := filepath.Abs(filepath.Join(dir, arch, "tasksink"))
	if err != nil {
		return program{}, err
	}
	args := append([]string{"build", "-C", root, "-buildvcs=true"}, buildFlags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", path, "./cmd/tasksink")...)
	cmd.Env = buildEnv(arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return program{}, fmt.Errorf("build tasksink for linux/%s: %w\n%s", arch, err, out)
	}
	return inspect(path)
}

// buildEnv pins what would change the program from one machine to the next. (GOFLAGS must not be empty: then what go
// env -w wrote would count.)
func buildEnv(arch string) []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=-mod=readonly", "GOEXPERIMENT=", "GOWORK=off")
}

// inspect reads what the toolchain wrote into a program.
func inspect(path string) (program, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return program{}, fmt.Errorf("read the build information of %s: %w", path, err)
	}
	p := program{path: path, version: "devel", time: time.Unix(0, 0).UTC()}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		p.version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOARCH":
			p.arch = s.Value
		case "vcs.revision":
			p.revision = s.Value
		case "vcs.time":
			if p.time, err = time.Parse(time.RFC3339, s.Value); err != nil {
				return program{}, fmt.Errorf("read the commit's time in %s: %w", path, err)
			}
		}
	}
	return p, nil
}

// tag is the version as an image's tag: + is not allowed in one.
func (p program) tag() string { return strings.ReplaceAll(p.version, "+", "-") }
