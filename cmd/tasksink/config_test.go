package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agnivade/levenshtein"

	main "github.com/tasksink/tasksink/cmd/tasksink"
	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/internal/golden"
)

// configured is a place with a file of settings, and what goes over it.
func configured(t *testing.T) (dir string, env, args []string) {
	t.Helper()
	dir = t.TempDir()
	path := filepath.Join(dir, "c.yaml")
	text := "# comment\nkafka-brokers: [a:9092, b:9092]\nkafka-sasl-mechanism: plain\nkafka-sasl-username: " +
		"u\nkafka-tls: true\nbatch-wait: 2m\nmax-pending-bytes: 1000000000\nhubspot-rate: 50\nhubspot-daily: 5\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, []string{"TASKSINK_HUBSPOT_TOKEN=" + canary, "TASKSINK_HUBSPOT_RATE=60", "TASKSINK_CONFIG=" + path},
		[]string{"config", "--kafka-sasl-password=" + canary, "--hubspot-daily=7", "--batch-size", "50",
			"--batch-bytes=1536KiB"}
}

// TestConfig: what is in force and where it comes from, as YAML, JSON and a table.
func TestConfig(t *testing.T) {
	t.Parallel()
	dir, env, args := configured(t)
	status, asYAML, stderr := tasksink(t, env, args...)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d: %s", status, stderr)
	}
	golden.Compare(t, "config.yaml.golden", strings.ReplaceAll(asYAML, dir, "DIR"))

	status, asJSON, _ := tasksink(t, env, append(args, "--json")...)
	if status != 0 {
		t.Fatalf("--json: status %d", status)
	}
	golden.Compare(t, "config.json.golden", strings.ReplaceAll(asJSON, dir, "DIR"))
	var all []main.InForce
	if err := json.Unmarshal([]byte(asJSON), &all); err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		all[i].Name = strings.ReplaceAll(s.Name, dir,
			"/a/path/that/is/somewhat/longer/than/what/stands/in/a/cell/of/this/table")
		if list, ok := s.Value.([]any); ok {
			var texts []string
			for _, e := range list {
				texts = append(texts, e.(string))
			}
			all[i].Value = texts
		}
	}
	golden.Compare(t, "config.table.golden", main.ConfigTable(all, 100)+"\n")
	clean(t, "what config prints", asYAML+asJSON)
}

// TestConfigAgain: what config prints can be given to it again, and means the same.
func TestConfigAgain(t *testing.T) {
	t.Parallel()
	dir, env, args := configured(t)
	_, first, _ := tasksink(t, env, args...)
	path := filepath.Join(dir, "again.yaml")
	if err := os.WriteFile(path, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	if !valid(t, schema(t), first) {
		t.Errorf("the schema does not take what config prints:\n%s", first)
	}
	status, second, stderr := tasksink(t, nil, "config", "--config="+path)
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	values := func(text string) (all string) {
		for _, line := range strings.Split(text, "\n") {
			value, _, _ := strings.Cut(line, " # ")
			all += value + "\n"
		}
		return all
	}
	if values(first) != values(second) {
		t.Errorf("it printed\n%s\nand with that as its file\n%s", first, second)
	}
}

// TestConfigMistakes: config refuses what run refuses, in the same words.
func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"--foo"}, {"--batch-size=0", "--kafka-brokers=a", "--hubspot-timeout=x"}} {
		status, stdout, byConfig := tasksink(t, nil, append([]string{"config"}, args...)...)
		runStatus, _, byRun := tasksink(t, nil, append([]string{"run"}, args...)...)
		if status != 2 || runStatus != 2 || stdout != "" || byConfig != byRun {
			t.Errorf("%v: status %d and %d, %q\n%s\n%s", args, status, runStatus, stdout, byConfig, byRun)
		}
	}
}

// TestVersionIsFree: a command that takes no settings is not disturbed by wrong ones.
func TestVersionIsFree(t *testing.T) {
	t.Parallel()
	if status, _, stderr := tasksink(t, []string{"TASKSINK_BATCH_WAIT=5", "TASKSINK_CONFIG=none", "TASKSINK_JSON=x"},
		"version"); status != 0 || stderr != "" {
		t.Errorf("status %d: %s", status, stderr)
	}
}

// FuzzSecrets: however flags, variables and files are garbled, what stands where a secret belongs is not shown.
func FuzzSecrets(f *testing.F) {
	for _, seed := range [][3]string{
		{"--hubspot-token", "HUBSPOT_TOKEN", "hubspot-token"},
		{"--hubspot-tokn", "HUBSPOT_TOKN", "hubspot-tokn"},
		{"-kafka-sasl-password", "KAFKA_SASL_PASSWORD", "kafka-sasl-password"},
		{"--kafka-sasl-pasword-fil", "X", "kafka: {sasl-password"},
		{"--hubspot-oauth-client-secret", "HUBSPOT_URL", "? hubspot-token\n"},
		{"run", "CONFIG", "- "},
		{"--", "BATCH_WAIT", "hubspot-token: !x"},
		{"-h", "", "hubspot-token: &"},
		{"--0", "", "?"},
	} {
		f.Add(seed[0], seed[1], seed[2], byte(0))
		f.Add(seed[0], seed[1], seed[2], byte(0b01_0001))
		f.Add(seed[0], seed[1], seed[2], byte(0b11_1011))
		f.Add(seed[0], seed[1], seed[2], byte(0b10_0111))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, flag, variable, key string, shape byte) {
		path := filepath.Join(dir, "c.yaml")
		join := []string{": ", " ", ":\n  - ", ": *", ": [", ": {", ": '", "\n"}[shape&7]
		if err := os.WriteFile(path, []byte("batch-size: 5\n"+key+join+canary+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"config", "--config=" + path, "--kafka-brokers=a:1"}
		if shape&8 != 0 {
			args[0] = "run"
		}
		env := []string{"TASKSINK_HUBSPOT_TOKEN=" + canary, "TASKSINK_KAFKA_SASL_PASSWORD=" + canary}
		if !public(variable) {
			env = append(env, "TASKSINK_"+variable+"="+canary)
		}
		if public(flag) || slices.ContainsFunc(config.Settings(),
			func(s config.Setting) bool { return !s.Secret && strings.Contains(key, s.Name()) }) {
			return // who gives the token as --log-level has it shown
		}
		switch shape >> 4 & 3 {
		case 0:
			args = append(args, flag+"="+canary)
		case 1:
			args = append(args, flag, canary)
		case 2:
			if misspelt(flag) {
				args = append(args, flag+canary)
			}
		default:
			args = append(args, flag, "-"+canary)
		}
		args = append(args, "--batch-size=0") // a mistake at any rate, so that nothing runs
		_, stdout, stderr := tasksink(t, env, args...)
		clean(t, "stdout", stdout)
		clean(t, "stderr", stderr)
	})
}

// public tells whether the name, of a flag or a variable, is one whose value is no secret.
func public(name string) bool {
	name, _, _ = strings.Cut(name, "=")
	name = strings.ToLower(strings.ReplaceAll(strings.TrimLeft(name, "-"), "_", "-"))
	return name == "config" || name == "json" || name == "help" ||
		slices.ContainsFunc(config.Settings(), func(s config.Setting) bool { return !s.Secret && s.Name() == name })
}

// misspelt tells whether the flag may be meant for a secret.
func misspelt(flag string) bool {
	return slices.ContainsFunc(config.Settings(), func(s config.Setting) bool {
		return s.Secret && levenshtein.ComputeDistance(strings.TrimLeft(flag, "-"), s.Name()) <= 3
	})
}
