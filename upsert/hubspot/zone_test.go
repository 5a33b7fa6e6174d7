package hubspot_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/internal/secret"
	"github.com/tasksink/tasksink/upsert/hubspot"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestFindZone: the account's time zone is asked for.
func TestFindZone(t *testing.T) {
	server := httptest.NewServer(hubspottest.New(hubspottest.Config{TimeZone: "America/New_York"}))
	defer server.Close()
	c, err := hubspot.New(hubspot.Config{URL: server.URL, Path: "/", Timeout: 5 * time.Second,
		Token: secret.Text("secret")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	found := make(chan *time.Location, 1)
	c.FindZone(t.Context(), func(z *time.Location) { found <- z }, zerolog.Nop())
	if zone := <-found; zone.String() != "America/New_York" {
		t.Errorf("zone %v", zone)
	}
}
