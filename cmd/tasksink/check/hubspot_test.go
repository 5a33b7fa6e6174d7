package check_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// before puts a handler before HubSpot.
func (p *place) before(handler func(w http.ResponseWriter, r *http.Request)) {
	server := httptest.NewServer(http.HandlerFunc(handler))
	p.t.Cleanup(server.Close)
	p.cfg.HubspotURL = server.URL
}

// marked lets HubSpot answer with other headers than its own.
func (p *place) marked(headers ...string) {
	p.before(func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		p.hubspot.ServeHTTP(w, r)
	})
}

// oauth makes an app that is installed in the account, with credentials of the test's choice.
func (p *place) oauth(id, clientSecret, refresh string) {
	p.account(hubspottest.Config{App: &hubspottest.App{ClientID: "app", ClientSecret: canary + "-secret",
		RefreshToken: canary + "-refresh"}})
	p.cfg.HubspotToken, p.cfg.HubspotOAuthClientID = "", id
	p.cfg.HubspotOAuthClientSecretFile, p.cfg.HubspotOAuthRefreshTokenFile = p.file("secret", []byte(clientSecret)),
		p.file("refresh", []byte(refresh))
}

// TestHubSpot: what can be wrong at HubSpot shows in its row, with its remedy.
func TestHubSpot(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(p *place)
	}{
		{"all is well", func(*place) {}},
		{"all is well, with OAuth", func(p *place) { p.oauth("app", canary+"-secret", canary+"-refresh") }},
		{"the token is refused", func(p *place) { p.hubspot.SetToken("another") }},
		{"the token in the file is refused", func(p *place) {
			p.cfg.HubspotToken, p.cfg.HubspotTokenFile = "", p.file("token", []byte(canary+"-old"))
		}},
		{"the app is not known", func(p *place) { p.oauth("other", canary+"-secret", canary+"-refresh") }},
		{"the app's secret is wrong", func(p *place) { p.oauth("app", canary+"-wrong", canary+"-refresh") }},
		{"the refresh token is refused", func(p *place) { p.oauth("app", canary+"-secret", canary+"-old") }},
		{"refresh tokens are replaced", func(p *place) {
			p.oauth("app", canary+"-secret", canary+"-refresh")
			p.account(hubspottest.Config{App: &hubspottest.App{ClientID: "app", ClientSecret: canary + "-secret",
				RefreshToken: canary + "-refresh", Rotate: true}})
		}},
		{"the token endpoint is down", func(p *place) {
			p.oauth("app", canary+"-secret", canary+"-refresh")
			p.hubspot.SetTokenFault(503, nil)
		}},
		{"the token endpoint is somewhere else", func(p *place) {
			p.oauth("app", canary+"-secret", canary+"-refresh")
			p.cfg.HubspotOAuthPath = "/oauth/v9/token"
		}},
		{"the scope is missing", func(p *place) { p.account(hubspottest.Config{Scopes: []string{"crm.objects.contacts.read"}}) }},
		{"another scope to write is granted", func(p *place) {
			p.account(hubspottest.Config{Scopes: []string{"crm.objects.contacts.read", "crm.objects.tasks.write"}})
		}},
		{"the scope is missing, with OAuth", func(p *place) {
			p.oauth("app", canary+"-secret", canary+"-refresh")
			p.account(hubspottest.Config{Scopes: []string{"crm.objects.contacts.read"},
				App: &hubspottest.App{ClientID: "app", ClientSecret: canary + "-secret", RefreshToken: canary + "-refresh"}})
		}},
		{"the token may not read properties", func(p *place) { p.account(hubspottest.Config{Scopes: []string{"crm.objects.contacts.write"}}) }},
		{"HubSpot does not tell the scopes", func(p *place) {
			p.before(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/oauth/") {
					http.NotFound(w, r)
					return
				}
				p.hubspot.ServeHTTP(w, r)
			})
		}},
		{"there is no such property", func(p *place) { p.cfg.HubspotIDProperty = "task_number" }},
		{"the property is archived", func(p *place) {
			p.account(hubspottest.Config{IDProperties: []string{}, Archived: []string{"external_task_id"}})
		}},
		{"the property is not unique", func(p *place) { p.cfg.HubspotIDProperty = "hs_task_subject" }},
		{"a further property is not unique, and one does not exist", func(p *place) {
			p.account(hubspottest.Config{IDProperties: []string{"external_task_id", "invoice_id"}})
			p.cfg.HubspotIDProperties = []string{"invoice_id", "hs_task_subject", "task_number"}
		}},
		{"all further properties are unique", func(p *place) {
			p.account(hubspottest.Config{IDProperties: []string{"external_task_id", "invoice_id"}})
			p.cfg.HubspotIDProperties = []string{"invoice_id"}
		}},
		{"events bring their idProperty", func(p *place) {
			p.cfg.HubspotIDProperty, p.cfg.HubspotIDProperties = "", []string{"external_task_id"}
		}},
		{"no idProperty is configured", func(p *place) { p.cfg.HubspotIDProperty = "" }},
		{"another object by a dated path", func(p *place) { p.cfg.HubspotPath = "/crm/objects/2026-09/0-27/batch/upsert" }},
		{"the path is none of upserts", func(p *place) { p.cfg.HubspotPath = "/crm/v3/objects/tasks/batch/create" }},
		{"the day's calls are used up", func(p *place) {
			p.account(hubspottest.Config{Daily: 1})
			p.spend()
		}},
		{"few of the day's calls are left", func(p *place) {
			p.marked("X-HubSpot-RateLimit-Daily", "250000", "X-HubSpot-RateLimit-Daily-Remaining", "12000")
		}},
		{"others use up the window", func(p *place) {
			p.account(hubspottest.Config{Limit: 100})
			p.hubspot.SetSpent(true)
		}},
		{"the clock is fast", func(p *place) { p.marked("Date", time.Now().Add(-5*time.Minute).UTC().Format(http.TimeFormat)) }},
		{"the clock is slow", func(p *place) { p.marked("Date", time.Now().Add(2*time.Hour).UTC().Format(http.TimeFormat)) }},
		{"the day ends at another midnight", func(p *place) {
			p.account(hubspottest.Config{TimeZone: "America/New_York"})
			p.cfg.HubspotTimezone = "Europe/Berlin"
		}},
		{"an outage", func(p *place) { p.hubspot.SetDown(true) }},
		{"it is not HubSpot", func(p *place) { p.before(http.NotFound) }},
		{"nobody listens", func(p *place) { p.cfg.HubspotURL = "http://" + closedPort(p.t) }},
		{"no such host", func(p *place) { p.cfg.HubspotURL = "https://hubspot.invalid" }},
		{"no answer", func(p *place) { p.cfg.HubspotURL = "http://" + silentPort(p.t) }},
		{"an authority that is not known", func(p *place) {
			server := httptest.NewUnstartedServer(p.hubspot)
			server.Config.ErrorLog = quiet
			server.StartTLS()
			p.t.Cleanup(server.Close)
			p.cfg.HubspotURL = server.URL
		}},
		{"no TLS is spoken", func(p *place) { p.cfg.HubspotURL = strings.Replace(p.cfg.HubspotURL, "http:", "https:", 1) }},
	}
	b := kafkatest.Fake(t)
	var got strings.Builder
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t, b)
			p.topics(nil, good())
			tc.spoil(p)
			got.WriteString(p.troubles(tc.name, p.look()))
			if n := len(p.hubspot.Journal()); n > 0 {
				t.Errorf("%d objects were written", n)
			}
		})
	}
	golden.Compare(t, "hubspot.golden", got.String())
}

// spend uses up a call.
func (p *place) spend() {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.cfg.HubspotURL+"/account-info/v3/details",
		http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+canary)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}

// silentPort accepts connections, and never answers.
func silentPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// closedPort is one that nobody listens at.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return l.Addr().String()
}
