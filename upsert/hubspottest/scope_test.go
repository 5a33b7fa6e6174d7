package hubspottest_test

import (
	"net/http"
	"testing"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestScopes: without its scope a request is refused with the scope's name, and the token's scopes can be asked for.
func TestScopes(t *testing.T) {
	const read, write = "crm.objects.contacts.read", "crm.objects.contacts.write"
	const info, property = "/oauth/v2/private-apps/get/access-token-info", "/crm/v3/properties/tasks/external_task_id"
	for _, tc := range []struct {
		scopes              []string
		upserts, properties int
	}{{nil, 200, 200}, {[]string{read}, 403, 200}, {[]string{write}, 200, 403}, {[]string{}, 403, 403}} {
		s := hubspottest.New(hubspottest.Config{Token: "secret", Scopes: tc.scopes})
		if status, _, body := ask(t, s, batch(input("a", "", when))); status != tc.upserts || status == 403 &&
			body["category"] != "MISSING_SCOPES" {
			t.Errorf("%v: an upsert is answered %d %v", tc.scopes, status, body)
		}
		if status, _, body := askAt(t, s, http.MethodGet, property, "secret", ""); status != tc.properties {
			t.Errorf("%v: a property is answered %d %v", tc.scopes, status, body)
		}
		_, _, told := askAt(t, s, http.MethodPost, info, "secret", `{"tokenKey":"secret"}`)
		if got, ok := told["scopes"].([]any); !ok || tc.scopes != nil && len(got) != len(tc.scopes) {
			t.Errorf("%v: told %v", tc.scopes, told)
		}
	}
	s := hubspottest.New(hubspottest.Config{Token: "secret"})
	for body, want := range map[string]int{`{"tokenKey":"other"}`: 404, `{`: 400} {
		if status, _, _ := askAt(t, s, http.MethodPost, info, "secret", body); status != want {
			t.Errorf("%s is answered %d, want %d", body, status, want)
		}
	}
	if status, _, _ := askAt(t, s, http.MethodPost, info, "other", `{"tokenKey":"other"}`); status != 401 {
		t.Errorf("another token is answered %d", status)
	}
}

// TestArchived: an archived property is found only by who asks for those.
func TestArchived(t *testing.T) {
	s := hubspottest.New(hubspottest.Config{IDProperties: []string{}, Archived: []string{"external_task_id"}})
	for path, want := range map[string]int{"/crm/v3/properties/tasks/external_task_id": 404,
		"/crm/v3/properties/tasks/external_task_id?archived=true": 200,
		"/crm/v3/properties/tasks/none?archived=true":             404} {
		if status, _, body := askAt(t, s, http.MethodGet, path, "any", ""); status != want {
			t.Errorf("%s is answered %d %v", path, status, body)
		}
	}
}
