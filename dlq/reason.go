package dlq

import (
	"regexp"
	"strings"

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
	// HubSpot's category (VALIDATION_ERROR), or ours: INVALID_JSON, UNRESOLVED, SERVER_ERROR, PANIC, OPERATOR …
	Category      string
	Code          string // the finer code, such as PROPERTY_DOESNT_EXIST; may be empty
	Property      string // the property at fault, if one is named; may be empty
	Message       string // for the letter only, never for a log: it may quote the record
	CorrelationID string // HubSpot's, for its support; may be empty
	Attempts      int    // how many requests carried the record

	Span trace.SpanContext // of the batch that was refused; not valid if it is in no trace
}

// Kind is what dead letters are counted by. Category and Code are words that are known, such as VALIDATION_ERROR. Any
// other word of HubSpot's counts as OTHER, as it could quote a record, and there could be any number of them.
type Kind struct {
	Stage    string `json:"stage"`
	Category string `json:"category"`
	Code     string `json:"code"`
}

const other = "OTHER"

// ofStatus is a word for an HTTP status.
var ofStatus = regexp.MustCompile(`^HTTP_[1-9][0-9][0-9]$`)

// Kind is what the reason counts as.
func (r Reason) Kind() Kind {
	k := Kind{r.Stage, r.Category, r.Code}
	for _, s := range []*string{&k.Category, &k.Code} {
		if *s != "" && !known[*s] && !ofStatus.MatchString(*s) {
			*s = other
		}
	}
	return k
}

// known are the categories and codes that letters are counted by: those that are explained, and further ones that
// HubSpot is known to use.
var known = func() map[string]bool {
	all := map[string]bool{}
	for words := range explanations {
		for _, word := range strings.Fields(words) {
			all[word] = true
		}
	}
	for _, word := range []string{"MISSING_SCOPES", "BANNED", "MISSING_PERMISSIONS", "HIGH_RISK_PORTAL", "INVALID_ALPHA",
		"RATE_LIMIT", "INVALID_AUTHENTICATION", "EXPIRED_AUTHENTICATION", "UNREADABLE_ANSWER", "ASSOCIATIONS",
		"SYNTAX", "INVALID_ID_PROPERTY", "NOT_AN_OBJECT", "INVALID_DATA_BASE64"} {
		all[word] = true
	}
	return all
}()
