package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licenseclassifier/v2/assets"
)

// stdlib stands for Go's own module, under the name that SBOMs give it.
const stdlib = "std"

// module is one module that something here is made of.
type module struct {
	Path, Version, Dir string
	Indirect           bool // no package of the requiring module imports it

	texts    []string // its licence files, and those of its packages that are used, as slash-separated paths below Dir
	licences string   // as an SPDX expression, or empty where none was found
}

// linked are the modules with a package in the program, on any architecture, by path; Go's own among them.
func linked(ctx context.Context, root string) ([]module, error) {
	found := map[string]*module{}
	for _, arch := range architectures {
		cmd := exec.CommandContext(ctx, "go", "list", "-C", root, "-deps", "-json=Dir,Standard,Module", "./cmd/tasksink")
		cmd.Env = buildEnv(arch)
		err := readJSON(cmd, func(pkg struct {
			Dir      string
			Standard bool
			Module   *struct {
				module
				Main bool
			}
		}) error {
			if pkg.Standard || pkg.Module.Main {
				return nil
			}
			m := found[pkg.Module.Path]
			if m == nil {
				m = &pkg.Module.module
				found[m.Path] = m
			}
			return m.addTexts(pkg.Dir)
		})
		if err != nil {
			return nil, fmt.Errorf("list the packages of tasksink: %w", err)
		}
	}
	goEnv, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("ask where Go is: %w", err)
	}
	goRoot, version, _ := strings.Cut(strings.TrimSpace(string(goEnv)), "\n")
	std := &module{Path: stdlib, Version: version, Dir: goRoot}
	if err := std.addTexts(std.Dir); err != nil {
		return nil, err
	}
	found[stdlib] = std
	return classified(found)
}

// required are the modules that a go.mod asks for itself, by path.
func required(ctx context.Context, dir string) ([]module, error) {
	found := map[string]*module{}
	err := readJSON(exec.CommandContext(ctx, "go", "list", "-C", dir, "-mod=readonly", "-m", "-json", "all"),
		func(m struct {
			module
			Main bool
		}) error {
			if m.Main || m.Indirect {
				return nil
			}
			found[m.Path] = &m.module
			return m.addTexts(m.Dir)
		})
	if err != nil {
		return nil, fmt.Errorf("list the modules of %s: %w", dir, err)
	}
	return classified(found)
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|copyright)s?([-._].*)?$`)

// addTexts remembers the licence files in a package's directory and in those above it, up to the module's.
func (m *module) addTexts(dir string) error {
	for ; strings.HasPrefix(dir, m.Dir); dir = filepath.Dir(dir) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("look for the licence of %s (go mod download fetches it): %w", m.Path, err)
		}
		for _, e := range entries {
			if !e.Type().IsRegular() || !licenceFile.MatchString(e.Name()) || filepath.Ext(e.Name()) == ".go" {
				continue
			}
			name, err := filepath.Rel(m.Dir, filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			if name = filepath.ToSlash(name); !slices.Contains(m.texts, name) {
				m.texts = append(m.texts, name)
			}
		}
	}
	return nil
}

// classified are the modules in order, with the names of the licences in their texts. A module may have several: parts
// of it come from elsewhere, and all count.
func classified(found map[string]*module) ([]module, error) {
	classifier, err := assets.DefaultClassifier()
	if err != nil {
		return nil, err
	}
	var all []module
	for _, m := range found {
		slices.Sort(m.texts)
		var names []string
		for _, text := range m.texts {
			b, err := os.ReadFile(filepath.Join(m.Dir, text))
			if err != nil {
				return nil, err
			}
			for _, match := range classifier.Match(b).Matches {
				if match.MatchType == "License" { // not the mention of one
					names = append(names, match.Name)
				}
			}
		}
		slices.Sort(names)
		m.licences = strings.Join(slices.Compact(names), " AND ")
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// thirdParty is the text that licences ask to be handed on with the program.
func thirdParty(modules []module) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("tasksink contains the modules below, under the licences that follow each name. The authorities in\n" +
		"/etc/ssl/certs/ca-certificates.crt of the image are Mozilla's list, under the Mozilla Public License 2.0.\n")
	for _, m := range modules {
		fmt.Fprintf(&b, "\n%s\n%s %s (%s)\n", strings.Repeat("=", 80), m.Path, m.Version, m.licences)
		for _, text := range m.texts {
			content, err := os.ReadFile(filepath.Join(m.Dir, text))
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "\n--- %s\n\n%s\n", text, bytes.TrimSpace(bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))))
		}
	}
	return b.Bytes(), nil
}

// readJSON runs a command and hands on each value that it writes.
func readJSON[T any](cmd *exec.Cmd, each func(T) error) error {
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, complaint.Bytes())
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var v T
		if err := dec.Decode(&v); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := each(v); err != nil {
			return err
		}
	}
}
