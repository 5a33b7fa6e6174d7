package check

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
)

const (
	scopeNeeded  = "crm.objects.contacts.write"
	propertyPath = "/crm/v3/properties/"
)

// scopeRow looks whether the token may write tasks, without a write.
func (h *hubspotLook) scopeRow(ctx context.Context) Row {
	ctx, done := within(ctx, h.waiting, "the token's scopes")
	defer done()
	scopes, known, err := h.client.Scopes(ctx)
	switch {
	case err != nil:
		return skip("scope", scopeNeeded, plain(err))
	case !known:
		return skip("scope", scopeNeeded, "HubSpot does not tell what this token may do; the first batch shows it")
	case !slices.Contains(scopes, scopeNeeded):
		return Row{"scope", scopeNeeded, Failed, "is not granted", grant(h.cfg, scopeNeeded)}
	}
	return Row{"scope", scopeNeeded, OK, "is granted", ""}
}

func grant(cfg config.Config, scope string) string {
	if cfg.HubspotOAuthClientID != "" {
		return "add the scope " + scope + " to the app, and install it in the account again"
	}
	return "grant the scope " + scope + ": HubSpot, Settings > Integrations > Private Apps (or Service Keys) > Edit > " +
		"Scopes"
}

var upsertPath = regexp.MustCompile(`/objects/(?:\d{4}-\d\d/)?([^/]+)/batch/upsert$`)

// propertyRow looks whether ids can be told apart by --hubspot-id-property.
func (h *hubspotLook) propertyRow(ctx context.Context) Row {
	name := h.cfg.HubspotIDProperty
	if name == "" {
		return skip("id property", "", "--hubspot-id-property is not set: each event must bring its idProperty")
	}
	object := upsertPath.FindStringSubmatch(h.cfg.HubspotPath)
	if object == nil {
		return Row{"id property", name, Warning, "--hubspot-path=" + h.cfg.HubspotPath + " does not look like a batch upsert",
			"check --hubspot-path: it is /crm/v3/objects/tasks/batch/upsert, unless HubSpot has a newer one"}
	}
	path := propertyPath + object[1] + "/" + url.PathEscape(name)
	row := Row{Check: "id property", Subject: name, Result: Failed}
	create := "in HubSpot, Settings > Properties > Task properties > Create property: single-line text, internal name " +
		name + ", and under Rules \"Require unique values for this property\", which cannot be set later"
	res, f, err := h.get(ctx, "the id property", path)
	switch {
	case err != nil:
		return skip("id property", name, plain(err))
	case res.Status == http.StatusForbidden:
		row = skip("id property", name, "the token may not read the definitions of properties, which only this check needs")
		if len(f.Errors) > 0 && len(f.Errors[0].Context.Scopes) > 0 {
			row.Remedy = "to have it looked at, " + grant(h.cfg, strings.Join(f.Errors[0].Context.Scopes, ", or "))
		}
		return row
	case res.Status == http.StatusNotFound:
		if res, _, err = h.get(ctx, "the id property", path+"?archived=true"); err == nil && res.Status == http.StatusOK {
			row.Seen, row.Remedy = "is archived", "restore it: HubSpot, Settings > Properties > Task properties > Archived "+
				"properties > "+name+" > Restore"
			return row
		}
		row.Seen, row.Remedy = "is no property of "+object[1], "correct --hubspot-id-property, or create it: "+create
		return row
	case res.Status != http.StatusOK:
		return skip("id property", name, fmt.Sprintf("HubSpot answers with status %d", res.Status))
	}
	var p struct {
		HasUniqueValue bool `json:"hasUniqueValue"`
	}
	switch err := json.Unmarshal(res.Body, &p); {
	case err != nil:
		return skip("id property", name, "HubSpot's answer cannot be read")
	case name == "hs_object_id":
		row.Seen, row.Remedy = "is HubSpot's own id, which an upsert does not take",
			"set --hubspot-id-property to a property of your own: "+strings.Replace(create, name, "external_task_id", 1)
		return row
	case !p.HasUniqueValue:
		row.Seen, row.Remedy = "its values are not unique, and HubSpot refuses every upsert by it",
			"set --hubspot-id-property to another property, made new with unique values: "+strings.Replace(create,
				"internal name "+name, "another internal name", 1)
		return row
	}
	row.Result, row.Seen = OK, "has unique values"
	return row
}
