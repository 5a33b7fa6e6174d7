package worker

import (
	"io"
	stdlog "log"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"
)

// Whoever reaches the admin server may ask what he likes, and must not be able to hold up the worker by it.
const (
	adminHeader      = 16 << 10 // bytes of a request's header, about: more is 431
	adminBody        = 1 << 10  // bytes of its body, that nobody reads: more is 413
	adminConnections = 256      // at once: more wait
	adminRead        = 5 * time.Second
	adminWrite       = 10 * time.Second
	adminIdle        = 30 * time.Second
)

// withLimits bounds what a listener and its server take.
func withLimits(listener net.Listener, handler http.Handler, log zerolog.Logger) (net.Listener, *http.Server) {
	return netutil.LimitListener(listener, adminConnections),
		&http.Server{Handler: limitBody(handler), MaxHeaderBytes: adminHeader,
			ReadHeaderTimeout: adminRead, ReadTimeout: adminRead, WriteTimeout: adminWrite, IdleTimeout: adminIdle,
			ErrorLog: stdlog.New(log, "", 0)}
}

// limitBody refuses large bodies, and tells browsers and proxies to take each answer for what it says it is, and not to
// keep it.
func limitBody(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, adminBody)); err != nil {
			w.Header().Set("Connection", "close")
			http.Error(w, "the body is too large, or did not come in time", http.StatusRequestEntityTooLarge)
			return
		}
		handler.ServeHTTP(w, r)
	})
}
