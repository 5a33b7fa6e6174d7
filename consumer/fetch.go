package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/listoffsets"

	"github.com/tasksink/tasksink/internal/watchdog"
)

const (
	longestPoll  = time.Second
	shortPoll    = 250 * time.Millisecond // while others of the broker's partitions may be due soon
	fetchTimeout = 4 * time.Second        // for an answer, beyond the poll
	// roomPatience is for room for what an answer brought. The leader's other partitions wait meanwhile.
	roomPatience   = time.Second
	fetchBytes     = 512 << 10 // of one answer, compressed
	partitionBytes = 256 << 10 // of one partition in it
)

// fetchLoop is what one broker's loop has to itself.
type fetchLoop struct {
	leader  int
	watched *watchdog.Loop
	buffer  []byte // of the last answer, for the next one
	intake  intake
}

// fetchFrom reads the partitions that one broker leads, one request after the other, until ctx ends. The healthy ones
// share a request; one whose last request failed is asked for alone when its rest is over.
func (g *generation) fetchFrom(ctx context.Context, leader int) {
	l := &fetchLoop{leader: leader, watched: g.c.cfg.Watch.Loop(fmt.Sprintf("fetch from broker %d", leader))}
	defer l.watched.End()
	for turn := 0; ; turn++ {
		changed, freed := g.routes.next(), g.c.room.freed.next()
		c := g.claim(leader, turn)
		if len(c.healthy)+len(c.suspects) == 0 {
			var timer <-chan time.Time
			if !c.due.IsZero() {
				timer = time.After(time.Until(c.due))
			}
			select {
			case <-changed:
			case <-freed:
			case <-timer:
			case <-ctx.Done():
				return
			}
			continue
		}
		for _, p := range c.suspects {
			g.askAlone(ctx, l, p)
		}
		if len(c.healthy) > 0 {
			g.askTogether(ctx, l, c.healthy, c.poll())
		}
		g.release(leader, c.suspects, c.healthy)
		if ctx.Err() != nil {
			return
		}
	}
}

// claims are the partitions of a broker that are reserved for its next requests.
type claims struct {
	healthy, suspects []*partition
	crowded           bool      // others wait for room
	due               time.Time // when the first of those may be asked for that rest; zero if none does
}

// claim reserves the partitions of a broker that may be asked for now. The broker fills its answer in the order of the
// request, so that each turn begins with another partition.
func (g *generation) claim(leader, turn int) (c claims) {
	now := time.Now()
	for i := range g.parts {
		p := g.parts[(i+turn)%len(g.parts)]
		if resolved, _ := p.begun(); !resolved {
			continue
		}
		if p.seat.waits() {
			c.crowded = c.crowded || p.health.ledBy() == leader
			continue
		}
		claimed, suspect, next := p.health.claim(leader, now)
		switch {
		case claimed && suspect:
			c.suspects = append(c.suspects, p)
		case claimed:
			c.healthy = append(c.healthy, p)
		case !next.IsZero() && (c.due.IsZero() || next.Before(c.due)):
			c.due = next
		}
	}
	return c
}

// poll is how long the broker may wait for records: the partitions that were not claimed wait as long.
func (c claims) poll() time.Duration {
	switch {
	case c.crowded:
		return shortPoll
	case !c.due.IsZero():
		return min(max(shortPoll, time.Until(c.due)), longestPoll)
	default:
		return longestPoll
	}
}

// release ends the claims, and wakes the loops of brokers that lead one of the partitions by now.
func (g *generation) release(leader int, claimed ...[]*partition) {
	moved := false
	for _, p := range slices.Concat(claimed...) {
		moved = p.health.release(leader) || moved
	}
	if moved {
		g.routes.ring()
	}
}

// askTogether sends one request for all the partitions. If one of them spoils the answer they are asked for one by one,
// as it cannot be told which.
func (g *generation) askTogether(ctx context.Context, l *fetchLoop, parts []*partition, poll time.Duration) {
	err := g.try(ctx, l, parts, poll)
	switch {
	case err == nil:
	case spoilt(err):
		for _, p := range parts {
			g.askAlone(ctx, l, p)
		}
	default:
		for _, p := range parts {
			g.sick(p, fetching, err)
		}
		g.lookAgain()
	}
}

// askAlone sends a request for one partition.
func (g *generation) askAlone(ctx context.Context, l *fetchLoop, p *partition) {
	before := p.nextOffset()
	err := g.try(ctx, l, []*partition{p}, 0)
	if err == nil {
		return
	}
	g.sick(p, fetching, err)
	if p.nextOffset() > before {
		p.health.progress(fetching)
	}
	g.lookAgain()
}

