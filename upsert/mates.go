package upsert

import (
	"encoding/json"
	"math"
	"slices"
	"time"
)

// mates is what the members of the group tell each other when it divides anew: which requests each has in the
// account's window. So whoever joins knows how full the window is, and when its places come free, without asking
// HubSpot, and what is free is divided like the partitions:
//
//	own requests since then ≤ share × (limit − requests of all from before that are still in the window)
//
// The shares add up to one, so all together never exceed the limit, at any moment.
//
// The group does not know what a member sent that is gone. Then, and until a window has passed, there is fog: the
// notes only say that a place is surely taken, and the rules hold that need no notes.
type mates struct {
	since time.Time   // when the group divided
	sent  []time.Time // requests of the others from before, oldest first
	fog   time.Time   // until then requests of the unknown may be in the window
}

const maxNoted = 10_000 // requests of one member; HubSpot's highest limit is a fortieth of it

// note is what a member tells the others as it joins anew. Ages are in ms: the clocks of two machines may differ.
type note struct {
	Share float64 `json:"share"` // of the partitions, that it had until now
	Fog   int64   `json:"fog_ms"`
	Sent  []int64 `json:"sent_ms"` // how long ago its requests of the last window left
}

// Note tells the other members of the group what of the account's window is this member's doing. The group carries
// it to them: it is made when nothing leaves any more, and they get it by Share.
func (p *Pace) Note() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.forget(now)
	n := note{Share: p.share(), Fog: max(0, p.mates.fog.Sub(now).Milliseconds()), Sent: make([]int64, 0, len(p.stamps))}
	for _, at := range p.stamps {
		n.Sent = append(n.Sent, now.Sub(at).Milliseconds())
	}
	b, err := json.Marshal(n)
	if err != nil {
		return nil // numbers can always be written
	}
	return b
}

// met takes in the notes of the other members. A note's ages count from now, though it was written before the group
// divided: its requests seem younger than they are, and their places come free a little late.
func (p *Pace) met(now time.Time, notes [][]byte) {
	m, had := &p.mates, p.share()
	m.since, m.sent = now, nil
	for _, b := range notes {
		var n note
		if json.Unmarshal(b, &n) != nil { // another version, or another program
			continue
		}
		had += n.Share
		// Whoever may join the group may write notes: none holds us up for longer than a window.
		if fog := now.Add(time.Duration(min(n.Fog, p.window().Milliseconds())) * time.Millisecond); fog.After(m.fog) {
			m.fog = fog
		}
		for _, age := range n.Sent[:min(len(n.Sent), maxNoted)] {
			m.sent = append(m.sent, now.Add(-time.Duration(max(0, age))*time.Millisecond))
		}
	}
	slices.SortFunc(m.sent, time.Time.Compare)
	if math.Abs(had-1) > 1e-6 { // somebody is gone, or has said nothing
		m.fog = now.Add(p.window())
	}
}

// before counts the requests in the window that left before the group divided: own ones, and those of the others.
func (p *Pace) before(now time.Time) (own, others int) {
	m := &p.mates
	for len(m.sent) > 0 && now.Sub(m.sent[0]) >= p.window() {
		m.sent = m.sent[1:]
	}
	for _, at := range p.stamps {
		if !at.Before(m.since) {
			break
		}
		own++
	}
	return own, len(m.sent)
}
