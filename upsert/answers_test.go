package upsert_test

import (
	"os"
	"strings"
	"testing"

	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/upsert"
)

// TestAnswersPage holds docs/answers.md against the table that the program goes by.
func TestAnswersPage(t *testing.T) {
	const begin, end = "<!-- the table: begin -->\n", "<!-- the table: end -->\n"
	b, err := os.ReadFile("../docs/answers.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(b), begin)
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("docs/answers.md has no place for the table: %s%s", begin, end)
	}
	var made strings.Builder
	made.WriteString("| status | body | what it says | what follows |\n|---|---|---|---|\n")
	for _, row := range upsert.Rows() {
		made.WriteString("| " + strings.Join(row[:], " | ") + " |\n")
	}
	golden.Compare(t, "../../docs/answers.md", before+begin+made.String()+end+after)
	for _, category := range upsert.Permanent() {
		if !strings.Contains(after, "`"+category+"`") {
			t.Errorf("docs/answers.md does not name the permanent category %s", category)
		}
	}
}
