package hubspottest

import (
	"bytes"
	"errors"
)

var errSyntax = errors.New("this is no valid JSON")

// scanner walks over JSON text. It sees what cannot be followed, but does not prove that the text is valid.
type scanner struct {
	b []byte
	i int
}

// scanInputs finds the inputs of a request's body.
func scanInputs(body []byte, inputs []leanInput) ([]leanInput, error) {
	s := scanner{b: body}
	err := s.object(func(name []byte) error {
		if string(name) != "inputs" {
			_, err := s.value()
			return err
		}
		return s.list('[', ']', func() error {
			var in leanInput
			err := s.object(func(name []byte) (err error) {
				v, err := s.value()
				if err != nil {
					return err
				}
				switch string(name) {
				case "id":
					in.id = unquoted(v)
				case "idProperty":
					in.idProperty = unquoted(v)
				case "objectWriteTraceId":
					in.trace = unquoted(v)
				case "properties":
					if v[0] == '{' {
						in.properties = v
					}
				}
				return nil
			})
			inputs = append(inputs, in)
			return err
		})
	})
	if err == nil && s.peek() != 0 {
		err = errors.New("something follows the object")
	}
	return inputs, err
}

// unquoted is a string without its quotes; nil if it is none.
func unquoted(v []byte) []byte {
	if v[0] != '"' {
		return nil
	}
	return v[1 : len(v)-1]
}

// peek is the next byte that is no space; 0 at the end.
func (s *scanner) peek() byte {
	for ; s.i < len(s.b); s.i++ {
		if c := s.b[s.i]; c > ' ' {
			return c
		}
	}
	return 0
}

// list goes through a list in brackets; each reads one element.
func (s *scanner) list(left, right byte, each func() error) error {
	if s.peek() != left {
		return errSyntax
	}
	s.i++
	if s.peek() == right {
		s.i++
		return nil
	}
	for {
		if err := each(); err != nil {
			return err
		}
		c := s.peek()
		s.i++
		if c == right {
			return nil
		}
		if c != ',' {
			return errSyntax
		}
	}
}

// object goes through an object; each reads one value.
func (s *scanner) object(each func(name []byte) error) error {
	return s.list('{', '}', func() error {
		if s.peek() != '"' {
			return errSyntax
		}
		name, err := s.value()
		if err != nil {
			return err
		}
		if s.peek() != ':' {
			return errSyntax
		}
		s.i++
		return each(unquoted(name))
	})
}

// value steps over a value and returns its text.
func (s *scanner) value() ([]byte, error) {
	from := s.peek()
	start := s.i
	switch from {
	case 0, ',', ':', '}', ']':
		return nil, errSyntax
	case '"':
		if !s.string() {
			return nil, errSyntax
		}
	case '{', '[':
		for depth := 0; ; {
			if s.i >= len(s.b) {
				return nil, errSyntax
			}
			switch s.b[s.i] {
			case '"':
				if !s.string() {
					return nil, errSyntax
				}
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			s.i++
			if depth == 0 {
				return s.b[start:s.i], nil
			}
		}
	default:
		for s.i < len(s.b) && !bytes.ContainsRune([]byte(",:{}[]\" \t\r\n"), rune(s.b[s.i])) {
			s.i++
		}
	}
	return s.b[start:s.i], nil
}

// string steps over a string.
func (s *scanner) string() bool {
	for s.i++; ; s.i++ {
		n := bytes.IndexByte(s.b[s.i:], '"')
		if n < 0 {
			return false
		}
		s.i += n
		slashes := 0
		for s.b[s.i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			s.i++
			return true
		}
	}
}
