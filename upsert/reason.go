package upsert

import (
	"bytes"
	"strings"

	"github.com/tasksink/tasksink/dlq"
)

// detail is what stands in the JSON array that HubSpot puts into a message.
type detail struct {
	Error string `json:"error"`
	Name  string `json:"name"`
}

// explain finds the code and the property of a refusal.
func explain(r *dlq.Reason, context func(string) []string) {
	if required := context("properties"); len(required) > 0 {
		r.Code, r.Property = "MISSING_REQUIRED_PROPERTY", required[0]
		return
	}
	if names := context("propertyName"); len(names) > 0 {
		r.Property = names[0]
	}
	at := strings.IndexByte(r.Message, '[')
	if at < 0 {
		return
	}
	if d, ok := firstDetail([]byte(r.Message[at:])); ok {
		r.Code, r.Property = d.Error, d.Name
	}
}

// jsonObject tells whether the body looks like one.
func jsonObject(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
}
