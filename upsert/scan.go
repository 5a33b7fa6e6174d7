package upsert

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// A scan moves over JSON text of the plain kind that nearly all events and answers are. It knows less than jsontext and
// takes a fifth of its time. Each method moves past what it reads, and returns false where the text is not JSON, and
// also where it is anything out of the ordinary: then whoever scans begins anew with jsontext, which decides. So a scan
// must never accept what jsontext refuses, or read it in another way; a fuzz test holds the two together.
type scan struct {
	text []byte
	at   int
	lax  bool // strings may hold invalid UTF-8
}

// mark moves past white space and then the given character.
func (s *scan) mark(c byte) bool {
	if s.at == len(s.text) || s.text[s.at] != c {
		s.space()
	}
	if s.at == len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *scan) space() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\n' || s.text[s.at] == '\r' ||
		s.text[s.at] == '\t') {
		s.at++
	}
}

// end tells whether nothing follows.
func (s *scan) end() bool {
	s.space()
	return s.at == len(s.text)
}

// name moves past a member's name and the colon behind it, and returns the name without its quotes. A name with an
// escape is out of the ordinary.
func (s *scan) name() (name []byte, ok bool) {
	s.space()
	raw, escaped, ok := s.string()
	if !ok || escaped || !s.mark(':') {
		return nil, false
	}
	return raw[1 : len(raw)-1], true
}

// scalar moves past a string, number, true, false or null. The kind is its first character, '0' for a number.
func (s *scan) scalar() (raw []byte, kind jsontext.Kind, ok bool) {
	s.space()
	if s.at == len(s.text) {
		return nil, 0, false
	}
	switch c := s.text[s.at]; c {
	case '"':
		raw, _, ok = s.string()
		return raw, '"', ok
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		raw, ok = s.number()
		return raw, '0', ok
	}
}

// skip moves past any value, no more than the given number of levels deep. Names may be there twice.
func (s *scan) skip(levels int) bool {
	s.space()
	if s.at == len(s.text) || levels == 0 {
		return false
	}
	open := s.text[s.at]
	if open != '{' && open != '[' {
		_, _, ok := s.scalar()
		return ok
	}
	s.at++
	end := open + 2 // of '{' and of '[' alike
	if s.mark(end) {
		return true
	}
	for {
		if open == '{' {
			if _, ok := s.name(); !ok {
				return false
			}
		}
		if !s.skip(levels - 1) {
			return false
		}
		if !s.mark(',') {
			return s.mark(end)
		}
	}
}

func (s *scan) literal(word string) (raw []byte, kind jsontext.Kind, ok bool) {
	raw = s.text[s.at:min(s.at+len(word), len(s.text))]
	s.at += len(raw)
	return raw, jsontext.Kind(word[0]), string(raw) == word
}

func (s *scan) number() (raw []byte, ok bool) {
	from := s.at
	s.one("-", "-")
	if !s.one("0", "0") && s.digits() == 0 {
		return nil, false
	}
	if s.one(".", ".") && s.digits() == 0 {
		return nil, false
	}
	if s.one("e", "E") {
		s.one("+", "-")
		if s.digits() == 0 {
			return nil, false
		}
	}
	return s.text[from:s.at], true
}

// one moves past a or b, each a single character.
func (s *scan) one(a, b string) bool {
	if s.at < len(s.text) && (s.text[s.at] == a[0] || s.text[s.at] == b[0]) {
		s.at++
		return true
	}
	return false
}

func (s *scan) digits() (n int) {
	for s.at < len(s.text) && s.text[s.at]-'0' <= 9 {
		s.at++
		n++
	}
	return n
}

const (
	each = 0x0101010101010101 // a one in each of eight bytes
	tops = 0x80 * each
)

