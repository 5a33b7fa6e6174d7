package hubspottest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

var good = url.Values{"grant_type": {"refresh_token"}, "client_id": {"id"}, "client_secret": {"shh"},
	"refresh_token": {"r1"}}

// grant asks the token endpoint.
func grant(t *testing.T, s *hubspottest.Server, target string, form url.Values) (status int, answer struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int    `json:"expires_in"`
	Status       string `json:"status"`
	Error        string `json:"error"`
}) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%v in %s", err, w.Body)
		}
	}
	return w.Code, answer
}

// TestGrant goes through the token endpoint's checks.
func TestGrant(t *testing.T) {
	s := hubspottest.New(hubspottest.Config{App: &hubspottest.App{ClientID: "id", ClientSecret: "shh",
		RefreshToken: "r1"}})
	const target = "/oauth/v3/token"
	for field, want := range map[string][2]string{"grant_type": {"BAD_GRANT_TYPE", "unsupported_grant_type"},
		"client_id":     {"BAD_CLIENT_ID", "invalid_client"},
		"client_secret": {"BAD_CLIENT_SECRET", "invalid_client"}, "refresh_token": {"BAD_REFRESH_TOKEN", "invalid_grant"}} {
		form := url.Values{}
		for name, values := range good {
			if name != field {
				form[name] = values
			}
		}
		// Neither a missing field, nor one in the query, nor another value will do.
		for _, at := range []string{target, target + "?" + url.Values{field: good[field]}.Encode()} {
			if status, a := grant(t, s, at, form); status != 400 || a.Status != want[0] || a.Error != want[1] ||
				a.AccessToken != "" {
				t.Errorf("%s without %s: %d %+v", at, field, status, a)
			}
		}
		form[field] = []string{"other"}
		if status, a := grant(t, s, target, form); status != 400 || a.Status != want[0] {
			t.Errorf("another %s: %d %+v", field, status, a)
		}
	}
	if status, a := grant(t, s, target, good); status != 200 || a.RefreshToken != "r1" || a.ExpiresIn != 1800 ||
		a.AccessToken == "" {
		t.Errorf("%d %+v", status, a)
	}
	s.SetTokenFault(503, nil)
	if status, _ := grant(t, s, target, good); status != 503 {
		t.Errorf("down: %d", status)
	}
	s.SetTokenFault(0, nil)
	if status, _ := grant(t, hubspottest.New(hubspottest.Config{}), target, good); status != 404 {
		t.Errorf("an account without an app: %d", status)
	}
	if n := len(s.TokenRequests()); n != 14 {
		t.Errorf("%d token requests are recorded, want 14", n)
	}
}

// TestAccessTokens: they serve, expire, can be revoked; a refresh token that is replaced serves once.
func TestAccessTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hubspottest.New(hubspottest.Config{App: &hubspottest.App{ClientID: "id", ClientSecret: "shh", RefreshToken: "r1",
			Life: time.Minute, Rotate: true}})
		expect := func(token string, status int, category string) {
			t.Helper()
			got, _, answer := askAt(t, s, "POST", path, token, batch(input("1", "a", when)))
			if said, _ := answer["category"].(string); got != status || said != category {
				t.Errorf("%d %v, want %d %s", got, answer, status, category)
			}
		}
		expect("any", 401, "INVALID_AUTHENTICATION")
		_, first := grant(t, s, "/oauth/v3/token", good)
		if status, a := grant(t, s, "/oauth/v3/token", good); status != 400 {
			t.Errorf("the refresh token served twice: %+v", a)
		}
		next := url.Values{"grant_type": good["grant_type"], "client_id": good["client_id"],
			"client_secret": good["client_secret"], "refresh_token": {first.RefreshToken}}
		time.Sleep(30 * time.Second)
		_, second := grant(t, s, "/oauth/v3/token", next)
		expect(first.AccessToken, 200, "")
		expect(second.AccessToken, 200, "")
		time.Sleep(30 * time.Second)
		expect(first.AccessToken, 401, "EXPIRED_AUTHENTICATION")
		expect(second.AccessToken, 200, "")
		s.RevokeAccess()
		expect(second.AccessToken, 401, "INVALID_AUTHENTICATION")
		s.SetRefreshToken("r9")
		next.Set("refresh_token", "r9")
		_, third := grant(t, s, "/oauth/v3/token", next)
		expect(third.AccessToken, 200, "")
		s.SetToken("fixed") // beside the app's
		expect("fixed", 200, "")
		expect(third.AccessToken, 200, "")
	})
}

// TestAccount: what the account tells of itself, under the same checks as everything else.
func TestAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hubspottest.New(hubspottest.Config{Token: "secret", TimeZone: "America/New_York", Daily: 100, Limit: 8})
		get := func(path string, status int) map[string]any {
			t.Helper()
			got, _, answer := askAt(t, s, "GET", path, "secret", "")
			if got != status {
				t.Errorf("%s: %d %v, want %d", path, got, answer, status)
			}
			return answer
		}
		if a := get("/account-info/v3/details", 200); a["portalId"] != 123456.0 || a["timeZone"] != "America/New_York" ||
			a["utcOffset"] != "-05:00" {
			t.Errorf("details %v", a)
		}
		// The bubble begins at midnight UTC, which is 19:00 of the day before in New York.
		a := get("/account-info/v3/api-usage/daily/private-apps", 200)["results"].([]any)[0].(map[string]any)
		if a["currentUsage"] != 2.0 || a["usageLimit"] != 100.0 || a["fetchStatus"] != "SUCCESS" ||
			a["resetsAt"] != "2000-01-01T05:00:00Z" {
			t.Errorf("usage %v", a)
		}
		known := map[string]map[string]any{}
		for _, p := range get("/crm/v3/properties/tasks", 200)["results"].([]any) {
			known[p.(map[string]any)["name"].(string)] = p.(map[string]any)
		}
		if known["external_task_id"]["hasUniqueValue"] != true || known["hs_task_subject"]["hasUniqueValue"] != false ||
			len(known["hs_task_status"]["options"].([]any)) != 5 {
			t.Errorf("properties %v", known)
		}
		if p := get("/crm/v3/properties/tasks/external_task_id", 200); p["hasUniqueValue"] != true ||
			p["hubspotDefined"] != false {
			t.Errorf("property %v", p)
		}
		get("/crm/v3/properties/0-27/hs_timestamp", 200)
		if a := get("/crm/v3/properties/tasks/colour", 404); a["category"] != "OBJECT_NOT_FOUND" {
			t.Errorf("%v", a)
		}
		if status, _, _ := askAt(t, s, "DELETE", "/crm/v3/properties/tasks/external_task_id", "secret", ""); status != 405 {
			t.Errorf("DELETE: %d", status)
		}
		if status, _, _ := askAt(t, s, "GET", "/crm/v3/properties/tasks", "other", ""); status != 401 {
			t.Errorf("another token: %d", status)
		}
		s.SetDown(true)
		get("/account-info/v3/details", 503)
		get("/crm/v3/properties/tasks", 429)
		if n := len(s.Requests()); n != 0 {
			t.Errorf("%d requests in the journal, want none", n)
		}
	})
}
