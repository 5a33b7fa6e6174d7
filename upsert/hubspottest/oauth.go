package hubspottest

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// App is an OAuth app that is installed in the account. With one, access tokens come from POST /oauth/v3/token.
type App struct {
	ClientID, ClientSecret string
	RefreshToken           string        // the first one
	Life                   time.Duration // of an access token; 0: 30 min
	// each refresh makes another refresh token, and the one that was used is no good any more
	Rotate bool
}

// TokenRequest is one request to the token endpoint.
type TokenRequest struct {
	Time   time.Time
	Status int
}

// tokens are what the app was given.
type tokens struct {
	refresh  string
	access   map[string]time.Time // when each ends
	fault    int                  // the status of each answer; 0: as usual
	header   http.Header
	requests []TokenRequest
}

// SetRefreshToken changes the refresh token that is good; empty: none is, as after the app was uninstalled. Access
// tokens that were given live on.
func (s *Server) SetRefreshToken(token string) { s.set(func() { s.tokens.refresh = token }) }

// RevokeAccess ends all access tokens at once.
func (s *Server) RevokeAccess() { s.set(func() { clear(s.tokens.access) }) }

// SetTokenFault makes the token endpoint answer with a page of this status and header; 0 ends that.
func (s *Server) SetTokenFault(status int, header http.Header) {
	s.set(func() { s.tokens.fault, s.tokens.header = status, header })
}

// TokenRequests returns every request to the token endpoint, in order.
func (s *Server) TokenRequests() []TokenRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tokens.requests)
}

var tokenPath = regexp.MustCompile(`^/oauth/(v3|2026-0[39])/token$`)

const unavailable = "<html><body>503 Service Temporarily Unavailable</body></html>"

// grant answers a request for an access token.
func (s *Server) grant(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	formed := r.ParseForm()
	if !s.wait(r) {
		return
	}
	var a answer
	s.set(func() {
		switch {
		case s.down, s.tokens.fault > 0:
			maps.Copy(w.Header(), s.tokens.header)
			w.Header().Set("Content-Type", "text/html")
			a = answer{cmp.Or(s.tokens.fault, 503), []byte(unavailable)}
		case s.cfg.App == nil || r.Method != http.MethodPost || !tokenPath.MatchString(r.URL.Path):
			a = failure(404, "OBJECT_NOT_FOUND", "No resource at "+r.URL.Path, nil)
		case formed != nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
			a = failure(415, "VALIDATION_ERROR", "A form is expected", nil)
		default:
			a = s.exchange(r.PostForm)
		}
		s.tokens.requests = append(s.tokens.requests, TokenRequest{time.Now(), a.status})
	})
	w.Header().Set("Cache-Control", "no-store")
	write(w, a)
}

// exchange gives an access token for the refresh token; s.mu is held. Fields count in the body only: a query would
// stand in logs.
func (s *Server) exchange(form map[string][]string) answer {
	field := func(name string) string {
		if values := form[name]; len(values) == 1 {
			return values[0]
		}
		return ""
	}
	refuse := func(status, code, message string) answer {
		return jsonAnswer(400, map[string]any{"status": status, "message": message, "correlationId": correlationID(),
			"error": code, "error_description": message})
	}
	switch {
	case field("grant_type") != "refresh_token":
		return refuse("BAD_GRANT_TYPE", "unsupported_grant_type", "missing or unknown grant type")
	case field("client_id") != s.cfg.App.ClientID:
		return refuse("BAD_CLIENT_ID", "invalid_client", "missing or unknown client id")
	case field("client_secret") != s.cfg.App.ClientSecret:
		return refuse("BAD_CLIENT_SECRET", "invalid_client", "missing or invalid client secret")
	case s.tokens.refresh == "" || field("refresh_token") != s.tokens.refresh:
		return refuse("BAD_REFRESH_TOKEN", "invalid_grant", "missing or unknown refresh token")
	}
	life := s.cfg.App.Life
	if life == 0 {
		life = 30 * time.Minute
	}
	access := fmt.Sprintf("access-%016x", rand.Uint64())
	s.tokens.access[access] = time.Now().Add(life)
	if s.cfg.App.Rotate {
		s.tokens.refresh = fmt.Sprintf("refresh-%016x", rand.Uint64())
	}
	return jsonAnswer(200, map[string]any{"token_type": "bearer", "access_token": access,
		"refresh_token": s.tokens.refresh, "expires_in": int(life / time.Second),
		"hub_id": 123456, "scopes": append([]string{"oauth"}, s.cfg.Scopes...), "token_use": "access_token"})
}

// authenticated checks the bearer token; s.mu is held.
func (s *Server) authenticated(bearer string) (refusal answer, ok bool) {
	end, given := s.tokens.access[bearer]
	switch over := time.Since(end); {
	case given && over >= 0:
		return failure(401, "EXPIRED_AUTHENTICATION", fmt.Sprintf("The OAuth token used to make this call expired %d "+
			"second(s) ago.", int(over/time.Second)),
			map[string][]string{"expire time": {stamp(end)}}), false
	case given, bearer != "" && bearer == s.token, bearer != "" && s.token == "" && s.cfg.App == nil:
		return answer{}, true
	default:
		return failure(401, "INVALID_AUTHENTICATION", "Authentication credentials not found. This API supports OAuth 2.0 "+
			"authentication and you can find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview",
			nil), false
	}
}
