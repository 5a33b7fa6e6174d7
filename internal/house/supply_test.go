package house_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// readYAML reads a file into v, and returns its text.
func readYAML(t *testing.T, path string, v any) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return string(b)
}

// goVersions are the versions of Go that a text names, as setup-go and the image have them.
func goVersions(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?:go-version: |golang:)([\w.]+)`).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestWorkflows: they may do no more than they must, end, take from others only what is pinned to a commit, and all
// build with the Go of the Dockerfile. What actionlint finds, make lint tells.
func TestWorkflows(t *testing.T) {
	dockerfile, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	release := goVersions(string(dockerfile))
	if len(release) != 1 || strings.Count(release[0], ".") != 2 {
		t.Fatalf("the Dockerfile builds with Go %q, which is not one exact version", release)
	}
	paths, err := filepath.Glob("../../.github/workflows/*.y*ml")
	if err != nil || len(paths) < 2 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		var w struct {
			Permissions map[string]string
			Concurrency struct{ Group string }
			Jobs        map[string]struct {
				Uses    string
				Timeout int `yaml:"timeout-minutes"`
				Steps   []struct {
					Uses string
					With map[string]any
				}
			}
		}
		text := readYAML(t, path, &w)
		if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
			t.Errorf("%s: permissions are %v: give a job what it needs beyond contents: read", name, w.Permissions)
		}
		if w.Concurrency.Group == "" {
			t.Errorf("%s has no concurrency group", name)
		}
		for job, j := range w.Jobs {
			if j.Timeout == 0 && j.Uses == "" {
				t.Errorf("%s: job %s has no timeout-minutes", name, job)
			}
			for _, s := range j.Steps {
				if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != false {
					t.Errorf("%s: job %s leaves the token of checkout to later steps", name, job)
				}
			}
		}
		pinned := regexp.MustCompile(`^([\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/[\w-]+\.yml)$`)
		for _, m := range regexp.MustCompile(`(?m)^\s*(?:- )?uses: (.*)$`).FindAllStringSubmatch(text, -1) {
			if !pinned.MatchString(m[1]) {
				t.Errorf("%s uses %s: pin it by commit, with the version behind it: owner/name@<40 hex digits> # v1.2.3", name,
					m[1])
			}
		}
		for _, v := range goVersions(text) {
			if v != release[0] {
				t.Errorf("%s builds with Go %s, the Dockerfile with %s", name, v, release[0])
			}
		}
	}
}

// TestBaseImages: what the Dockerfile builds on is pinned by digest.
func TestBaseImages(t *testing.T) {
	b, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	from := regexp.MustCompile(`(?m)^FROM .*$`).FindAllString(string(b), -1)
	if len(from) != 2 {
		t.Errorf("the Dockerfile has the stages %q", from)
	}
	for _, line := range from {
		if !regexp.MustCompile(`:[\w.-]+@sha256:[0-9a-f]{64}( AS \w+)?$`).MatchString(line) {
			t.Errorf("pin this by tag and digest: %s", line)
		}
	}
}

// TestDependabot: it looks after every module, the workflows and the Dockerfile.
func TestDependabot(t *testing.T) {
	var d struct {
		Updates []struct {
			Ecosystem   string `yaml:"package-ecosystem"`
			Directory   string
			Directories []string
		}
	}
	readYAML(t, "../../.github/dependabot.yml", &d)
	looked := map[string][]string{}
	for _, u := range d.Updates {
		looked[u.Ecosystem] = append(looked[u.Ecosystem], u.Directories...)
		if u.Directory != "" {
			looked[u.Ecosystem] = append(looked[u.Ecosystem], u.Directory)
		}
	}
	if got := slices.Sorted(maps.Keys(looked)); !slices.Equal(got, []string{"docker", "github-actions", "gomod"}) {
		t.Errorf("it looks after %q", got)
	}
	var modules []string
	err := fs.WalkDir(os.DirFS("../.."), ".", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == "go.mod" && !strings.Contains(path, "testdata") {
			modules = append(modules, strings.TrimSuffix("/"+strings.TrimSuffix(path, "go.mod"), "/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range modules {
		if m == "" {
			modules[i] = "/"
		}
	}
	slices.Sort(modules)
	slices.Sort(looked["gomod"])
	if !slices.Equal(modules, looked["gomod"]) {
		t.Errorf("there are modules in %q, and .github/dependabot.yml looks after %q", modules, looked["gomod"])
	}
}
