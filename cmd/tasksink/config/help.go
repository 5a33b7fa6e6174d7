package config

import (
	"strings"

	"github.com/alecthomas/kong"
)

// Groups are the headings of the settings, by what Config's fields call them.
var Groups = []kong.Group{
	{Key: "kafka", Title: "Kafka"},
	{Key: "kafka-security", Title: "Kafka: TLS and SASL"},
	{Key: "hubspot", Title: "HubSpot"},
	{Key: "hubspot-login", Title: "HubSpot: one of --hubspot-token-file, --hubspot-token, --hubspot-oauth-* is required"},
	{Key: "hubspot-limits", Title: "HubSpot: how much of the account's limits to use"},
	{Key: "batches", Title: "Batches and memory"},
	{Key: "behaviour", Title: "Behaviour"},
	{Key: "process", Title: "The process"},
}

// describe is a flag's line in the help: what it is, which values there are, and the default.
func describe(value *kong.Value) string {
	s, ok := settingCalled(value.Name)
	if !ok {
		if value.HasDefault && value.Default != "" && !value.IsBool() {
			return value.Help + " Default: " + value.Default + "."
		}
		return value.Help
	}
	text := s.Help
	if bounds := s.Bounds(); bounds != "" {
		text += " " + strings.ToUpper(bounds[:1]) + bounds[1:] + "."
		if s.Choices != nil {
			text = s.Help + " One of " + strings.Join(s.Choices, ", ") + "."
		}
	}
	if s.Default != "" {
		text += " Default: " + s.Default + "."
	}
	return text
}
