package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/tasksink/tasksink/internal/broker"
)

const (
	fetchWait      = 500 * time.Millisecond // the longest poll
	fetchBytes     = 512 << 10              // of one answer, compressed
	partitionBytes = 256 << 10              // of one partition in it
	fetchPause     = 100 * time.Millisecond // after an error, so that a broken broker is not asked in a circle
	readCommitted  = 1
)

// fetch reads the given partitions until ctx ends: one request at a time to each leader, for all the partitions
// that it leads. When leaders change, or a broker fails, it asks anew who leads what.
func (g *generation) fetch(ctx context.Context) {
	if len(g.parts) == 0 {
		return // more members than partitions
	}
	for ctx.Err() == nil {
		leaders, err := g.leaders(ctx)
		if err == nil {
			err = g.start(ctx)
		}
		if err == nil {
			g.c.flows()
			err = g.fetchFrom(ctx, leaders)
		}
		if ctx.Err() != nil {
			return
		}
		g.c.complain(err)
		select {
		case <-time.After(fetchPause):
		case <-ctx.Done():
		}
	}
}

// fetchFrom runs one loop for each leader, until one of them meets an error.
func (g *generation) fetchFrom(ctx context.Context, leaders map[int][]*partition) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var loops sync.WaitGroup
	for _, led := range leaders {
		loops.Go(func() { stop(g.fetchLoop(ctx, led)) })
	}
	loops.Wait()
	return context.Cause(ctx)
}

// leaders asks who leads each partition.
func (g *generation) leaders(ctx context.Context) (map[int][]*partition, error) {
	found, err := g.c.layout(ctx)
	if err != nil {
		return nil, err
	}
	leaders := map[int][]*partition{}
	for _, p := range g.parts {
		leader, is := found[p.topic][p.id]
		if !is {
			return nil, fmt.Errorf("find the leader of %s/%d: there is none", p.topic, p.id)
		}
		leaders[leader] = append(leaders[leader], p)
	}
	return leaders, nil
}

// start turns "the first offset" into a number, for partitions that nothing was ever committed of.
func (g *generation) start(ctx context.Context) error {
	ask := map[string][]kafka.OffsetRequest{}
	for _, p := range g.parts {
		if _, known := p.position(); !known {
			ask[p.topic] = append(ask[p.topic], kafka.FirstOffsetOf(p.id))
		}
	}
	if len(ask) == 0 {
		return nil
	}
	res, err := g.c.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: ask})
	if err != nil {
		return fmt.Errorf("ask for the first offsets: %w", err)
	}
	for topic, offsets := range res.Topics {
		for _, o := range offsets {
			if o.Error != nil {
				return fmt.Errorf("ask for the first offset of %s/%d: %w", topic, o.Partition, o.Error)
			}
			if p := g.part(topic, o.Partition); p != nil {
				p.skipTo(o.FirstOffset)
			}
		}
	}
	return nil
}

// fetchLoop sends one request after the other to the leader of the given partitions.
func (g *generation) fetchLoop(ctx context.Context, parts []*partition) error {
	for {
		if err := g.c.room.any(ctx); err != nil {
			return err
		}
		req := request(parts)
		attempt, stop := context.WithTimeout(ctx, fetchWait+broker.DialTimeout+broker.Silence)
		msg, err := g.c.transport.RoundTrip(attempt, kafka.TCP(g.c.cfg.Brokers...), req)
		stop()
		if err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		res, is := msg.(*fetch.Response)
		if !is {
			return fmt.Errorf("fetch: an answer of type %T", msg)
		}
		if res.ErrorCode != 0 {
			return fmt.Errorf("fetch: %w", kafka.Error(res.ErrorCode))
		}
		for _, t := range res.Topics {
			for i := range t.Partitions {
				p := g.part(t.Topic, int(t.Partitions[i].Partition))
				if p == nil {
					continue
				}
				if err := g.take(ctx, p, &t.Partitions[i]); err != nil {
					return err
				}
			}
		}
		// The broker fills the answer in the order of the request: turn it, so that none starves.
		parts = append(parts[1:len(parts):len(parts)], parts[0])
	}
}

func request(parts []*partition) *fetch.Request {
	req := &fetch.Request{ReplicaID: -1, MaxWaitTime: int32(fetchWait / time.Millisecond), MinBytes: 1,
		MaxBytes:       fetchBytes,
		IsolationLevel: readCommitted, SessionEpoch: -1}
	at := map[string]int{}
	for _, p := range parts {
		i, is := at[p.topic]
		if !is {
			i = len(req.Topics)
			at[p.topic] = i
			req.Topics = append(req.Topics, fetch.RequestTopic{Topic: p.topic})
		}
		p.mu.Lock()
		next := p.next
		p.mu.Unlock()
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, fetch.RequestPartition{
			Partition: int32(p.id), CurrentLeaderEpoch: -1, FetchOffset: next, LogStartOffset: -1,
			PartitionMaxBytes: partitionBytes})
	}
	return req
}

