package dlq

// Stages at which a record can fail.
const (
	StageDecode = "decode" // the record is no task event
	StageUpsert = "upsert" // HubSpot refused it
)

// Reason says why a record is dead: what its letter's headers tell the reader.
type Reason struct {
	Stage         string // StageDecode or StageUpsert
	Category      string // HubSpot's category (VALIDATION_ERROR), or ours: INVALID_JSON, UNSUPPORTED_FIELD, UNRESOLVED, SERVER_ERROR …
	Code          string // the finer code, such as PROPERTY_DOESNT_EXIST; may be empty
	Property      string // the property at fault, if one is named; may be empty
	Message       string // for the letter only, never for a log: it may quote the record
	CorrelationID string // HubSpot's, for its support; may be empty
	Attempts      int    // how many requests carried the record
}
