package visible_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tasksink/tasksink/internal/visible"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"Grüße, 世界 \U0001f600 \\n \"a\"": "Grüße, 世界 \U0001f600 \\n \"a\"",
		"\x1b[2J\r\n\t\x00\x7f\x07":      `\x1b[2J\r\n\t\x00\x7f\a`,
		"\u009b2J \u202e \u2066 \u200b \u2028 \ufeff \U000e0041": `\u009b2J \u202e \u2066 \u200b \u2028 \ufeff \U000e0041`,
		"a\xff\xc3": `a\xff\xc3`,
		"\ufffd":    "\ufffd",
	} {
		if got := visible.Text(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// FuzzText: whatever comes in, what comes out prints, and as JSON means the same.
func FuzzText(f *testing.F) {
	f.Add("\x1b]0;x\x07\u202e\xff\U000e0041")
	f.Fuzz(func(t *testing.T, text string) {
		if got := visible.Text(text); !utf8.ValidString(got) ||
			strings.ContainsFunc(got, func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Fatalf("%q becomes %q", text, got)
		}
		b, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var want, got string
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		shown := visible.JSON(b)
		if strings.ContainsFunc(string(shown), func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Fatalf("%q becomes %q", text, shown)
		}
		if err := json.Unmarshal(shown, &got); err != nil || got != want {
			t.Fatalf("%q becomes %q, which means %q: %v", text, shown, got, err)
		}
	})
}
