package upsert_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasksink/tasksink/internal/secret"
	"github.com/tasksink/tasksink/upsert/hubspot"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// app is an installed app, and the files with its credentials.
type app struct {
	t       *testing.T
	dir     string
	hubspot hubspottest.Config
	config  *hubspot.OAuthConfig
}

func newApp(t *testing.T, change func(*hubspottest.App)) *app {
	t.Helper()
	a := &app{t: t, dir: t.TempDir(), hubspot: hubspottest.Config{App: &hubspottest.App{ClientID: "client",
		ClientSecret: "client-secret", RefreshToken: "refresh-1"}}}
	if change != nil {
		change(a.hubspot.App)
	}
	a.write("secret", "client-secret")
	a.write("refresh", "refresh-1")
	a.config = &hubspot.OAuthConfig{Path: "/oauth/v3/token", ClientID: "client",
		ClientSecret: a.file("secret"), RefreshToken: a.file("refresh")}
	return a
}

func (a *app) write(name, value string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(value+"\n"), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *app) file(name string) *secret.Secret {
	a.t.Helper()
	s, err := secret.File(filepath.Join(a.dir, name))
	if err != nil {
		a.t.Fatal(err)
	}
	return s
}

func (a *app) run(story func(r *rig)) {
	a.t.Helper()
	run(a.t, setup{oauth: a.config, hubspot: a.hubspot}, story)
}

// statuses counts the API's answers.
func (r *rig) statuses() map[int]int {
	seen := map[int]int{}
	for _, q := range r.hubspot.Requests() {
		seen[q.Status]++
	}
	return seen
}

// TestOAuthFlows: for hours no request meets a 401 and none waits, as the next access token is there before the present
// one ends; one is asked for every three quarters of its life. The refresh token that comes with it is used from then
// on.
func TestOAuthFlows(t *testing.T) {
	for _, rotate := range []bool{false, true} {
		t.Run(fmt.Sprintf("rotate=%v", rotate), func(t *testing.T) {
			a := newApp(t, func(app *hubspottest.App) { app.Rotate = rotate })
			a.run(func(r *rig) {
				for minute := range 179 {
					r.produce(many(1, minute)...)
					start := time.Now()
					r.settled(time.Minute)
					if took := time.Since(start); took > time.Second {
						t.Errorf("minute %d: a record took %v", minute, took)
					}
					time.Sleep(time.Minute - time.Since(start))
				}
				if seen := r.statuses(); len(seen) != 1 || seen[200] != 179 {
					t.Errorf("answers %v, want 179 × 200", seen)
				}
				if n := len(r.hubspot.TokenRequests()); n != 8 { // at 0, 22.5, 45 ... 157.5 minutes
					t.Errorf("%d access tokens in three hours, want 8", n)
				}
				r.deadLettered()
			})
		})
	}
}

// TestOAuthIsNotInTheWay: while the token endpoint is down, or refuses, and the access token is still good, nobody
// notices.
func TestOAuthIsNotInTheWay(t *testing.T) {
	for name, spoil := range map[string]func(*hubspottest.Server){
		"down":    func(s *hubspottest.Server) { s.SetTokenFault(503, nil) },
		"refuses": func(s *hubspottest.Server) { s.SetRefreshToken("") },
	} {
		t.Run(name, func(t *testing.T) {
			newApp(t, nil).run(func(r *rig) {
				r.produce(many(1, 0)...)
				r.settled(time.Minute)
				spoil(r.hubspot)
				for minute := range 29 {
					r.produce(many(1, minute)...)
					r.settled(time.Second)
					if list := r.board.List(); len(list) != 0 {
						t.Fatalf("minute %d: held by %+v", minute, list)
					}
					time.Sleep(time.Minute)
				}
				if seen := r.statuses(); len(seen) != 1 {
					t.Errorf("answers %v", seen)
				}
			})
		})
	}
}

