package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/tasksink/tasksink/internal/watchdog"
)

// take delivers what an answer holds of one partition, in order, each record when there is room for it. Meanwhile
// the rest of the answer is the one decompressed fetch that a leader may have in memory beside the room.
func (g *generation) take(ctx context.Context, loop *watchdog.Loop, leader int, p *partition, first bool,
	res *fetch.ResponsePartition) error {
	asked := p.nextOffset()
	switch err := failure(res.ErrorCode); {
	case errors.Is(err, kafka.OffsetOutOfRange):
		return g.outOfRange(ctx, leader, p, asked)
	case err != nil:
		return fmt.Errorf("fetch from broker %d: %w", leader, err)
	}
	g.c.arrived.Add(p.grows(res.HighWatermark))
	p.starts(res.LogStartOffset)
	g.watchProgress(p, asked, first, res)
	if lost := res.LogStartOffset - asked; lost > 0 { // kafka-go asks for the log's start by itself
		g.c.lose(p, lost)
		p.skipTo(res.LogStartOffset)
		asked = res.LogStartOffset
	}
	if res.RecordSet.Records == nil {
		return nil // an empty answer, perhaps an open transaction: never step past it
	}
	batches := []protocol.RecordReader{res.RecordSet.Records}
	if stream, ok := res.RecordSet.Records.(*protocol.RecordStream); ok {
		batches = stream.Records
	}
	aborted := newAborted(res.AbortedTransactions)
	var in intake
	before := int64(0)
	for _, batch := range batches {
		if base := baseOffset(batch); base != oldFormat && (base < before || base >= res.HighWatermark) {
			return errors.Join(g.admit(ctx, loop, p, &in), fmt.Errorf("%w: a batch says that it begins at offset %d, "+
				"and the log ends at %d", errUnreadable, base, res.HighWatermark))
		} else if base != oldFormat {
			before = base
		}
		if control, ok := batch.(*protocol.ControlBatch); ok {
			aborted.end(control)
			continue
		}
		drop := aborted.drops(batch)
		for {
			rec, err := batch.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return errors.Join(g.admit(ctx, loop, p, &in), fmt.Errorf("read a batch: %w: %w", errUnreadable, err))
			}
			if rec.Offset < asked || drop {
				release(rec)
				if drop {
					in.next = max(in.next, rec.Offset+1)
				}
				continue
			}
			if in.add(rec) {
				if err := g.admit(ctx, loop, p, &in); err != nil {
					return err
				}
			}
		}
	}
	if err := g.admit(ctx, loop, p, &in); err != nil {
		return err
	}
	p.skipTo(in.next)
	g.stepPast(p, asked, batches)
	return nil
}

// admit delivers what was gathered, each record when there is room for it.
func (g *generation) admit(ctx context.Context, loop *watchdog.Loop, p *partition, in *intake) error {
	recs, err := in.records(p)
	if err != nil {
		return fmt.Errorf("read a record: %w: %w", errUnreadable, err)
	}
	for len(recs) > 0 {
		loop.Idle() // to wait for room is no fault
		n, err := g.c.room.take(ctx, recs)
		if err != nil {
			return err
		}
		loop.Busy()
		if !p.add(recs[:n]) {
			g.c.room.give(n, sizes(recs[:n]))
			return errRevoked
		}
		// the group's leader may be another program, and assign what nobody asked for
		if count := g.c.consumed[p.topic]; count != nil {
			count.Add(int64(n))
		}
		for i := range recs[:n] {
			g.deliver(&recs[i])
		}
		recs = recs[n:]
	}
	return nil
}

// stepPast moves on when batches came, but no record at or after the offset asked for: a marker of a transaction, or
// what compaction emptied. Then the next batch's start is next, or, as the end of a batch is not shown, the next
// offset.
func (g *generation) stepPast(p *partition, asked int64, batches []protocol.RecordReader) {
	if p.nextOffset() != asked || len(batches) == 0 {
		return
	}
	next := asked + 1
	for _, batch := range batches {
		if base := baseOffset(batch); base > asked {
			next = base
			break
		}
	}
	p.skipTo(next)
}

const oldFormat = -1 << 62

// baseOffset is where a batch begins. No checksum covers it.
func baseOffset(batch protocol.RecordReader) int64 {
	switch b := batch.(type) {
	case *protocol.RecordBatch:
		return b.BaseOffset
	case *protocol.ControlBatch:
		return b.BaseOffset
	default:
		return oldFormat // it has neither markers nor empty batches
	}
}

// outOfRange resolves a position that the log does not have. Below its start, records were lost to retention. Beyond
// its end the topic was created anew: the one case in which a position, and a commit, moves back.
func (g *generation) outOfRange(ctx context.Context, leader int, p *partition, asked int64) error {
	begin, err := g.c.offset(ctx, leader, p, kafka.FirstOffset)
	if err != nil {
		return fmt.Errorf("ask broker %d where the log begins: %w", leader, err)
	}
	end, err := g.c.offset(ctx, leader, p, kafka.LastOffset)
	if err != nil {
		return fmt.Errorf("ask broker %d where the log ends: %w", leader, err)
	}
	switch {
	case asked < begin:
		g.c.lose(p, begin-asked)
		p.skipTo(begin)
	case asked > end && !p.idle():
		return errors.New("the topic was created anew, and records of the old one are still on their way")
	case asked > end:
		g.c.cfg.Log.Error().Str("topic", p.topic).Int("partition", p.id).Int64("position", asked).Int64("end", end).
			Msg("the position lies beyond the end of the log: the topic was created anew; starting at its first record")
		p.startAt(begin)
	}
	return nil
}

// watchProgress takes in whether the broker serves nothing though the log goes on: beyond the first record of an open
// transaction, or because it finds no batch at our position. Only the first partition of a request must get something.
func (g *generation) watchProgress(p *partition, asked int64, first bool, res *fetch.ResponsePartition) {
	switch {
	case res.LastStableOffset >= 0 && res.LastStableOffset < res.HighWatermark && asked >= res.LastStableOffset:
		p.health.fail(passing, res.LastStableOffset, fmt.Errorf("%w holds %s at offset %d: %d offsets behind it wait",
			errOpenTransaction, p, res.LastStableOffset, res.HighWatermark-res.LastStableOffset))
	case res.RecordSet.Records != nil || asked >= res.HighWatermark:
		g.well(p, passing)
	case first:
		p.health.fail(passing, asked, fmt.Errorf("the broker has nothing at offset %d, and says that the log goes to %d: %w",
			asked, res.HighWatermark, kafka.InvalidMessage))
	}
}

var errOpenTransaction = errors.New("an open transaction")

var errRevoked = errors.New("the partition was given up")
