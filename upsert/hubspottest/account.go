package hubspottest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// What else the account tells, beside taking tasks: who it is, how many calls are used up, which properties tasks have.
// These calls are checked and counted like the others, and stand in no journal.

// lookup finds what a GET request asks for.
func (s *Server) lookup(path string) (find func(query url.Values) answer, ok bool) {
	switch name, ok := strings.CutPrefix(strings.Replace(path, "/0-27", "/tasks", 1), "/crm/v3/properties/tasks"); {
	case path == "/account-info/v3/details":
		return s.details, true
	case path == "/account-info/v3/api-usage/daily/private-apps":
		return s.usage, true
	case ok && name == "":
		return func(url.Values) answer { return jsonAnswer(200, map[string]any{"results": s.properties()}) }, true
	case ok && name[0] == '/' && !strings.Contains(name[1:], "/"):
		return func(query url.Values) answer { return s.property(name[1:], query.Get("archived") == "true") }, true
	default:
		return nil, false
	}
}

func (s *Server) tell(w http.ResponseWriter, r *http.Request, find func(query url.Values) answer) {
	a, admitted := s.admit(r, w.Header())
	if !s.wait(r) {
		return
	}
	if admitted {
		s.set(func() {
			switch {
			case s.down:
				w.Header().Set("Content-Type", "text/html")
				a = answer{503, []byte(unavailable)}
			case r.Method != http.MethodGet:
				a = failure(405, "METHOD_NOT_ALLOWED", "Only GET is allowed here", nil)
			default:
				a = find(r.URL.Query())
			}
		})
	}
	write(w, a)
}

// details tells who the account is.
func (s *Server) details(url.Values) answer {
	_, offset := time.Now().In(s.zone).Zone()
	return jsonAnswer(200, map[string]any{"portalId": 123456, "accountType": "STANDARD", "timeZone": s.zone.String(),
		"companyCurrency":      "EUR",
		"additionalCurrencies": []string{}, "utcOffset": time.Now().In(s.zone).Format("-07:00"),
		"utcOffsetMilliseconds": offset * 1000,
		"uiDomain":              "app.hubspot.com", "dataHostingLocation": "na1"})
}

// usage tells how many of the day's calls are used up, this one included.
func (s *Server) usage(url.Values) answer {
	now := time.Now().In(s.zone)
	limit := s.cfg.Daily
	if limit == 0 {
		limit = 1_000_000
	}
	y, m, d := now.Date()
	return jsonAnswer(200, map[string]any{"results": []any{map[string]any{"name": "private-apps-api-calls-daily",
		"usageLimit": limit, "currentUsage": s.calls,
		"collectedAt": stamp(now), "fetchStatus": "SUCCESS",
		"resetsAt": time.Date(y, m, d+1, 0, 0, 0, 0, s.zone).UTC().Format(time.RFC3339)}}})
}

// properties are the definitions of what check knows.
func (s *Server) properties() (all []map[string]any) {
	define := func(name, kind, field string, unique, readOnly bool, options []string) {
		listed := []map[string]any{}
		for i, value := range options {
			listed = append(listed, map[string]any{"label": value, "value": value, "displayOrder": i, "hidden": false})
		}
		own := slices.Contains(s.cfg.IDProperties, name)
		all = append(all, map[string]any{"name": name, "label": name, "type": kind, "fieldType": field, "description": "",
			"groupName": "task", "options": listed,
			"displayOrder": -1, "calculated": false, "externalOptions": false, "archived": false, "hasUniqueValue": unique,
			"hidden":         false,
			"hubspotDefined": !own, "formField": false, "dataSensitivity": "non_sensitive",
			"modificationMetadata": map[string]any{"archivable": own, "readOnlyDefinition": !own, "readOnlyValue": readOnly}})
	}
	for _, name := range s.cfg.IDProperties {
		define(name, "string", "text", true, false, nil)
	}
	for _, name := range texts {
		define(name, "string", "text", false, false, nil)
	}
	for _, name := range dates {
		define(name, "datetime", "date", false, false, nil)
	}
	for _, name := range readOnly {
		define(name, map[bool]string{true: "number", false: "datetime"}[name == "hs_object_id"],
			map[bool]string{true: "number", false: "date"}[name == "hs_object_id"], name == "hs_object_id", true, nil)
	}
	for name, options := range enums {
		define(name, "enumeration", "select", false, false, options)
	}
	define("hubspot_owner_id", "enumeration", "select", false, false, nil)
	slices.SortFunc(all, func(x, y map[string]any) int { return strings.Compare(x["name"].(string), y["name"].(string)) })
	return all
}

// property finds a definition. An archived one is found only by who asks for archived ones.
func (s *Server) property(name string, archived bool) answer {
	if slices.Contains(s.cfg.Archived, name) && archived {
		return jsonAnswer(200, map[string]any{"name": name, "label": name, "type": "string", "fieldType": "text",
			"archived": true, "hasUniqueValue": true})
	}
	for _, p := range s.properties() {
		if p["name"] == name && !archived {
			return jsonAnswer(200, p)
		}
	}
	return failure(404, "OBJECT_NOT_FOUND", "Property tasks."+name+" does not exist", nil)
}
