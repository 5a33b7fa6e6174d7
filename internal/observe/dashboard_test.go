package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type, AllValue string }
	}
	Panels []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Links                    []struct{ URL string }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		Expr, RefID string
		Datasource  struct{ UID string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	b, err := os.ReadFile(files + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatalf("dashboard.json: %v", err)
	}
	return d
}

// query is a panel's, with Grafana's variables as they are when All is chosen, and rates over the given time.
func query(expr, rates string) string {
	return strings.NewReplacer("$namespace", ".*", "$job", ".*", "$group", ".*", "$pod", ".*", "$__rate_interval",
		rates).Replace(expr)
}

// TestDashboard: each panel says what it shows, and in what unit; none lies upon another; links lead to sections of the
// runbook; the variables that queries use are there.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	if d.Title != "tasksink" || d.UID != "tasksink" || d.SchemaVersion < 39 {
		t.Errorf("title %q, uid %q, schema version %d", d.Title, d.UID, d.SchemaVersion)
	}
	variables := []string{"__rate_interval"}
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
		if v.Type == "query" && v.AllValue != ".*" {
			t.Errorf("variable %s: All is %q, and would miss series without that label", v.Name, v.AllValue)
		}
	}
	known := alerts(t)
	ids, rows, taken := map[int]bool{}, []string{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if on := taken[[2]int{x, y}]; on != "" || x >= 24 {
					t.Fatalf("panel %s lies upon %q, or goes beyond the edge", p.Title, on)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		if p.Title == "" || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d (%s) has no title, no description or no query", p.ID, p.Title)
		}
		if unit := p.FieldConfig.Defaults.Unit; unit == "" && (p.Type == "timeseries" || p.Type == "stat") {
			t.Errorf("panel %s has no unit", p.Title)
		}
		for _, l := range p.Links {
			_, anchor, _ := strings.Cut(l.URL, "#")
			if !slices.ContainsFunc(keys(known), func(name string) bool { return strings.ToLower(name) == anchor }) ||
				!strings.HasPrefix(l.URL, "${runbook}#") {
				t.Errorf("panel %s: %s is no section of the runbook", p.Title, l.URL)
			}
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" {
				t.Errorf("panel %s asks the data source %q", p.Title, target.Datasource.UID)
			}
			for _, m := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(target.Expr, -1) {
				if !slices.Contains(variables, m[1]) {
					t.Errorf("panel %s uses $%s, which is no variable", p.Title, m[1])
				}
			}
		}
	}
	if want := []string{"Is it flowing?", "What holds it?", "HubSpot", "Kafka", "Batches", "Dead letters",
		"Process"}; !slices.Equal(rows, want) {
		t.Errorf("rows %q, want %q", rows, want)
	}
}

func keys(m map[string]alert) (all []string) {
	for k := range m {
		all = append(all, k)
	}
	return all
}

// TestNames: dashboard and alerts use no metric that /metrics does not show. Its golden has one name a line, and below
// it, indented, what belongs to it.
func TestNames(t *testing.T) {
	b, err := os.ReadFile("../../cmd/tasksink/testdata/metrics.golden")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{} // by name: its type
	for _, m := range regexp.MustCompile(`(?m)^([a-z]\w+) (\w+) `).FindAllStringSubmatch(string(b), -1) {
		shown[m[1]] = m[2]
		if m[2] == "histogram" {
			shown[m[1]+"_bucket"], shown[m[1]+"_sum"], shown[m[1]+"_count"] = "histogram", "histogram", "histogram"
		}
	}
	if len(shown) < 30 {
		t.Fatalf("only %d names in the golden", len(shown))
	}
	name := regexp.MustCompile(`\b(?:tasksink|http|messaging)_[a-z_]*[a-z]\b`)
	labels := regexp.MustCompile(`\{[^}]*\}|"[^"]*"|\bby \([^)]*\)|\bon \([^)]*\)`)
	check := func(where, expr string) {
		used := name.FindAllString(labels.ReplaceAllString(expr, ""), -1)
		for _, n := range used {
			if shown[n] == "" {
				t.Errorf("%s uses %s, which /metrics does not show", where, n)
			}
			if strings.HasSuffix(n, "_total") != regexp.MustCompile(`(rate|increase)\(`+n+`\b`).MatchString(expr) &&
				shown[n] == "gauge" {
				t.Errorf("%s takes a rate of %s, which is a gauge", where, n)
			}
		}
		if len(used) == 0 && !regexp.MustCompile(`\b(ALERTS|process_|go_|__name__)`).MatchString(expr) {
			t.Errorf("%s uses no metric of tasksink's: %s", where, expr)
		}
	}
	for _, a := range alerts(t) {
		check("alert "+a.Alert, a.Expr)
	}
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			check("panel "+p.Title, target.Expr)
		}
	}
}

// TestQueries: Prometheus takes each query of the dashboard.
func TestQueries(t *testing.T) {
	promtool := debian(t, "promtool")
	type rule struct {
		Record string
		Expr   string
	}
	var rules []rule
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			rules = append(rules, rule{fmt.Sprintf("panel:%d:%s", p.ID, target.RefID), query(target.Expr, "1m")})
		}
	}
	b, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "queries.yaml")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
