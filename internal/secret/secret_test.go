package secret_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasksink/tasksink/internal/secret"
)

func write(t *testing.T, path, value string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFile: a new secret is found however the file was replaced, and a bad file leaves the last good one in use.
func TestFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "token")
		if _, err := secret.File(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("want an error that names the file, got %v", err)
		}
		for _, useless := range []string{"", " \n", "two\nlines"} {
			write(t, path, useless)
			if _, err := secret.File(path); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%q: want an error that names the file, got %v", useless, err)
			}
		}
		write(t, path, " first\r\n")
		s, err := secret.File(path)
		if err != nil {
			t.Fatal(err)
		}
		value := func(want string) {
			t.Helper()
			time.Sleep(1100 * time.Millisecond)
			if got := s.Value(); got != want {
				t.Errorf("secret %q, want %q", got, want)
			}
		}
		value("first")
		write(t, path, "second!")
		value("second!")
		for _, useless := range []string{"two\nlines", "Bearer third", "\ufeffthird", `"third"`} {
			write(t, path, useless)
			value("second!")
			if changed, err := s.Reload(); changed || err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("reload of %q: %v, %v", useless, changed, err)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		value("second!")
		if changed, err := s.Reload(); changed || err == nil {
			t.Errorf("reload of a file that is gone: %v, %v", changed, err)
		}
		write(t, path, "second!")
		if changed, err := s.Reload(); changed || err != nil {
			t.Errorf("reload of the same secret: %v, %v", changed, err)
		}
		write(t, path, "third")
		if changed, err := s.Reload(); !changed || err != nil || s.Value() != "third" {
			t.Errorf("reload of a new secret: %v, %v, %q", changed, err, s.Value())
		}
	})
}

// TestCheck: what cannot be right is refused with its cause and a remedy, and not shown. Passwords may have what tokens
// may not.
func TestCheck(t *testing.T) {
	for value, want := range map[string]struct{ token, password string }{
		"pat-eu1-0f3a54d1-0000-4000\n":  {},
		" CJDQ_8eX.y~z+/a-b==\r\n":      {},
		"bearer-of-news":                {},
		"":                              {"is empty", "is empty"},
		" \r\n":                         {"is empty", "is empty"},
		"Bearer hunter2":                {"the word Bearer", "the word Bearer"},
		"bEARER\thunter2":               {"the word Bearer", "the word Bearer"},
		"Bearer":                        {"the word Bearer", "the word Bearer"},
		"Authorization: Bearer hunter2": {"white space", ""},
		"\ufeffhunter2":                 {"byte order mark", "byte order mark"},
		"\n\ufeffhunter2":               {"byte order mark", "byte order mark"},
		"\xff\xfeh\x00u\x00":            {"UTF-16", "UTF-16"},
		"\xfe\xff\x00h\x00u":            {"UTF-16", "UTF-16"},
		"h\x00u\x00":                    {"control character", "control character"},
		"\"hunter2\"":                   {"quote", "quotes"},
		"'hunter2'\n":                   {"quote", "quotes"},
		"“hunter2”":                     {"quote", ""},
		"hunter2'":                      {"quote", ""},
		"'":                             {"quote", ""},
		"hunter2\nhunter3":              {"more than one line", "more than one line"},
		"hunter2 # the token of March":  {"white space", ""},
		"hunter\u00a02":                 {"white space", ""},
		"hünter2":                       {"not ASCII", ""},
		"hunter\u200b2":                 {"not ASCII", ""},
		"h\xfcnter2":                    {"not UTF-8", "not UTF-8"},
		"hunter\x1b[2J2":                {"control character", "control character"},
	} {
		for kind, c := range map[string]struct {
			check func(string) error
			want  string
		}{"token": {secret.CheckToken, want.token}, "password": {secret.CheckPassword, want.password}} {
			err := c.check(value)
			switch {
			case err == nil && c.want == "":
			case err == nil || c.want == "" || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), ": "):
				t.Errorf("%s %q: %v, want %q", kind, value, err, c.want)
			case strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), "March"):
				t.Errorf("%s %q is shown: %v", kind, value, err)
			}
		}
	}
}

// TestKubernetes: a mounted Secret is a link to ..data/token, and ..data a link that is swapped for another directory.
// The values have the same length, and the old directory goes away.
func TestKubernetes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		mount := func(version, value string) {
			t.Helper()
			if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, version, "token"), value)
			next := filepath.Join(dir, "..data_tmp")
			if err := os.Symlink(version, next); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
		}
		mount("..2026_1", "value-1")
		path := filepath.Join(dir, "token")
		if err := os.Symlink(filepath.Join("..data", "token"), path); err != nil {
			t.Fatal(err)
		}
		s, err := secret.File(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{"2", "3"} {
			mount("..2026_"+n, "value-"+n)
			if err := os.RemoveAll(filepath.Join(dir, "..2026_1")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1100 * time.Millisecond)
			if got := s.Value(); got != "value-"+n {
				t.Errorf("secret %q after version %s was mounted", got, n)
			}
		}
	})
}

// TestPrintsNothing: no way of printing shows it.
func TestPrintsNothing(t *testing.T) {
	const canary = "pat-na1-very-secret"
	s := secret.Text(canary + "\n")
	if s.Value() != canary {
		t.Errorf("value %q", s.Value())
	}
	inside, hidden := struct{ S *secret.Secret }{s}, struct{ s *secret.Secret }{s}
	asJSON, err := json.Marshal(inside)
	if err != nil {
		t.Fatal(err)
	}
	said := string(asJSON)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		said += fmt.Sprintf(strings.Repeat(verb, 3), s, inside, hidden)
	}
	if strings.Contains(said, canary) || !strings.Contains(said, "***") {
		t.Error("it prints", said)
	}
}
