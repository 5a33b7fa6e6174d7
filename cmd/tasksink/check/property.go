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
	"sync"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
)

const (
	scopeNeeded  = "crm.objects.contacts.write"
	propertyPath = "/crm/v3/properties/"

	keyPlace = "Development > Keys > Service keys (a private app: Development > Legacy apps)"
)

// HubSpot's newer scopes are lists of which any one suffices, so that another scope to write may do.
var scopeOther = regexp.MustCompile(`^crm\.objects\..+\.write$`)

// scopeRow looks whether the token may write tasks, without a write.
func (h *hubspotLook) scopeRow(ctx context.Context) Row {
	ctx, done := within(ctx, h.waiting, "the token's scopes")
	defer done()
	h.calls.Add(1)
	scopes, known, err := h.client.Scopes(ctx)
	other := slices.IndexFunc(scopes, scopeOther.MatchString)
	switch {
	case err != nil:
		return skip("scope", scopeNeeded, plain(err))
	case !known:
		return skip("scope", scopeNeeded, "HubSpot does not tell what this token may do; the first batch shows it")
	case !slices.Contains(scopes, scopeNeeded) && other >= 0:
		return Row{"scope", scopeNeeded, Warning, "is not granted, but " + scopes[other] + " is, which may suffice",
			"tasksink check --live shows whether it suffices; if not, " + grant(h.cfg, scopeNeeded)}
	case !slices.Contains(scopes, scopeNeeded):
		return Row{"scope", scopeNeeded, Failed, "is not granted", grant(h.cfg, scopeNeeded)}
	}
	return Row{"scope", scopeNeeded, OK, "is granted", ""}
}

func grant(cfg config.Config, scope string) string {
	if cfg.HubspotOAuthClientID != "" {
		return "add the scope " + scope + " to the app, and install it in the account again"
	}
	return "grant the scope " + scope + " to the key: HubSpot, " + keyPlace
}

var upsertPath = regexp.MustCompile(`/objects/(?:\d{4}-\d\d/)?([^/]+)/batch/upsert$`)

const (
	idProperty   = "--hubspot-id-property"
	idProperties = "--hubspot-id-properties"
)

// propertyRows look whether ids can be told apart by each property that events may bring.
func (h *hubspotLook) propertyRows(ctx context.Context) (rows []Row) {
	names, object := h.cfg.IDProperties(), upsertPath.FindStringSubmatch(h.cfg.HubspotPath)
	switch {
	case len(names) == 0:
		return []Row{{"id property", "", Failed, "no idProperty is configured: every event becomes a dead letter",
			"set " + idProperty + " to a task property with unique values; if there is none, create it: " +
				creation("internal name external_task_id")}}
	case object == nil:
		return []Row{{"id property", strings.Join(names, ", "), Warning,
			"--hubspot-path=" + h.cfg.HubspotPath + " does not look like a batch upsert",
			"check --hubspot-path: it is /crm/v3/objects/tasks/batch/upsert, unless HubSpot has a newer one"}}
	}
	rows = make([]Row, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		setting := idProperties
		if name == h.cfg.HubspotIDProperty {
			setting = idProperty
		}
		all.Go(func() { rows[i] = h.propertyRow(ctx, object[1], setting, name) })
	}
	all.Wait()
	if h.cfg.HubspotIDProperty == "" {
		rows = append(rows, skip("id property", "", idProperty+" is not set: each event must bring its idProperty"))
	}
	return rows
}

// creation says how to make a property by which HubSpot takes upserts. The name is, for example, "internal name
// external_task_id".
func creation(name string) string {
	return "in HubSpot, Settings > Properties > Task properties > Create property: single-line text, " +
		name + ", and under Rules \"Require unique values for this property\", which cannot be set later; choose a " +
		"name that no task property ever had: a name that was once non-unique can never become unique"
}

// propertyRow looks whether ids can be told apart by the property that the setting names.
func (h *hubspotLook) propertyRow(ctx context.Context, object, setting, name string) Row {
	path := propertyPath + object + "/" + url.PathEscape(name)
	look := "the id property " + name
	row := Row{Check: "id property", Subject: name, Result: Failed}
	res, f, err := h.get(ctx, look, path)
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
		if res, _, err = h.get(ctx, look, path+"?archived=true"); err == nil && res.Status == http.StatusOK {
			row.Seen, row.Remedy = "is archived", "restore it: HubSpot, Settings > Properties > Task properties > Archived "+
				"properties > "+name+" > Restore"
			return row
		}
		row.Seen, row.Remedy = "is no property of "+object, "correct "+setting+", or create it: "+creation("internal name "+
			name)
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
	case !p.HasUniqueValue:
		row.Seen = "its values are not unique, and HubSpot refuses every upsert by it"
		row.Remedy = "name another property in " + setting + ", made new with unique values: " +
			creation("another internal name")
		return row
	}
	row.Result, row.Seen = OK, "has unique values"
	return row
}
