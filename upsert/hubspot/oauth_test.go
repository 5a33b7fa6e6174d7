package hubspot_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/internal/secret"
	"github.com/tasksink/tasksink/upsert/hubspot"
)

// TestOAuthOddAnswers: whatever the token endpoint answers, nothing of it is quoted, no redirect is followed, and the
// program lives on.
func TestOAuthOddAnswers(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"quotes what was sent": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"status":%q,"message":%q,"error":%q,"correlationId":%q}`, canary, canary, canary, canary)
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, canary) },
		"no token": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"refresh_token":"`+canary+`"}`)
		},
		"wrong types": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"access_token":{"`+canary+`":1}}`)
		},
		"a form": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, "%"+canary)
		},
		"without end": func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		},
		"a page, 403": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<html>"+canary)
		},
		"never": func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body); <-r.Context().Done() },
		"an error 200": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"error":"invalid_grant","access_token":"`+canary+`"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked, elsewhere atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/oauth/v3/token" {
					elsewhere.Add(1)
					return
				}
				if asked.Add(1); r.FormValue("client_secret") != canary || r.FormValue("refresh_token") != canary ||
					r.URL.RawQuery != "" || r.Header.Get("Authorization") != "" {
					t.Errorf("credentials are not in the form alone: %s", r.URL)
				}
				answer(w, r)
			}))
			t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
			c, err := hubspot.New(hubspot.Config{URL: server.URL, Path: "/crm", Timeout: 500 * time.Millisecond,
				OAuth: &hubspot.OAuthConfig{Path: "/oauth/v3/token", ClientID: "id",
					ClientSecret: secret.Text(canary), RefreshToken: secret.Text(canary)}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var said strings.Builder
			ctx, stop := context.WithCancel(t.Context())
			var keeper sync.WaitGroup
			keeper.Go(func() { c.KeepToken(ctx, zerolog.New(&said)) })
			got, err := c.Post(t.Context(), nil, bound, always, func() {})
			if err == nil && (got.Status < 300 || got.Status == 400) {
				t.Errorf("status %d", got.Status)
			}
			if elsewhere.Load() != 0 || asked.Load() == 0 {
				t.Errorf("%d requests elsewhere, %d to the token endpoint", elsewhere.Load(), asked.Load())
			}
			if text := fmt.Sprint(err, string(got.Body)); strings.Contains(text, canary) || strings.Contains(text, "%pa") {
				t.Error("the answer is quoted in", text)
			}
			stop()
			keeper.Wait()
			if strings.Contains(said.String(), canary) || strings.Contains(said.String(), "%pa") {
				t.Error("the answer is quoted in the log:", said.String())
			}
		})
	}
}
