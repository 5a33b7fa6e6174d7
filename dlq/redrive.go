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
	RefusedTruncated = "truncated: the value was too large for the dead-letter topic and is not in the letter"
	RefusedHeaders   = "truncated: the record has too many headers, and they are not in the letter"
	RefusedOften     = "redriven too often before (--max-redrives)"
	RefusedTopic     = "from a topic that is not among --kafka-topics"
	RefusedPartition = "from a partition that its topic does not have"
	RefusedSize      = "too large for its topic, with the letter's headers"
	RefusedCount     = "more headers than tasksink takes (1,000), with those of the letter"
)

// Redriver sends letters back to the topics they came from. It is for one goroutine at a time.
type Redriver struct {
	Reader      *Reader // of the dead-letter topics and of the source topics
	MaxRedrives int     // letters that were sent back so often are refused
	Rate        int     // letters a second, at the most
	DryRun      bool    // only count

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

// Redrive sends the letters of the spans that takes selects, until limit are sent unless that is 0: in order, one
// after the other, each when Kafka has acknowledged the one before (acks=all), so that it is always known how far it
// came. When ctx ends it stops behind the letter that is on its way, and returns ctx's error. After each letter it
// calls done.
//
// A record goes back to the partition it was in, byte for byte. Its time in Kafka is the time of sending, or retention
// could delete it at once. The letters stay where they are: who redrives them again writes them again.
func (r *Redriver) Redrive(ctx context.Context, spans []Span, takes func(*Letter) bool, limit int,
	done func(Ledger)) (Ledger, error) {
	ledger := Ledger{Refused: map[string]int{}, Left: append([]Span(nil), spans...)}
	for i, s := range spans {
		left := &ledger.Left[i]
		for l, err := range r.Reader.Letters(ctx, []Span{s}) {
			if err != nil {
				return ledger, err
			}
			if takes(l) {
				if limit > 0 && ledger.Sent == limit {
					return ledger, nil
				}
				if err := r.redrive(ctx, l, &ledger); err != nil {
					return ledger, err
				}
			}
			left.First = l.Place.Offset + 1
			done(ledger)
		}
		left.First = s.End
	}
	return ledger, nil
}

func (r *Redriver) redrive(ctx context.Context, l *Letter, ledger *Ledger) error {
	if why := r.refuses(l); why != "" {
		ledger.Refused[why]++
		return nil
	}
	if !r.DryRun {
		err := r.wait(ctx)
		if err == nil {
			err = r.send(ctx, l)
		}
		switch {
		case errors.Is(err, kafka.MessageSizeTooLarge):
			ledger.Refused[RefusedSize]++
			return nil
		case err != nil:
			if errors.Is(err, errDoubtful) {
				ledger.Doubtful = &l.Place
			}
			return err
		}
	}
	ledger.Sent++
	return nil
}

func (r *Redriver) refuses(l *Letter) string {
	n, known := r.partitions[l.Source.Topic]
	switch {
	case l.Foreign:
		return RefusedForeign
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
