package upsert_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// specs are HubSpot's published descriptions of the endpoint, if they lie beside the repository.
var specs = sync.OnceValue(func() (all []*routers.Route) {
	for file, path := range map[string]string{
		"hubspot-tasks-v3.openapi.json":        "/crm/v3/objects/tasks/batch/upsert",
		"hubspot-objects-2026-09.openapi.json": "/crm/objects/2026-09/{objectType}/batch/upsert",
	} {
		doc, err := openapi3.NewLoader().LoadFromFile("../../shared/facts/" + file)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			panic(err) // a description that cannot be read proves nothing
		}
		item := doc.Paths.Value(path)
		all = append(all, &routers.Route{Spec: doc, Path: path, PathItem: item, Method: http.MethodPost,
			Operation: item.Post})
	}
	return all
})

// held wraps the simulator so that the worker's requests, and its own answers, are held against the descriptions.
func held(t *testing.T, simulator http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		seen := &tape{ResponseWriter: w}
		simulator.ServeHTTP(seen, r)
		if r.Method != http.MethodPost || strings.HasPrefix(r.URL.Path, "/oauth/") {
			return // the description is that of the upsert alone
		}
		for _, route := range specs() {
			conform(t, route, r, body, seen)
		}
	})
}

func conform(t *testing.T, route *routers.Route, r *http.Request, body []byte, answer *tape) {
	request := r.Clone(context.Background())
	request.Body = io.NopCloser(bytes.NewReader(body))
	input := &openapi3filter.RequestValidationInput{Request: request, Route: route,
		PathParams: map[string]string{"objectType": "tasks"},
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
			IncludeResponseStatus: true}}
	if err := openapi3filter.ValidateRequest(request.Context(), input); err != nil {
		t.Errorf("%s: the worker's request: %.2000v", route.Path, err)
	}
	if answer.status == 0 || !strings.HasPrefix(answer.Header().Get("Content-Type"), "application/json") ||
		!bytes.HasSuffix(answer.body.Bytes(), []byte("}")) {
		return // a proxy's page, or an answer that a fault cut off
	}
	switch {
	case answer.status == http.StatusMultiStatus && route.Operation.Responses.Status(answer.status) == nil:
		return // the dated description has forgotten the 207 that the endpoint answers with
	case !bytes.Contains(answer.body.Bytes(), []byte(`"category"`)) &&
		(answer.status == http.StatusTooManyRequests || bytes.Contains(answer.body.Bytes(), []byte("Invalid input JSON"))):
		return // recorded answers of these kinds have no category, though the description requires one
	}
	// The items of a recorded 207 have neither errors nor links, though the description requires both.
	whole := bytes.ReplaceAll(answer.body.Bytes(), []byte(`{"category":"VALIDATION_ERROR","context":`),
		[]byte(`{"errors":[],"links":{},"category":"VALIDATION_ERROR","context":`))
	err := openapi3filter.ValidateResponse(context.Background(),
		&openapi3filter.ResponseValidationInput{RequestValidationInput: input,
			Status: answer.status, Header: answer.Header(), Body: io.NopCloser(bytes.NewReader(whole)), Options: input.Options})
	if err != nil {
		t.Errorf("%s: the simulator's answer: %.2000v", route.Path, err)
	}
}

// tape keeps what passes through it.
type tape struct {
	http.ResponseWriter

	status int
	body   bytes.Buffer
}

func (w *tape) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *tape) Write(b []byte) (int, error) {
	w.body.Write(b)
	return w.ResponseWriter.Write(b)
}

func (w *tape) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// TestSpec says whether the other tests' requests and answers were held against the descriptions.
func TestSpec(t *testing.T) {
	if len(specs()) == 0 {
		t.Skip("SKIPPED: HubSpot's OpenAPI descriptions are not beside this repository (../shared/facts); requests and " +
			"answers are not held against them")
	}
	if len(specs()) != 2 {
		t.Fatal("want two descriptions")
	}
	for _, route := range specs() {
		if route.Operation == nil {
			t.Fatalf("%s has no POST", route.Path)
		}
	}
}
