package hubspottest

import (
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

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

// Server is a simulated account.
type Server struct {
	cfg Config

	mu       sync.Mutex
	rand     *rand.Rand
	token    string
	tokens   tokens
	down     bool
	spent    bool // others use up the account's window
	limit    int
	latency  time.Duration
	zone     *time.Location
	today    [3]int      // year, month and day that calls counts
	calls    int         // of the day
	window   []time.Time // of the requests that were let in
	objects  map[string]*object
	archived map[string]*object // the latest archived one of each key
	bin      []string           // HubSpot ids of all archived ones
	journal  []Write
	requests []Request
	faults   []*Fault
	lastID   int
	seed     maphash.Seed // of the lean mode's HubSpot ids
}

// New returns an account without objects.
func New(cfg Config) *Server {
	if cfg.IDProperties == nil {
		cfg.IDProperties = []string{"external_task_id"}
	}
	if cfg.Scopes == nil {
		cfg.Scopes = []string{scopeWrite, scopeRead}
	}
	if cfg.Window == 0 {
		cfg.Window = 10 * time.Second
	}
	zone, err := time.LoadLocation(cfg.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	given := tokens{access: map[string]time.Time{}}
	if cfg.App != nil {
		given.refresh = cfg.App.RefreshToken
	}
	return &Server{cfg: cfg, token: cfg.Token, tokens: given, limit: cfg.Limit, latency: cfg.Latency, zone: zone,
		seed: maphash.MakeSeed(),
		rand: rand.New(rand.NewPCG(cfg.Seed, 1)), objects: map[string]*object{}, archived: map[string]*object{}, lastID: 1000}
}

// SetToken changes the token that is accepted.
func (s *Server) SetToken(token string) { s.set(func() { s.token = token }) }

// SetDown makes every request fail with 503 and a page, or ends that.
func (s *Server) SetDown(down bool) { s.set(func() { s.down = down }) }

// SetLimit changes the account's requests in a window.
func (s *Server) SetLimit(limit int) { s.set(func() { s.limit = limit }) }

// SetLatency changes how long each answer takes.
func (s *Server) SetLatency(latency time.Duration) { s.set(func() { s.latency = latency }) }

// AddIDProperty creates a property of tasks with unique values.
func (s *Server) AddIDProperty(name string) {
	s.set(func() { s.cfg.IDProperties = append(s.cfg.IDProperties, name) })
}

// SetSpent makes every request meet a 429 of the window, as if other programs of the account used it up, or ends that.
func (s *Server) SetSpent(spent bool) { s.set(func() { s.spent = spent }) }

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

var path = regexp.MustCompile(
	`^/crm/(?:(v3)/objects|objects/(2025-09|2026-03|2026-09))/(?:tasks|0-27)/batch/upsert$`)

// newest is the path's version that has rules of its own.
const newest = "2026-09"

// version is that of the API at the path; empty if there is no upsert.
func version(at string) string {
	m := path.FindStringSubmatch(at)
	if m == nil {
		return ""
	}
	return m[1] + m[2]
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if find, ok := s.lookup(r.URL.Path); ok {
		s.tell(w, r, find)
		return
	}
	if archivePath.MatchString(r.URL.Path) {
		s.serveArchive(w, r)
		return
	}
	if r.URL.Path == tokenInfo {
		s.introspect(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/oauth/") {
		s.grant(w, r)
		return
	}
	if s.cfg.Lean {
		s.serveLean(w, r)
		return
	}
	if !s.forward(w, r) {
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
	c := &call{seq: req, version: version(r.URL.Path), inputs: inputs, seen: see(inputs)}
	if admitted && s.strike(w, r, c) {
		return
	}
	if !s.wait(r) {
		return
	}
	if admitted {
		a = s.answer(r, c, parsed, w.Header())
	}
	s.send(w, req, a.status, a.body)
}

// wait takes the account's latency; false if the client went away meanwhile.
func (s *Server) wait(r *http.Request) bool {
	var latency time.Duration
	s.set(func() { latency = s.latency })
	if latency == 0 {
		return true
	}
	select {
	case <-time.After(latency):
		return true
	case <-r.Context().Done():
		return false
	}
}

func (s *Server) arrive() (req int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{Seq: len(s.requests), Time: time.Now()})
	return len(s.requests) - 1
}

func (s *Server) send(w http.ResponseWriter, req, status int, body []byte) {
	s.set(func() { s.requests[req].Status = status })
	write(w, answer{status, body})
}

// answer makes the other checks, and does what is asked for.
func (s *Server) answer(r *http.Request, c *call, parsed error, header http.Header) answer {
	if a, served := s.serves(r, parsed, header); !served {
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.batch(c)
}

// serves tells whether there is a service at the path, up, and the request was understood.
func (s *Server) serves(r *http.Request, parsed error, header http.Header) (refusal answer, served bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !path.MatchString(r.URL.Path) || r.Method != http.MethodPost {
		return failure(404, "OBJECT_NOT_FOUND", "No resource at "+r.URL.Path, nil), false
	}
	if s.down {
		header.Set("Content-Type", "text/html")
		return answer{503, []byte(unavailable)}, false
	}
	if parsed != nil {
		return failure(400, "", "Invalid input JSON on line 1, column 1: "+parsed.Error(), nil), false
	}
	return answer{}, true
}
