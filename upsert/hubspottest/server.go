// Package hubspottest is a simulator of HubSpot's batch upsert of tasks: a real HTTP handler that keeps the objects,
// a journal of every write in order, a rolling rate window, and faults on demand.
//
// It answers as the endpoint's published description and recorded answers of the real one do: the order of the
// checks, the bodies, the headers. Where the real one's behaviour is unknown or varies, a switch chooses.
//
// Use New as an http.Handler in a test's server, or in memory. It starts no goroutine. All times are time.Now's, so
// it runs in a testing/synctest bubble.
package hubspottest

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config is what a simulated account is like.
type Config struct {
	Token        string        // the bearer token that it accepts; empty: any
	IDProperties []string      // properties of tasks with unique values; nil: external_task_id
	Limit        int           // requests in a window; 0: unlimited
	Window       time.Duration // 0: 10 s
	Daily        int           // calls a day; 0: unlimited
	TimeZone     string        // of the account; empty: UTC. The day's calls are counted from its midnight
	Latency      time.Duration // of each answer that is no fault's
	EchoTrace    bool          // results carry objectWriteTraceId
	EchoKey      string        // how results echo the key: "sent" (also if empty), "normalized", "none"
	IgnoreTrace  bool          // as if no input had a trace id: the first bad one sinks the batch
	Seed         uint64        // of the order of results
}

// Write is one object written by one request.
type Write struct {
	Seq        int
	Time       time.Time
	Request    int // Request.Seq of the request that wrote it
	IDProperty string
	ID         string
	HubSpotID  string
	TraceID    string
	Properties map[string]string // what was sent
	New        bool
}

// Request is one request that came.
type Request struct {
	Seq    int
	Time   time.Time
	Status int // 0 if it was not answered
	Inputs int // 0 if the body was not read
}

// Input is one element of a request, as a fault sees it.
type Input struct {
	ID, IDProperty, TraceID string
	Properties              map[string]string
}

// Server is a simulated account.
type Server struct {
	cfg Config

	mu       sync.Mutex
	rand     *rand.Rand
	token    string
	down     bool
	limit    int
	zone     *time.Location
	today    [3]int      // year, month and day that calls counts
	calls    int         // of the day
	window   []time.Time // of the requests that were let in
	objects  map[string]*object
	journal  []Write
	requests []Request
	faults   []*Fault
	lastID   int
}

type object struct {
	id         string
	properties map[string]string
	created    time.Time
}

// New returns an account without objects.
func New(cfg Config) *Server {
	if cfg.IDProperties == nil {
		cfg.IDProperties = []string{"external_task_id"}
	}
	if cfg.Window == 0 {
		cfg.Window = 10 * time.Second
	}
	zone, err := time.LoadLocation(cfg.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	return &Server{cfg: cfg, token: cfg.Token, limit: cfg.Limit, zone: zone,
		rand: rand.New(rand.NewPCG(cfg.Seed, 1)), objects: map[string]*object{}, lastID: 1000}
}

// SetToken changes the token that is accepted.
func (s *Server) SetToken(token string) { s.set(func() { s.token = token }) }

// SetDown makes every request fail with 503 and a page, or ends that.
func (s *Server) SetDown(down bool) { s.set(func() { s.down = down }) }

// SetLimit changes the account's requests in a window.
func (s *Server) SetLimit(limit int) { s.set(func() { s.limit = limit }) }

func (s *Server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Journal returns every write in order.
func (s *Server) Journal() []Write {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.journal)
}

// Requests returns every request in order of arrival.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Objects returns what the account holds: idProperty, a zero byte, and id → properties.
func (s *Server) Objects() map[string]map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]map[string]string, len(s.objects))
	for key, o := range s.objects {
		p := make(map[string]string, len(o.properties))
		for name, value := range o.properties {
			p[name] = value
		}
		all[key] = p
	}
	return all
}

