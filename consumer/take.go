package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/consumer/recordbatch"
)

// take delivers what an answer holds of one partition, in order, as far as there is room for it. space says that the
// answer had space for more.
func (g *generation) take(ctx context.Context, leader int, p *partition, space bool, res *fetchedPartition,
	in *intake) error {
	asked := p.nextOffset()
	switch {
	case asked < 0: // the topic was created again meanwhile; where its log begins is not known yet
		return nil
	case errors.Is(res.err, kafka.OffsetOutOfRange):
		return g.outOfRange(ctx, leader, p, asked)
	case res.err != nil:
		return fmt.Errorf("fetch from broker %d: %w", leader, res.err)
	}
	g.c.arrived.Add(p.grows(res.highWatermark))
	p.starts(res.logStart)
	if res.logStart > asked {
		lost, ok := p.jump(asked, res.logStart)
		if !ok {
			return nil
		}
		g.c.lose(p, lost)
		asked = res.logStart
	}
	g.watchProgress(p, asked, space, res)
	err := g.read(p, asked, res, in)
	in.forget()
	if err == nil && p.nextOffset() == asked {
		p.seat.yield() // what was kept free for it is not needed
	}
	return err
}

// read delivers the records of an answer's batches.
func (g *generation) read(p *partition, asked int64, res *fetchedPartition, in *intake) error {
	aborted := newAborted(res.aborted)
	from := asked // no batch that we are sent ends before it
	for set := res.records; ; {
		batch, rest, err := recordbatch.Next(set)
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, recordbatch.ErrPartial):
			return g.admit(p, in)
		case err != nil:
			return errors.Join(g.admit(p, in), named(err))
		case batch.LastOffset < from || batch.BaseOffset > batch.LastOffset || batch.LastOffset >= res.highWatermark:
			// No checksum covers a batch's base offset.
			return errors.Join(g.admit(p, in), fmt.Errorf("%w: at offset %d of a log that ends at %d stands a batch of the "+
				"offsets %d to %d", errUnreadable, from, res.highWatermark, batch.BaseOffset, batch.LastOffset))
		}
		if !aborted.drops(&batch) {
			if err := g.readBatch(p, asked, &batch, in); err != nil {
				return err
			}
		}
		if err := g.admit(p, in); err != nil {
			return err
		}
		from, set = batch.LastOffset+1, rest
		p.pass(from, batch.LeaderEpoch)
	}
}

// readBatch gathers the records of one batch, and delivers them in groups.
func (g *generation) readBatch(p *partition, asked int64, batch *recordbatch.Batch, in *intake) error {
	p.weigh(batch.Size, batch.Count)
	in.epoch = batch.LeaderEpoch
	records := batch.Records(MaxHeaders)
	defer records.Close()
	known := skipping{spans: p.known(batch.LeaderEpoch)}
	defer func() { g.c.skipped.Add(known.skipped) }()
	var rec recordbatch.Record
	for {
		err := records.Next(&rec)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errors.Join(g.admit(p, in), named(err))
		case rec.Offset < asked || known.has(rec.Offset):
			continue
		}
		if rec.Size > intakeBytes { // not read before there is room for it
			if err := g.admit(p, in); err != nil {
				return err
			}
			if err := g.makeRoom(p, rec.Offset, int64(rec.Size)); err != nil {
				return err
			}
		}
		full, err := in.add(records, &rec)
		if err != nil {
			return errors.Join(g.admit(p, in), named(err))
		}
		if !plausible(time.UnixMilli(rec.Time)) {
			g.c.warnOfTime(p.topic, rec.Time)
		}
		if full || rec.Size > intakeBytes {
			if err := g.admit(p, in); err != nil {
				return err
			}
		}
	}
}

// named makes an error of the reader's one that says what to do about it.
func named(err error) error {
	var old *recordbatch.OldFormatError
	if errors.As(err, &old) {
		return fmt.Errorf("%w: %w", errOldFormat, err)
	}
	return fmt.Errorf("%w: %w", errUnreadable, err)
}

// makeRoom tells whether there is room for a large record.
func (g *generation) makeRoom(p *partition, offset, size int64) error {
	one := amount{1, size + recordOverhead}
	if most := g.c.room.max.bytes; one.bytes > most {
		return fmt.Errorf("%w: the record at offset %d takes %d bytes, and --max-pending-bytes is %d", errTooLarge, offset,
			one.bytes, most)
	}
	if !p.seat.open(one) {
		return errNoRoom
	}
	if size > collectAbove {
		runtime.GC() // what such records left behind would count several times
	}
	return nil
}

const collectAbove = 8 << 20

