package worker

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

const summaryEvery = time.Minute

// summarise says once a minute what happened, and once more at the end.
func (p *statusPage) summarise(ctx context.Context, log zerolog.Logger, size int) {
	tick := time.NewTicker(summaryEvery)
	defer tick.Stop()
	before := Status{}
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		now := p.status()
		now.summary(log.Info(), before, size)
		before = now
	}
}

// summary is one line of what happened between two looks.
func (s Status) summary(e *zerolog.Event, before Status, size int) {
	requests, sent := zerolog.Dict(), 0
	for status, n := range s.Sender.Requests {
		if came := n - before.Sender.Requests[status]; came > 0 {
			requests.Int(status, came)
			sent += came
		}
	}
	lag, sick := int64(0), 0
	for _, part := range s.Partitions {
		if part.Lag != nil {
			lag += *part.Lag
		}
		if part.Problem != nil {
			sick++
		}
	}
	holds, last := zerolog.Arr(), ""
	for _, h := range s.Holds {
		if h.Reason != last { // many partitions, one reason
			holds.Str(h.Reason)
		}
		last = h.Reason
	}
	e.Uint64("upserted", s.Records.Upserted-before.Records.Upserted).Int("dead_lettered",
		s.Records.DeadLettered-before.Records.DeadLettered).
		Uint64("skipped", s.Records.Skipped-before.Records.Skipped).Dict("requests", requests)
	if sent > 0 {
		e.Uint64("fill_percent", 100*(s.Sender.Inputs-before.Sender.Inputs)/uint64(sent*size))
	}
	e.Int64("lag", lag).Array("holds", holds).Int("sick", sick).Str("state", s.State).Msg("summary")
}
