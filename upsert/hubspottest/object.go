package hubspottest

import (
	"strconv"
	"strings"
	"time"
)

type object struct {
	id         string // HubSpot's
	idProperty string
	key        string // the id in its first writer's spelling
	properties map[string]string
	created    time.Time
}

// key is where the input's object stands in s.objects.
func (s *Server) key(in wireInput) string { return in.IDProperty + "\x00" + s.fold(*in.ID) }

// fold makes equal what the account takes for the same id.
func (s *Server) fold(id string) string {
	if !s.cfg.FoldIDs {
		return id
	}
	return strings.ToLower(strings.TrimSpace(id))
}

// Objects returns what the account holds: idProperty, a zero byte, and id → properties. With FoldIDs the id is spelt as
// its first writer spelt it.
func (s *Server) Objects() map[string]map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]map[string]string, len(s.objects))
	for _, o := range s.objects {
		p := make(map[string]string, len(o.properties))
		for name, value := range o.properties {
			p[name] = value
		}
		all[o.idProperty+"\x00"+o.key] = p
	}
	return all
}

// write applies one input and returns its result.
func (s *Server) write(req int, in wireInput, values map[string]string) map[string]any {
	now := time.Now()
	o, archived := s.find(s.key(in))
	old := o != nil
	if !old {
		s.lastID++
		o = &object{id: strconv.Itoa(s.lastID), idProperty: in.IDProperty, key: *in.ID,
			properties: map[string]string{in.IDProperty: *in.ID}, created: now}
		s.objects[s.key(in)] = o
	}
	for name, v := range values {
		o.properties[name] = v
	}
	s.journal = append(s.journal, Write{Seq: len(s.journal), Time: now, Request: req, IDProperty: in.IDProperty,
		ID: *in.ID, HubSpotID: o.id, TraceID: in.ObjectWriteTraceID, Properties: values, New: !old})
	echo := make(map[string]string, len(values)+4)
	for name, v := range values {
		echo[name] = v
	}
	echo["hs_object_id"], echo["hs_createdate"], echo["hs_lastmodifieddate"] = o.id, stamp(o.created), stamp(now)
	switch s.cfg.EchoKey {
	case "none":
		delete(echo, in.IDProperty)
	case "normalized":
		echo[in.IDProperty] = strings.ToLower(strings.TrimLeft(strings.TrimSpace(o.key), "0"))
	default:
		echo[in.IDProperty] = o.key
	}
	result := map[string]any{"id": o.id, "properties": echo, "createdAt": stamp(o.created), "updatedAt": stamp(now),
		"archived": archived, "new": !old}
	if s.cfg.EchoTrace {
		result["objectWriteTraceId"] = in.ObjectWriteTraceID
	}
	return result
}
