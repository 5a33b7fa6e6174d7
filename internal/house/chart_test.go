package house_test

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"

	"github.com/tasksink/tasksink/cmd/tasksink/worker"
	"github.com/tasksink/tasksink/internal/golden"
)

const chart = "../../helm/tasksink/"

// ownValue is where the chart's values say what it makes a setting of: it must know of it, or mount a Secret for it.
// All other settings are keys of its `settings`.
var ownValue = map[string]string{
	"kafka-brokers":                    "kafka.brokers",
	"kafka-topics":                     "kafka.topics",
	"kafka-group":                      "kafka.group",
	"kafka-tls":                        "kafka.tls.enabled",
	"kafka-tls-ca":                     "kafka.tls.caKey",
	"kafka-tls-cert":                   "kafka.tls.certKey",
	"kafka-tls-key":                    "kafka.tls.keyKey",
	"kafka-tls-server-name":            "kafka.tls.serverName",
	"kafka-sasl-mechanism":             "kafka.sasl.mechanism",
	"kafka-sasl-username":              "kafka.sasl.username",
	"kafka-sasl-password-file":         "kafka.sasl.passwordKey",
	"kafka-sasl-password":              "extraEnv", // a secret has no place in a ConfigMap, nor in Helm's record of the values
	"dlq-topic":                        "kafka.dlqTopic",
	"hubspot-token-file":               "hubspot.tokenKey",
	"hubspot-token":                    "extraEnv",
	"hubspot-oauth-client-id":          "hubspot.oauth.clientID",
	"hubspot-oauth-client-secret-file": "hubspot.oauth.clientSecretKey",
	"hubspot-oauth-refresh-token-file": "hubspot.oauth.refreshTokenKey",
	"hubspot-id-property":              "hubspot.idProperty",
	"listen":                           "port",
}

// program is the settings of tasksink run as its own parser sees them.
func program(t *testing.T) (flags []*kong.Flag, parse func(args ...string) worker.Config) {
	t.Helper()
	var config struct{ worker.Config }
	parser, err := kong.New(&config)
	if err != nil {
		t.Fatal(err)
	}
	flags = slices.DeleteFunc(slices.Clone(parser.Model.Flags), func(f *kong.Flag) bool { return f.Name == "help" })
	return flags, func(args ...string) worker.Config {
		t.Helper()
		if _, err := parser.Parse(args); err != nil {
			t.Fatal(err)
		}
		return config.Config
	}
}

// TestChartSettings: every setting of the program has its value in the chart, and the chart's schema knows its kind.
// `go test ./internal/house -run Chart -update` writes the schema's part of it anew.
func TestChartSettings(t *testing.T) {
	flags, parse := program(t)
	choices := map[string][]string{}
	for _, flag := range flags {
		if flag.Target.Kind() == reflect.String && ownValue[flag.Name] == "" {
			refused := parse("--" + flag.Name + "=?").Check()
			if m := regexp.MustCompile(`--` + flag.Name + `=\?: choose one of (.*)`).FindStringSubmatch(refused.Error()); m != nil {
				choices[flag.Name] = strings.Split(m[1], ", ")
			}
		}
	}
	if len(choices) < 4 {
		t.Errorf("only these settings were found to have choices: %v", choices)
	}
	properties := map[string]any{}
	for _, flag := range flags {
		if ownValue[flag.Name] == "" {
			properties[flag.Name] = kindOf(t, flag, choices[flag.Name])
		}
	}
	settings, err := json.MarshalIndent(map[string]any{"type": "object", "additionalProperties": false, "properties": properties}, "    ", "  ")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := os.ReadFile(chart + "values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?s)\n    "settings": \{.*?\n    \},\n`)
	if !block.Match(schema) {
		t.Fatal("the schema has no settings")
	}
	golden.Compare(t, "../"+chart+"values.schema.json",
		block.ReplaceAllLiteralString(string(schema), "\n    \"settings\": "+string(settings)+",\n"))
}

func kindOf(t *testing.T, flag *kong.Flag, choices []string) map[string]any {
	t.Helper()
	kind := map[string]any{"description": flag.Help}
	switch flag.Target.Interface().(type) {
	case bool:
		kind["type"] = "boolean"
	case int:
		kind["type"] = "integer"
	case time.Duration:
		kind["type"], kind["pattern"] = "string", `^([0-9]+([.][0-9]+)?(ms|s|m|h))+$`
	case worker.Size:
		kind["type"], kind["minimum"], kind["pattern"] = []string{"integer", "string"}, 0, `^[0-9]+([.][0-9]+)? ?([kKmMgG][iI]?)?[bB]?$`
	case worker.Rate:
		kind["type"], kind["minimum"], kind["pattern"] = []string{"integer", "string"}, 0, `^(auto|[0-9]+)$`
	case []string:
		kind["type"], kind["items"] = "array", map[string]any{"type": "string"}
	case string:
		kind["type"] = "string"
		if choices != nil {
			kind = map[string]any{"description": flag.Help, "enum": choices}
		}
	default:
		t.Fatalf("--%s is a %s: say how the chart's schema describes that, or that it is a secret", flag.Name, flag.Target.Type())
	}
	return kind
}

// TestChartValues: what the chart makes settings of is among its values, and is a setting.
func TestChartValues(t *testing.T) {
	b, err := os.ReadFile(chart + "values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(b, &values); err != nil {
		t.Fatal(err)
	}
	flags, _ := program(t)
	for name, path := range ownValue {
		if !slices.ContainsFunc(flags, func(f *kong.Flag) bool { return f.Name == name }) {
			t.Errorf("--%s is no setting any more: take it out of the chart", name)
		}
		var at any = values
		for part := range strings.SplitSeq(path, ".") {
			m, _ := at.(map[string]any)
			var is bool
			if at, is = m[part]; !is {
				t.Errorf("values.yaml has no %s for --%s", path, name)
				break
			}
		}
	}
}

// TestChartDefaults: where the chart reckons with a setting that is not given, it takes the program's own default.
func TestChartDefaults(t *testing.T) {
	b, err := os.ReadFile(chart + "templates/_settings.tpl")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?s)define "tasksink.defaults" -\}\}\n(.*?)\{\{- end`).FindStringSubmatch(string(b))
	if block == nil {
		t.Fatal("the chart has no defaults")
	}
	defaults := map[string]string{}
	if err := yaml.Unmarshal([]byte(block[1]), &defaults); err != nil {
		t.Fatal(err)
	}
	flags, _ := program(t)
	for name, value := range defaults {
		i := slices.IndexFunc(flags, func(f *kong.Flag) bool { return f.Name == name })
		if i < 0 {
			t.Errorf("the chart has a default for --%s, which does not exist", name)
		} else if is := flags[i].Default; is != value && (is != "" || value != "false") {
			t.Errorf("the chart reckons with --%s=%s, the program's default is %s", name, value, is)
		}
	}
}
