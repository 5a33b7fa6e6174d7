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
	changed chan struct{} // closed when places come free; nil while nobody waits
}

func newRoom(records int, bytes int64) *room {
	return &room{maxRecords: records, maxBytes: bytes}
}

// take waits for a place, and takes places for as many of the records, from the first on, as there are. A record larger
// than all of the room gets it when the room is empty.
func (m *room) take(ctx context.Context, recs []Record) (n int, err error) {
	err = m.wait(ctx, func() bool {
		for n = 0; n < len(recs); n++ {
			bytes := recs[n].size()
			if m.records >= m.maxRecords || m.records > 0 && m.bytes+bytes > m.maxBytes {
				break
			}
			m.records++
			m.bytes += bytes
		}
		return n > 0
	})
	return n, err
}

// any waits until there is a place at all: while there is none, fetching is no use.
func (m *room) any(ctx context.Context) error {
	return m.wait(ctx, func() bool { return m.records < m.maxRecords && m.bytes < m.maxBytes })
}

func (m *room) wait(ctx context.Context, try func() bool) error {
	for {
		m.mu.Lock()
		if try() {
			m.mu.Unlock()
			return nil
		}
		if m.changed == nil {
			m.changed = make(chan struct{})
		}
		changed := m.changed
		m.mu.Unlock()
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
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

func (m *room) used() (records int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records, m.bytes
}
