package upsert

import (
	"bytes"
	"cmp"
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/upsert/hubspot"
)

const (
	maxWord     = 128     // bytes of a category, a code or a correlation id
	maxProperty = 200     // bytes of a property's name
	maxText     = 1 << 20 // bytes of a message as it stands in the body, that are searched for a code
)

// most is how many results an answer may have, and how many errors: twice the inputs of its request. An answer with
// more is unreadable.
func most(inputs int) int { return 2 * inputs }

// answerBody is every kind of body that HubSpot answers with, read leniently: each field is optional, and what has
// an unexpected type counts as absent. Reading it takes no more memory than a small multiple of the body, whatever the
// body is.
type answerBody struct {
	Status        word
	Message       text
	CorrelationID word
	Category      word
	ErrorType     word
	PolicyName    word
	Results       list[resultItem]
	Errors        list[errorItem]
	Context       errorContext

	results []result // Results, as accounting needs them; they alias the body
}

type resultItem struct {
	ID                 octets
	ObjectWriteTraceID octets
	Properties         raw
	Warnings           raw
}

type errorItem struct {
	Message     text
	Category    word
	SubCategory word
	Code        word
	Context     errorContext
	Errors      inner
}

var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true),
	json.MatchCaseInsensitiveNames(true))

// parse reads a body; readable is false if it is not one JSON object, or has too many results or errors for a request
// with so many inputs. Of the results it takes the named property.
func parse(body []byte, property string, status, inputs int) (b answerBody, readable bool) {
	if !jsonObject(body) {
		return answerBody{}, false
	}
	b.Results.most, b.Errors.most = most(inputs), most(inputs)
	b.Errors.optional = status >= 300 // one refusal of the whole may have any number of details
	if err := json.Unmarshal(body, &b, lenient); err != nil {
		return answerBody{}, false
	}
	for _, item := range b.Results.items {
		r := result{id: item.ID, trace: item.ObjectWriteTraceID, warnings: item.Warnings}
		r.key, r.echoed = item.property(property)
		b.results = append(b.results, r)
	}
	return b, true
}

// noAnswer is the reason of a request whose answer did not come, or is too long to be read.
func noAnswer(err error) dlq.Reason {
	if errors.Is(err, hubspot.ErrTooLong) {
		return dlq.Reason{Category: categoryUnexpectedPage, Code: "UNREADABLE_ANSWER", Message: err.Error()}
	}
	return dlq.Reason{Category: categoryServerError, Code: "NO_ANSWER", Message: err.Error()}
}

// fromHubSpot tells HubSpot's own errors from those of proxies and firewalls.
func (b answerBody) fromHubSpot() bool {
	return b.Category != "" || b.CorrelationID != "" || b.ErrorType != ""
}

func (b answerBody) reason() dlq.Reason {
	r := dlq.Reason{Category: string(cmp.Or(b.Category, b.ErrorType)), Message: string(b.Message),
		CorrelationID: string(b.CorrelationID)}
	var first inner
	for _, e := range b.Errors.items {
		first.take(e.Code, &e.Context)
	}
	return complete(r, &b.Context, first)
}

func (e errorItem) reason(correlationID word) dlq.Reason {
	r := dlq.Reason{Stage: dlq.StageUpsert, Category: string(cmp.Or(e.Category, "REFUSED")),
		Code: string(cmp.Or(e.SubCategory, e.Code)), Message: string(e.Message), CorrelationID: string(correlationID)}
	return complete(r, &e.Context, e.Errors)
}

// complete finds the code and the property of a refusal in its whole message, its context or its inner errors, and
// then cuts what HubSpot can make long.
func complete(r dlq.Reason, context *errorContext, within inner) dlq.Reason {
	explain(&r, context.list)
	r.Code = cut(cmp.Or(r.Code, within.code), maxWord)
	r.Property = cut(cmp.Or(r.Property, within.property), maxProperty)
	r.Message = cut(r.Message, maxMessage)
	return r
}

// property is the value that the result echoes of a property.
func (r resultItem) property(name string) (value []byte, echoed bool) {
	e := echo{name: name}
	if json.Unmarshal(r.Properties, &e, lenient) != nil {
		return nil, false
	}
	return plain(e.value, maxText)
}

// firstDetail reads the first element of the JSON array that begins b; what follows the element does not matter. It
// may change b.
func firstDetail(b []byte) (d detail, ok bool) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(b), lenient)
	if _, err := dec.ReadToken(); err != nil || dec.PeekKind() != '{' {
		return detail{}, false
	}
	var first struct {
		Error word
		Name  text
	}
	if json.UnmarshalDecode(dec, &first) != nil {
		return detail{}, false
	}
	return detail{Error: string(first.Error), Name: string(first.Name)}, true
}
