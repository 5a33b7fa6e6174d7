package upsert

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

const tokenLook = time.Second // how often the token's file is looked at

// Token is the bearer token for HubSpot. A file is read again when it changes. It never prints itself.
type Token struct {
	path string // empty: a fixed value

	mu     sync.Mutex
	value  string
	state  os.FileInfo // of the file that value was read from
	looked time.Time
}

// StaticToken is a token that never changes.
func StaticToken(value string) *Token { return &Token{value: strings.TrimSpace(value)} }

// TokenFile is the token that stands in a file, white space around it left out.
func TokenFile(path string) (*Token, error) {
	t := &Token{path: path}
	if _, err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

// Value is the present token.
func (t *Token) Value() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path != "" && time.Since(t.looked) > tokenLook {
		_, _ = t.look() // the last good value serves until the file is readable again; a 401 tells if it does not
	}
	return t.value
}

// Reload reads the file at once, and tells whether the token changed.
func (t *Token) Reload() (changed bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path == "" {
		return false, nil
	}
	t.state = nil
	return t.look()
}

// look reads the file if it is another one than last time: Kubernetes swaps a symbolic link, an editor renames.
func (t *Token) look() (changed bool, err error) {
	t.looked = time.Now()
	state, err := os.Stat(t.path)
	if err != nil {
		return false, fmt.Errorf("read the HubSpot token: %w", err)
	}
	if t.state != nil && os.SameFile(t.state, state) && t.state.ModTime().Equal(state.ModTime()) && t.state.Size() == state.Size() {
		return false, nil
	}
	b, err := os.ReadFile(t.path)
	if err != nil {
		return false, fmt.Errorf("read the HubSpot token: %w", err)
	}
	value := strings.TrimSpace(string(b))
	if value == "" || strings.ContainsAny(value, "\r\n") {
		return false, errors.New("read the HubSpot token: " + t.path + " does not hold one line with a token")
	}
	changed = value != t.value
	t.value, t.state = value, state
	return changed, nil
}

// String keeps the token out of whatever prints it.
func (t *Token) String() string { return "***" }

// GoString is String, for %#v.
func (t *Token) GoString() string { return "***" }

// MarshalText is String, for encoders.
func (t *Token) MarshalText() ([]byte, error) { return []byte("***"), nil }
