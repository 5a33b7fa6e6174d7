package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/internal/golden"
)

const root = "../../../" // as internal/golden sees it, from testdata

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSettingsPage: the tables of settings follow from config.Config. -update writes them.
func TestSettingsPage(t *testing.T) {
	const begin, end = "<!-- settings: written by go test ./cmd/tasksink -update -->\n", "<!-- end of settings -->\n"
	before, rest, ok := strings.Cut(read(t, "../../docs/settings.md"), begin)
	_, after, ends := strings.Cut(rest, end)
	if !ok || !ends {
		t.Fatalf("docs/settings.md has no place for the settings: %s%s", begin, end)
	}
	golden.Compare(t, root+"docs/settings.md", before+begin+settingsTables()+end+after)
}

var anyFlag = regexp.MustCompile(`--[a-z]+(-[a-z*]+)*`)

func settingsTables() string {
	var b strings.Builder
	for _, g := range config.Groups {
		b.WriteString("\n### " + anyFlag.ReplaceAllString(g.Title, "`$0`") + "\n\n| flag | default | |\n|---|---|---|\n")
		for _, s := range config.Settings() {
			if s.Group != g.Key {
				continue
			}
			value, help := "", anyFlag.ReplaceAllString(s.Help, "`$0`")
			if s.Default != "" {
				value = "`" + s.Default + "`"
			}
			switch {
			case s.Choices != nil:
				help += " One of `" + strings.Join(s.Choices, "`, `") + "`."
			case s.Bounds() != "":
				help += " " + strings.ToUpper(s.Bounds()[:1]) + s.Bounds()[1:] + "."
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Flag, value, help)
		}
	}
	return b.String() + "\n"
}

// TestGroups: each setting stands under a heading, or the help and docs/settings.md would not have it.
func TestGroups(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, g := range config.Groups {
		known[g.Key] = true
	}
	for _, s := range config.Settings() {
		if !known[s.Group] {
			t.Errorf("%s is in no group that there is: %q", s.Flag, s.Group)
		}
	}
}

