package upsert

import (
	"strings"

	"github.com/go-json-experiment/json"
)

// warning is what HubSpot notes about an object that it wrote.
type warning struct {
	kind   string // its category and property
	label  string // its category; for the metric
	object string // HubSpot's id
}

const (
	mostWarnings     = 200 // of an answer that are read
	mostWarningKinds = 50  // that are counted by category and logged; further ones are counted as other
	otherWarnings    = "other"
)

// readWarnings reads the warnings of results. It copies what it keeps.
func readWarnings(results []result) (all []warning) {
	for _, r := range results {
		if len(r.warnings) <= len("[]") || len(all) >= mostWarnings {
			continue
		}
		items := list[errorItem]{most: mostWarnings - len(all), optional: true}
		if json.Unmarshal(r.warnings, &items, lenient) != nil {
			continue
		}
		for _, item := range items.items {
			property := ""
			for name := range item.Context.all("propertyName") {
				property = cut(string(name), maxWord)
			}
			all = append(all, warning{kind: strings.TrimSpace(string(item.Category) + " " + property),
				label: string(item.Category), object: cut(string(r.id), maxWord)})
		}
	}
	return all
}

// warned counts the warnings of an answer, and logs each kind once: the object is written, and nothing needs to be done
// for it. What HubSpot says in words may quote the record, and is left out.
func (s *Sender) warned(warnings []warning) {
	for _, w := range warnings {
		if s.countWarning(w) {
			s.cfg.Log.Warn().Str("kind", w.kind).Str("hubspot_id", w.object).Msg("HubSpot wrote a task with a warning of a " +
				"kind that is new here: compare the task in HubSpot with its event")
		}
	}
}

// countWarning tells whether the warning is the first one of its kind, of those that are logged.
func (s *Sender) countWarning(w warning) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first = !s.warnKinds[w.kind] && len(s.warnKinds) < mostWarningKinds; first {
		s.warnKinds[w.kind] = true
	}
	if !s.warnKinds[w.kind] || w.label == "" {
		w.label = otherWarnings
	}
	s.warnings[w.label]++
	return first
}
