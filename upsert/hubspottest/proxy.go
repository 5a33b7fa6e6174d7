package hubspottest

import (
	"bytes"
	"io"
	"net/http"
)

// forward is the proxy in front of HubSpot. It reads the whole request; HubSpot gets it, or never learns of it.
func (s *Server) forward(w http.ResponseWriter, r *http.Request) (forwarded bool) {
	if s.cfg.MaxBody == 0 {
		return true
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(s.cfg.MaxBody)+1))
	if err != nil {
		s.arrive()
		return false // the client is gone
	}
	if len(body) <= s.cfg.MaxBody {
		r.Body = io.NopCloser(bytes.NewReader(body))
		return true
	}
	req := s.arrive()
	// A client that still sends would see a broken connection instead of the page.
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return false
	}
	w.Header().Set("Content-Type", "text/html")
	s.send(w, req, http.StatusRequestEntityTooLarge,
		[]byte(Page(http.StatusRequestEntityTooLarge, "Request Entity Too Large")))
	return false
}