// string moves past a string, and returns it with its quotes.
func (s *scan) string() (raw []byte, escaped, ok bool) {
	from := s.at
	if from == len(s.text) || s.text[from] != '"' {
		return nil, false, false
	}
	text, at, foreign := s.text, from+1, uint64(0)
	for {
		// Eight bytes at a time, up to the first that is a quote, a backslash or a control character. Subtracting
		// one from each byte sets the top of those that were zero, and carries only into bytes behind the first.
		for at+8 <= len(text) {
			word := binary.LittleEndian.Uint64(text[at:])
			foreign |= word & tops
			quote, slash := word^('"'*each), word^('\\'*each)
			if stop := ((quote-each)&^quote | (slash-each)&^slash | (word-' '*each)&^word) & tops; stop != 0 {
				at += bits.TrailingZeros64(stop) / 8
				break
			}
			at += 8
		}
		if at == len(text) {
			return nil, false, false
		}
		switch c := text[at]; {
		case c == '"':
			s.at = at + 1
			return text[from:s.at], escaped, foreign == 0 || s.lax || utf8.Valid(text[from:at])
		case c == '\\':
			n := escape(text[at:])
			if n == 0 {
				return nil, false, false
			}
			escaped = true
			at += n
		case c < ' ':
			return nil, false, false
		default: // among the last seven bytes
			foreign |= uint64(c & 0x80)
			at++
		}
	}
}

// escape is how long the escape at the front of b is, a surrogate pair being one; 0 if it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	if b[1] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, b[1]) < 0 {
			return 0
		}
		return 2
	}
	switch char := hex(b); {
	case char < 0, 0xdc00 <= char && char <= 0xdfff:
		return 0
	case 0xd800 <= char && char <= 0xdbff:
		if low := hex(b[6:]); low < 0xdc00 || low > 0xdfff {
			return 0
		}
		return 12
	}
	return 6
}

// hex is what the \u at the front of b stands for; -1 if there is none.
func hex(b []byte) (char int) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		char = char<<4 | int(c)
	}
	return char
}

// names are those of one object, for telling whether one is there twice.
type names struct {
	n    int
	bits uint64 // a name whose bit is not set was not there
	list [32][]byte
}

// add tells whether the name is new. More than 32 are out of the ordinary.
func (n *names) add(name []byte) bool {
	bit := uint64(1)
	if l := len(name); l > 0 {
		bit <<= (uint(name[l-1]) + 3*uint(name[l/2]) + 7*uint(l)) % 64
	}
	if n.bits&bit != 0 {
		for _, other := range n.list[:n.n] {
			if string(other) == string(name) {
				return false
			}
		}
	}
	if n.n == len(n.list) {
		return false
	}
	n.bits |= bit
	n.list[n.n] = name
	n.n++
	return true
}

// properties moves past an object of scalars, and returns its members as they go on the wire. HubSpot takes strings:
// numbers and booleans go as the text they are written in, so that 2⁵³ + 1 stays what it is. Strings and null go as
// they stand. Unless checked is set, a name with an escape or one that is there twice is out of the ordinary.
func (s *scan) properties(checked bool) (wire []byte, ok bool) {
	if !s.mark('{') {
		return nil, false
	}
	if checked && s.mark('}') {
		return nil, true
	}
	var seen names
	own, from, due := true, s.at, s.at // the event's own bytes will do, as long as each member begins where it is due
	for more := true; more; more = s.mark(',') {
		s.space()
		name, escaped, ok := s.string()
		if !ok || !checked && (escaped || !seen.add(name)) || !s.mark(':') {
			return nil, false
		}
		value, kind, ok := s.scalar()
		if !ok {
			return nil, false
		}
		text := kind == '"' || kind == 'n'
		switch {
		case own && text && s.at == due+len(name)+len(value)+1:
			due = s.at + 1
			continue
		case own:
			own = false
			wire = append(make([]byte, 0, len(s.text)-from+32), s.text[from:max(from, due-1)]...)
		}
		if len(wire) > 0 {
			wire = append(wire, ',')
		}
		wire = append(append(wire, name...), ':')
		if text {
			wire = append(wire, value...)
		} else {
			wire = append(append(append(wire, '"'), value...), '"')
		}
	}
	if own {
		wire = s.text[from : due-1 : due-1]
	}
	return wire, s.mark('}')
}

// members walks over members as they go on the wire: each one's name, unescaped, and the whole of it.
func members(text []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, member []byte) bool) {
		for s := (scan{text: text}); s.at < len(text); s.mark(',') {
			from := s.at
			raw, escaped, _ := s.string()
			name := raw[1 : len(raw)-1]
			if escaped {
				name = []byte(unquote(raw))
			}
			s.mark(':')
			if _, _, ok := s.scalar(); !ok || !yield(name, text[from:s.at]) {
				return
			}
		}
	}
}
