package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDependencies: docs/dependencies.md is current, says what each module is for, and all licences are allowed.
func TestDependencies(t *testing.T) {
	before, err := os.ReadFile(dependenciesPath(root))
	if err != nil {
		t.Fatal(err)
	}
	now, err := dependencies(t.Context(), root, before)
	if err != nil {
		t.Error(err)
	}
	if string(now) != string(before) {
		t.Error("docs/dependencies.md is not current: make dependencies writes it anew")
	}
}

// TestRefused: what nobody may hand on, or nobody knows, is told.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		licences, want string
	}{
		{"MIT", ""},
		{"Apache-2.0 AND BSD-3-Clause AND MIT", ""},
		{"GPL-3.0", "example.com/m v1.0.0 is under GPL-3.0"},
		{"MIT AND AGPL-3.0", "is under AGPL-3.0"},
		{"", "has no licence that could be recognised"},
	} {
		err := refused([]module{{Path: "example.com/m", Version: "v1.0.0", licences: c.licences}})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.licences, err)
		}
	}
}

// TestLicences: several licences in one file all count, those of a used package's directory too, and none is none.
func TestLicences(t *testing.T) {
	text := func(from ...string) (all string) {
		for _, f := range from {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all += string(b) + "\n"
		}
		return all
	}
	std, err := linked(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	bsd := filepath.Join(std[len(std)-1].Dir, "LICENSE")
	dir := t.TempDir()
	for name, content := range map[string]string{"LICENSE": text("../../LICENSE", bsd), "inner/COPYING": text(bsd),
		"unused/LICENSE": "do not"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := module{Path: "example.com/m", Dir: dir}
	if err := m.addTexts(filepath.Join(dir, "inner")); err != nil {
		t.Fatal(err)
	}
	all, err := classified(map[string]*module{m.Path: &m, "bare": {Path: "bare", Dir: t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	if got := all[1].licences + " in " + strings.Join(all[1].texts,
		", "); got != "Apache-2.0 AND BSD-3-Clause in LICENSE, inner/COPYING" {
		t.Errorf("found %s", got)
	}
	if got := all[0].licences; got != "" {
		t.Errorf("no file, and yet a licence: %s", got)
	}
}
