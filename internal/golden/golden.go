// Package golden holds what a program shows against files in testdata. `go test PACKAGE -update` accepts what it shows
// now: read the difference before you commit it.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Updating tells whether -update was given: then a test may make other files anew, too, such as pictures.
func Updating() bool { return *update }

// Compare fails the test at the first line in which got differs from testdata/name.
func Compare(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(b) {
		return
	}
	is, was := strings.Split(got, "\n"), strings.Split(string(b), "\n")
	for i := range min(len(is), len(was)) {
		if is[i] != was[i] {
			t.Fatalf("%s:%d is\n%s\nand was\n%s\n(-update accepts it)", path, i+1, is[i], was[i])
		}
	}
	t.Fatalf("%s has %d lines, and had %d (-update accepts it)", path, len(is), len(was))
}
