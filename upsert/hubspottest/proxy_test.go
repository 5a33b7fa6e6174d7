package hubspottest_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// post sends a body over a real connection.
func post(t *testing.T, s *hubspottest.Server, body string) (status int, header http.Header, said string) {
	t.Helper()
	server := httptest.NewServer(s)
	defer server.Close()
	r, err := http.NewRequest(http.MethodPost, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer secret")
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// TestMaxBody: the proxy in front of HubSpot refuses what is larger, and HubSpot never learns of it.
func TestMaxBody(t *testing.T) {
	body := batch(input("x", "a", when))
	s := hubspottest.New(hubspottest.Config{Token: "secret", Limit: 10, MaxBody: len(body)})
	if status, _, said := post(t, s, body); status != 200 {
		t.Fatalf("%d %s", status, said)
	}
	status, header, said := post(t, s, body+" ")
	if status != 413 || !strings.Contains(header.Get("Content-Type"), "text/html") ||
		said != hubspottest.Page(413, "Request Entity Too Large") || header.Get("X-HubSpot-RateLimit-Max") != "" {
		t.Errorf("%d %v %s", status, header, said)
	}
	if status, _, said := post(t, s, body+strings.Repeat(" ", 4<<20)); status != 413 {
		t.Errorf("4 MiB are answered %d %s", status, said)
	}
	all := s.Requests()
	if len(all) != 3 || all[1].Status != 413 || all[1].Inputs != 0 || len(s.Journal()) != 1 {
		t.Errorf("requests %v, journal %v", all, s.Journal())
	}
	if _, header, _ := post(t, s, body); header.Get("X-HubSpot-RateLimit-Remaining") != "8" {
		t.Errorf("%v: the proxy's refusals count", header)
	}
}

// TestAborted: a client that breaks off its request leaves a request without a status.
func TestAborted(t *testing.T) {
	for _, limit := range []int{0, 10} {
		s := hubspottest.New(hubspottest.Config{MaxBody: limit})
		r := httptest.NewRequest(http.MethodPost, path, io.MultiReader(strings.NewReader("{"), broken{}))
		r.Header.Set("Authorization", "Bearer x")
		s.ServeHTTP(httptest.NewRecorder(), r)
		if all := s.Requests(); len(all) != 1 || all[0].Status != 0 {
			t.Errorf("with MaxBody %d: %v", limit, all)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken off") }
