package main

import (
	"fmt"
	"strconv"
	"strings"
)

const idPrefix = "task-"

// words fill the body of an event. They hold what real ones hold: an escaped line break and quotation, and umlauts.
const words = `The customer asked for an offer for the second site and wants to hear from us before Friday.\nShe said \"call me\" and left a number; Jürgen knows the building. `

// event is the i-th task event, of about so many bytes, at least some 300. All ids are distinct: merging events of one
// object into one input would flatter the figures.
func event(i, size int) (key, value []byte) {
	id := idPrefix + strconv.Itoa(i)
	head := fmt.Sprintf(`{"id":%q,"properties":{"hs_timestamp":"2026-11-%02dT%02d:%02d:00Z","hs_task_subject":"Call back about order %d","hs_task_body":"`,
		id, 1+i%28, i%24, i%60, 100_000+i)
	tail := `","hs_task_status":"WAITING","hs_task_priority":"HIGH"}}`
	rest := max(0, size-len(head)-len(tail))
	body := strings.Repeat(words, rest/len(words)) + whole(words[:rest%len(words)])
	return []byte(id), []byte(head + body + tail)
}

// whole drops half an escape, or half a letter, from the end of a text.
func whole(text string) string { return strings.ToValidUTF8(strings.TrimRight(text, `\`), "") }

// number is the i of an event's id.
func number(id []byte) (int, bool) {
	digits, is := strings.CutPrefix(string(id), idPrefix)
	i, err := strconv.Atoi(digits)
	return i, is && err == nil && i >= 0
}
