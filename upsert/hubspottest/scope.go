package hubspottest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// What a token needs, to write tasks and to read what tasks are like.
const (
	scopeWrite = "crm.objects.contacts.write"
	scopeRead  = "crm.objects.contacts.read"
	tokenInfo  = "/oauth/v2/private-apps/get/access-token-info"
)

// permitted tells whether the token's scopes suffice for a request; s.mu is held.
func (s *Server) permitted(r *http.Request) (refusal answer, ok bool) {
	needed := ""
	switch {
	case path.MatchString(r.URL.Path), archivePath.MatchString(r.URL.Path):
		needed = scopeWrite
	case strings.HasPrefix(r.URL.Path, "/crm/v3/properties/"):
		needed = scopeRead
	}
	if needed == "" || slices.Contains(s.cfg.Scopes, needed) {
		return answer{}, true
	}
	return jsonAnswer(403, map[string]any{"status": "error", "correlationId": correlationID(),
		"category": "MISSING_SCOPES",
		"message": "This app hasn't been granted all required scopes to make this call. Read more about required scopes " +
			"here: https://developers.hubspot.com/scopes.",
		"errors": []any{map[string]any{"message": "One or more of the following scopes are required.",
			"context": map[string]any{"requiredGranularScopes": []string{needed}}}}}), false
}

// introspect tells what a token may do. It wants the token in the body as well as in the header, and costs no call.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request) {
	var body struct {
		TokenKey string `json:"tokenKey"`
	}
	read := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&body)
	if !s.wait(r) {
		return
	}
	var a answer
	s.set(func() {
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		refused, ok := s.authenticated(bearer)
		switch {
		case s.down:
			w.Header().Set("Content-Type", "text/html")
			a = answer{503, []byte(unavailable)}
		case r.Method != http.MethodPost:
			a = failure(405, "METHOD_NOT_ALLOWED", "Only POST is allowed here", nil)
		case read != nil:
			a = failure(400, "", "Invalid input JSON on line 1, column 1: "+read.Error(), nil)
		case !ok || body.TokenKey != bearer:
			a = refused
			if ok {
				a = failure(404, "OBJECT_NOT_FOUND", "The token is not known", nil)
			}
		default:
			a = jsonAnswer(200, map[string]any{"userId": 1, "hubId": 123456, "appId": 1, "scopes": s.cfg.Scopes})
		}
	})
	write(w, a)
}
