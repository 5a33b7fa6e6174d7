package worker

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
)

// listenPprof opens a server of profiles; nil if address is empty. What it shows, such as stacks, is for whoever is on
// this machine: Check has refused other addresses. The command line, which may hold a token, is not served.
func listenPprof(ctx context.Context, address string, log zerolog.Logger) (*admin, error) {
	if address == "" {
		return nil, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--pprof=%s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.Handle("GET /debug/pprof/cmdline", http.NotFoundHandler())
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	a := &admin{name: "pprof server", log: log}
	a.listener, a.server = withLimits(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if config.Remote(r.Host) {
			// A page in a browser on this machine could have its own name point here.
			http.Error(w, "ask for it as localhost", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	}), log)
	a.server.WriteTimeout = 2 * time.Minute // a profile takes as long as it is asked to
	return a, nil
}
