package upsert

import (
	"strings"

	"github.com/tasksink/tasksink/consumer"
)

const maxPlace = 4 * maxID // bytes of a name in a place: longer ones are no object's, and may share a place

// place is where a record that is no task event waits for its turn: among the records of the object that it names, else
// of the one that its key names. The ID is empty if there is neither.
func (d *Decoder) place(rec *consumer.Record, ev event) *Task {
	t := &Task{Record: rec, IDProperty: d.IDProperty}
	id, own := "", ""
	switch ev.id.Kind() {
	case '"':
		id = unquote(ev.id)
	case '0':
		id = string(ev.id)
	}
	switch ev.idProperty.Kind() {
	case '"':
		own = unquote(ev.idProperty)
	case 0, 'n':
	default:
		id = "" // it is not known whose
	}
	if strings.TrimSpace(id) == "" {
		id, own = string(rec.Key[:min(len(rec.Key), maxPlace)]), ""
	}
	if strings.TrimSpace(id) == "" {
		return t
	}
	t.ID = strings.Clone(cut(id, maxPlace))
	if strings.TrimSpace(own) != "" {
		t.IDProperty = strings.Clone(cut(own, maxPlace))
	}
	return t
}
