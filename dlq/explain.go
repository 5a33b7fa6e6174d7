package dlq

import "strings"

// explanations say what a reason means and what to do about it, by category and code. A category alone is for all its
// codes that have no line of their own.
var explanations = map[string]string{
	"INVALID_JSON": "The value is not JSON. Correct the producer; the record itself cannot be mended, so " +
		"a redrive ends here again.",
	"INVALID_JSON EMPTY": "The value is empty. Many producers mean a tombstone by that: delete the task. An upsert " +
		"cannot, and --tombstones=skip skips only records without a value. Archive the task in HubSpot if that was " +
		"meant, or correct the producer; a redrive ends here again.",
	"INVALID_JSON BYTE_ORDER_MARK": "The value begins with a byte order mark, U+FEFF. JSON may not have one, also " +
		"before an event that is otherwise right. Let the producer write UTF-8 without it; a redrive ends here again.",
	"INVALID_JSON UTF16": "The value is text in UTF-16, and JSON is UTF-8. Correct the producer's encoding; a " +
		"redrive ends here again.",
	"INVALID_JSON COMPRESSED": "The producer compressed the value itself; the message names the format. Let it " +
		"write the JSON as it is, and set Kafka's compression.type instead, which tasksink reads; a redrive ends here again.",
	"INVALID_JSON SCHEMA_REGISTRY": "A serializer of a schema registry (Avro, Protobuf or JSON Schema) wrote the " +
		"value: it begins with a header that names a schema, and the message says which. tasksink reads plain " +
		"JSON. Let the producer use a plain JSON or string serializer, or convert the topic; a redrive ends here again.",
	"INVALID_JSON DUPLICATE_NAME": "The JSON has a name twice, and it is unclear which one counts. Correct the " +
		"producer; a redrive ends here again.",
	"INVALID_JSON INVALID_UTF8": "The JSON is not UTF-8. Correct the producer's encoding; a redrive ends here again.",
	"INVALID_JSON TRAILING_DATA": "Something follows the JSON object. Let the producer write one event a record; a " +
		"redrive ends here again.",

	"INVALID_EVENT": "The value is JSON, but not a task event (see What an event looks like in " +
		"the README). Correct the producer; a redrive ends here again.",
	"INVALID_EVENT MISSING_ID_PROPERTY": "The event does not say which property its id belongs to. Set " +
		"--hubspot-id-property and redrive, or let the producer send an idProperty that --hubspot-id-properties names.",
	"INVALID_EVENT UNKNOWN_ID_PROPERTY": "The event brings an idProperty that is not configured, and a producer " +
		"may not choose which tasks of the account it writes. Add the property to --hubspot-id-properties and " +
		"redrive, or correct the producer.",
	"INVALID_EVENT NOT_AN_OBJECT": "The value is null, a number, true, false or text, and an event is a JSON " +
		"object. Many producers mean a tombstone by null: delete the task. An upsert cannot, and --tombstones=skip " +
		"skips only records without a value. Archive the task in HubSpot if that was meant, or correct the " +
		"producer; a redrive ends here again.",
	"INVALID_EVENT ARRAY": "The value is a JSON array. Let the producer write one record for each event; a redrive " +
		"ends here again.",
	"INVALID_EVENT JSON_IN_A_STRING": "The event, or its properties, is JSON within a JSON string: it was " +
		"serialized twice. Let the producer hand the object to its serializer, or the finished text to a string " +
		"serializer; a redrive ends here again.",
	"INVALID_EVENT ENDPOINT_BODY": "The value is the body of a whole request to HubSpot, with inputs. tasksink " +
		"makes these requests itself. Let the producer write one record for each element of inputs; a redrive " +
		"ends here again.",
	"INVALID_EVENT CONNECT_ENVELOPE": "Kafka Connect's JSON converter wrapped the event in schema and payload. Set " +
		"value.converter.schemas.enable=false at the connector; a redrive ends here again.",
	"INVALID_EVENT DEBEZIUM": "The value is a change event of Debezium, with op, before and after. Set its " +
		"transformation ExtractNewRecordState, and let the table or a further transformation give the object with " +
		"id and properties; a redrive ends here again.",
	"INVALID_EVENT CAPITALS": "A member of the event has the right name but for its capitals, such as Properties " +
		"or ID; the message has it. Correct the producer: the names are id, idProperty and properties. A redrive " +
		"ends here again.",
	"INVALID_EVENT BLANK_ID": "Neither the event nor the record's key has an id. Correct the producer; " +
		"a redrive ends here again.",
	"INVALID_EVENT INVALID_ID": "The id, or the record's key that stands in for it, cannot be meant as an id: it " +
		"is no text, has control characters, is JSON, or is null, undefined or NaN as text. The message says what " +
		"it looks like. With it HubSpot would get a second task. Let the producer send id in the event, or use a " +
		"string serializer for the key; a redrive ends here again.",
	"INVALID_EVENT ID_TOO_LONG": "The id is longer than HubSpot takes (65,536 characters). Correct the " +
		"producer; a redrive ends here again.",
	"INVALID_EVENT TOO_MANY_MEMBERS": "The event has more members than any account has properties (10,000). " +
		"Correct the producer; a redrive ends here again.",
	"INVALID_EVENT MISSING_PROPERTIES": "The event has no properties, so there is nothing to write. Correct the " +
		"producer: the task's properties belong into the object properties. A redrive ends here again.",
	"INVALID_EVENT PROPERTIES_NOT_AN_OBJECT": "The event's properties are not a JSON object. Correct the producer; a " +
		"redrive ends here again.",
	"INVALID_EVENT PROPERTY_NOT_SCALAR": "A property's value is an array or an object, and HubSpot takes none. " +
		"Correct the producer (HubSpot separates several choices by semicolons); a redrive ends here again.",

	"UNSUPPORTED_FIELD": "The event has associations. The endpoint takes none and would drop them silently. Set them by " +
		"a call of their own, and leave them out of the event; a redrive ends here again.",
	"TOMBSTONE": "The record has no value, which would mean to delete, and an upsert cannot. Archive the task " +
		"in HubSpot if that was meant; --tombstones=skip lets such records pass from now on.",
	"TOO_MANY_HEADERS": "The record has more than 1,000 headers. Each takes memory, so tasksink reads none of them, and " +
		"the " +
		"letter has none. Let the producer write fewer headers and send the event again; a redrive refuses the letter.",

	"PANIC": "tasksink's own code panicked on the record: a bug. The log has the stack, in an error that names the " +
		"record's topic, partition and offset. Report the stack. Redrive when a version that mends it is installed.",

	"OPERATOR": "An operator listed the record in --dead-letter-file, because it stayed open; the message says how it " +
		"failed until then. Redrive when that is mended.",

	"VALIDATION_ERROR": "HubSpot refuses a value of the event; the message has " +
		"its words. Correct the producer or the account's settings; redrive if it was the account.",
	"VALIDATION_ERROR PROPERTY_DOESNT_EXIST": "The account has no such task property. Create it in " +
		"HubSpot and redrive, or correct the producer.",
	"VALIDATION_ERROR INVALID_OPTION": "The property does not have this option. Add the option " +
		"in HubSpot and redrive, or correct the producer.",
	"VALIDATION_ERROR MISSING_REQUIRED_PROPERTY": "A property that HubSpot wants for a new task is missing, " +
		"such as hs_timestamp. Correct the producer; redrive if the task was created meanwhile, or the property is no " +
		"longer required.",
	"VALIDATION_ERROR MISSING_CONDITIONAL_REQUIRED_PROPERTY": "A property that another one's value makes necessary is " +
		"missing. Correct the producer, or the rule in HubSpot and redrive.",
	"VALIDATION_ERROR INVALID_INTEGER": "The property takes whole numbers. Correct the producer; " +
		"a redrive ends here again unless the property's type changes.",
	"VALIDATION_ERROR INVALID_LONG": "The property takes whole numbers. Correct the producer; " +
		"a redrive ends here again unless the property's type changes.",
	"VALIDATION_ERROR INVALID_DATE": "The property takes a time as ISO 8601 or in " +
		"milliseconds; one that is a date takes midnight UTC. Correct the producer; a redrive ends here again.",
	"VALIDATION_ERROR INVALID_OWNER_ID": "The account has no such owner. Add the user in HubSpot " +
		"and redrive, or correct the producer.",
	"VALIDATION_ERROR READ_ONLY_VALUE": "HubSpot sets this property by itself. Let the producer " +
		"leave it out; a redrive ends here again.",
	"VALIDATION_ERROR CONFLICTING_UNIQUE_VALUE": "Another task has this value of a property whose values " +
		"are unique. Correct the producer, or the other task and redrive.",
	"VALIDATION_ERROR PROPERTY_VALUE_TOO_LONG": "The value is longer than HubSpot takes (65,536 " +
		"characters). Correct the producer; a redrive ends here again.",

	"OBJECT_NOT_FOUND": "HubSpot says that something that the event names does not exist. Correct the producer, or " +
		"create it in HubSpot and redrive.",
	"BAD_REQUEST": "HubSpot refuses the event; the message has its words. Correct the producer; redrive if the cause " +
		"was in HubSpot.",
	"USER_DEFINED": "A rule that an administrator set in HubSpot refuses the event; the message has its words. Correct " +
		"the producer, or the rule in HubSpot and redrive.",
	"CONFLICT": "HubSpot says again and again that the task conflicts with another one, while others pass. Look at the " +
		"task in HubSpot, then redrive.",
	"OBJECT_ALREADY_EXISTS": "HubSpot says again and again that the task is there already, while others pass. Look at " +
		"the task in HubSpot, then redrive.",
	"INTERNAL_ERROR":        trouble,
	"INTERNAL_SERVER_ERROR": trouble,
	"RATE_LIMITS":           trouble,
	"SERVICE_UNAVAILABLE":   trouble,
	"MISSING_SCOPES": "HubSpot refuses this event for want of a scope, while it takes others: one of its properties may " +
		"need a scope of its own. Grant the scope and redrive, or let the producer leave the property out.",
	"UNEXPECTED_PAGE": "Something before HubSpot answers for this record with a page of its own, again and again, while " +
		"others pass. Look at the proxy or firewall between tasksink and HubSpot, then redrive.",
	"FORBIDDEN_BY_FIREWALL": "A firewall before HubSpot refuses this content while it lets others pass: often HTML, " +
		"scripts or SQL in a text. Correct the text, or ask whoever runs the firewall, then redrive.",
	"HTTP_413": "HubSpot finds the event too large. Let the producer send less; a redrive ends here again.",
	"UNRESOLVED": "HubSpot answered at least five times for this record's requests without saying what became of it, " +
		"while others passed. It may be written: look at the task in HubSpot. Redriving is harmless; give the correlation " +
		"id to HubSpot's support.",
	"SERVER_ERROR": "HubSpot failed at least five times when it got this record alone, while others passed. Redrive " +
		"later; if it ends here again, give the correlation id to HubSpot's support.",
	"SERVER_ERROR NO_ANSWER": "HubSpot gave no answer at least five times when it got this record alone, while others " +
		"passed. It may be written: look at the task in HubSpot. Redriving is harmless.",
	"REFUSED": "HubSpot refuses the event and names no category; the message has its words. Redrive when " +
		"the cause is mended.",
}

const trouble = "HubSpot had trouble with this record at least five times, while others passed. Redrive later; if it " +
	"ends here again, give the correlation id to HubSpot's support."

// Explain says what a dead letter's reason means and what to do about it, in one or more sentences. It knows something
// to say of any category and code.
func Explain(category, code string) string {
	if text, ok := explanations[category+" "+code]; ok {
		return text
	}
	if text, ok := explanations[category]; ok {
		return text
	}
	if strings.HasPrefix(category, "HTTP_") {
		return "HubSpot refuses the event with this status and names no category; the message has its words. Redrive when " +
			"the cause is mended."
	}
	return "HubSpot refuses the event; category, code and message are its words. Redrive when the cause is mended."
}
