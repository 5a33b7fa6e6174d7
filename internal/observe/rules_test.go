package main

import (
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const files = "../../helm/tasksink/files/"

// alert is what the tests want to know of a rule.
type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) map[string]alert {
	t.Helper()
	var rules struct {
		Groups []struct {
			Name  string
			Rules []alert
		}
	}
	read(t, files+"rules.yaml", &rules)
	all := map[string]alert{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all[r.Alert] = r
		}
	}
	return all
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// debian returns the path of a program of Debian's package prometheus. Without it the test is skipped, unless it is
// required.
func debian(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("TASKSINK_REQUIRE_PROMTOOL") != "" {
			t.Fatal(err)
		}
		t.Skipf("%s is not installed: apt-get install --no-install-recommends prometheus", program)
	}
	return path
}

// TestRules: Prometheus takes the rules, and each alert fires and keeps quiet as its cases say.
func TestRules(t *testing.T) {
	promtool := debian(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "--lint-fatal", files + "rules.yaml"},
		{"test", "rules", files + "rules.test.yaml"}} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestCases: each alert has a case in which it fires, one in which it nearly does, and keeps quiet in a healthy group.
func TestCases(t *testing.T) {
	var cases struct {
		Tests []struct {
			Name  string
			Input []any `yaml:"input_series"`
			Cases []struct {
				Alertname string
				Expected  []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	read(t, files+"rules.test.yaml", &cases)
	fires, not, quiet := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, c := range cases.Tests {
		for _, e := range c.Cases {
			switch {
			case len(e.Expected) > 0:
				fires[e.Alertname] = true
			case c.Name == "quiet":
				quiet[e.Alertname] = true
			default:
				not[e.Alertname] = true
			}
		}
	}
	for name := range alerts(t) {
		if !fires[name] || !not[name] || !quiet[name] {
			t.Errorf("%s: has a case in which it fires: %t, in which it nearly does: %t, in a healthy group: %t", name,
				fires[name], not[name], quiet[name])
		}
	}
}

// TestRunbook: each alert says how bad it is, what is so and what to do, and has its section in the runbook; each
// section its alert.
func TestRunbook(t *testing.T) {
	b, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, part := range strings.Split(string(b), "\n### ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		sections[name] = text
	}
	all := alerts(t)
	if len(all) < 19 {
		t.Errorf("only %d alerts: %v", len(all), slices.Sorted(maps.Keys(all)))
	}
	for name, a := range all {
		text, has := sections[name]
		if !has {
			t.Errorf("docs/runbook.md has no section ### %s", name)
		}
		for _, want := range []string{"**Means**", "**Look at**", "**Do**"} {
			if has && !strings.Contains(text, want) {
				t.Errorf("the runbook's section %s has no %s", name, want)
			}
		}
		if url := a.Annotations["runbook_url"]; url != "docs/runbook.md#"+strings.ToLower(name) {
			t.Errorf("%s: runbook_url is %q", name, url)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: severity is %q", name, a.Labels["severity"])
		}
		if a.Annotations["summary"] == "" || !strings.Contains(a.Annotations["description"], "$value") &&
			!strings.Contains(a.Annotations["description"], "$labels") {
			t.Errorf("%s: summary or description is missing, or the description has no value", name)
		}
	}
	for name := range sections {
		if _, is := all[name]; !is {
			t.Errorf("docs/runbook.md has a section %s, and there is no such alert", name)
		}
	}
	for _, named := range regexp.MustCompile(`\bTasksink[A-Z]\w+`).FindAllString(string(b), -1) {
		if _, is := all[named]; !is {
			t.Errorf("docs/runbook.md mentions %s, and there is no such alert", named)
		}
	}
}

// TestHoldsInRunbook: the runbook has a row for each reason that the program can hold for.
func TestHoldsInRunbook(t *testing.T) {
	b, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range []string{"../../upsert/hold.go", "../../upsert/pace/day.go",
		"../../consumer/consumer.go", "../../dlq/writer.go"} {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\bhold[A-Z]\w* += "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
			found++
			if !strings.Contains(string(b), "`"+m[1]+"`") {
				t.Errorf("docs/runbook.md says nothing of the hold %s (%s)", m[1], path)
			}
		}
	}
	if found < 11 {
		t.Errorf("only %d holds found in the sources", found)
	}
}

// TestCausesInRunbook: the runbook has a section for each cause that a partition's problem can have.
func TestCausesInRunbook(t *testing.T) {
	b, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../../consumer/health.go")
	if err != nil {
		t.Fatal(err)
	}
	causes := regexp.MustCompile(`\bcause[A-Z]\w* += "([\w-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(causes) < 8 {
		t.Errorf("only %d causes found in the sources", len(causes))
	}
	for _, m := range causes {
		_, section, found := strings.Cut(string(b), "\n#### "+m[1]+"\n")
		section, _, _ = strings.Cut(section, "\n###")
		for _, want := range []string{"**Means**", "**Look at**", "**Do**", "**Do not**"} {
			if found && !strings.Contains(section, want) {
				t.Errorf("the runbook's section %s has no %s", m[1], want)
			}
		}
		if !found {
			t.Errorf("docs/runbook.md has no section #### %s", m[1])
		}
	}
}
