package pace

import (
	"encoding/json"
	"math"
	"slices"
	"time"
)

// peers is what the members of the group tell each other when the group rebalances: which requests each has in the
// account's window. So a member that joins knows how full the window is, and when its places come free, without asking
// HubSpot, and what is free is divided like the partitions:
//
//	own requests since then ≤ share × (limit − requests of all from before that are still in the window)
//
// The shares add up to one, so all together never exceed the limit, at any moment.
//
// Nobody knows what a crashed member had sent. From then until a window has passed the notes only say that a place is
// surely taken, and the rules apply that need no notes.
type peers struct {
	since        time.Time   // when the group rebalanced
	sent         []time.Time // requests of the others from before, oldest first
	unknownUntil time.Time   // until then there may be requests in the window of which nobody knows
}

const maxNoted = 10_000 // requests of one member; HubSpot's highest limit is a fortieth of it

// note is what a member tells the others as it joins again. Ages are in ms: the clocks of two machines may differ.
//
// Its JSON is a wire format between versions, and how a tasksink knows another (IsNote): fields may be added, none may
// be renamed or left out.
type note struct {
	Share   float64 `json:"share"`   // of the partitions, that it had until now
	Unknown int64   `json:"fog_ms"`  // how long unknownUntil is still to come; named on the wire as earlier versions do
	Sent    []int64 `json:"sent_ms"` // how long ago its requests of the last window left
}

// Note tells the other members of the group what of the account's window is this member's doing. The group carries
// it to them: it is made when nothing leaves any more, and they get it by Share.
func (p *Pace) Note() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.forget(now)
	n := note{Share: p.share(), Unknown: max(0, p.peers.unknownUntil.Sub(now).Milliseconds()),
		Sent: make([]int64, 0, len(p.stamps))}
	for _, at := range p.stamps {
		n.Sent = append(n.Sent, now.Sub(at).Milliseconds())
	}
	b, err := json.Marshal(n)
	if err != nil {
		return nil // numbers can always be written
	}
	return b
}

// IsNote tells whether b is a note, of this version or another one. A member of the group that says anything else is
// not a tasksink.
func IsNote(b []byte) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(b, &fields) != nil {
		return false
	}
	_, share := fields["share"]
	_, sent := fields["sent_ms"]
	return share && sent
}

// learn takes in the notes of the other members. A note's ages count from now, though it was written before the group
// rebalanced: its requests seem younger than they are, and their places come free a little late.
func (p *Pace) learn(now time.Time, notes [][]byte) {
	peers, had := &p.peers, p.share()
	peers.since, peers.sent = now, nil
	for _, b := range notes {
		var n note
		if json.Unmarshal(b, &n) != nil { // another version, or another program
			continue
		}
		had += n.Share
		// Whoever may join the group may write notes: none holds us up for longer than a window.
		until := now.Add(time.Duration(min(n.Unknown, p.window().Milliseconds())) * time.Millisecond)
		if until.After(peers.unknownUntil) {
			peers.unknownUntil = until
		}
		for _, age := range n.Sent[:min(len(n.Sent), maxNoted)] {
			peers.sent = append(peers.sent, now.Add(-time.Duration(max(0, age))*time.Millisecond))
		}
	}
	slices.SortFunc(peers.sent, time.Time.Compare)
	if math.Abs(had-1) > 1e-6 { // somebody is gone, or has said nothing
		peers.unknownUntil = now.Add(p.window())
	}
}

// before counts the requests in the window that left before the group rebalanced: own ones, and those of the others.
func (p *Pace) before(now time.Time) (own, others int) {
	peers := &p.peers
	for len(peers.sent) > 0 && now.Sub(peers.sent[0]) >= p.window() {
		peers.sent = peers.sent[1:]
	}
	for _, at := range p.stamps {
		if !at.Before(peers.since) {
			break
		}
		own++
	}
	return own, len(peers.sent)
}
