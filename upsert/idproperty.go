package upsert

import (
	"slices"
	"strings"

	"github.com/tasksink/tasksink/dlq"
)

const codeMissingIDProperty = "MISSING_ID_PROPERTY"

const maxForeign = 64 // characters, in a message, of an idProperty that is not configured

// idProperty is the configured property that the event's id is a value of. An event may not bring another one: by it a
// producer could choose which tasks of the account it writes, and open queues of its own.
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
	return "", undecodable(categoryInvalidEvent, "UNKNOWN_ID_PROPERTY", "idProperty", "the event's idProperty "+
		begin(own, maxForeign)+" is not configured: add it to --hubspot-id-properties, or correct the producer")
}

// begin is s, or its first n characters and an ellipsis.
func begin(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}
