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

// Config is what a simulated account is like.
type Config struct {
	Token        string        // the bearer token that it accepts; empty: any, or with App that app's only
	App          *App          // nil: no OAuth
	IDProperties []string      // properties of tasks with unique values; nil: external_task_id
	Archived     []string      // properties of tasks that were archived
	Scopes       []string      // what the token may do; nil: read and write tasks
	Limit        int           // requests in a window; 0: unlimited
	Window       time.Duration // 0: 10 s
	Daily        int           // calls a day; 0: unlimited
	TimeZone     string        // of the account; empty: UTC. The day's calls are counted from its midnight
	Latency      time.Duration // of each answer that is no fault's; SetLatency changes it
	EchoTrace    bool          // results carry objectWriteTraceId
	EchoKey      string        // how results echo the key: "sent" (also if empty), "normalized", "none"
	IgnoreTrace  bool          // as if no input had a trace id: the first bad one sinks the batch
	Seed         uint64        // of the order of results

	Lean bool // for measuring: cheap, keeps and judges little; see lean.go
	// with Lean: told of each answered request, and of the ids it wrote; valid during the call
	Observe func(req Request, ids [][]byte)
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
	journal  []Write
	requests []Request
	faults   []*Fault
	lastID   int
	seed     maphash.Seed // of the lean mode's HubSpot ids
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
		rand: rand.New(rand.NewPCG(cfg.Seed, 1)), objects: map[string]*object{}, lastID: 1000}
}

// SetToken changes the token that is accepted.
func (s *Server) SetToken(token string) { s.set(func() { s.token = token }) }

// SetDown makes every request fail with 503 and a page, or ends that.
func (s *Server) SetDown(down bool) { s.set(func() { s.down = down }) }

// SetLimit changes the account's requests in a window.
func (s *Server) SetLimit(limit int) { s.set(func() { s.limit = limit }) }

// SetLatency changes how long each answer takes.
func (s *Server) SetLatency(latency time.Duration) { s.set(func() { s.latency = latency }) }

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
	if find, ok := s.lookup(r.URL.Path); ok {
		s.tell(w, r, find)
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
	if !s.wait(r) {
		return
	}
	if admitted {
		a = s.answer(r, req, inputs, parsed, w.Header())
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

func write(w http.ResponseWriter, a answer) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json;charset=utf-8")
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that went away is no concern of ours
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
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", uint32(n), uint16(n>>32), n>>52, n>>44&0xfff,
		rand.Uint64()&0xffffffffffff)
}

// answer makes the other checks, and does what is asked for.
func (s *Server) answer(r *http.Request, req int, inputs []wireInput, parsed error, header http.Header) answer {
	if a, served := s.serves(r, parsed, header); !served {
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.batch(req, inputs)
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