// TestSchema: the schema for editors follows from config.Config. -update writes it.
func TestSchema(t *testing.T) {
	properties := map[string]any{}
	for _, s := range config.Settings() {
		properties[s.Name()] = property(s)
	}
	b, err := json.MarshalIndent(map[string]any{
		"$schema":              "http://json-schema.org/draft-07/schema#",
		"$id":                  "https://raw.githubusercontent.com/tasksink/tasksink/main/docs/tasksink.schema.json",
		"title":                "Settings of tasksink",
		"description":          "The file that tasksink run --config takes.",
		"type":                 []string{"object", "null"},
		"additionalProperties": false,
		"properties":           properties,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, root+"docs/tasksink.schema.json", string(b)+"\n")
}

func property(s config.Setting) map[string]any {
	help := s.Help
	if s.Kind != config.KindInt && s.Choices == nil && s.Bounds() != "" { // what the schema cannot say otherwise
		help += " " + strings.ToUpper(s.Bounds()[:1]) + s.Bounds()[1:] + "."
	}
	p := map[string]any{"description": help, "type": "string"}
	if s.Default != "" {
		p["default"] = s.Default
	}
	if pattern := config.Patterns[s.Kind]; pattern != nil {
		p["pattern"] = pattern.String()
	}
	if s.Secret {
		p["writeOnly"] = true
	}
	switch s.Kind {
	case config.KindList:
		p["type"] = []string{"array", "string"}
		p["items"] = map[string]any{"type": "string"}
		if s.Default != "" {
			p["default"] = strings.Split(s.Default, ",")
		}
	case config.KindBool:
		p["type"], p["default"] = "boolean", false
	case config.KindInt:
		p["type"] = "integer"
		for key, text := range map[string]string{"default": s.Default, "minimum": s.Least, "maximum": s.Most} {
			if n, err := strconv.Atoi(text); err == nil {
				p[key] = n
			}
		}
	case config.KindSize:
		p["type"], p["minimum"] = []string{"integer", "string"}, 0
	case config.KindRate:
		delete(p, "type")
		p["anyOf"] = []any{map[string]any{"const": "auto"}, map[string]any{"type": "integer", "minimum": 0}}
	}
	if s.Choices != nil {
		p["enum"] = s.Choices
		if s.Default == "" {
			p["enum"] = append([]string{""}, s.Choices...)
		}
	}
	return p
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile("../../docs/tasksink.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSchemaJudges: what an editor says of a file is what the program says, for every setting and many values.
func TestSchemaJudges(t *testing.T) {
	t.Parallel()
	schema, path := schema(t), filepath.Join(t.TempDir(), "c.yaml")
	values := []string{"true", "false", "yes", "0", "1", "-1", "50", "101", "1_000", "0x10", "1.5", "1e3", "'50'", "''",
		"null", "", "~", "text", "/text", "auto",
		"1MiB", "64 MB", "1.5GiB", "1XB", "'1000000000'", "2000000000", "5", "5s", "1.5s", "1h30m", "-5s", "+5s", ".5s", "5 s", "0s", "[]", "[a]", "[a, b]", "a,b", "[1]", "[[a]]",
		"{a: 1}", "[null]", "plain", "dead-letter", "skip", "hold", "debug", "console", "Debug", "2026-11-23", "2026-11-23T10:00:00Z", "!!str 5", "'*'"}
	seen := map[string]bool{}
	for _, s := range config.Settings() {
		alike := fmt.Sprint(s.Kind, s.Choices, s.Bounds(), s.Secret, s.Default != "")
		if seen[alike] {
			continue
		}
		seen[alike] = true
		for _, value := range values {
			text := s.Name() + ": " + value + "\n"
			byProgram, said := takes(t, path, text)
			if bySchema := valid(t, schema, text); byProgram != bySchema {
				t.Errorf("%s the program takes it: %v, the schema: %v\n%s", text, byProgram, bySchema, said)
			}
		}
	}
	for text, want := range map[string]bool{"{}": true, "": true, "# nothing\n": true, "batch-sise: 5\n": false,
		"json: true\n": false, "config: x\n": false, "- a\n": false,
		"text": false, "kafka: {brokers: [a]}\n": false, "batch-size: 5\nbatch-wait: 1s\n": true} {
		if got := valid(t, schema, text); got != want {
			t.Errorf("%q: the schema takes it: %v", text, got)
		}
		if got, said := takes(t, path, text); got != want {
			t.Errorf("%q: the program takes it: %v\n%s", text, got, said)
		}
	}
}

// TestExample: docs/tasksink.yaml is taken as it is, and with all that is commented out, by the schema, too.
func TestExample(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	example := strings.NewReplacer("/etc/tasksink/token", secret, "/etc/tasksink/kafka-password",
		secret).Replace(read(t, "../../docs/tasksink.yaml"))
	first, rest, _ := strings.Cut(example, "\n")
	whole := regexp.MustCompile(`(?m)^# ([a-z-]+: )`).ReplaceAllString(rest, "$1")
	// a certificate is not at hand
	whole = regexp.MustCompile(`(?m)^kafka-tls-ca:.*`).ReplaceAllString(whole, "kafka-tls-ca: ''")
	if strings.Count(whole, "\n# ") > strings.Count(example, "\n# ")-10 {
		t.Errorf("too little was commented out:\n%s", whole)
	}
	for name, text := range map[string]string{"as it is": example, "whole": whole} {
		path := filepath.Join(dir, "tasksink.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, _, stderr := tasksink(t, nil, "config", "--config="+path); status != 0 {
			t.Errorf("%s: status %d\n%s", name, status, stderr)
		}
		if !valid(t, schema(t), text) {
			t.Errorf("%s: the schema does not take it", name)
		}
	}
	if id := `"$id": "` + strings.TrimPrefix(first, "# yaml-language-server: $schema=") +
		`"`; !strings.Contains(read(t, "../../docs/tasksink.schema.json"), id) {
		t.Errorf("the first line does not name the schema: %s", id)
	}
}

// onlyProgramSays are remarks that need more than a look at one value's form.
var onlyProgramSays = []string{"write each broker as host:port", "a name between the commas is empty",
	"Kafka allows no topic of this name",
	"it is among --kafka-topics", "no such file", "is a directory", "write it as https://host",
	"it is no URL", "Europe/Berlin", "at least 100ms", "at least 1KiB", "at least 1MiB", "at least --batch-size", "at least --hubspot-timeout", "--kafka-sasl-username is missing"}

// takes tells whether the program finds nothing wrong with the form of what is in the file, and what it says.
func takes(t *testing.T, path, text string) (ok bool, said string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, said = tasksink(t, nil, "config", "--config="+path)
	for _, line := range strings.Split(said, "\n") {
		if strings.Contains(line, path) && !slices.ContainsFunc(onlyProgramSays,
			func(remark string) bool { return strings.Contains(line, remark) }) {
			return false, said
		}
	}
	return true, said
}

// valid tells whether the schema takes the file.
func valid(t *testing.T, schema *jsonschema.Schema, text string) bool {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return schema.Validate(plainJSON(t, doc)) == nil
}

// plainJSON is the document as a JSON parser would have it.
func plainJSON(t *testing.T, doc any) any {
	t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatalf("%v: %v", doc, err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}
