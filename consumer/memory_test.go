package consumer_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/tasksink/tasksink/batcher"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/upsert"
)

// TestRecordOverhead holds what --max-pending-bytes counts for a record beside its bytes against what a record that
// waits for a batch takes of the heap, decoded and queued: not less, and not half as much again.
func TestRecordOverhead(t *testing.T) {
	const n, group = 20_000, 64
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	decoder := upsert.Decoder{IDProperty: "external_task_id"}
	queue := batcher.New(batcher.Config[*upsert.Task]{Size: 100, Bytes: 1 << 20})
	before, bytes := heap(), int64(0)
	delivered := make([]*consumer.Record, 0, n)
	for i := 0; i < n; i += group {
		recs := make([]consumer.Record, min(group, n-i))
		for j := range recs {
			key := fmt.Sprintf("task-%07d", i+j)
			recs[j].Topic, recs[j].Key = "tasks", []byte(key)
			recs[j].Value = fmt.Appendf(nil, `{"id":%q,"properties":{"hs_task_subject":"Call back","hs_task_status":"NOT_STARTED"}}`, key)
			bytes += int64(cap(recs[j].Key) + cap(recs[j].Value))
			delivered = append(delivered, &recs[j])
			task, refused := decoder.Decode(&recs[j])
			if refused != nil {
				t.Fatal(refused)
			}
			queue.Add(task.IDProperty, task.ID, task, upsert.InputSize(task), false)
		}
	}
	each := (heap() - before - bytes) / n
	t.Logf("a waiting record takes %d bytes beside its own", each)
	if each > consumer.RecordOverhead || each < consumer.RecordOverhead*2/3 {
		t.Errorf("a waiting record takes %d bytes beside its own, and is counted with %d", each, consumer.RecordOverhead)
	}
	runtime.KeepAlive(delivered)
	runtime.KeepAlive(queue)
}
