package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// allowed are the licences that what is shipped may have: each lets anybody use, change and hand on the program.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

var purposeRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|[^|\n]*\\|[^|\n]*\\| *([^|\n]*?) *\\|$")

// dependencies is what docs/dependencies.md should say. The purposes are people's words, and are taken over from
// before.
func dependencies(ctx context.Context, root string, before []byte) ([]byte, error) {
	shipped, err := linked(ctx, root)
	if err != nil {
		return nil, err
	}
	asked, err := required(ctx, root)
	if err != nil {
		return nil, err
	}
	own, err := required(ctx, filepath.Join(root, "internal", "release"))
	if err != nil {
		return nil, err
	}
	purposes := map[string]string{}
	for _, row := range purposeRow.FindAllSubmatch(before, -1) {
		purposes[string(row[1])] = string(row[2])
	}
	has := func(all []module, path string) bool {
		return slices.ContainsFunc(all, func(m module) bool { return m.Path == path })
	}
	var chosen, brought, beside []module
	for _, m := range shipped {
		if m.Path == stdlib {
			m.Version = "" // whichever Go builds it
		}
		if has(asked, m.Path) || m.Path == stdlib {
			chosen = append(chosen, m)
		} else {
			brought = append(brought, m)
		}
	}
	for _, m := range asked {
		if !has(shipped, m.Path) {
			beside = append(beside, m)
		}
	}
	own = slices.DeleteFunc(own, func(m module) bool { return has(asked, m.Path) }) // told already
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Dependencies

What tasksink is made of, and why each part is there. `+"`make dependencies`"+` writes the versions and licences, and a test holds
them: they are current, whatever was chosen has a purpose, and every licence is one of
%s. The licences' texts travel with the program, in
%s; its SBOM names all of this for tools.

## In the program

`, strings.Join(allowed, ", "), "`"+thirdPartyName+"`")
	table(&b, chosen, purposes)
	b.WriteString("\nThese bring along:\n\n| module | version | licence |\n|---|---|---|\n")
	for _, m := range brought {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m.Path, m.Version, m.licences)
	}
	b.WriteString("\n## Beside the program\n\nFor tests, the demo and measurements only:\n\n")
	table(&b, beside, purposes)
	b.WriteString("\nFor making releases (a module of its own, `internal/release`):\n\n")
	table(&b, own, purposes)
	return b.Bytes(), errors.Join(refused(shipped), refused(asked), refused(own),
		purposeless(purposes, chosen, beside, own))
}

func table(b *bytes.Buffer, modules []module, purposes map[string]string) {
	b.WriteString("| module | version | licence | for |\n|---|---|---|---|\n")
	for _, m := range modules {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", m.Path, m.Version, m.licences, purposes[m.Path])
	}
}

func refused(modules []module) error {
	var all []error
	for _, m := range modules {
		if m.licences == "" {
			all = append(all, fmt.Errorf("%s %s has no licence that could be recognised: do without it, or look at it",
				m.Path, m.Version))
			continue
		}
		for l := range strings.SplitSeq(m.licences, " AND ") {
			if !slices.Contains(allowed, l) {
				all = append(all, fmt.Errorf("%s %s is under %s, which is not among those allowed: do without it, or decide "+
					"to allow that", m.Path, m.Version, l))
			}
		}
	}
	return errors.Join(all...)
}

func purposeless(purposes map[string]string, tables ...[]module) error {
	var all []error
	for _, m := range slices.Concat(tables...) {
		if purposes[m.Path] == "" {
			all = append(all, fmt.Errorf("docs/dependencies.md does not say what %s is for: write it in the last column",
				m.Path))
		}
	}
	return errors.Join(all...)
}

func dependenciesPath(root string) string { return filepath.Join(root, "docs", "dependencies.md") }

// writeDependencies writes the document even where something in it is amiss, so that it can be mended there.
func writeDependencies(ctx context.Context, root string) error {
	before, err := os.ReadFile(dependenciesPath(root))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	now, amiss := dependencies(ctx, root, before)
	if now == nil {
		return amiss
	}
	return errors.Join(amiss, os.WriteFile(dependenciesPath(root), now, 0o644))
}
