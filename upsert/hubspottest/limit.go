package hubspottest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// admit makes the first of HubSpot's checks, and counts the request as soon as it comes.
func (s *Server) admit(r *http.Request, header http.Header) (refusal answer, admitted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		bearer = ""
	}
	if refusal, ok := s.authenticated(bearer); !ok {
		return refusal, false
	}
	if refusal, ok := s.permitted(r); !ok {
		return refusal, false
	}
	if limited, policy := s.limited(header); limited {
		return failure(429, policy, "You have reached your "+strings.ToLower(policy)+" limit.", nil), false
	}
	return answer{}, true
}

// limited counts the request, and tells whether it is one too many. Refused ones do not count.
func (s *Server) limited(header http.Header) (bool, string) {
	now := time.Now()
	set := func(name string, n int) { header.Set("X-HubSpot-RateLimit-"+name, strconv.Itoa(n)) }
	if s.cfg.Daily > 0 {
		if y, m, d := now.In(s.zone).Date(); s.today != [3]int{y, int(m), d} {
			s.today, s.calls = [3]int{y, int(m), d}, 0
		}
		set("Daily", s.cfg.Daily)
		if s.calls >= s.cfg.Daily {
			set("Daily-Remaining", 0)
			return true, "DAILY"
		}
		s.calls++
		set("Daily-Remaining", s.cfg.Daily-s.calls)
	}
	if s.limit == 0 {
		return false, ""
	}
	for len(s.window) > 0 && now.Sub(s.window[0]) >= s.cfg.Window {
		s.window = s.window[1:]
	}
	set("Max", s.limit)
	set("Interval-Milliseconds", int(s.cfg.Window/time.Millisecond))
	if s.spent || len(s.window) >= s.limit {
		set("Remaining", 0)
		return true, "TEN_SECONDLY_ROLLING"
	}
	s.window = append(s.window, now)
	set("Remaining", s.limit-len(s.window))
	return false, ""
}
