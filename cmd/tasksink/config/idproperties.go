package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/rs/zerolog"
)

// ownID is HubSpot's own id of an object. An upsert by it is refused.
const ownID = "hs_object_id"

var propertyLetters = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// checkIDProperties refuses names that no property of HubSpot has, those that no upsert can be by, and repetitions.
func (c Config) checkIDProperties(wrong func(string, ...any)) {
	checkName := func(flag, name string) {
		switch {
		case !propertyLetters.MatchString(name):
			wrong(`%s=%s: HubSpot has no property of this name: write the property's internal name, which has only letters `+
				`(A to Z, a to z), digits and "_"`, flag, shown(name))
		case name == ownID:
			wrong("%s=%s: this is HubSpot's own id, and HubSpot refuses an upsert by it: name a task property of your own "+
				"that has unique values, such as external_task_id", flag, name)
		}
	}
	if c.HubspotIDProperty != "" {
		checkName("--hubspot-id-property", c.HubspotIDProperty)
	}
	if slices.Contains(c.HubspotIDProperties, "") {
		wrong("--hubspot-id-properties=%s: a name between the commas is empty: write it, or take its comma out",
			shown(strings.Join(c.HubspotIDProperties, ",")))
	}
	for i, name := range c.HubspotIDProperties {
		switch {
		case name == "":
		case slices.Contains(c.HubspotIDProperties[:i], name):
			wrong("--hubspot-id-properties=%s: the property is named more than once: name it once", shown(name))
		case name == c.HubspotIDProperty:
			wrong("--hubspot-id-properties=%s: --hubspot-id-property names this property: take it out here", shown(name))
		default:
			checkName("--hubspot-id-properties", name)
		}
	}
}

// IDProperties are all idProperties that an event may have. If there is none, no event can be accepted.
func (c Config) IDProperties() []string {
	if c.HubspotIDProperty == "" {
		return c.HubspotIDProperties
	}
	return append([]string{c.HubspotIDProperty}, c.HubspotIDProperties...)
}

// WarnIDProperties says in the log if no event can be accepted. The worker starts all the same: what it cannot accept
// waits in the dead-letter topic.
func (c Config) WarnIDProperties(log zerolog.Logger) {
	if len(c.IDProperties()) == 0 {
		log.Error().Msg("no idProperty is configured: every event becomes a dead letter; set --hubspot-id-property")
	}
}
