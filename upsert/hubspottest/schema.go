package hubspottest

import (
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// The properties of a task, as far as the simulator knows them.
var (
	enums = map[string][]string{
		"hs_task_status":   {"NOT_STARTED", "IN_PROGRESS", "WAITING", "COMPLETED", "DEFERRED"},
		"hs_task_priority": {"NONE", "LOW", "MEDIUM", "HIGH"},
		"hs_task_type":     {"TODO", "CALL", "EMAIL", "LINKED_IN_CONNECT", "LINKED_IN_MESSAGE"},
	}
	texts    = []string{"hs_task_subject", "hs_task_body", "hs_queue_membership_ids"}
	dates    = []string{"hs_timestamp", "hs_task_reminders"}
	readOnly = []string{"hs_createdate", "hs_lastmodifieddate", "hs_object_id"}
)

const maxString = 65_536 // characters of a property

// problem is one element of the JSON array in HubSpot's message.
type problem struct {
	IsValid bool   `json:"isValid"`
	Message string `json:"message"`
	Error   string `json:"error"`
	Name    string `json:"name"`
}

// check judges an input's properties; s.mu is held.
func (s *Server) check(version string, in wireInput, values map[string]string) *refusal {
	var problems []problem
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if code, message := s.judge(name, values[name]); code != "" {
			problems = append(problems, problem{Message: message, Error: code, Name: name})
		}
	}
	if problems != nil {
		return invalid(problems)
	}
	if s.cfg.OnArchived == "refuse" && s.objects[s.key(in)] == nil && s.archived[s.key(in)] != nil {
		return &refusal{category: "OBJECT_NOT_FOUND", message: "The TASK object is archived and cannot be updated."}
	}
	o := s.objects[s.key(in)]
	if o == nil && values["hs_timestamp"] == "" {
		return &refusal{category: "VALIDATION_ERROR", message: "Error creating TASK. Some required properties were not set.",
			context: map[string][]string{"properties": {"hs_timestamp"}}}
	}
	if version == newest {
		return s.required(o, values)
	}
	return nil
}

// required holds an input against the administrator's requirements: what is sent, and what the object has already.
func (s *Server) required(o *object, values map[string]string) *refusal {
	var missing []detail
	for _, rule := range s.cfg.Conditional {
		then, sent := values[rule.Then]
		if !sent && o != nil {
			then = o.properties[rule.Then]
		}
		if values[rule.If] == rule.Is && then == "" {
			missing = append(missing, detail{Code: "MISSING_CONDITIONAL_REQUIRED_PROPERTY",
				Message: "The property " + rule.Then + " is required when " + rule.If + " is " + rule.Is,
				Context: map[string][]string{"propertyName": {rule.Then}}})
		}
	}
	if missing == nil {
		return nil
	}
	return &refusal{category: "VALIDATION_ERROR", message: "Some conditionally required properties were not set.",
		details: missing}
}

func (s *Server) judge(name, value string) (code, message string) {
	options, isEnum := enums[name]
	switch {
	case slices.Contains(readOnly, name):
		return "READ_ONLY_VALUE", "\"" + name + "\" is a read only property; its value cannot be set."
	case isEnum:
		if value != "" && !slices.Contains(options, value) {
			return "INVALID_OPTION", value + " was not one of the allowed options"
		}
	case slices.Contains(dates, name):
		if value != "" && !isDate(value) {
			return "INVALID_DATE", value + " was not a valid date"
		}
	case name == "hubspot_owner_id":
		if _, err := strconv.ParseInt(value, 10, 64); value != "" && err != nil {
			return "INVALID_OWNER_ID", "Owner " + value + " does not exist"
		}
	case slices.Contains(texts, name), slices.Contains(s.cfg.IDProperties, name):
		if utf8.RuneCountInString(value) > maxString {
			return "PROPERTY_VALUE_TOO_LONG", "The value of " + name + " is longer than " + strconv.Itoa(maxString) +
				" characters"
		}
	default:
		return "PROPERTY_DOESNT_EXIST", "Property \"" + name + "\" does not exist"
	}
	return "", ""
}

// isDate accepts what HubSpot calls a datetime: milliseconds since 1970, or ISO 8601.
func isDate(v string) bool {
	if _, err := strconv.ParseInt(v, 10, 64); err == nil {
		return true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999Z0700", "2006-01-02"} {
		if _, err := time.Parse(layout, v); err == nil {
			return true
		}
	}
	return false
}
