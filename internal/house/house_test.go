// Package house holds the rules of the repository's layout, as tests.
package house_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tasksink/tasksink/"

// mayImport is who may know whom, of the repository's own packages. Tests are free.
var mayImport = map[string][]string{
	"batcher":                  {},
	"internal/terminal":        {},
	"internal/visible":         {},
	"internal/hold":            {"internal/visible"},
	"internal/secret":          {},
	"internal/watchdog":        {},
	"internal/broker":          {"internal/secret"},
	"tracing":                  {},
	"tracing/tracingtest":      {},
	"consumer/recordbatch":     {},
	"consumer/offsetmap":       {},
	"consumer":                 {"consumer/offsetmap", "consumer/recordbatch", "tracing", "internal/broker", "internal/hold", "internal/watchdog"},
	"dlq":                      {"consumer", "tracing", "internal/broker", "internal/hold", "internal/watchdog"},
	"upsert":                   {"batcher", "consumer", "dlq", "tracing", "upsert/hubspot", "upsert/pace", "internal/hold", "internal/watchdog"},
	"upsert/hubspot":           {"internal/secret"},
	"upsert/pace":              {"internal/hold"},
	"upsert/hubspottest":       {},
	"internal/kafkatest":       {},
	"internal/golden":          {},
	"internal/house":           {},
	"internal/observe":         {},
	"internal/bench":           {"internal/kafkatest", "upsert/hubspottest"},
	"internal/bench/fetcher":   {"consumer", "internal/broker", "internal/hold"},
	"internal/bench/yardstick": {},
	"cmd/tasksink":             {"cmd/tasksink/check", "cmd/tasksink/config", "cmd/tasksink/worker", "dlq", "internal/terminal", "internal/visible"},
	"cmd/tasksink/check":       {"cmd/tasksink/config", "consumer/offsetmap", "internal/broker", "upsert/hubspot", "upsert/pace", "internal/terminal", "internal/visible"},
	"cmd/tasksink/config":      {"upsert/hubspot", "internal/broker", "internal/secret"},
	"cmd/tasksink/worker/page": {},
	"cmd/tasksink/worker":      {"cmd/tasksink/config", "cmd/tasksink/worker/page", "batcher", "consumer", "dlq", "upsert", "upsert/hubspot", "upsert/pace", "tracing", "internal/broker", "internal/hold", "internal/watchdog"},
	"cmd/demo":                 {"cmd/tasksink/config", "cmd/tasksink/worker", "upsert/hubspottest", "internal/terminal"},
}

type pkg struct {
	ImportPath, Doc string
	GoFiles         []string
	Imports         []string
}

func packages(t *testing.T) (all []pkg) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Doc,GoFiles,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// TestImports: imports go one way.
func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %s has no place in the house: say in mayImport whom it may know", name)
		}
		for _, i := range p.Imports {
			if own, ok := strings.CutPrefix(i, module); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s", name, own)
			}
		}
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("package %s does not say what it is for", name)
		}
	}
}

// TestAccountOnly: these packages know HubSpot's account. They know neither Kafka nor tasks, not even by way of a
// package that they import.
func TestAccountOnly(t *testing.T) {
	kafkaOrTasks := regexp.MustCompile(`kafka-go|franz-go|^` + module + `(consumer|dlq|batcher|upsert)$`)
	for _, name := range []string{"upsert/hubspot", "upsert/pace"} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", module+name).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range strings.Fields(string(out)) {
			if kafkaOrTasks.MatchString(i) {
				t.Errorf("%s depends on %s", name, i)
			}
		}
	}
}

// TestTopLevel: what stands at the root is what was agreed.
func TestTopLevel(t *testing.T) {
	// dist: what make image makes, in no commit
	agreed := strings.Fields("cmd consumer batcher upsert dlq tracing helm docs internal README.md go.mod go.sum " +
		"LICENSE Makefile Dockerfile compose.yaml CONTRIBUTING.md CHANGELOG.md SECURITY.md dist")
	entries, err := os.ReadDir("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); !strings.HasPrefix(name, ".") && !slices.Contains(agreed, name) {
			t.Errorf("%s does not belong at the top level", name)
		}
	}
}

// TestLinks: what the documents point at is there, headings too.
func TestLinks(t *testing.T) {
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatal(docs, err)
	}
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("%v", err)
		}
		return string(b)
	}
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	mute := regexp.MustCompile(`[^\w -]`)
	for _, doc := range append(docs, "../../README.md", "../../CONTRIBUTING.md", "../../CHANGELOG.md", "../../SECURITY.md",
		"../../helm/tasksink/README.md") {
		for _, m := range regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`).FindAllStringSubmatch(read(doc), -1) {
			to := doc
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(doc), m[1])
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s points at %s: %v", doc, m[1], err)
				continue
			}
			if m[2] == "" {
				continue
			}
			there := slices.ContainsFunc(heading.FindAllStringSubmatch(read(to), -1), func(h []string) bool {
				return strings.ReplaceAll(mute.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") == m[2] // as GitHub does
			})
			if !there {
				t.Errorf("%s points at %s, which has no heading #%s", doc, to, m[2])
			}
		}
	}
}

// TestTelemetryPage: docs/telemetry.md lists each metric of tasksink, and no other.
func TestTelemetryPage(t *testing.T) {
	read := func(path string) string {
		b, err := os.ReadFile("../../" + path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	exposed, listed := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^((?:tasksink|http|messaging)_\w+) `).FindAllStringSubmatch(read("cmd/tasksink/testdata/metrics.golden"), -1) {
		exposed[m[1]] = true
	}
	for _, m := range regexp.MustCompile("`((?:tasksink|http|messaging)_[a-z_]+)`").FindAllStringSubmatch(read("docs/telemetry.md"), -1) {
		listed[m[1]] = true
	}
	for name := range exposed {
		if !listed[name] {
			t.Errorf("docs/telemetry.md does not list %s", name)
		}
	}
	for name := range listed {
		if !exposed[name] {
			t.Errorf("docs/telemetry.md lists %s, which is not on /metrics", name)
		}
	}
}
