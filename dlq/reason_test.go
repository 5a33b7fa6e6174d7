package dlq_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/tasksink/tasksink/dlq"
)

// TestKind: tasksink's own reasons, those that HubSpot documents, and HTTP statuses count as what they are.
func TestKind(t *testing.T) {
	b, err := os.ReadFile("../upsert/testdata/decode.golden")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^-> ([A-Z_]+)/([A-Z_]*) `).FindAllStringSubmatch(string(b), -1)
	if len(found) < 20 {
		t.Fatalf("only %d reasons found", len(found))
	}
	for _, r := range append(found, [][]string{{"", "VALIDATION_ERROR", "PROPERTY_DOESNT_EXIST"},
		{"", "VALIDATION_ERROR", "INVALID_ALPHA"}, {"", "HTTP_400", ""}, {"", "SERVER_ERROR", "HTTP_524"},
		{"", "UNEXPECTED_PAGE", "UNREADABLE_ANSWER"}, {"", "FORBIDDEN_BY_FIREWALL", "HTTP_403"}, {"", "UNRESOLVED", ""},
		{"", "OBJECT_NOT_FOUND", ""}, {"", "SERVER_ERROR", "NO_ANSWER"}, {"", "PANIC", ""}, {"", "OPERATOR", ""}}...) {
		kind := dlq.Reason{Stage: dlq.StageUpsert, Category: r[1], Code: r[2]}.Kind()
		if kind != (dlq.Kind{Stage: dlq.StageUpsert, Category: r[1], Code: r[2]}) {
			t.Errorf("%s/%s counts as %+v", r[1], r[2], kind)
		}
	}
	for _, unknown := range []string{"alice", "HTTP_", "HTTP_4000", "VALIDATION_ERROR ", "validation error"} {
		kind := dlq.Reason{Stage: dlq.StageUpsert, Category: unknown, Code: unknown}.Kind()
		if kind != (dlq.Kind{Stage: dlq.StageUpsert, Category: "OTHER", Code: "OTHER"}) {
			t.Errorf("%q counts as %+v", unknown, kind)
		}
	}
}
