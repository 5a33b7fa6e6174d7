package upsert

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/upsert/hubspot"
)

// encode makes the request of a batch. An input whose encoding panics is not in it: its record is a dead letter; one of
// several records is taken apart first, as if HubSpot had refused it. rest is what the request carries.
func (s *Sender) encode(p permit, batch []*batcher.Sealed[*Task]) (body []byte, rest []*batcher.Sealed[*Task],
	inputs []input) {
	inputs = make([]input, len(batch))
	for i, sealed := range batch {
		inputs[i] = sealed.Records
	}
	buffer := hubspot.Buffer()
	body, panicked := tryAppend(buffer, inputs)
	if panicked == nil {
		return body, batch, inputs
	}
	inputs = inputs[:0]
	for _, sealed := range batch {
		_, panicked := tryAppend(nil, []input{sealed.Records})
		if panicked == nil {
			rest, inputs = append(rest, sealed), append(inputs, sealed.Records)
			continue
		}
		if t := sealed.Records[0]; len(sealed.Records) == 1 && !t.panicked {
			t.panicked = true
			panicked.log(s.cfg.Log, t.Record, dlq.StageUpsert)
		}
		s.refused(p, sealed, *panicked.reason(dlq.StageUpsert))
	}
	return appendRequest(buffer, inputs), rest, inputs
}

// appendRequest appends the request's body for the inputs, each of which must hold at least one task.
func appendRequest(dst []byte, inputs []input) []byte {
	dst = append(dst, `{"inputs":[`...)
	for i, in := range inputs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = in.append(dst)
	}
	return append(dst, `]}`...)
}

// tryAppend is appendRequest, but for a panic.
func tryAppend(dst []byte, inputs []input) (body []byte, p *panicked) {
	defer func() { p = caught(recover()) }()
	return appendRequest(dst, inputs), nil
}

func (in input) append(dst []byte) []byte {
	for _, t := range in {
		inspect(dlq.StageUpsert, t.Record)
	}
	newest := in[len(in)-1]
	dst = appendString(append(dst, `{"id":`...), newest.ID)
	dst = appendString(append(dst, `,"idProperty":`...), newest.IDProperty)
	dst = newest.Record.AppendTraceID(append(dst, `,"objectWriteTraceId":"`...))
	dst = append(dst, `","properties":{`...)
	dst = in.appendProperties(dst)
	return append(dst, `}}`...)
}

// appendProperties appends what the input writes: each property's newest value, in the place of its first appearance.
// HubSpot refuses an id that stands twice in a batch, and an upsert is a partial update: so the versions go as one.
func (in input) appendProperties(dst []byte) []byte {
	if len(in) == 1 {
		return append(dst, in[0].Properties...)
	}
	var all [][]byte
	place := map[string]int{}
	for _, t := range in {
		for name, member := range members(t.Properties) {
			if i, ok := place[string(name)]; ok {
				all[i] = member
			} else {
				place[string(name)] = len(all)
				all = append(all, member)
			}
		}
	}
	for i, member := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, member...)
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // it is UTF-8: the decoder has checked it
	return dst
}

// InputSize is an upper bound of what the task adds to a request, in bytes.
func InputSize(t *Task) int {
	return 128 + len(t.Record.Topic) + 6*len(t.ID) + 6*len(t.IDProperty) + len(t.Properties)
}

// sizeOf is the sum of that for the newest task of each input: what the request takes of a batch's bytes.
func sizeOf(inputs []input) (bytes int) {
	for _, in := range inputs {
		bytes += InputSize(in[len(in)-1])
	}
	return bytes
}
