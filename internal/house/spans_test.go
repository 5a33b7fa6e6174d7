package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSpanAttributes: the attributes of our spans, as far as they are not our own, are OpenTelemetry's by name.
func TestSpanAttributes(t *testing.T) {
	spans, err := os.ReadFile("../../cmd/tasksink/testdata/spans.golden")
	if err != nil {
		t.Fatal(err)
	}
	used, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{join .Imports "\n"}}`, module+"upsert").Output()
	if err != nil {
		t.Fatal(err)
	}
	conventions := regexp.MustCompile(`go\.opentelemetry\.io/otel/semconv/v[0-9.]+`).FindString(string(used))
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", conventions).Output()
	if err != nil {
		t.Fatalf("find %q: %v", conventions, err)
	}
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "attribute_group.go"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`attribute\.Key\("([^"]+)"\)`).FindAllStringSubmatch(string(source), -1) {
		known[m[1]] = true
	}
	seen := 0
	for _, m := range regexp.MustCompile(`(?m)^  (?:.*: )?(\S+)$`).FindAllStringSubmatch(string(spans), -1) {
		if seen++; !known[m[1]] && !strings.HasPrefix(m[1], "tasksink.") {
			t.Errorf("%s has no attribute %s", conventions, m[1])
		}
	}
	if seen < 20 {
		t.Errorf("only %d attributes are in the golden", seen)
	}
}
