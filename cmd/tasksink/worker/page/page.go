// Package page serves the admin server's page for people, and keeps the history that it draws.
//
// The page is plain HTML, CSS and JavaScript, embedded as it stands in web/. It asks /status each second and /history
// every five, both relative to where it is served from, and nothing else of anybody. It only shows: there is nothing
// to press that would change the worker. What it shows may be hostile text, as HubSpot's answers and the events'
// properties name things: it is only ever inserted as text, and the Content-Security-Policy forbids all other ways.
//
// Use: NewHistory, Run it, and Mount both. The tests look at the page in a browser: cmd/tasksink/page_test.go.
package page

import (
	"embed"
	"encoding/json"
	"io/fs"
	"net/http"
)

//go:embed web
var web embed.FS

// policy lets the page load its own files and ask its own server, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Mount serves the page at /, its files below /page/, and the history at /history. All answer GET and HEAD only.
func Mount(mux *http.ServeMux, h *History) {
	files, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // web is embedded by its name
	}
	mux.Handle("GET /{$}", headers(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "page.html")
	})))
	mux.Handle("GET /page/{file}", headers(http.StripPrefix("/page/", http.FileServerFS(files))))
	mux.Handle("GET /history", headers(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(struct { // a client that went away is no concern of ours
			Step    float64  `json:"step_seconds"`
			Samples []Sample `json:"samples"`
		}{Step.Seconds(), h.Samples()})
	})))
}

// headers adds those that keep a browser from doing more than it should.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store") // an old page must not read a new program's answers
		next.ServeHTTP(w, r)
	})
}
