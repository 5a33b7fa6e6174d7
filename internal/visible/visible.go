// Package visible makes text from outside harmless where people read it: on a terminal, in a log, on a page. What would
// move the cursor, change colours, turn the direction of writing, break a line, or is no UTF-8, becomes an escape that
// shows, so that a payload cannot forge what an operator sees.
//
// It is not for telling texts apart exactly: a backslash stays as it is.
package visible

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Text is the text with what does not print escaped as Go does it: \n, \x1b, \u202e.
func Text(text string) string {
	if prints(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		if printable(r, n) {
			b.WriteString(text[:n])
		} else {
			quoted := strconv.QuoteToASCII(text[:n])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		text = text[n:]
	}
	return b.String()
}

func prints(text string) bool {
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		if !printable(r, n) {
			return false
		}
		text = text[n:]
	}
	return true
}

func printable(r rune, n int) bool { return (r != utf8.RuneError || n > 1) && strconv.IsPrint(r) }

// JSON is the JSON text with the same characters escaped as \u, so that it means the same. Line feeds stay.
func JSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == '\n' || strconv.IsPrint(r):
			out = append(out, text[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = appendHex(appendHex(out, high), low)
		default:
			out = appendHex(out, r)
		}
		text = text[n:]
	}
	return out
}

func appendHex(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}
