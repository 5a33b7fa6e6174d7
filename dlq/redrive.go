package dlq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/consumer"
)

// Why a letter is not sent back.
const (
	RefusedForeign   = "no dead letter of tasksink's"
	RefusedGroup     = "of another consumer group than --kafka-group (--any-group)"
	RefusedTruncated = "truncated: the value was too large for the dead-letter topic and is not in the letter"
	RefusedHeaders   = "truncated: the record has too many headers, and they are not in the letter"
	RefusedOften     = "redriven too often before (--max-redrives)"
	RefusedTopic     = "from a topic that is not among --kafka-topics"
	RefusedPartition = "from a partition that its topic does not have"
	RefusedSize      = "too large for its topic, with the letter's headers"
	RefusedCount     = "more headers than tasksink takes (1,000), with those of the letter"
	RefusedStale     = "stale: its source partition holds a newer event of the same key (--force)"
	RefusedDeleted   = "deleted from the dead-letter topic meanwhile"
)

// Redriver sends letters back to the topics they came from. It is for one goroutine at a time.
//
// Use: Know, Collect, Check, and Send with the Plan.
type Redriver struct {
	Reader      *Reader     // of the dead-letter topics and of the source topics
	Group       string      // whose letters are sent; empty: those of all groups
	MaxRedrives int         // letters that were sent back so often are refused
	Rate        int         // letters a second, at the most
	Stale       func(Stale) // called for each stale letter that is found

	partitions map[string]int // of the source topics
	due        time.Time      // of the next letter
}

// Ledger is what became of the letters that were selected.
type Ledger struct {
	Sent    int
	Refused map[string]int // by why
	// Left is what was not looked at, by partition; its First is where to go on. It is empty for a partition that is done.
	Left []Span
	// Doubtful is the letter at which a failure left open whether Kafka has it; nil if there is none. It is counted
	// as not sent, and Left begins with it.
	Doubtful *Place
}

// Know says which topics letters may go back to, and asks Kafka how many partitions they have.
func (r *Redriver) Know(ctx context.Context, topics []string) error {
	r.partitions = map[string]int{}
	for _, topic := range topics {
		spans, err := r.Reader.Spans(ctx, topic)
		if err != nil {
			return err
		}
		r.partitions[topic] = len(spans)
	}
	return nil
}

// Send sends the letters of a plan, until limit are sent unless that is 0. Those of a source partition go in the order
// of their events. Each is sent when Kafka has acknowledged the one before (acks=all), so that it is always known how
// far Send came. When ctx ends it stops behind the letter that is on its way, and returns ctx's error. After each
// letter it calls done with how many are sent.
//
// A record goes back to the partition it was in, byte for byte. Its time in Kafka is the time of sending, or retention
// could delete it at once. The letters stay where they are: who redrives them again writes them again.
func (r *Redriver) Send(ctx context.Context, p *Plan, limit int, done func(sent int)) (Ledger, error) {
	sent, pick, looked := 0, picker{reader: r.Reader}, time.Now()
	for _, i := range p.order {
		c := &p.letters[i]
		switch {
		case c.state != stateDue:
			continue
		case limit > 0 && sent == limit:
			return p.ended(sent), nil
		}
		if p.checked && time.Since(looked) > lookEvery {
			if err := r.look(ctx, p, func(_, _ int64) {}); err != nil {
				return p.ended(sent), err
			}
			looked = time.Now()
		}
		why, err := r.redrive(ctx, &pick, p, c)
		if err != nil {
			ledger := p.ended(sent)
			if errors.Is(err, errDoubtful) {
				at := p.place(c)
				ledger.Doubtful = &at
			}
			return ledger, err
		}
		if why == "" {
			c.state = stateSent
			sent++
		} else {
			p.refuse(c, why)
		}
		done(sent)
	}
	return p.ended(sent), nil
}

// redrive sends one letter, or says why not.
func (r *Redriver) redrive(ctx context.Context, pick *picker, p *Plan, c *candidate) (refusal string, err error) {
	if newer, stale := p.stale(c); stale {
		r.Stale(newer)
		return RefusedStale, nil
	}
	l, err := pick.letter(ctx, p.spans[c.span], c.at)
	switch {
	case err != nil:
		return "", err
	case l == nil || l.Foreign || l.Source != c.record():
		return RefusedDeleted, nil
	}
	if err = r.wait(ctx); err == nil {
		err = r.send(ctx, l)
	}
	if errors.Is(err, kafka.MessageSizeTooLarge) {
		return RefusedSize, nil
	}
	return "", err
}

// refuses says why a letter is not sent, as far as the letter itself says it.
func (r *Redriver) refuses(l *Letter) string {
	n, known := r.partitions[l.Source.Topic]
	switch {
	case l.Foreign:
		return RefusedForeign
	case r.Group != "" && l.Group != r.Group:
		return RefusedGroup
	case l.Truncated == TruncatedHeaders:
		return RefusedHeaders
	case l.Truncated != "":
		return RefusedTruncated
	case l.Redrives >= r.MaxRedrives:
		return RefusedOften
	case !known: // whoever may write into the dead-letter topic must not write elsewhere by it
		return RefusedTopic
	case l.Source.Partition >= n:
		return RefusedPartition
	case len(l.back()) > consumer.MaxHeaders:
		return RefusedCount
	default:
		return ""
	}
}

// wait keeps the pace.
func (r *Redriver) wait(ctx context.Context) error {
	pause := time.Until(r.due)
	r.due = time.Now().Add(max(0, pause) + time.Second/time.Duration(r.Rate))
	select {
	case <-time.After(max(0, pause)):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errDoubtful is where the answer is missing: the record may be written or not.
var errDoubtful = errors.New("whether Kafka has it is unknown")

// send writes one record and waits for its acknowledgement, also when ctx ends meanwhile. What Kafka refuses for the
// moment, as while a leader is chosen, goes again; but not where only the answer is missing, as that could write twice.
func (r *Redriver) send(ctx context.Context, l *Letter) error {
	ctx = context.WithoutCancel(ctx)
	for start := time.Now(); ; time.Sleep(firstPause) {
		attempt, stop := context.WithTimeout(ctx, writeTimeout)
		res, err := r.Reader.client.Produce(attempt, &kafka.ProduceRequest{Topic: l.Source.Topic,
			Partition: l.Source.Partition, RequiredAcks: kafka.RequireAll,
			Records: kafka.NewRecordReader(kafka.Record{Time: time.Now(), Key: kafka.NewBytes(l.Key),
				Value: kafka.NewBytes(l.Value), Headers: l.back()})})
		stop()
		if err == nil {
			err = res.Error
		}
		var told kafka.Error
		var op *net.OpError
		switch {
		case err == nil, errors.Is(err, kafka.MessageSizeTooLarge):
			return err
		case errors.Is(err, kafka.TopicAuthorizationFailed):
			return fmt.Errorf("send letter %s back to %s: %w; allow the principal WRITE on the topic: docs/security.md", l.Place,
				l.Source.Topic, err)
		case errors.Is(err, kafka.RequestTimedOut), errors.Is(err, kafka.NotEnoughReplicasAfterAppend):
			err = fmt.Errorf("%w: %w", errDoubtful, err)
		case errors.As(err, &told) && told.Temporary(), errors.As(err, &op) && op.Op == "dial":
			if time.Since(start) < patience {
				continue
			}
		case !errors.As(err, &told):
			err = fmt.Errorf("%w: %w", errDoubtful, err)
		}
		return fmt.Errorf("send letter %s back to %s/%d: %w", l.Place, l.Source.Topic, l.Source.Partition, withRemedy(err))
	}
}
