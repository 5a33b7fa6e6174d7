// Command release makes what a release of tasksink consists of, with Go and nothing else: the programs, their SBOMs,
// the licences of what is linked in, and the container image for all platforms, without a container engine.
//
// All of it is reproducible: from the same commit and the same Go it comes out byte for byte the same, on any machine
// and in any directory. Versions and times are read back from the programs, where the Go toolchain wrote those of the
// commit. A tree that is no git repository of its own (an unpacked archive, a linked worktree) yields version "devel"
// and 1970.
//
// It is a module of its own, so that what it needs does not become a dependency of the program. Its tests run it on two
// copies of the repository and open what comes out.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/alecthomas/kong"
)

type cli struct {
	Root string `default:"." help:"The repository."`

	Image struct {
		Out string `default:"dist" help:"Directory for the results; what is in the way there is replaced."`
	} `cmd:"" help:"Make programs, SBOMs, licences, the image, and SHA256SUMS."`
	Push struct {
		Reference string `arg:"" help:"Where to, such as ghcr.io/owner/tasksink:v1.2.3; with the credentials of docker login."`
	} `cmd:"" help:"Make the image and push it; prints its reference by digest."`
	Documents struct {
		Program string `arg:"" help:"A built tasksink."`
		Out     string `arg:"" help:"Directory for the documents."`
	} `cmd:"" help:"Write the licences and the SBOM that go into the image with this program."`
	Dependencies struct{} `cmd:"" help:"Write docs/dependencies.md anew; what it says a module is for stays."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	var c cli
	parser, err := kong.New(&c, kong.Name("release"), kong.Description("Makes what a release of tasksink consists of."))
	if err != nil {
		return err
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return err
	}
	switch parsed.Command() {
	case "image":
		return writeRelease(ctx, c.Root, c.Image.Out, stdout)
	case "push <reference>":
		return push(ctx, c.Root, c.Push.Reference, stdout)
	case "documents <program> <out>":
		return writeDocuments(ctx, c.Root, c.Documents.Program, c.Documents.Out)
	default:
		return writeDependencies(ctx, c.Root)
	}
}
