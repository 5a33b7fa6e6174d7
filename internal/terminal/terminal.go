// Package terminal tells whether people read what is written, so that it may have colours, progress and the screen's
// width. What other programs read has none of these.
package terminal

import (
	"io"
	"os"

	"golang.org/x/term"
)

const fallback = 80 // columns, where a terminal does not say

// Is tells whether w is a terminal.
func Is(w io.Writer) bool {
	f, is := w.(*os.File)
	return is && term.IsTerminal(int(f.Fd()))
}

// Width tells how many columns w has; is is false if it is no terminal.
func Width(w io.Writer) (columns int, is bool) {
	if !Is(w) {
		return 0, false
	}
	columns, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil || columns <= 0 {
		return fallback, true
	}
	return columns, true
}
