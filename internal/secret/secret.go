// Package secret keeps tokens and passwords. One that stands in a file is read again when the file changes, so that
// it can be replaced without a restart, and none ever prints itself.
//
// What cannot be a token or a password, such as text that begins with the word Bearer, is refused when it is read.
//
// Use: Text, File or PasswordFile, then Value whenever the secret is needed. A Secret is safe for concurrent use,
// starts nothing and needs no end.
package secret

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

const lookEvery = time.Second // how often Value looks whether the file changed

// Secret is one line of text that nobody may see.
type Secret struct {
	path  string                   // empty: a fixed value
	check func(value string) error // of what the file holds

	mu sync.Mutex
	// behind a pointer: where fmt may not call String, it prints a struct's fields, but follows no pointer in it
	value  *string
	state  os.FileInfo // of the file that value was read from
	looked time.Time
}

// Text is a secret that never changes. White space around it is left out.
func Text(value string) *Secret {
	value = strings.TrimSpace(value)
	return &Secret{value: &value}
}

// File is the token, or a secret like it, that stands in a file, white space around it left out. It is an error if
// there is none now.
func File(path string) (*Secret, error) { return file(path, CheckToken) }

// PasswordFile is the password that stands in a file, white space around it left out. It is an error if there is none
// now.
func PasswordFile(path string) (*Secret, error) { return file(path, CheckPassword) }

func file(path string, check func(string) error) (*Secret, error) {
	s := &Secret{path: path, check: check, value: new(string)}
	if _, err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Fixed tells whether the secret never changes.
func (s *Secret) Fixed() bool { return s.path == "" }

// Value is the present secret, at most a second old. While the file cannot be read its last good content serves.
func (s *Secret) Value() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path != "" && time.Since(s.looked) > lookEvery {
		_, _ = s.look() // whoever is refused with the old value will read the file himself, by Reload, and hear the error
	}
	return *s.value
}

// Reload reads the file at once, and tells whether the secret changed. Its error names the file.
func (s *Secret) Reload() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" {
		return false, nil
	}
	s.state = nil
	return s.look()
}

// look reads the file if it is another one than last time: Kubernetes swaps a symbolic link, an editor renames.
func (s *Secret) look() (changed bool, err error) {
	s.looked = time.Now()
	state, err := os.Stat(s.path)
	if err != nil {
		return false, err
	}
	if s.state != nil && os.SameFile(s.state, state) && s.state.ModTime().Equal(state.ModTime()) &&
		s.state.Size() == state.Size() {
		return false, nil
	}
	b, err := os.ReadFile(s.path)
	if err != nil {
		return false, err
	}
	if err := s.check(string(b)); err != nil {
		return false, fmt.Errorf("%s %w", s.path, err)
	}
	value := strings.TrimSpace(string(b))
	changed = value != *s.value
	s.value, s.state = &value, state
	return changed, nil
}

// String keeps the secret out of whatever prints it.
func (s *Secret) String() string { return "***" }

// GoString is String, for %#v.
func (s *Secret) GoString() string { return "***" }

// MarshalText is String, for encoders.
func (s *Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }
