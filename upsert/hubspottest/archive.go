package hubspottest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
)

// The account archives tasks, too. These calls are checked and counted like the others, and stand in no journal.

var archivePath = regexp.MustCompile(
	`^/crm/(?:v3/objects|objects/(?:2025-09|2026-03|2026-09))/(?:tasks|0-27)/batch/archive$`)

// Archived returns the HubSpot ids of the tasks that are archived, in the order of the calls that archived them.
func (s *Server) Archived() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bin)
}

// serveArchive archives the tasks that the request names. Ids that the account does not hold are passed over.
func (s *Server) serveArchive(w http.ResponseWriter, r *http.Request) {
	a, admitted := s.admit(r, w.Header())
	var body struct {
		Inputs []struct {
			ID string `json:"id"`
		} `json:"inputs"`
	}
	read := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body)
	if !s.wait(r) {
		return
	}
	if admitted {
		s.set(func() {
			switch n := len(body.Inputs); {
			case s.down:
				w.Header().Set("Content-Type", "text/html")
				a = answer{503, []byte(unavailable)}
			case r.Method != http.MethodPost:
				a = failure(405, "METHOD_NOT_ALLOWED", "Only POST is allowed here", nil)
			case read != nil:
				a = failure(400, "", "Invalid input JSON on line 1, column 1: "+read.Error(), nil)
			case n == 0:
				a = failure(400, "VALIDATION_ERROR", "Some required fields were not set: [inputs]", nil)
			case n > maxInputs:
				a = tooMany(n)
			default:
				for _, in := range body.Inputs {
					s.archive(in.ID)
				}
				a = answer{status: http.StatusNoContent}
			}
		})
	}
	write(w, a)
}

// archive takes an object out of those that the account holds; s.mu is held.
func (s *Server) archive(id string) {
	for key, o := range s.objects {
		if o.id == id {
			delete(s.objects, key)
			s.archived[key] = o
			s.bin = append(s.bin, id)
			return
		}
	}
}

// find returns the object that an upsert of the key writes to; nil if it makes a new one. s.mu is held. An archived
// object is brought back, or written to where it is, if Config.OnArchived says so.
func (s *Server) find(key string) (o *object, archived bool) {
	if o := s.objects[key]; o != nil {
		return o, false
	}
	o = s.archived[key]
	switch {
	case o == nil:
		return nil, false
	case s.cfg.OnArchived == "restore":
		delete(s.archived, key)
		s.objects[key] = o
		s.bin = slices.DeleteFunc(s.bin, func(id string) bool { return id == o.id })
		return o, false
	case s.cfg.OnArchived == "keep":
		return o, true
	default:
		return nil, false
	}
}
