package upsert

import "github.com/go-json-experiment/json/jsontext"

// AppendRequest appends the request's body for the inputs, each of which must hold at least one task.
func AppendRequest(dst []byte, inputs []Input) []byte {
	dst = append(dst, `{"inputs":[`...)
	for i, in := range inputs {
		if i > 0 {
			dst = append(dst, ',')
		}
		newest := in[len(in)-1]
		dst = appendString(append(dst, `{"id":`...), newest.ID)
		dst = appendString(append(dst, `,"idProperty":`...), newest.IDProperty)
		dst = appendString(append(dst, `,"objectWriteTraceId":`...), newest.Record.TraceID())
		dst = append(dst, `,"properties":{`...)
		for j, p := range in.merged() {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, p.Token...)
		}
		dst = append(dst, `}}`...)
	}
	return append(dst, `]}`...)
}

// merged is what the input writes: each property's newest value, in the place of its first appearance. HubSpot
// refuses an id that stands twice in a batch, and an upsert is a partial update: so the versions go as one.
func (in Input) merged() []Property {
	if len(in) == 1 {
		return in[0].Properties
	}
	var all []Property
	place := map[string]int{}
	for _, t := range in {
		for _, p := range t.Properties {
			if i, is := place[string(p.Name)]; is {
				all[i] = p
			} else {
				place[string(p.Name)] = len(all)
				all = append(all, p)
			}
		}
	}
	return all
}

func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // it is UTF-8: the decoder has checked it
	return dst
}

// InputSize is an upper bound of what the task adds to a request, in bytes.
func InputSize(t *Task) int {
	n := 128 + len(t.Record.Topic) + 6*len(t.ID) + 6*len(t.IDProperty)
	for _, p := range t.Properties {
		n += len(p.Token) + 1
	}
	return n
}
