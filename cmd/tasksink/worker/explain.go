package worker

// explain says what a dead letter's category and code mean, and what to do; empty if nobody knows.
func explain(category, code string) string {
	if s, known := codes[code]; known {
		return s
	}
	return categories[category]
}

var categories = map[string]string{
	"INVALID_JSON":          "The value is not JSON. Mend the producer; nothing to redrive.",
	"INVALID_EVENT":         "The value is JSON, and no task event. Mend the producer.",
	"TOMBSTONE":             "The record has no value, and an upsert cannot delete. With --tombstones=skip such records are skipped.",
	"UNSUPPORTED_FIELD":     "The endpoint would drop a field of the event. Set it by a call of its own.",
	"VALIDATION_ERROR":      "HubSpot refuses a value. Mend the producer, or the property in HubSpot, then redrive.",
	"OBJECT_ALREADY_EXISTS": "Another object has this unique value already. Find the two, merge or rename one, then redrive.",
	"FORBIDDEN_BY_FIREWALL": "Something before HubSpot refuses the content. Ask HubSpot's support, or whoever runs the proxy.",
	"UNRESOLVED":            "HubSpot answers and leaves this record out, five times. Look for the object in HubSpot, then redrive.",
	"SERVER_ERROR":          "HubSpot fails whenever it gets this record. Give its support the letter's correlation id; redrive later.",
	"HTTP_413":              "The record alone is too large for HubSpot. Make the event smaller.",
}

var codes = map[string]string{
	"ASSOCIATIONS":              "Upsert takes no associations and would drop them. Set them by a call of their own.",
	"MISSING_PROPERTIES":        "The event has no properties to write. Mend the producer.",
	"PROPERTY_NOT_SCALAR":       "A property's value is an array or an object, and HubSpot takes text. Mend the producer.",
	"BLANK_ID":                  "Neither the event nor the record's key names the task. Mend the producer.",
	"MISSING_ID_PROPERTY":       "The event names no idProperty. Set --hubspot-id-property, or mend the producer, then redrive.",
	"PROPERTY_DOESNT_EXIST":     "HubSpot has no such property. Create it there, or mend the producer, then redrive.",
	"INVALID_OPTION":            "The value is none of the property's options. Add the option in HubSpot, or mend the producer, then redrive.",
	"INVALID_DATE":              "The value is no date. Mend the producer: ISO 8601, or milliseconds since 1970.",
	"INVALID_OWNER_ID":          "HubSpot has no such owner. Correct the owner, then redrive.",
	"READ_ONLY_VALUE":           "HubSpot sets this property by itself. Leave it out of the events.",
	"MISSING_REQUIRED_PROPERTY": "A new task needs a property that the event lacks, such as hs_timestamp. Mend the producer.",
	"PROPERTY_VALUE_TOO_LONG":   "The value is longer than HubSpot takes (65,536 characters). Mend the producer.",
	"CONFLICTING_UNIQUE_VALUE":  "Another task has this unique value already. Find the two, then redrive.",
}
