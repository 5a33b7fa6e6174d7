package upsert

import (
	"strings"

	"github.com/tasksink/tasksink/consumer"
)

const maxPlace = 4 * maxID // bytes of a name in a place: longer ones are no object's, and may share a place

// place is where a record that is no task event waits for its turn: among the records of the object that it names, else
// of the one that its key names. The ID is empty if there is neither. A record whose idProperty is not configured, or
// is no text, names no object: it waits where its key does, and not in a group of its own. So does one whose id is no
// id, such as undefined.
func (d *Decoder) place(rec *consumer.Record, ev event) *Task {
	t := &Task{Record: rec, IDProperty: d.IDProperty}
	id := ""
	switch ev.id.Kind() {
	case '"':
		if id = unquote(ev.id); faultOf(id) != "" {
			id = "" // many objects' events may have it
		}
	case '0':
		id = string(ev.id)
	}
	property, reason := d.idProperty(ev)
	switch {
	case reason == nil:
		t.IDProperty = property
	case reason.Code != codeMissingIDProperty:
		id = ""
	}
	if strings.TrimSpace(id) == "" {
		id = string(rec.Key[:min(len(rec.Key), maxPlace)])
	}
	if strings.TrimSpace(id) != "" {
		t.ID = strings.Clone(cut(id, maxPlace))
	}
	return t
}