// try sends one request for partitions that were claimed, delivers what comes, and takes in which of the partitions are
// sick. The broker may wait for records for a while. An error concerns the request.
func (g *generation) try(ctx context.Context, l *fetchLoop, parts []*partition, wait time.Duration) error {
	patience := fetchTimeout // longer for a broker that is slow each time
	for _, p := range parts {
		patience = max(patience, fetchTimeout<<min(p.health.failures(fetching), 2))
	}
	attempt, done := g.attempts.begin(ctx, parts, wait+patience)
	l.watched.Busy()
	defer l.watched.Idle()
	answer, err := g.request(attempt, l.leader, parts, wait, l.buffer)
	interrupted := errors.Is(attempt.Err(), context.Canceled)
	done()
	switch {
	case err != nil && interrupted: // the generation ends, or a partition has moved to another leader
		l.buffer = nil
		return nil
	case err != nil:
		l.buffer = nil // the connection may still be reading into it
		return err
	}
	if l.buffer = answer.buffer; cap(l.buffer) > 4*fetchBytes { // a large batch needed it once
		l.buffer = nil
	}
	l.intake.until, l.intake.done = time.Now().Add(roomPatience), ctx.Done()
	for _, t := range answer.topics {
		for i := range t.partitions {
			p := g.part(t.name, int(t.partitions[i].id))
			if p == nil {
				continue
			}
			l.watched.Busy() // one piece of work for each partition, as each may have to ask the broker once more
			err := g.take(ctx, l.leader, p, answer.hasSpace(), &t.partitions[i], &l.intake)
			switch {
			case ctx.Err() != nil || errors.Is(err, errRevoked):
				return nil
			case errors.Is(err, errNoRoom): // the others of the leader go on
				g.well(p, fetching)
			case err != nil && len(parts) == 1:
				return err
			case err != nil:
				g.sick(p, fetching, err)
				g.lookAgain()
			default:
				g.well(p, fetching)
			}
		}
	}
	return nil
}

// spoilt tells whether one of the partitions may be to blame for a request's failure: its log cannot be read, or does
// not say where it begins. All other failures concern the broker.
func spoilt(err error) bool {
	return errors.Is(err, errUnreadable) || errors.Is(err, errNoBeginning) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF)
}

var errNoBeginning = errors.New("the log does not say where it begins")

// request asks where to begin, for those partitions of which that is not known, and fetches the others.
func (g *generation) request(ctx context.Context, leader int, parts []*partition, wait time.Duration,
	buffer []byte) (fetchAnswer, error) {
	if err := g.start(ctx, leader, parts); err != nil {
		return fetchAnswer{}, err
	}
	if err := g.compareLogs(ctx, leader, parts); err != nil {
		return fetchAnswer{}, err
	}
	for _, p := range parts {
		g.c.skipped.Add(p.leap())
	}
	answer, err := g.c.wire.fetch(ctx, leader, query(parts, wait), buffer)
	if err != nil {
		return fetchAnswer{}, fmt.Errorf("fetch from broker %d: %w", leader, unreadable(err))
	}
	return answer, nil
}

// unreadable marks an error that is neither Kafka's nor the network's: the answer came, and cannot be decoded.
func unreadable(err error) error {
	var code kafka.Error
	var network net.Error
	if errors.As(err, &code) || errors.As(err, &network) || errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return fmt.Errorf("%w: %w", errUnreadable, err)
}

