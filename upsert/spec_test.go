package upsert_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/tasksink/tasksink/upsert/hubspottest"
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
		!bytes.HasSuffix(answer.body.Bytes(), []byte("}")) || answer.body.String() == "{}" {
		return // a proxy's page, or an answer that a fault cut off or emptied
	}
	switch {
	case answer.status == http.StatusMultiStatus && route.Operation.Responses.Status(answer.status) == nil:
		return // the dated description has forgotten the 207 that the endpoint answers with
	case !bytes.Contains(answer.body.Bytes(), []byte(`"category"`)) &&
		(answer.status == http.StatusTooManyRequests || bytes.Contains(answer.body.Bytes(), []byte("Invalid input JSON"))):
		return // recorded answers of these kinds have no category, though the description requires one
	}
	// The items of a recorded 207 have neither errors nor links, though the description requires both.
	whole := bareItem.ReplaceAll(answer.body.Bytes(), []byte(`{"errors":[],"links":{},$1`))
	err := openapi3filter.ValidateResponse(context.Background(),
		&openapi3filter.ResponseValidationInput{RequestValidationInput: input,
			Status: answer.status, Header: answer.Header(), Body: io.NopCloser(bytes.NewReader(whole)), Options: input.Options})
	if err != nil {
		t.Errorf("%s: the simulator's answer: %.2000v", route.Path, err)
	}
}

var bareItem = regexp.MustCompile(`\{("category":"[A-Z_]*","context":)`)

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

// TestSpecFaults holds answers that a fault or a switch makes, and that HubSpot could give, against the descriptions.
func TestSpecFaults(t *testing.T) {
	type fault = hubspottest.Fault
	account := hubspottest.Config{ErrorsIn200: true, FoldIDs: true,
		Conditional: []hubspottest.Requirement{{If: "hs_task_status", Is: "COMPLETED", Then: "hs_task_body"}}}
	for name, tc := range map[string]struct {
		fault  fault
		path   string
		status int
	}{
		"a conflict":          {fault{Items: hubspottest.Every("CONFLICT")}, "/crm/v3/objects/tasks/batch/upsert", 207},
		"validation":          {fault{Items: hubspottest.Every("VALIDATION_ERROR")}, "/crm/v3/objects/tasks/batch/upsert", 207},
		"left out":            {fault{Omit: func(hubspottest.Input) bool { return true }}, "/crm/v3/objects/tasks/batch/upsert", 200},
		"canceled":            {fault{BatchStatus: "CANCELED"}, "/crm/v3/objects/tasks/batch/upsert", 200},
		"nothing":             {fault{BatchStatus: "COMPLETE"}, "/crm/v3/objects/tasks/batch/upsert", 200},
		"413":                 {fault{Status: 413, Body: hubspottest.JSONError(413, "PAYLOAD_TOO_LARGE", "too large", nil)}, "/crm/v3/objects/tasks/batch/upsert", 413},
		"an older date":       {fault{}, "/crm/objects/2026-03/tasks/batch/upsert", 200},
		"errors within a 200": {fault{Match: hubspottest.Has("none")}, "/crm/objects/2026-09/0-27/batch/upsert", 200},
	} {
		simulator := hubspottest.New(account)
		simulator.Inject(tc.fault)
		r := httptest.NewRequest(http.MethodPost, tc.path, strings.NewReader(`{"inputs":[
			{"id":"1","idProperty":"external_task_id","objectWriteTraceId":"a","properties":{"hs_timestamp":"1","hs_task_status":"COMPLETED"}},
			{"id":"2","idProperty":"external_task_id","objectWriteTraceId":"b","properties":{"hs_timestamp":"1"}}]}`))
		r.Header.Set("Authorization", "Bearer x")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		held(t, simulator).ServeHTTP(w, r)
		if w.Code != tc.status {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}
