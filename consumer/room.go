package consumer

import (
	"context"
	"sync"
)

// room bounds the records and bytes in memory. Places are taken before a record is delivered, and given back when
// the settled run passes it: a settled record that cannot be committed yet keeps its place.
type room struct {
	maxRecords int
	maxBytes   int64

	mu      sync.Mutex
	records int
	bytes   int64
	changed chan struct{} // closed and replaced when places come free
}

func newRoom(records int, bytes int64) *room {
	return &room{maxRecords: records, maxBytes: bytes, changed: make(chan struct{})}
}

// take waits for the place of one record. A record larger than all of the room gets it when the room is empty.
func (m *room) take(ctx context.Context, bytes int64) error {
	return m.wait(ctx, func() bool {
		if m.records >= m.maxRecords || m.records > 0 && m.bytes+bytes > m.maxBytes {
			return false
		}
		m.records++
		m.bytes += bytes
		return true
	})
}

// any waits until there is a place at all: while there is none, fetching is no use.
func (m *room) any(ctx context.Context) error {
	return m.wait(ctx, func() bool { return m.records < m.maxRecords && m.bytes < m.maxBytes })
}

func (m *room) wait(ctx context.Context, try func() bool) error {
	for {
		m.mu.Lock()
		ok, changed := try(), m.changed
		m.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (m *room) give(records int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records -= records
	m.bytes -= bytes
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *room) used() (records int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records, m.bytes
}
