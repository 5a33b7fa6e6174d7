package upsert

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tasksink/tasksink/dlq"
)

// answerBody is every kind of body that HubSpot answers with, read leniently: each field is optional, and what has
// an unexpected type counts as absent.
type answerBody struct {
	Status        text
	Message       text
	CorrelationID text
	Category      text
	ErrorType     text
	PolicyName    text
	Results       list[resultItem]
	Errors        list[errorItem]
	Context       errorContext

	results []result // Results, as accounting needs them
}

type resultItem struct {
	ID                 text
	ObjectWriteTraceID text
	Properties         jsontext.Value
}

type errorItem struct {
	Message     text
	Category    text
	SubCategory text
	Context     errorContext
}

var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true),
	json.MatchCaseInsensitiveNames(true))

// parse reads a body; readable is false if it is not one JSON object. Of the results it takes the named property.
func parse(body []byte, property string) (b answerBody, readable bool) {
	if !jsonObject(body) {
		return answerBody{}, false
	}
	if err := json.Unmarshal(body, &b, lenient); err != nil {
		return answerBody{}, false
	}
	for _, item := range b.Results {
		r := result{id: []byte(item.ID), trace: []byte(item.ObjectWriteTraceID)}
		var key string
		key, r.echoed = item.property(property)
		r.key = []byte(key)
		b.results = append(b.results, r)
	}
	return b, true
}

// fromHubSpot tells HubSpot's own errors from those of proxies and firewalls.
func (b answerBody) fromHubSpot() bool {
	return b.Category != "" || b.CorrelationID != "" || b.ErrorType != ""
}

func (b answerBody) reason() dlq.Reason {
	r := dlq.Reason{Category: string(b.Category), Message: cut(string(b.Message), maxMessage),
		CorrelationID: string(b.CorrelationID)}
	if r.Category == "" {
		r.Category = string(b.ErrorType)
	}
	explain(&r, b.Context.list)
	return r
}

func (e errorItem) list(name string) []string { return e.Context.list(name) }

func (e errorItem) reason(correlationID text) dlq.Reason {
	r := dlq.Reason{Stage: dlq.StageUpsert, Category: string(e.Category), Code: string(e.SubCategory),
		Message: cut(string(e.Message), maxMessage), CorrelationID: string(correlationID)}
	if r.Category == "" {
		r.Category = "REFUSED"
	}
	explain(&r, e.Context.list)
	return r
}

// property is the value that the result echoes of a property.
func (r resultItem) property(name string) (value string, echoed bool) {
	if r.Properties.Kind() != '{' {
		return "", false
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(r.Properties), lenient)
	if _, err := dec.ReadToken(); err != nil {
		return "", false
	}
	for dec.PeekKind() == '"' {
		key, err := dec.ReadToken()
		if err != nil {
			return "", false
		}
		wanted := key.String() == name
		v, err := dec.ReadValue()
		if err != nil {
			return "", false
		}
		if wanted {
			return unquoted(v)
		}
	}
	return "", false
}

func unquoted(v jsontext.Value) (string, bool) {
	switch v.Kind() {
	case '"':
		return unquote(v), true
	case '0':
		return string(v), true
	default:
		return "", false
	}
}

// text is a string; a number counts as its text, anything else as "".
type text string

// UnmarshalJSONFrom is json's.
func (t *text) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	s, _ := unquoted(v)
	*t = text(s)
	return nil
}

// list is an array of objects; elements of another kind are left out.
type list[T any] []T

// UnmarshalJSONFrom is json's.
func (l *list[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '[' {
		return dec.SkipValue()
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		if dec.PeekKind() != '{' {
			if err := dec.SkipValue(); err != nil {
				return err
			}
			continue
		}
		var item T
		if err := json.UnmarshalDecode(dec, &item); err != nil {
			return err
		}
		*l = append(*l, item)
	}
	_, err := dec.ReadToken()
	return err
}

// errorContext is an error's map of names to lists; a single string counts as a list of one.
type errorContext map[string][]string

// UnmarshalJSONFrom is json's.
func (c *errorContext) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '{' {
		return dec.SkipValue()
	}
	var raw map[string]jsontext.Value
	if err := json.UnmarshalDecode(dec, &raw); err != nil {
		return err
	}
	*c = errorContext{}
	for name, v := range raw {
		if v.Kind() == '[' {
			var texts []text
			if err := json.Unmarshal(v, &texts, lenient); err != nil {
				return err
			}
			for _, t := range texts {
				(*c)[name] = append((*c)[name], string(t))
			}
		} else if s, ok := unquoted(v); ok {
			(*c)[name] = []string{s}
		}
	}
	return nil
}

func (c errorContext) list(name string) []string { return clean(c[name]) }

// firstDetail reads the first element of the JSON array that begins b; what follows the array does not matter.
func firstDetail(b []byte) (d detail, ok bool) {
	dec := jsontext.NewDecoder(bytes.NewReader(b), lenient)
	var all []detail
	if err := json.UnmarshalDecode(dec, &all); err != nil || len(all) == 0 {
		return detail{}, false
	}
	return all[0], true
}
