package upsert_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/internal/secret"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestHoldWords: a hold says what came, in HubSpot's words or a page's, and what to do about it.
func TestHoldWords(t *testing.T) {
	const id = `"correlationId":"4f6c1f1e-0000-4000-8000-000000000000"`
	page := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	refusal := func(category, message, context string) string {
		return fmt.Sprintf(`{"status":"error","message":%q,%s,"category":%q,"context":{%s}}`, message, id, category, context)
	}
	var got strings.Builder
	for _, tc := range []struct {
		name  string
		fault hubspottest.Fault
	}{
		{"a token that is no good", hubspottest.Fault{Status: 401, Body: refusal("INVALID_AUTHENTICATION", "Authentication credentials not found.", "")}},
		{"the account does not pay", hubspottest.Fault{Status: 402, Body: refusal("PAYMENT_REQUIRED", "The account is suspended", "")}},
		{"scopes in a list", hubspottest.Fault{Status: 403, Body: refusal("MISSING_SCOPES", "This app hasn't been granted all required scopes", `"requiredGranularScopes":["crm.objects.contacts.write","crm.objects.tasks.write"]`)}},
		{"scopes in a string", hubspottest.Fault{Status: 403, Body: refusal("MISSING_SCOPES", "no", `"missingScopes":["{missingScopes=[crm.objects.tasks.write]}"]`)}},
		{"no scope is named", hubspottest.Fault{Status: 403, Body: refusal("MISSING_SCOPES", "no", "")}},
		{"the app is barred", hubspottest.Fault{Status: 403, Body: refusal("BANNED", "The app is barred", "")}},
		{"a user without a right", hubspottest.Fault{Status: 403, Body: refusal("MISSING_PERMISSIONS", "no", "")}},
		{"a wrong path", hubspottest.Fault{Status: 404, Body: refusal("OBJECT_NOT_FOUND", "No resource", "")}},
		{"an idProperty that is not unique", hubspottest.Fault{Status: 400, Body: refusal("VALIDATION_ERROR", "Unable to perform update/upsert by non-unique 0-27 property ext in portal ID 1", "")}},
		{"a value that is refused in every record is not quoted", hubspottest.Fault{Status: 400, Body: refusal("VALIDATION_ERROR", "secret was not one of the allowed options", "")}},
		{"a property that is missing", hubspottest.Fault{Status: 400, Body: refusal("VALIDATION_ERROR", `Property values were not valid: [{"message":"secret","error":"PROPERTY_DOESNT_EXIST","name":"color"}]`, "")}},
		{"trouble with each", hubspottest.Fault{Items: hubspottest.Every("INTERNAL_ERROR")}},
		{"malformed, with what does not print", hubspottest.Fault{Status: 400, Body: `{"status":"error","message":"Invalid input JSON\u001b[2J\u202e on line 1",` + id + `}`}},
		{"PENDING", hubspottest.Fault{BatchStatus: "PENDING"}},
		{"no results", hubspottest.Fault{BatchStatus: "COMPLETE"}},
		{"a proxy's page", hubspottest.Fault{Status: 400, Header: page, Body: "<html><head><title>\n Bad\x1b request </title></head></html>"}},
		{"the proxy wants a login", hubspottest.Fault{Status: 407, Header: page, Body: "<title>Proxy Authentication Required</title>"}},
		{"a redirect", hubspottest.Fault{Status: 302, Header: http.Header{"Location": {"https://login.test"}}}},
		{"an outage", hubspottest.Fault{Status: 502, Header: page, Body: "<title>502 Bad Gateway</title>"}},
		{"an error of HubSpot", hubspottest.Fault{Status: 500, Body: refusal("INTERNAL_ERROR", "internal error", "")}},
	} {
		run(t, setup{token: secret.Text("token")}, func(r *rig) {
			if tc.fault.Header == nil {
				tc.fault.Header = http.Header{"Content-Type": {"application/json"}}
			}
			r.hubspot.Inject(tc.fault)
			r.produce(many(2500, 0)...)
			time.Sleep(time.Minute)
			fmt.Fprintf(&got, "# %s\n", tc.name)
			for _, h := range r.board.List() {
				fmt.Fprintf(&got, "%s (%s): %s\n-> %s\n", h.Reason, h.Scope, h.Detail, h.Remedy)
			}
			got.WriteString("\n")
		})
	}
	golden.Compare(t, "holds.golden", got.String())
}