// take delivers what an answer holds of one partition, in order, each record when there is room for it. Meanwhile
// the rest of the answer is the one decompressed fetch that a leader may have in memory beside the room.
func (g *generation) take(ctx context.Context, p *partition, res *fetch.ResponsePartition) error {
	g.c.arrived.Add(p.grows(res.HighWatermark))
	p.mu.Lock()
	asked := p.next
	p.logStart = res.LogStartOffset
	p.mu.Unlock()
	switch err := kafka.Error(res.ErrorCode); {
	case errors.Is(err, kafka.OffsetOutOfRange):
		return g.outOfRange(ctx, p, asked)
	case res.ErrorCode != 0:
		return fmt.Errorf("fetch %s/%d: %w", p.topic, p.id, err)
	}
	if lost := res.LogStartOffset - asked; lost > 0 { // kafka-go asks for the log's start by itself
		g.c.lose(p, lost)
		p.skipTo(res.LogStartOffset)
		asked = res.LogStartOffset
	}
	if res.RecordSet.Records == nil {
		return nil // an empty answer, perhaps an open transaction: never step past it
	}
	batches := []protocol.RecordReader{res.RecordSet.Records}
	if stream, is := res.RecordSet.Records.(*protocol.RecordStream); is {
		batches = stream.Records
	}
	aborted := newAborted(res.AbortedTransactions)
	var in intake
	for _, batch := range batches {
		if control, is := batch.(*protocol.ControlBatch); is {
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
				return errors.Join(g.admit(ctx, p, &in), fmt.Errorf("read a batch of %s/%d: %w", p.topic, p.id, err))
			}
			if rec.Offset < asked || drop {
				release(rec)
				if drop {
					in.next = max(in.next, rec.Offset+1)
				}
				continue
			}
			if in.add(rec) {
				if err := g.admit(ctx, p, &in); err != nil {
					return err
				}
			}
		}
	}
	if err := g.admit(ctx, p, &in); err != nil {
		return err
	}
	p.skipTo(in.next)
	g.stepPast(p, asked, batches)
	return nil
}

// admit delivers what was gathered, each record when there is room for it.
func (g *generation) admit(ctx context.Context, p *partition, in *intake) error {
	recs, err := in.records(p)
	if err != nil {
		return fmt.Errorf("read a record of %s/%d: %w", p.topic, p.id, err)
	}
	for len(recs) > 0 {
		n, err := g.c.room.take(ctx, recs)
		if err != nil {
			return err
		}
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
	p.mu.Lock()
	stuck := p.next == asked
	p.mu.Unlock()
	if !stuck || len(batches) == 0 {
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

func baseOffset(batch protocol.RecordReader) int64 {
	switch b := batch.(type) {
	case *protocol.RecordBatch:
		return b.BaseOffset
	case *protocol.ControlBatch:
		return b.BaseOffset
	default:
		return -1 // older formats have neither markers nor empty batches
	}
}

// outOfRange resolves a position that the log does not have. Below its start, records were lost to retention. Beyond
// its end the topic was created anew: the one case in which a position, and a commit, moves back.
func (g *generation) outOfRange(ctx context.Context, p *partition, asked int64) error {
	res, err := g.c.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		p.topic: {kafka.FirstOffsetOf(p.id), kafka.LastOffsetOf(p.id)}}})
	if err != nil {
		return fmt.Errorf("ask for the bounds of %s/%d: %w", p.topic, p.id, err)
	}
	for _, o := range res.Topics[p.topic] {
		switch {
		case o.Error != nil:
			return fmt.Errorf("ask for the bounds of %s/%d: %w", p.topic, p.id, o.Error)
		case asked < o.FirstOffset:
			g.c.lose(p, o.FirstOffset-asked)
			p.skipTo(o.FirstOffset)
		case asked > o.LastOffset && !p.idle():
			return fmt.Errorf("%s/%d was created anew; records of the old one are still on their way", p.topic, p.id)
		case asked > o.LastOffset:
			g.c.cfg.Log.Error().Str("topic", p.topic).Int("partition", p.id).Int64("position", asked).Int64("end", o.LastOffset).
				Msg("the position lies beyond the end of the log: the topic was created anew; starting at its first record")
			p.startAt(o.FirstOffset)
		}
	}
	return nil
}

var errRevoked = errors.New("the partition was given up")

// aborted tells which batches of an answer belong to transactions that were aborted. The broker names for each the
// producer and the first offset; it lasts until the producer's next control batch.
type aborted struct {
	begin  []fetch.ResponseTransaction // by first offset, those not reached yet
	active map[int64]bool              // producers inside an aborted transaction
}

func newAborted(list []fetch.ResponseTransaction) *aborted {
	sort.Slice(list, func(i, j int) bool { return list[i].FirstOffset < list[j].FirstOffset })
	return &aborted{begin: list, active: map[int64]bool{}}
}

func (a *aborted) drops(batch protocol.RecordReader) bool {
	b, is := batch.(*protocol.RecordBatch)
	if !is {
		return false // older formats know no transactions
	}
	for len(a.begin) > 0 && a.begin[0].FirstOffset <= b.BaseOffset {
		a.active[a.begin[0].ProducerID] = true
		a.begin = a.begin[1:]
	}
	return b.Attributes.Transactional() && a.active[b.ProducerID]
}

func (a *aborted) end(c *protocol.ControlBatch) {
	for len(a.begin) > 0 && a.begin[0].FirstOffset <= c.BaseOffset {
		a.active[a.begin[0].ProducerID] = true
		a.begin = a.begin[1:]
	}
	delete(a.active, c.ProducerID)
}
