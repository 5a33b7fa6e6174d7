package batcher_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tasksink/tasksink/batcher"
)

// BenchmarkBesideParked is what a record costs while 20,000 others are parked, and as many rest together.
func BenchmarkBesideParked(b *testing.B) {
	q := batcher.New(batcher.Config[int]{Size: 100, Bytes: 1 << 20, Held: func(i int) bool { return i < 20000 }})
	for i := range 20000 {
		q.Add("", fmt.Sprint("parked-", i), i, 350, false)
		q.Add("", fmt.Sprint("together-", i), 20000+i, 350, false)
	}
	for batch := q.Seal(1); batch != nil; batch = q.Seal(1) {
		q.Together(batch, time.Hour)
	}
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprint("task-", i)
		q.Add("", names[i], 40000+i, 350, false)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%100 == 0 {
			batch := q.Seal(100)
			for _, s := range batch {
				q.Done(s)
			}
			for _, s := range batch {
				q.Add("", names[s.Records[0]-40000], s.Records[0], 350, false)
			}
		}
	}
}

// BenchmarkRecord is what the queue costs a record, in full batches with 20,000 records waiting.
func BenchmarkRecord(b *testing.B) {
	q := batcher.New(batcher.Config[int]{Size: 100, Bytes: 1 << 20})
	names := make([]string, 20000)
	for i := range names {
		names[i] = fmt.Sprint("task-", i)
		q.Add("", names[i], i, 350, false)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%100 == 0 {
			batch := q.Seal(100)
			for _, s := range batch {
				q.Done(s)
			}
			for _, s := range batch {
				q.Add("", names[s.Records[0]], s.Records[0], 350, false)
			}
		}
	}
}
