package upsert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tasksink/tasksink/dlq"
)

const codeMissingIDProperty = "MISSING_ID_PROPERTY"

const maxForeign = 64 // characters, in a message, of an idProperty that is not configured

// idProperty is the configured property that the event's id is a value of. No event may choose another one: a producer
// could reach any task of the account by it, and open queues of its own.
func (d *Decoder) idProperty(ev event) (string, *dlq.Reason) {
	own := ""
	switch ev.idProperty.Kind() {
	case '"':
		own = unquote(ev.idProperty)
	case 0, 'n':
	default:
		return "", undecodable(categoryInvalidEvent, "INVALID_ID_PROPERTY", "idProperty", "idProperty is not a string")
	}
	switch blank := strings.TrimSpace(own) == ""; {
	case blank && d.IDProperty == "":
		return "", undecodable(categoryInvalidEvent, codeMissingIDProperty, "idProperty",
			"the event has no idProperty, and --hubspot-id-property is not set")
	case blank || own == d.IDProperty:
		return d.IDProperty, nil
	}
	if i := slices.Index(d.IDProperties, own); i >= 0 {
		return d.IDProperties[i], nil
	}
	return "", undecodable(categoryInvalidEvent, "UNKNOWN_ID_PROPERTY", "idProperty", fmt.Sprintf("the event's idProperty "+
		"%s is not configured: add it to --hubspot-id-properties, or correct the producer", begin(own, maxForeign)))
}

// begin is the first n characters of s.
func begin(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}
