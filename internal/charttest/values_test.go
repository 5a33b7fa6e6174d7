package charttest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// value is one that the chart documents: its path, its default and the comment above it.
type value struct{ path, fallback, comment string }

// values reads values.yaml. A map whose members have comments is a group of values; any other is one value.
func values(t *testing.T) (all []value) {
	t.Helper()
	b, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file yaml.Node
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	var walk func(node *yaml.Node, path string)
	walk = func(node *yaml.Node, path string) {
		for i := 0; i < len(node.Content); i += 2 {
			key, val := node.Content[i], node.Content[i+1]
			if val.Kind == yaml.MappingNode && len(val.Content) > 0 && key.HeadComment == "" || isGroup(val) {
				walk(val, path+key.Value+".")
				continue
			}
			comment := strings.Join(strings.Fields(strings.ReplaceAll(key.HeadComment, "#", "")), " ")
			if comment == "" {
				t.Errorf("values.yaml says nothing of %s%s", path, key.Value)
			}
			var fallback any
			if err := val.Decode(&fallback); err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(fallback)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, value{path + key.Value, string(text), comment})
		}
	}
	walk(file.Content[0], "")
	return all
}

func isGroup(node *yaml.Node) bool {
	return node.Kind == yaml.MappingNode && slices.ContainsFunc(node.Content,
		func(n *yaml.Node) bool { return n.HeadComment != "" })
}

// TestREADME: the chart's README has each value, its default and what it is for.
func TestREADME(t *testing.T) {
	t.Parallel()
	table := "| value | default | |\n|---|---|---|\n"
	for _, v := range values(t) {
		fallback := "`" + v.fallback + "`"
		if v.fallback == `""` || v.fallback == "null" {
			fallback = ""
		}
		table += fmt.Sprintf("| `%s` | %s | %s |\n", v.path, fallback, strings.ReplaceAll(v.comment, "|", `\|`))
	}
	path := filepath.Join(chart, "README.md")
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?s)(<!-- made of values.yaml .*? -->\n).*(<!-- end -->)`)
	if !block.Match(readme) {
		t.Fatal("README.md has no place for the values")
	}
	golden(t, path, block.ReplaceAllStringFunc(string(readme), func(found string) string {
		begin, _, _ := strings.Cut(found, "\n")
		return begin + "\n" + table + "<!-- end -->"
	}))
}

// TestSchema: the schema knows each value and no other, and no group of them is open.
func TestSchema(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(chart + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	var walk func(at map[string]any, path string)
	walk = func(at map[string]any, path string) {
		properties, is := at["properties"].(map[string]any)
		if !is || path == "settings." || path == "probes." {
			known[strings.TrimSuffix(path, ".")] = true
			return
		}
		if at["additionalProperties"] != false {
			t.Errorf("%q takes what the chart does not know", path)
		}
		for name, property := range properties {
			walk(property.(map[string]any), path+name+".")
		}
	}
	walk(schema, "")
	delete(known, "global") // Helm's own
	for _, v := range values(t) {
		if !known[v.path] {
			t.Errorf("the schema does not know %s", v.path)
		}
		delete(known, v.path)
	}
	for path := range maps.Keys(known) {
		t.Errorf("the schema has %s, which values.yaml has not", path)
	}
}

// TestValuesCount: each value changes what is rendered. ci/everything-values.yaml gives each another than its default;
// taking one back must show.
func TestValuesCount(t *testing.T) {
	everything := "--values=" + chart + "/ci/everything-values.yaml"
	// some only show without another
	with := []struct{ prefix, set string }{
		{"hpa.", `keda.enabled=false,hpa.enabled=true`},
		{"replicaCount", `keda.enabled=false`},
		{"serviceMonitor.", `podMonitor.enabled=false,serviceMonitor.enabled=true`},
		{"hubspot.oauth.", `hubspot.oauth.clientID="app"`},
		{"hubspot.requestsPer10s", `keda.maxReplicaCount=null`},
		{"kafka.partitions", `keda.maxReplicaCount=null,settings.hubspot-rate=0,hubspot.requestsPer10s=null`},
		{"keda.prometheusAddress", `keda.prometheusAddress="http://prometheus:9090"`},
		{"image.tag", `image.digest=""`},
		{"nameOverride", `fullnameOverride=""`},
	}
	for _, v := range values(t) {
		t.Run(v.path, func(t *testing.T) {
			t.Parallel()
			args := []string{"template", "tasksink", chart, everything}
			for _, w := range with {
				if strings.HasPrefix(v.path, w.prefix) {
					args = append(args, "--set-json="+w.set)
				}
			}
			before, errs, ok := helm(t, args...)
			if !ok {
				t.Fatal(errs)
			}
			others := []string{v.fallback}
			if v.fallback == "true" {
				others = append(others, "false") // what makes something cannot differ from its default and still be seen
			}
			for _, other := range others {
				if after, _, ok := helm(t, append(args, "--set-json="+v.path+"="+other)...); !ok || after != before {
					return // a refusal counts, too
				}
			}
			t.Errorf("%s changes nothing", v.path)
		})
	}
}