// start turns "the first offset" into a number, for partitions of which nothing was ever committed.
func (g *generation) start(ctx context.Context, leader int, parts []*partition) error {
	var fresh []*partition
	for _, p := range parts {
		if _, started := p.begun(); !started {
			fresh = append(fresh, p)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	first, err := g.c.offsets(ctx, leader, fresh, kafka.FirstOffset)
	if err != nil {
		return fmt.Errorf("ask broker %d for the first offsets: %w", leader, err)
	}
	for _, p := range fresh {
		at := first[p]
		if at.err != nil { // if it was asked for together with others, it is asked for alone next
			return fmt.Errorf("ask broker %d about %s: %w: %w", leader, p, errNoBeginning, at.err)
		}
		p.skipTo(at.offset)
	}
	return nil
}

// found is an offset that a broker named, or why it did not.
type found struct {
	offset int64
	err    error
}

// offsets asks a broker for one kind of offset of each partition: kafka.FirstOffset or kafka.LastOffset.
func (c *Consumer) offsets(ctx context.Context, leader int, parts []*partition, kind int64) (map[*partition]found,
	error) {
	req := &listoffsets.Request{ReplicaID: -1}
	offsets, asked, index := map[*partition]found{}, map[place]*partition{}, map[string]int{}
	for _, p := range parts {
		offsets[p], asked[place{p.topic, p.id}] = found{err: kafka.Unknown}, p
		i, ok := index[p.topic]
		if !ok {
			i, index[p.topic] = len(req.Topics), len(req.Topics)
			req.Topics = append(req.Topics, listoffsets.RequestTopic{Topic: p.topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions,
			listoffsets.RequestPartition{Partition: int32(p.id), CurrentLeaderEpoch: -1, Timestamp: kind})
	}
	res, err := exchange[*listoffsets.Response](ctx, c.transport, c.addr, c.toBroker(leader, req))
	if err != nil {
		return nil, err
	}
	for _, t := range res.Topics {
		for _, a := range t.Partitions {
			if p := asked[place{t.Topic, int(a.Partition)}]; p != nil {
				offsets[p] = found{a.Offset, failure(a.ErrorCode)}
			}
		}
	}
	return offsets, nil
}

// offset asks a broker for one offset of a partition.
func (c *Consumer) offset(ctx context.Context, leader int, p *partition, kind int64) (int64, error) {
	ctx, stop := context.WithTimeout(ctx, lookTimeout)
	defer stop()
	all, err := c.offsets(ctx, leader, []*partition{p}, kind)
	if err != nil {
		return 0, err
	}
	return all[p].offset, all[p].err
}

func (c *Consumer) toBroker(id int, req protocol.Message) *toBroker {
	return &toBroker{versioned{Message: req, clientID: c.cfg.ClientID, newest: newestVersion}, id}
}

func query(parts []*partition, wait time.Duration) *fetchQuery {
	q := &fetchQuery{wait: wait, minBytes: 1, maxBytes: fetchBytes}
	index := map[string]int{}
	for _, p := range parts {
		i, ok := index[p.topic]
		if !ok {
			i, index[p.topic] = len(q.topics), len(q.topics)
			q.topics = append(q.topics, fetchTopic{name: p.topic, id: p.identity()})
		}
		offset, leadership := p.ask()
		q.topics[i].partitions = append(q.topics[i].partitions, fetchPartition{id: int32(p.id),
			leaderEpoch: leadership, offset: offset, lastEpoch: -1, maxBytes: p.roomy()})
	}
	return q
}

// hasSpace tells whether the answer had space for a batch of each partition: none is empty for want of it.
func (a *fetchAnswer) hasSpace() bool {
	bytes := 0
	for _, t := range a.topics {
		for i := range t.partitions {
			bytes += len(t.partitions[i].records)
		}
	}
	return bytes < fetchBytes/2
}

// compareLogs asks a new leader whether its log has the records that were read last, if their epoch is known. A log
// that was truncated goes on where it was.
func (g *generation) compareLogs(ctx context.Context, leader int, parts []*partition) error {
	var asked []epochQuery
	for _, p := range parts {
		leadership := p.health.leaderEpoch()
		if epoch, due := p.compare(leadership); due {
			asked = append(asked, epochQuery{topic: p.topic, partition: int32(p.id), leaderEpoch: leadership, epoch: epoch})
		}
	}
	if len(asked) == 0 {
		return nil
	}
	ends, err := g.c.wire.epochEnds(ctx, leader, asked)
	if errors.Is(err, kafka.UnsupportedVersion) { // a broker before Kafka 2.1
		for _, p := range parts {
			p.compared()
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask broker %d where the logs part: %w", leader, err)
	}
	for _, e := range ends {
		p := g.part(e.topic, int(e.partition))
		if p == nil {
			continue
		}
		denied := errors.Is(e.err, kafka.ClusterAuthorizationFailed) || errors.Is(e.err, kafka.TopicAuthorizationFailed)
		if e.err != nil && !denied { // brokers before Kafka 2.3 answer only who has rights over the cluster
			return fmt.Errorf("ask broker %d where the logs of %s part: %w: %w", leader, p, errNoBeginning, e.err)
		}
		if !denied && e.end >= 0 {
			g.truncated(p, e.end, e.epoch)
			p.confirm(e.end)
		}
		p.compared()
	}
	return nil
}

// attempts are the requests that are out, so that one can be interrupted whose partition has moved to another leader.
type attempts struct {
	mu  sync.Mutex
	out map[*partition]context.CancelFunc
}

// begin returns a context for one request for the partitions; done ends it.
func (a *attempts) begin(ctx context.Context, parts []*partition, limit time.Duration) (attempt context.Context,
	done func()) {
	attempt, cancel := context.WithTimeout(ctx, limit)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.out == nil {
		a.out = map[*partition]context.CancelFunc{}
	}
	for _, p := range parts {
		a.out[p] = cancel
	}
	return attempt, func() {
		cancel()
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, p := range parts {
			delete(a.out, p)
		}
	}
}

func (a *attempts) interrupt(p *partition) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if cancel := a.out[p]; cancel != nil {
		cancel()
	}
}
