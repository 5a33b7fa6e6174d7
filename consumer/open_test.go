package consumer

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/tasksink/tasksink/consumer/offsetmap"
	"github.com/tasksink/tasksink/consumer/recordbatch"
)

// TestEveryHundredthOpen: of ten minutes at an account's full rate, 600,000 records, every hundredth stays open. The
// room counts these, memory holds no more than the other records of their slabs beside them, and a commit has a map of
// nearly all the rest.
func TestEveryHundredthOpen(t *testing.T) {
	const n, each = 600_000, 100
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	room := newRoom(20_000, 64<<20)
	p := newPartition("tasks", 0, room.seat(), nil)
	p.resume(0, 0, nil)
	before := heap()
	value := bytes.Repeat([]byte("x"), 300)
	var in intake
	for offset := 0; offset < n; {
		for range intakeRecords {
			in.gathered = append(in.gathered, recordbatch.Record{Offset: int64(offset), Time: 1_800_000_000_000,
				Key: fmt.Appendf(nil, "task-%d", offset), Value: value})
			offset++
		}
		recs := in.records(p)
		if p.seat.take(recs) != len(recs) || !p.add(recs, 0) {
			t.Fatalf("no room at offset %d", offset)
		}
		for _, r := range recs {
			if r.Offset%each != 0 {
				r.Settle(time.Now())
			}
		}
	}
	grown := heap() - before
	records, size := room.usage()
	if records != n/each {
		t.Errorf("the room counts %d records, want %d", records, n/each)
	}
	t.Logf("%d records are open and count as %d KiB; memory holds %d KiB", records, size>>10, grown>>10)
	if grown > slab*size {
		t.Errorf("memory holds %d KiB for %d KiB that the room counts", grown>>10, size>>10)
	}
	s, _ := p.unsaved()
	place := offsetmap.Place{Cluster: "c", Group: "g", Topic: topicID{1}}
	metadata, left := new(offsetmap.Encoder).Encode(place, offsetmap.Map{Committed: s.offset, Epoch: s.newest,
		Settled: s.settled}, metadataLimit)
	if s.offset != 0 || left != 0 {
		t.Errorf("offset %d is committed, and the %d bytes of metadata leave out %d settled offsets", s.offset, len(metadata),
			left)
	}
	runtime.KeepAlive(p)
}
