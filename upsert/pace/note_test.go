package pace_test

import (
	"testing"

	"github.com/tasksink/tasksink/upsert/pace"
)

// TestIsNote: notes of all versions are known, and nothing else is.
func TestIsNote(t *testing.T) {
	if own := pace.New(pace.Config{}).Note(); !pace.IsNote(own) {
		t.Errorf("the own note %s is not known", own)
	}
	for note, want := range map[string]bool{
		`{"share":0.5,"fog_ms":0,"sent_ms":[12,7]}`:                        true, // the first version's
		`{"share":1,"sent_ms":[]}`:                                         true,
		`{"share":1,"fog_ms":0,"sent_ms":null}`:                            true,
		` {"new":{"a":1},"sent_ms":[1],"fog_ms":3,"share":0,"version":9} `: true, // a later version's
		``:                                  false,
		`null`:                              false,
		`{}`:                                false,
		`[]`:                                false,
		`1`:                                 false,
		`"share sent_ms"`:                   false,
		`{"share":1}`:                       false,
		`{"sent_ms":[]}`:                    false,
		`{"Share":1,"Sent_MS":[]}`:          false,
		`{"share":1,"sent_ms":[]`:           false,
		`{"share":1,"sent_ms":[]} and more`: false,
		`[{"share":1,"sent_ms":[]}]`:        false,
		`{"rack":"a","userData":"x"}`:       false,
		"\x00\x00\x00\x01\xff":              false,
	} {
		if got := pace.IsNote([]byte(note)); got != want {
			t.Errorf("IsNote(%q) = %v, want %v", note, got, want)
		}
	}
	if pace.IsNote(nil) {
		t.Error("no note at all is taken for one")
	}
}
