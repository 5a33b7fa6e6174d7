package upsert

import (
	"bytes"
	"errors"
	"iter"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The types of an answer's parts. What can be long aliases the body, or is cut as it is read.
type (
	raw    []byte // a value as it stands in the body
	octets []byte // the text of a string or a number; nil for anything else
	text   string // the same as a string of its own, from the first maxText bytes in the body
	word   string // the same, of at most maxWord bytes
)

// UnmarshalJSONFrom is json's.
func (r *raw) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	*r = raw(v)
	return err
}

// UnmarshalJSONFrom is json's.
func (o *octets) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	*o, _ = plain(v, maxText)
	return nil
}

// UnmarshalJSONFrom is json's.
func (t *text) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	if !utf8.Valid(v) {
		v = bytes.ToValidUTF8(v, []byte("?")) // people read it, and nothing is compared with it
	}
	s, _ := plain(v, maxText)
	*t = text(s)
	return nil
}

// UnmarshalJSONFrom is json's.
func (w *word) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	s, _ := plain(v, 8*maxWord) // an escape of six bytes can stand for one
	*w = word(cut(string(s), maxWord))
	return nil
}

// plain is the text of a string or a number, of which it looks at the given number of bytes. It aliases v if the text
// stands there as it is. A string that is not UTF-8 is none.
func plain(v jsontext.Value, most int) (text []byte, ok bool) {
	n := min(len(v), most)
	for n < len(v) && !utf8.RuneStart(v[n]) {
		n--
	}
	switch v.Kind() {
	case '0':
		return v[:n], true
	case '"':
		if text = v[1:min(n, len(v)-1)]; !utf8.Valid(text) {
			return nil, false
		}
		if bytes.IndexByte(text, '\\') >= 0 {
			text, _ = jsontext.AppendUnquote(nil, v[:n]) // of a part it returns what came before the end
		}
		return text, true
	default:
		return nil, false
	}
}

var errTooMany = errors.New("more elements than the request's inputs explain")

// list is an array of objects; elements of another kind are left out.
type list[T any] struct {
	items    []T
	most     int
	optional bool // what is beyond the most is left out, too; otherwise nothing is read
}

// UnmarshalJSONFrom is json's.
func (l *list[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return eachElement(dec, func() error {
		switch {
		case dec.PeekKind() != '{', len(l.items) == l.most && l.optional:
			return dec.SkipValue()
		case len(l.items) == l.most:
			return errTooMany
		}
		l.items = append(l.items, *new(T))
		return json.UnmarshalDecode(dec, &l.items[len(l.items)-1])
	})
}

// eachElement calls read before each element of an array, which it must read. Another value is skipped.
func eachElement(dec *jsontext.Decoder, read func() error) error {
	if dec.PeekKind() != '[' {
		return dec.SkipValue()
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		if err := read(); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// eachMember calls read with the name of each member of an object, whose value it must read. Another value is skipped.
func eachMember(dec *jsontext.Decoder, read func(name []byte) error) error {
	if dec.PeekKind() != '{' {
		return dec.SkipValue()
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		v, err := dec.ReadValue()
		if err != nil {
			return err
		}
		name, _ := plain(v, maxText)
		if err := read(name); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// echo finds the value of the first member with the name.
type echo struct {
	name  string
	value jsontext.Value
}

// UnmarshalJSONFrom is json's.
func (e *echo) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return eachMember(dec, func(name []byte) (err error) {
		if e.value != nil || string(name) != e.name {
			return dec.SkipValue()
		}
		e.value, err = dec.ReadValue()
		return err
	})
}

// errorContext has an error's lists of texts, as they stand in the body; a single text counts as a list of one. Of all
// lists it has those that somebody reads.
type errorContext [7]jsontext.Value

// contexts are the names of lists that somebody reads.
var contexts = [len(errorContext{})]string{"objectWriteTraceId", "ids", "properties", "propertyName",
	"requiredGranularScopes", "requiredScopes", "missingScopes"}

// named is a list by its name.
func (c *errorContext) named(name string) jsontext.Value { return c[slices.Index(contexts[:], name)] }

// UnmarshalJSONFrom is json's.
func (c *errorContext) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '{' {
		*c = errorContext{} // of two contexts the last one counts
	}
	return eachMember(dec, func(name []byte) error {
		v, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if i := slices.Index(contexts[:], string(name)); i >= 0 {
			c[i] = v
		}
		return nil
	})
}

// all walks over the texts of a list, without the empty ones. A text may be overwritten when the next one comes.
func (c *errorContext) all(name string) iter.Seq[[]byte] {
	v := c.named(name)
	return func(yield func([]byte) bool) {
		if v == nil {
			return
		}
		if v.Kind() != '[' {
			if s, _ := plain(v, maxText); len(s) > 0 {
				yield(s)
			}
			return
		}
		_ = json.Unmarshal(v, &walk{yield: yield}, lenient) // it is JSON; the walk may end before its end
	}
}

// list returns the first texts of a list.
func (c *errorContext) list(name string) (texts []string) {
	for s := range c.all(name) {
		if texts = append(texts, cut(string(s), maxProperty)); len(texts) == maxTexts {
			break
		}
	}
	return texts
}

const maxTexts = 100 // elements of a list that names no inputs

// walk hands over each text of an array.
type walk struct{ yield func([]byte) bool }

var errEnough = errors.New("enough")

// UnmarshalJSONFrom is json's.
func (w *walk) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return eachElement(dec, func() error {
		v, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if s, _ := plain(v, maxText); len(s) > 0 && !w.yield(s) {
			return errEnough
		}
		return nil
	})
}

// inner is the reason that HubSpot's dated paths put inside of an error: that of the first of its errors which has one,
// among the first hundred.
type inner struct{ code, property string }

// UnmarshalJSONFrom is json's.
func (n *inner) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	read := 0
	return eachElement(dec, func() error {
		if read++; read > maxTexts || dec.PeekKind() != '{' || *n != (inner{}) {
			return dec.SkipValue()
		}
		var code word
		var context errorContext
		err := eachMember(dec, func(name []byte) error {
			switch string(name) {
			case "code":
				return code.UnmarshalJSONFrom(dec)
			case "context":
				return context.UnmarshalJSONFrom(dec)
			default:
				return dec.SkipValue()
			}
		})
		n.take(code, &context)
		return err
	})
}

// take takes an error's code and property, if there was none before.
func (n *inner) take(code word, context *errorContext) {
	if *n != (inner{}) {
		return
	}
	n.code = string(code)
	if context.named("propertyName") == nil {
		return
	}
	for name := range context.all("propertyName") {
		n.property = cut(string(name), maxProperty)
		return
	}
}