// turn waits a moment until the partition's turn in the room has come: to fetch the rest of the answer again would cost
// more.
func (g *generation) turn(p *partition, in *intake) bool {
	late := time.NewTimer(time.Until(in.until))
	defer late.Stop()
	for {
		freed := g.c.room.freed.next()
		if !p.seat.waits() {
			return true
		}
		select {
		case <-freed:
		case <-late.C:
			return false
		case <-in.done:
			return false
		}
	}
}

// admit delivers what was gathered, as far as there is room for it.
func (g *generation) admit(p *partition, in *intake) error {
	if len(in.gathered) == 0 {
		return nil
	}
	recs := in.records(p)
	for {
		n := p.seat.take(recs)
		if !p.add(recs[:n], in.epoch) {
			p.seat.give(n, sizes(recs[:n]))
			return errRevoked
		}
		// the group's leader may be another program, and assign what nobody asked for
		if count := g.c.consumed[p.topic]; count != nil {
			count.Add(int64(n))
		}
		for i := range recs[:n] {
			g.deliver(recs[i])
		}
		if recs = recs[n:]; len(recs) == 0 {
			return nil
		}
		if !g.turn(p, in) {
			return errNoRoom
		}
	}
}

var (
	errRevoked = errors.New("the partition was given up")
	// errNoRoom ends the reading of an answer. What found no room is fetched again when there is some.
	errNoRoom    = errors.New("there is no room")
	errTooLarge  = errors.New("a record is larger than the room")
	errOldFormat = errors.New("the log has records of an old format")
	// errOpenTransaction is what keeps a partition from getting on.
	errOpenTransaction = errors.New("an open transaction")
)

// outOfRange resolves a position that the log does not have. Below its start, records were lost to retention. Beyond
// its end either the topic was created again, or the log was truncated.
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
		if lost, ok := p.jump(asked, begin); ok {
			g.c.lose(p, lost)
		}
	case asked > end:
		return g.beyondEnd(ctx, p, end)
	}
	return nil
}

// beyondEnd tells a topic that was created again from a log that was truncated, by the topic's id as it is now.
func (g *generation) beyondEnd(ctx context.Context, p *partition, end int64) error {
	found, err := g.c.look(ctx, []string{p.topic})
	if err != nil {
		return err
	}
	now := found[p.topic]
	switch known := p.identity(); {
	case now.err != nil:
		return fmt.Errorf("look up the topic: %w", now.err)
	case known != topicID{} && known == now.id:
		g.truncated(p, end, -1)
	default: // without ids nobody knows: to read a log again loses nothing
		p.bind(now.id)
		g.recreated(p)
	}
	return nil
}

// recreated begins a new log at its beginning.
func (g *generation) recreated(p *partition) {
	g.c.cfg.Log.Error().Str("topic", p.topic).Int("partition", p.id).Int64("position", p.nextOffset()).
		Msg("partition " + p.String() + ": the topic was deleted and created again; starting at its first record")
	g.c.restarted.Add(1)
	p.restart()
	g.drop((*Record).Gone)
	g.routes.ring()
}

// truncated goes on where a log was truncated, if that lies below the position.
func (g *generation) truncated(p *partition, at int64, epoch int32) {
	beyond := p.truncate(at, epoch)
	if beyond == 0 {
		return
	}
	g.c.cfg.Log.Error().Str("topic", p.topic).Int("partition", p.id).Int64("position", at+beyond).Int64("at", at).
		Int64("records", beyond).Msg("partition " + p.String() + ": the log was truncated below the records that were read " +
		"of it; going on there. What was written to HubSpot of the others stays there")
	g.c.truncated.Add(1)
	g.drop((*Record).Gone)
	g.routes.ring()
}

// watchProgress takes in whether the broker serves nothing though the log goes on: beyond the first record of an open
// transaction, or because it finds no batch at our position though the answer had space for one.
func (g *generation) watchProgress(p *partition, asked int64, space bool, res *fetchedPartition) {
	switch {
	case res.lastStable >= 0 && res.lastStable < res.highWatermark && asked >= res.lastStable:
		p.health.fail(passing, res.lastStable, fmt.Errorf("%w holds %s at offset %d: %d offsets behind it wait",
			errOpenTransaction, p, res.lastStable, res.highWatermark-res.lastStable))
	case len(res.records) > 0 || asked >= res.highWatermark:
		g.well(p, passing)
	case space:
		p.health.fail(passing, asked, fmt.Errorf("the broker has nothing at offset %d, and says that the log goes to %d: %w",
			asked, res.highWatermark, kafka.InvalidMessage))
	}
}
