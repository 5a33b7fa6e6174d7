package dlq

import (
	"regexp"

	"go.opentelemetry.io/otel/trace"
)

// Stages at which a record can fail.
const (
	StageDecode = "decode" // the record is no task event, or decoding it panicked
	StageUpsert = "upsert" // HubSpot refused it, or encoding it panicked
)

// Reason says why a record is dead: what its letter's headers tell the reader.
type Reason struct {
	Stage string // StageDecode or StageUpsert
	// HubSpot's category (VALIDATION_ERROR), or ours: INVALID_JSON, UNSUPPORTED_FIELD, UNRESOLVED, SERVER_ERROR, PANIC …
	Category      string
	Code          string // the finer code, such as PROPERTY_DOESNT_EXIST; may be empty
	Property      string // the property at fault, if one is named; may be empty
	Message       string // for the letter only, never for a log: it may quote the record
	CorrelationID string // HubSpot's, for its support; may be empty
	Attempts      int    // how many requests carried the record

	Span trace.SpanContext // of the batch that was refused; not valid if it is in no trace
}

// Kind is what dead letters are counted by. Category and Code are words such as VALIDATION_ERROR: what HubSpot wrote
// in another form counts as OTHER, as it could quote a record.
type Kind struct {
	Stage    string `json:"stage"`
	Category string `json:"category"`
	Code     string `json:"code"`
}

const other = "OTHER"

var word = regexp.MustCompile(`^[A-Za-z0-9_.-]{0,64}$`)

// Kind is what the reason counts as.
func (r Reason) Kind() Kind {
	k := Kind{r.Stage, r.Category, r.Code}
	for _, s := range []*string{&k.Category, &k.Code} {
		if !word.MatchString(*s) {
			*s = other
		}
	}
	return k
}