// TestOAuthOutage: a token endpoint that is down when a token is needed is an outage: waited for, asked in measure,
// nothing is dead-lettered, and when it is back records flow within ten seconds.
func TestOAuthOutage(t *testing.T) {
	newApp(t, nil).run(func(r *rig) {
		r.produce(many(1, 0)...)
		r.settled(time.Minute)
		r.hubspot.SetTokenFault(503, nil)
		time.Sleep(31 * time.Minute)
		before := len(r.hubspot.TokenRequests())
		r.produce(many(500, 100)...)
		time.Sleep(5 * time.Minute)
		if n := len(r.hubspot.TokenRequests()) - before; n < 60 || n > 160 {
			t.Errorf("the token endpoint was asked %d times in 5 minutes, want once in 2 to 4 s", n)
		}
		if st := r.sender.Status(); st.Breaker == "closed" || r.holds() != "outage all" {
			t.Errorf("breaker %s, holds %+v; want an outage", st.Breaker, r.board.List())
		}
		r.hubspot.SetTokenFault(0, nil)
		r.resumes()
	})
}

// TestOAuthKeepsTheRotated: where the refresh token changes with each use, only the last one is good. What says nothing
// against it does not throw it away: the endpoint is down, or limits, or a proxy answers in its place, or the client
// secret is wrong.
func TestOAuthKeepsTheRotated(t *testing.T) {
	for name, tc := range map[string]struct{ spoil, mend func(*app, *rig) }{
		"503":            {fails(503, nil), fails(0, nil)},
		"429":            {fails(429, http.Header{"Retry-After": {"20"}}), fails(0, nil)},
		"a proxy's page": {fails(403, nil), fails(0, nil)},
		"a page, 400":    {fails(400, nil), fails(0, nil)},
		"client secret": {func(a *app, _ *rig) { a.write("secret", "other"); _, _ = a.config.ClientSecret.Reload() },
			func(a *app, _ *rig) { a.write("secret", "client-secret"); _, _ = a.config.ClientSecret.Reload() }},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, func(app *hubspottest.App) { app.Rotate = true })
			a.run(func(r *rig) {
				r.produce(many(1, 0)...)
				r.settled(time.Minute)
				time.Sleep(20 * time.Minute)
				tc.spoil(a, r)
				time.Sleep(5 * time.Minute) // a new token is asked for after 22.5 minutes
				tc.mend(a, r)
				time.Sleep(20 * time.Minute)
				before := time.Now()
				r.produce(many(100, 100)...)
				r.settled(time.Minute)
				if took := time.Since(before); took > 10*time.Second || r.holds() != "" {
					t.Errorf("records took %v; held: %s", took, r.holds())
				}
			})
		})
	}
}

func fails(status int, header http.Header) func(*app, *rig) {
	return func(_ *app, r *rig) { r.hubspot.SetTokenFault(status, header) }
}

// TestOAuthLimited: the token endpoint says how long to wait, or is asked less and less often. A limit is no outage.
func TestOAuthLimited(t *testing.T) {
	for name, tc := range map[string]struct {
		header http.Header
		asked  int           // times in ten minutes at the most
		within time.Duration // records flow when the limit ends
	}{
		"Retry-After":         {http.Header{"Retry-After": {"45"}}, 14, 60 * time.Second},
		"without Retry-After": {nil, 28, 70 * time.Second},
		"absurd Retry-After":  {http.Header{"Retry-After": {"86400"}}, 2, 17 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			newApp(t, nil).run(func(r *rig) {
				r.produce(many(1, 0)...)
				r.settled(time.Minute)
				time.Sleep(22 * time.Minute)
				r.hubspot.SetTokenFault(429, tc.header)
				time.Sleep(9 * time.Minute)
				before := len(r.hubspot.TokenRequests())
				r.produce(many(100, 100)...)
				time.Sleep(10 * time.Minute)
				if n := len(r.hubspot.TokenRequests()) - before; n > tc.asked {
					t.Errorf("the token endpoint was asked %d times in ten minutes, want at most %d", n, tc.asked)
				}
				if st := r.sender.Status(); st.Breaker != "closed" || r.holds() != "auth all" {
					t.Errorf("breaker %s, holds %s; want a hold", st.Breaker, r.holds())
				}
				r.hubspot.SetTokenFault(0, nil)
				r.settled(tc.within)
				r.deadLettered()
			})
		})
	}
}

