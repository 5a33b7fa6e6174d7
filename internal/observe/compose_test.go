package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

func compose(t *testing.T) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{"../../compose.yaml"}, cli.WithDiscardEnvFile)
	if err != nil {
		t.Fatal(err)
	}
	project, err := o.LoadProject(t.Context()) // checks the schema, and that what services depend on is there
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// TestCompose: compose.yaml is by the specification, what it mounts and builds is in the repository, its images have a
// version, and its ports are open to this machine only.
func TestCompose(t *testing.T) {
	project := compose(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kafka", "topics", "demo", "tasksink", "prometheus", "grafana", "jaeger"} {
		if _, is := project.Services[name]; !is {
			t.Errorf("there is no service %s", name)
		}
	}
	for name, s := range project.Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil || !strings.HasPrefix(v.Source, root) || !v.ReadOnly {
				t.Errorf("%s mounts %s (read-only: %t): %v", name, v.Source, v.ReadOnly, err)
			}
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s opens port %s on %q", name, p.Published, p.HostIP)
			}
		}
		if s.Build != nil {
			if s.Build.Context != root || s.Build.Dockerfile != "Dockerfile" {
				t.Errorf("%s is built in %s by %s", name, s.Build.Context, s.Build.Dockerfile)
			}
		} else if !regexp.MustCompile(`^[\w/.-]+:v?\d+\.\d+\.\d+$`).MatchString(s.Image) {
			t.Errorf("%s: image %s has no exact version", name, s.Image)
		}
	}
}

// TestComposeSettings: tasksink takes the settings that compose.yaml gives it.
func TestComposeSettings(t *testing.T) {
	help, err := os.ReadFile("../../cmd/tasksink/testdata/run-help.golden")
	if err != nil {
		t.Fatal(err)
	}
	for name := range compose(t).Services["tasksink"].Environment {
		if setting, is := strings.CutPrefix(name, "TASKSINK_"); is {
			if flag := "--" + strings.ReplaceAll(strings.ToLower(setting), "_", "-"); !regexp.MustCompile(flag +
				`\b`).Match(help) {
				t.Errorf("%s: there is no %s", name, flag)
			}
		}
	}
}

// TestComposeFiles: Prometheus takes its configuration, with the files where compose.yaml mounts them; Grafana's files
// name what is mounted, and the services by their names.
func TestComposeFiles(t *testing.T) {
	project := compose(t)
	mounted := func(service string) map[string]string { // by its path in the container: the content
		all := map[string]string{}
		for _, v := range project.Services[service].Volumes {
			b, err := os.ReadFile(v.Source)
			if err != nil {
				t.Fatal(err)
			}
			all[v.Target] = string(b)
		}
		return all
	}
	for path, content := range mounted("grafana") {
		for _, m := range regexp.MustCompile(`url: http://(\w+):\d+`).FindAllStringSubmatch(content, -1) {
			if _, is := project.Services[m[1]]; !is {
				t.Errorf("%s asks %s, which is no service", path, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`(?m)^ +path: (\S+)`).FindAllStringSubmatch(content, -1) {
			if _, is := mounted("grafana")[m[1]+"/tasksink.json"]; !is {
				t.Errorf("%s looks for dashboards in %s, where none is mounted", path, m[1])
			}
		}
	}
	promtool, dir := debian(t, "promtool"), t.TempDir()
	for path, content := range mounted("prometheus") {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "config", "--lint-fatal",
		filepath.Join(dir, "prometheus.yml")).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
