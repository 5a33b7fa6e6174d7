package consumer

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/tracing"
)

// BenchmarkSettle is what a record's settling takes, without metrics and with them.
func BenchmarkSettle(b *testing.B) {
	telemetry, err := tracing.Start(b.Context(), "test", zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	defer telemetry.Stop()
	for _, c := range []struct {
		name string
		ages *tracing.Ages
	}{{"off", nil}, {"on", telemetry.Ages()}} {
		b.Run(c.name, func(b *testing.B) {
			p := newPartition("tasks", 0, newRoom(1<<30, 1<<40).seat(), c.ages)
			recs := make([]*Record, b.N)
			for i := range recs {
				recs[i] = &Record{Offset: int64(i), Time: time.Now()}
			}
			if p.seat.take(recs) < len(recs) || !p.add(recs, 0) {
				b.Fatal("the records are not taken")
			}
			b.ResetTimer()
			for i := range recs {
				recs[i].Settle(time.Now())
			}
		})
	}
}