// TestOAuthRefused: credentials that are no good are the auth hold, whose remedy names what to mend; when it is mended
// records flow by themselves.
func TestOAuthRefused(t *testing.T) {
	for _, tc := range []struct {
		name                 string
		file, bad, good      string
		atStart              bool
		id, category, remedy string
	}{
		{name: "a refresh token that never was good", file: "refresh", bad: "refresh-0", good: "refresh-1", atStart: true, category: "BAD_REFRESH_TOKEN", remedy: "--hubspot-oauth-refresh-token-file"},
		{name: "a refresh token that was revoked", file: "refresh", good: "refresh-2", category: "BAD_REFRESH_TOKEN", remedy: "--hubspot-oauth-refresh-token-file"},
		{name: "a client secret", file: "secret", bad: "other", good: "client-secret", atStart: true, category: "BAD_CLIENT_SECRET", remedy: "--hubspot-oauth-client-secret-file"},
		{name: "a client id", id: "other", atStart: true, category: "BAD_CLIENT_ID", remedy: "--hubspot-oauth-client-id"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newApp(t, nil)
			if tc.bad != "" {
				a.write(tc.file, tc.bad)
				a.config.ClientSecret, a.config.RefreshToken = a.file("secret"), a.file("refresh")
			}
			if tc.id != "" {
				a.config.ClientID = tc.id
			}
			a.run(func(r *rig) {
				if !tc.atStart {
					r.produce(many(10, 0)...)
					r.settled(time.Minute)
					r.hubspot.SetRefreshToken(tc.good) // as when the app is installed again
					time.Sleep(31 * time.Minute)
				}
				before := len(r.hubspot.TokenRequests())
				r.produce(many(500, 100)...)
				time.Sleep(5 * time.Minute)
				list := r.board.List()
				if len(list) != 1 || list[0].Reason != "auth" || !strings.Contains(list[0].Detail, tc.category) ||
					!strings.Contains(list[0].Remedy, tc.remedy) {
					t.Fatalf("holds %+v, want auth for %s with a remedy that names %s", list, tc.category, tc.remedy)
				}
				if n := len(r.hubspot.TokenRequests()) - before; n > 20 {
					t.Errorf("the token endpoint was asked %d times in 5 minutes", n)
				}
				if seen := r.statuses(); seen[401] != 0 {
					t.Errorf("%d requests were sent without a good token", seen[401])
				}
				if tc.good == "" {
					return
				}
				a.write(tc.file, tc.good)
				r.resumes()
			})
		})
	}
}

// TestOAuthRevoked: an access token that ends before its time is replaced after the first 401.
func TestOAuthRevoked(t *testing.T) {
	newApp(t, nil).run(func(r *rig) {
		r.produce(many(1, 0)...)
		r.settled(time.Minute)
		time.Sleep(2 * time.Minute)
		r.hubspot.RevokeAccess()
		r.produce(many(500, 100)...)
		r.resumes()
	})
}

// TestOAuthPrinted: a client that holds tokens prints none.
func TestOAuthPrinted(t *testing.T) {
	a := newApp(t, func(app *hubspottest.App) { app.Rotate = true })
	a.run(func(r *rig) {
		r.produce(many(1, 0)...)
		r.settled(time.Minute)
		synctest.Wait() // nobody changes it while it is printed
		said := ""
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
			said += fmt.Sprintf(verb, r.client)
		}
		for _, part := range []string{"access-", "refresh-", "client-secret"} {
			if strings.Contains(said, part) {
				t.Errorf("%s... is in %s", part, said)
			}
		}
	})
}

// TestOAuthPath: a path that is none is a mistake in the configuration.
func TestOAuthPath(t *testing.T) {
	a := newApp(t, nil)
	a.config.Path = "/oauth/v3/tokens"
	a.run(func(r *rig) {
		r.produce(many(1, 0)...)
		time.Sleep(time.Minute)
		if list := r.board.List(); len(list) != 1 || list[0].Reason != "config" ||
			!strings.Contains(list[0].Remedy, "--hubspot-oauth-path") {
			t.Errorf("holds %+v, want config", list)
		}
	})
}
