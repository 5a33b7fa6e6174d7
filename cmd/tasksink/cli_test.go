package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	main "github.com/tasksink/tasksink/cmd/tasksink"
	"github.com/tasksink/tasksink/internal/golden"
)

// tasksink runs the program to its end, with nothing in its environment but env.
func tasksink(t *testing.T, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = main.Run(t.Context(), args, env, &out, &errs)
	return status, out.String(), errs.String()
}

func TestHelp(t *testing.T) {
	t.Setenv("COLUMNS", "100")
	for name, args := range map[string][]string{"help.golden": {"--help"}, "run-help.golden": {"run", "--help"},
		"list-help.golden": {"dlq", "list", "--help"}, "show-help.golden": {"dlq", "show", "--help"}, "redrive-help.golden": {"dlq", "redrive", "--help"}} {
		status, stdout, stderr := tasksink(t, nil, args...)
		if status != 0 || stderr != "" {
			t.Errorf("%v: status %d, %s", args, status, stderr)
		}
		golden.Compare(t, name, stdout)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	status, stdout, _ := tasksink(t, nil, "version", "--json")
	var build struct{ Version, Go string }
	if err := json.Unmarshal([]byte(stdout), &build); status != 0 || err != nil || build.Version == "" ||
		!strings.HasPrefix(build.Go, "go1.") {
		t.Errorf("status %d, %s, %v", status, stdout, err)
	}
	if status, stdout, _ = tasksink(t, nil, "version"); status != 0 || !strings.HasPrefix(stdout, "tasksink ") {
		t.Errorf("status %d, %s", status, stdout)
	}
}

// TestMistakes: whatever is wrong is told at once, with the setting, the value and the remedy, and the status is 2.
func TestMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	several := file("several.yaml", "batch-wate: 3s\nmax-pending: lots\nkafka-brokers: [a, 'b:9092']\n")
	broken := file("broken.yaml", "batch-wait: [3s\n")
	var got strings.Builder
	for _, tc := range []struct {
		name string
		env  []string
		args []string
	}{
		{"nothing", nil, nil},
		{"an unknown command", nil, []string{"ruin"}},
		{"run without settings", nil, []string{"run"}},
		{"a bit of everything", []string{"TASKSINK_HUBSPOT_TIMEOUT=9", "TASKSINK_ON_FLOOD=panic"}, []string{"run", "--config=" + several, "--foo",
			"--batch-size=1000", "--batch-wait=5", "--batch-bytes=big", "--hubspot-rate=-1", "--hubspot-url=http://hubspot.example", "--hubspot-path=crm",
			"--max-in-flight=0", "--log-level=loud", "--log-format=xml", "--tombstones=drop", "--drain-timeout=1s", "--kafka-topics=a,b", "--dlq-topic=b",
			"--kafka-group=", "--hubspot-token=pat-secret", "--hubspot-token-file=x", "--kafka-sasl-mechanism=plain", "--kafka-sasl-password=hunter2",
			"--kafka-tls-key=" + several}},
		{"a remote broker among local ones, SASL in clear", nil, []string{"run", "--kafka-brokers=localhost:9092,kafka.example:9092", "--hubspot-token=t",
			"--kafka-sasl-mechanism=plain", "--kafka-sasl-username=u", "--kafka-sasl-password=p", "--max-pending-bytes=1", "--batch-wait=-1s"}},
		{"a file that is no YAML", nil, []string{"run", "--config", broken, "--kafka-brokers=a:1", "--hubspot-token=t"}},
		{"no such file", nil, []string{"run", "--config=" + dir + "/none.yaml", "--kafka-brokers=a:1", "--hubspot-token=t"}},
		{"a password in the URL", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=t", "--hubspot-url=https://u:hunter2@hubspot.example"}},
		{"a user without a mechanism", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=t", "--kafka-sasl-username=u"}},
		{"a token and half of an OAuth app", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=pat-secret", "--hubspot-oauth-client-id=id", "--hubspot-oauth-path=token"}},
		{"files that hold nothing of use", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-oauth-client-id=id", "--hubspot-oauth-client-secret-file=" + several,
			"--hubspot-oauth-refresh-token-file=" + dir + "/none", "--kafka-tls-ca=" + several, "--kafka-tls-cert=" + several, "--kafka-tls-key=" + broken,
			"--kafka-sasl-mechanism=scram-sha-512", "--kafka-sasl-username=u", "--kafka-sasl-password-file=" + several}},
		{"misspelt flags, with values apart", nil, []string{"run", "--hubspot-tokn", "hunter2", "--kafka-sasl-pasword", "-hunter2", "--brokers=a:1", "--foo",
			"--hubspot-token", "--kafka-sasl-password=hunter2", "hunter2", "--", "hunter2"}},
		{"secrets glued to their flags", nil, []string{"run", "--hubspot-tokenhunter2", "-hubspot-token=hunter2", "--hubspot-tokenhunter", "--hunter2"}},
		{"one dash, and a flag before its command", nil, []string{"--hubspot-token", "hunter2", "--batch-size=1", "run", "-kafka-brokers=a:1"}},
		{"no command", nil, []string{"hunter2"}},
		{"values of the wrong kind", []string{"TASKSINK_INSECURE=maybe", "TASKSINK_HUBSPOT_TIMEOUT=9", "TASKSINK_BATCH_WAIT="}, []string{"run",
			"--kafka-brokers=a:1, b:2", "--hubspot-token=t", "--kafka-tls=perhaps", "--drain-timeout=1s", "--max-pending-bytes=2e3", "--kafka-topics=a,,b",
			"--hubspot-daily=all", "--max-in-flight=\x1b[31mred"}},
		{"passwords where none belong", nil, []string{"run", "--kafka-brokers=u:hunter2@a:1", "--hubspot-token=t", "--hubspot-url=u:hunter2@h"}},
		{"a password in a URL that is none", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=t", "--hubspot-url=https://u:hunter2@%zz"}},
		{"a key in the URL", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=t", "--hubspot-url=https://h/?hapikey=hunter2"}},
		{"keys of the file", nil, []string{"run", "--config=" + file("keys.yaml", `kafka: {brokers: a}
hubspot-tokn: hunter2
hubspot-tokenhunter2: x
json: true
config: other.yaml
help: true
Batch_Size: 5
batch-wait: 1s
batch-wait: 2s
[hunter2]: 1
<<: {a: 1}
`)}},
		{"values of the file", nil, []string{"run", "--config=" + file("values.yaml", `hubspot-token: {hunter2: 1}
kafka-sasl-password: 42
kafka-tls-ca:
kafka-group: yes
kafka-topics: [a, [b]]
dlq-topic: [a]
batch-size: "5"
hubspot-rate: "5"
batch-wait: 5
max-pending: 1.5
kafka-tls: on
tombstones: drop
`)}},
		{"two documents", nil, []string{"run", "--config=" + file("two.yaml", "batch-size: 5\n---\nbatch-wait: 1s\n"), "--kafka-brokers=a:1", "--hubspot-token=t"}},
		{"a file that is no mapping", nil, []string{"run", "--config=" + file("text.yaml", "hunter2\n")}},
		{"a value that YAML takes for an alias", nil, []string{"run", "--config=" + file("alias.yaml", "hubspot-token: *hunter2\n")}},
		{"secrets that would end a header, profiles for everyone", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=pat-secret\r\nX-Forged: 1", "--pprof=:6060",
			"--kafka-sasl-mechanism=scram-sha-512", "--kafka-sasl-username=u", "--kafka-sasl-password=hunter2\x01"}},
		{"profiles at another address", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=t", "--pprof=10.0.0.1:6060"}},
		{"topics that no Kafka has", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=t", "--kafka-topics=my tasks,.,..,tâches,a/b,,ok,a\x1b[31m",
			"--kafka-topics=" + strings.Repeat("x", 250), "--dlq-topic=dead letters"}},
		{"topics that would be consumed twice", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=t", "--kafka-topics=a,b,a,b.dlq,c, a "}},
		{"a dead-letter topic that is consumed", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=t", "--kafka-topics=a,a.dlq,b", "--dlq-topic=b"}},
		{"a topic whose dead-letter topic would have too long a name", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=t", "--kafka-topics=" + strings.Repeat("x", 246)}},
		{"id properties that HubSpot does not have", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=t", "--hubspot-id-property=my id",
			"--hubspot-id-properties=a,, b,external-id,hs_object_id,tâche,a\x1b[31m,b"}},
		{"an id property that has no name", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=t", "--hubspot-id-property= ", "--hubspot-id-properties=,"}},
		{"HubSpot's own id, and an id property that is named twice", []string{"TASKSINK_HUBSPOT_ID_PROPERTIES=hs_object_id"}, []string{"run", "--kafka-brokers=a:1",
			"--hubspot-token=t", "--hubspot-id-property=hs_object_id"}},
		{"an id property among the further ones", nil, []string{"run", "--hubspot-token=t", "--config=" + file("ids.yaml",
			"kafka-brokers: a:1\nhubspot-id-property: ext\nhubspot-id-properties: [other, ext]\n")}},
		{"dead letters, everything wrong", nil, []string{"dlq", "redrive", "x", "other.dlq/0/1", "--from=1/2,1/3,y", "--rate=0", "--max-redrives=0", "--limit=-1", "--stage=never", "--topic=other",
			"--since=yesterday", "--until=2026-11-23"}},
		{"dead letters of several topics", nil, []string{"dlq", "show", "0/1", "--kafka-brokers=a:1", "--kafka-topics=a,b", "--raw", "--json"}},
		{"a list by nothing, of no time", nil, []string{"dlq", "list", "--kafka-brokers=a:1", "--by=colour", "--limit=-1", "--since=2026-11-23T10:00:00Z", "--until=2026-11-22T10:00:00Z"}},
		{"credentials that cannot be right", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token-file=" + file("bearer", "bearer hunter2\n"),
			"--kafka-sasl-mechanism=scram-sha-256", "--kafka-sasl-username=u", "--kafka-sasl-password-file=" + file("mark", "\ufeffhunter2")}},
		{"credentials in quotes, and as UTF-16", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-oauth-client-id=id",
			"--hubspot-oauth-client-secret-file=" + file("quotes", `"hunter2"`), "--hubspot-oauth-refresh-token-file=" + file("utf16", "\xff\xfeh\x00u\x00n\x00")}},
		{"a token with the word and a password in quotes, in variables", []string{"TASKSINK_HUBSPOT_TOKEN=Bearer hunter2", "TASKSINK_KAFKA_SASL_PASSWORD='hunter2'"},
			[]string{"check", "--kafka-brokers=a:1", "--kafka-sasl-mechanism=scram-sha-256", "--kafka-sasl-username=u"}},
		{"a token with a comment", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token-file=" + file("comment", "hunter2 # of March")}},
		{"a directory of records", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token=t", "--dead-letter-file=" + dir}},
		{"a token file that is not there", nil, []string{"run", "--kafka-brokers=a:1", "--hubspot-token-file=" + dir + "/none"}},
	} {
		status, stdout, stderr := tasksink(t, tc.env, tc.args...)
		if status != 2 || stdout != "" {
			t.Errorf("%s: status %d, want 2; stdout %q", tc.name, status, stdout)
		}
		if strings.Contains(stderr, "pat-secret") || strings.Contains(stderr, "hunter2") {
			t.Errorf("%s: a secret is in %s", tc.name, stderr)
		}
		got.WriteString("# " + tc.name + "\n" + strings.ReplaceAll(stderr, dir, "DIR") + "\n")
	}
	golden.Compare(t, "mistakes.golden", got.String())
}

// TestPrecedence: a flag goes over a variable, that over the file, that over the default. What cannot be used as
// --listen is told with its value, so the winner shows.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte("listen: file\nkafka-brokers: [127.0.0.1:1, 127.0.0.1:2]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		winner string
		env    []string
		args   []string
	}{
		{"flag", []string{"TASKSINK_LISTEN=variable"}, []string{"--listen=flag", "--config", path}},
		{"variable", []string{"TASKSINK_LISTEN=variable"}, []string{"--config", path}},
		{"file", nil, []string{"--config", path}},
		{"file", []string{"TASKSINK_CONFIG=" + path}, nil},
	} {
		status, _, stderr := tasksink(t, append(tc.env, "TASKSINK_LISTN=oops"),
			append([]string{"run", "--hubspot-token=t"}, tc.args...)...)
		if status != 1 || !strings.Contains(stderr, "--listen="+tc.winner+":") {
			t.Errorf("%v %v: status %d, want %s to win: %s", tc.env, tc.args, status, tc.winner, stderr)
		}
		if !strings.Contains(stderr, "TASKSINK_LISTN") || !strings.Contains(stderr, `did you mean TASKSINK_LISTEN?`) {
			t.Errorf("no warning of the unknown variable: %s", stderr)
		}
	}
}
