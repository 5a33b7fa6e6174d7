package offsetmap_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tasksink/tasksink/consumer/offsetmap"
)

const page = "../../docs/commit-metadata.md"

// readPage returns the page, and the texts of testdata with their names.
func readPage(t *testing.T) (doc string, texts [][2]string) {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/format.golden")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(golden)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
		texts = append(texts, [2]string{name, text})
	}
	return string(b), texts
}

// TestPageExample: the page's example is one of the texts in testdata, and the bytes in its table are that text's.
func TestPageExample(t *testing.T) {
	doc, texts := readPage(t)
	_, example, _ := strings.Cut(doc, "### An example")
	example, _, _ = strings.Cut(example, "### ")
	text := regexp.MustCompile(`tasksink1\.[\w-]+`).FindString(example)
	found := false
	for _, s := range texts {
		found = found || s[1] == text
	}
	if !found {
		t.Errorf("%q is not in testdata", text)
	}
	var b []byte
	for _, m := range regexp.MustCompile("(?m)^\\| `([0-9a-f ]+)` \\|").FindAllStringSubmatch(example, -1) {
		part, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, part...)
	}
	if got := seal(b[:len(b)-4]); got != text {
		t.Errorf("the table is %s, the text %s", got, text)
	}
}

// TestPageReader: the page's reader, in Python, reads the texts in testdata as Decode does, and refuses damaged ones.
func TestPageReader(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("TASKSINK_REQUIRE_PYTHON") != "" {
			t.Fatal(err)
		}
		t.Skip("python3 is not installed")
	}
	doc, texts := readPage(t)
	m := regexp.MustCompile("(?s)```python\n(.*?)```").FindStringSubmatch(doc)
	if m == nil {
		t.Fatal("the page has no reader")
	}
	program := filepath.Join(t.TempDir(), "reader.py")
	if err := os.WriteFile(program, []byte(m[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(stdin string) (stdout string, err error) {
		cmd := exec.CommandContext(t.Context(), python, program)
		cmd.Stdin, cmd.WaitDelay = strings.NewReader(stdin), time.Second
		out, err := cmd.Output()
		return string(out), err
	}
	var stdin, want strings.Builder
	for _, s := range texts {
		fmt.Fprintln(&stdin, s[1])
		stored, err := offsetmap.Decode(s[1])
		if err != nil {
			t.Fatal(err)
		}
		b := unseal(t, s[1])
		settled := [][2]int64{}
		for _, s := range stored.Settled {
			settled = append(settled, [2]int64{s.From, s.To})
		}
		line, err := json.Marshal(settled)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&want, `{"cluster":"%x","group":"%x","topic":"%x","committed":%d,"epoch":%d,"settled":%s}`+"\n", b[1:9],
			b[9:13], stored.Topic, stored.Committed, stored.Epoch, line)
	}
	got, err := run(stdin.String())
	if err != nil {
		t.Fatal(err)
	}
	if got = strings.ReplaceAll(got, " ", ""); got != want.String() {
		t.Errorf("the page's reader reads\n%s\nDecode reads\n%s", got, want.String())
	}
	for _, damaged := range []string{strings.Replace(texts[0][1], "A", "B", 1), "tasksink2.AA"} {
		if out, err := run(damaged); err == nil {
			t.Errorf("%s is read as %s", damaged, out)
		}
	}
}