var path = regexp.MustCompile(`^(/crm/v3/objects/(tasks|0-27)|/crm/objects/2026-0[39]/(tasks|0-27))/batch/upsert$`)

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/account-info/v3/details" {
		s.details(w, r)
		return
	}
	req := s.arrive()
	a, admitted := s.admit(r, w.Header())
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	inputs, parsed := parse(body)
	if parsed == nil {
		s.set(func() { s.requests[req].Inputs = len(inputs) })
	}
	if admitted && s.strike(w, r, req, inputs) {
		return
	}
	if s.cfg.Latency > 0 {
		select {
		case <-time.After(s.cfg.Latency):
		case <-r.Context().Done():
			return
		}
	}
	if admitted {
		a = s.answer(r, req, inputs, parsed, w.Header())
	}
	s.send(w, req, a.status, a.body)
}

// details tells of the account. It counts against the limits, and stands in no journal.
func (s *Server) details(w http.ResponseWriter, r *http.Request) {
	a, admitted := s.admit(r, w.Header())
	switch {
	case admitted && r.Method != http.MethodGet:
		a = failure(405, "METHOD_NOT_ALLOWED", "Only GET is allowed here", nil)
	case admitted:
		_, offset := time.Now().In(s.zone).Zone()
		a = jsonAnswer(200, map[string]any{"portalId": 123456, "accountType": "STANDARD", "timeZone": s.zone.String(), "companyCurrency": "EUR",
			"additionalCurrencies": []string{}, "utcOffset": time.Now().In(s.zone).Format("-07:00"), "utcOffsetMilliseconds": offset * 1000,
			"uiDomain": "app.hubspot.com", "dataHostingLocation": "na1"})
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that went away is no concern of ours
}

func (s *Server) arrive() (req int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{Seq: len(s.requests), Time: time.Now()})
	return len(s.requests) - 1
}

func (s *Server) send(w http.ResponseWriter, req, status int, body []byte) {
	s.set(func() { s.requests[req].Status = status })
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json;charset=utf-8")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away is no concern of ours
}

type answer struct {
	status int
	body   []byte
}

func jsonAnswer(status int, body any) answer {
	b, err := json.Marshal(body)
	if err != nil {
		return answer{500, []byte(err.Error())}
	}
	return answer{status, b}
}

// failure is HubSpot's Error.
func failure(status int, category, message string, context map[string][]string) answer {
	e := map[string]any{"status": "error", "message": message, "correlationId": correlationID()}
	if category != "" {
		e["category"] = category
	}
	if context != nil {
		e["context"] = context
	}
	return jsonAnswer(status, e)
}

func correlationID() string {
	n := rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", uint32(n), uint16(n>>32), n>>52, n>>44&0xfff, rand.Uint64()&0xffffffffffff)
}

// admit makes the first of HubSpot's checks, and counts the request as soon as it comes.
func (s *Server) admit(r *http.Request, header http.Header) (refusal answer, admitted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bearer, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !is || bearer == "" || s.token != "" && bearer != s.token {
		return failure(401, "INVALID_AUTHENTICATION", "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview", nil), false
	}
	if limited, policy := s.limited(header); limited {
		return jsonAnswer(429, map[string]any{"status": "error", "message": "You have reached your " + strings.ToLower(policy) + " limit.",
			"errorType": "RATE_LIMIT", "correlationId": correlationID(), "policyName": policy, "groupName": "publicapi:private-apps:calls-per-ten-seconds"}), false
	}
	return answer{}, true
}

// answer makes the other checks, and does what is asked for.
func (s *Server) answer(r *http.Request, req int, inputs []wireInput, parsed error, header http.Header) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !path.MatchString(r.URL.Path) || r.Method != http.MethodPost {
		return failure(404, "OBJECT_NOT_FOUND", "No resource at "+r.URL.Path, nil)
	}
	if s.down {
		header.Set("Content-Type", "text/html")
		return answer{503, []byte("<html><body>503 Service Temporarily Unavailable</body></html>")}
	}
	if parsed != nil {
		return failure(400, "", "Invalid input JSON on line 1, column 1: "+parsed.Error(), nil)
	}
	return s.batch(req, inputs)
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
	if len(s.window) >= s.limit {
		set("Remaining", 0)
		return true, "TEN_SECONDLY_ROLLING"
	}
	s.window = append(s.window, now)
	set("Remaining", s.limit-len(s.window))
	return false, ""
}
