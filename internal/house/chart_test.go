package house_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

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
	"dead-letter-file":                 "deadLetterRecords",
	"hubspot-token-file":               "hubspot.tokenKey",
	"hubspot-token":                    "extraEnv",
	"hubspot-oauth-client-id":          "hubspot.oauth.clientID",
	"hubspot-oauth-client-secret-file": "hubspot.oauth.clientSecretKey",
	"hubspot-oauth-refresh-token-file": "hubspot.oauth.refreshTokenKey",
	"hubspot-id-property":              "hubspot.idProperty",
	"hubspot-id-properties":            "hubspot.idProperties",
	"listen":                           "port",
}

// settings are the program's, as its schema describes them: docs/tasksink.schema.json, which cmd/tasksink's tests hold
// against the program.
func settings(t *testing.T) map[string]map[string]any {
	t.Helper()
	b, err := os.ReadFile("../../docs/tasksink.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]map[string]any `json:"properties"`
	}
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	if len(schema.Properties) < 30 {
		t.Fatalf("only %d settings are in the schema", len(schema.Properties))
	}
	return schema.Properties
}

// TestChartSettings: every setting of the program has its value in the chart, whose schema says of it what the
// program's does. `go test ./internal/house -run Chart -update` writes that part of it anew.
func TestChartSettings(t *testing.T) {
	properties := settings(t)
	for name := range ownValue {
		if properties[name] == nil {
			t.Errorf("--%s is no setting any more: take it out of the chart", name)
		}
		delete(properties, name)
	}
	block, err := json.MarshalIndent(map[string]any{"type": "object", "additionalProperties": false,
		"properties": properties}, "    ", "  ")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := os.ReadFile(chart + "values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	place := regexp.MustCompile(`(?s)\n    "settings": \{.*?\n    \},\n`)
	if !place.Match(schema) {
		t.Fatal("the chart's schema has no settings")
	}
	golden.Compare(t, "../"+chart+"values.schema.json",
		place.ReplaceAllLiteralString(string(schema), "\n    \"settings\": "+string(block)+",\n"))
}

// TestChartValues: what the chart makes settings of is among its values.
func TestChartValues(t *testing.T) {
	b, err := os.ReadFile(chart + "values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(b, &values); err != nil {
		t.Fatal(err)
	}
	for name, path := range ownValue {
		var at any = values
		for part := range strings.SplitSeq(path, ".") {
			m, _ := at.(map[string]any)
			var ok bool
			if at, ok = m[part]; !ok {
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
	defaults := map[string]any{}
	if err := yaml.Unmarshal([]byte(block[1]), &defaults); err != nil {
		t.Fatal(err)
	}
	properties := settings(t)
	for name, value := range defaults {
		if ok := properties[name]["default"]; fmt.Sprint(ok) != fmt.Sprint(value) {
			t.Errorf("the chart reckons with --%s=%v, the program's default is %v", name, value, ok)
		}
	}
}
