// Package charttest is the chart's tests: what Helm renders is decoded strictly into the types of those who will read
// it, held against the Pod Security standard, and given to the program. They need nothing but Go's registry.
package charttest

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const chart = "../../helm/tasksink"

var update = flag.Bool("update", false, "write the golden files and the chart's README anew")

// tools are built once, and kept by go's own cache; their versions are go.mod's.
var tools = map[string]string{"helm": "", "helm-unittest": ""}

func TestMain(m *testing.M) {
	flag.Parse()
	for name := range tools {
		out, err := exec.Command("go", "tool", "-n", name).Output()
		if err != nil {
			var failed *exec.ExitError
			if errors.As(err, &failed) {
				_, _ = os.Stderr.Write(failed.Stderr)
			}
			panic(err)
		}
		tools[name] = strings.TrimSpace(string(out))
	}
	// Helm looks at no repository, plugin or cluster of whoever runs the tests.
	home, err := os.MkdirTemp("", "charttest")
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"} {
		if err := os.Setenv(name, home); err != nil {
			panic(err)
		}
	}
	_ = os.Setenv("KUBECONFIG", filepath.Join(home, "none"))
	status := m.Run()
	_ = os.RemoveAll(home)
	os.Exit(status)
}

// helm runs Helm and returns what it said, and whether it was content.
func helm(t *testing.T, args ...string) (stdout, stderr string, ok bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tools["helm"], args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), err == nil
}

// object is one of those that Kubernetes would be given.
type object struct {
	kind, name string
	text       []byte
	fields     map[string]any
}

// render is what `helm install` would send for the given arguments, tests and all.
func render(t *testing.T, args ...string) (objects []object) {
	t.Helper()
	out, errs, ok := helm(t, append([]string{"template", "tasksink", chart, "--namespace=prod"}, args...)...)
	if !ok {
		t.Fatalf("helm template %s: %s", strings.Join(args, " "), errs)
	}
	for dec := yaml.NewDecoder(strings.NewReader(out)); ; {
		fields := map[string]any{}
		if err := dec.Decode(&fields); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatalf("helm template %s: %v", strings.Join(args, " "), err)
		}
		if len(fields) == 0 {
			continue
		}
		text, err := yaml.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		kind, _ := fields["kind"].(string)
		metadata, _ := fields["metadata"].(map[string]any)
		name, _ := metadata["name"].(string)
		objects = append(objects, object{kind: kind, name: name, text: text, fields: fields})
	}
}

// scenarios are the values files in ci/, by name.
func scenarios(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(chart + "/ci/*-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = file
	}
	for _, name := range []string{"minimal", "oauth", "sasl-tls", "keda", "hpa", "everything"} {
		if all[name] == "" {
			t.Errorf("ci/%s-values.yaml is missing", name)
		}
	}
	return all
}

// each runs a test for each values file, on what it renders.
func each(t *testing.T, test func(t *testing.T, name string, objects []object)) {
	t.Helper()
	for name, file := range maps.All(scenarios(t)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, name, render(t, "--values="+file))
		})
	}
}

// TestLint: helm lint finds nothing to warn of.
func TestLint(t *testing.T) {
	t.Parallel()
	for name, file := range scenarios(t) {
		if out, errs, ok := helm(t, "lint", "--strict", chart, "--values="+file); !ok {
			t.Errorf("%s: %s%s", name, out, errs)
		}
	}
}

// TestUnits: helm-unittest finds the templates as helm/tasksink/tests describes them.
func TestUnits(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), tools["helm-unittest"], "--strict", chart).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	if !regexp.MustCompile(`Tests: +\d\d+ passed`).Match(out) {
		t.Error("hardly a test was run")
	}
}
