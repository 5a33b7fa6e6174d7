package dlq_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tasksink/tasksink/dlq"
)

// TestExplain: each reason that the decoder and HubSpot's answers are known to give has a text of its own, with a
// remedy.
func TestExplain(t *testing.T) {
	whatever := dlq.Explain("SOMETHING_NEW", "")
	if !strings.Contains(whatever, "message") {
		t.Errorf("of an unknown reason it says %q", whatever)
	}
	if dlq.Explain("VALIDATION_ERROR", "SOMETHING_NEW") != dlq.Explain("VALIDATION_ERROR", "") {
		t.Error("an unknown code is not explained by its category")
	}
	found := 0
	for file, form := range map[string]string{"../upsert/testdata/decode.golden": `(?m)^-> ([A-Z_]+)/([A-Z_]*) `,
		"../upsert/testdata/judge.golden": `\b(VALIDATION_ERROR|CONFLICT|FORBIDDEN_BY_FIREWALL|REFUSED|OBJECT_ALREADY_EXISTS)/([A-Z_]*)`} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(form).FindAllStringSubmatch(string(b), -1) {
			found++
			text := dlq.Explain(m[1], m[2])
			if text == whatever || !strings.HasSuffix(text, ".") ||
				!regexp.MustCompile(`[Rr]edriv|again|Archive|Set |Let |Correct`).MatchString(text) {
				t.Errorf("%s/%s: %q", m[1], m[2], text)
			}
		}
	}
	if text := dlq.Explain("PANIC", ""); text == whatever || !strings.Contains(text, "Redrive") {
		t.Errorf("PANIC: %q", text)
	}
	if text := dlq.Explain("INVALID_EVENT", "UNKNOWN_ID_PROPERTY"); !strings.Contains(text, "--hubspot-id-properties") {
		t.Errorf("UNKNOWN_ID_PROPERTY: %q", text)
	}
	for _, kind := range [][2]string{{"INVALID_EVENT", "NOT_AN_OBJECT"}, {"INVALID_JSON", "EMPTY"}} {
		if text := dlq.Explain(kind[0], kind[1]); !strings.Contains(text, "tombstone") {
			t.Errorf("%s: %q", kind, text)
		}
	}
	seen := map[string]bool{}
	for _, code := range []string{"ARRAY", "JSON_IN_A_STRING", "ENDPOINT_BODY", "CONNECT_ENVELOPE", "DEBEZIUM", "CAPITALS",
		"INVALID_ID", "NOT_AN_OBJECT", "NO_SUCH_CODE"} {
		seen[dlq.Explain("INVALID_EVENT", code)] = true
	}
	for _, code := range []string{"BYTE_ORDER_MARK", "UTF16", "COMPRESSED", "SCHEMA_REGISTRY", "EMPTY", "SYNTAX"} {
		seen[dlq.Explain("INVALID_JSON", code)] = true
	}
	if len(seen) != 15 {
		t.Errorf("%d texts for 15 codes", len(seen))
	}
	if found < 20 {
		t.Errorf("only %d reasons found", found)
	}
}
