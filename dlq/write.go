package dlq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/watchdog"
)

const (
	atOnce      = 500       // letters in one write
	atOnceBytes = 512 << 10 // of them; a topic takes 1 MiB at once unless it is configured; a larger letter goes alone
)

// letter is a dead letter on its way to Kafka.
type letter struct {
	rec    *consumer.Record
	reason Reason
	at     time.Time
	form   form
	done   func(written bool)
}

// form is how much of the record a letter has.
type form int

const (
	whole          form = iota
	withoutValue        // a pointer to the record
	withoutHeaders      // without the record's own, and without the value
	withoutKey          // and without the key: the smallest form
)

// leave says that the letter's record is on the wire; false if it is given up.
func (l *letter) leave() bool { return !l.rec.Gone() && l.rec.Leave() }

func (l *letter) size() int {
	n := len(l.rec.Key) + len(l.rec.Value) + 512
	for _, h := range l.rec.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// work writes the letters of a lane until ctx ends.
func (w *Writer) work(ctx context.Context, ln *lane) {
	loop := w.cfg.Watch.Loop("dead letters")
	defer loop.End()
	for ctx.Err() == nil {
		loop.Busy()
		batch, given, probe := w.backlog.take(ln)
		giveUp(given)
		var err error
		switch {
		case probe:
			err = w.probe(ctx, loop, ln, batch[0])
		case len(batch) > 0:
			var left []letter
			if left, err = w.write(ctx, loop, ln, batch); err != nil {
				w.backlog.failed(ln, left, w.failure(ctx, err))
			}
		case len(given) > 0:
			continue
		}
		loop.Idle()
		if err != nil || len(batch) == 0 {
			w.backlog.wait(ctx, ln)
		}
	}
}

// write writes letters in their order, and settles what was acknowledged. It returns what was not, and why. A request
// that is refused for what is in it is halved, until the letter that is to blame is alone.
func (w *Writer) write(ctx context.Context, loop *watchdog.Loop, ln *lane, batch []letter) (left []letter, err error) {
	if batch = w.backlog.withhold(ln, batch); len(batch) == 0 {
		return nil, nil
	}
	if len(batch) == 1 {
		refusal, err := w.attempt(ctx, loop, ln, &batch[0])
		if err != nil {
			return batch, err
		}
		if refusal != nil {
			w.backlog.holdBack(ln, batch[0], refusal)
		}
		return nil, nil
	}
	err = w.produce(ctx, loop, ln, batch)
	switch {
	case err == nil:
		w.backlog.wrote(ln)
		for _, l := range batch {
			w.written(l)
		}
		return nil, nil
	case !refused(err):
		return batch, err
	}
	first, second := batch[:len(batch)/2], batch[len(batch)/2:]
	if left, err = w.write(ctx, loop, ln, first); err != nil {
		return slices.Concat(left, second), err
	}
	return w.write(ctx, loop, ln, second)
}

// attempt writes one letter, in the largest form that its topic takes. The refusal says why it takes none.
func (w *Writer) attempt(ctx context.Context, loop *watchdog.Loop, ln *lane, l *letter) (refusal, err error) {
	for {
		err = w.produce(ctx, loop, ln, []letter{*l})
		switch {
		case err == nil:
			w.backlog.wrote(ln)
			w.written(*l)
			return nil, nil
		case !refused(err):
			return nil, err
		case !errors.Is(err, kafka.MessageSizeTooLarge) || l.form == withoutKey:
			l.form = whole // for the next time: the topic's settings may be others then
			return err, nil
		}
		l.form++
	}
}

// probe tries a letter again that was held back. When its topic takes it, all that is held back in the lane goes on.
func (w *Writer) probe(ctx context.Context, loop *watchdog.Loop, ln *lane, l letter) error {
	refusal, err := w.attempt(ctx, loop, ln, &l)
	w.backlog.probed(ln, refusal == nil && err == nil, refusal)
	if err != nil {
		w.backlog.failed(ln, nil, w.failure(ctx, err))
	}
	return err
}

// refused tells whether Kafka refuses what is in a request, so that to repeat it is of no use.
func refused(err error) bool {
	return errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge) ||
		errors.Is(err, kafka.InvalidMessageSize) || errors.Is(err, kafka.InvalidRecord) ||
		errors.Is(err, kafka.InvalidTimestamp)
}

// produce writes letters to the lane's partition in one request.
func (w *Writer) produce(ctx context.Context, loop *watchdog.Loop, ln *lane, batch []letter) error {
	loop.Busy() // a new piece of work
	ctx, cancel := context.WithTimeout(ctx, 2*writeTimeout)
	defer cancel()
	n, err := w.partitions(ctx, ln.topic)
	if err != nil {
		return err
	}
	records := make([]kafka.Record, len(batch))
	for i, l := range batch {
		m := l.message(w.cfg.Group)
		records[i] = kafka.Record{Time: time.Now(), Key: kafka.NewBytes(m.Key), Value: kafka.NewBytes(m.Value),
			Headers: m.Headers}
	}
	res, err := w.client.Produce(ctx, &kafka.ProduceRequest{Topic: ln.topic,
		Partition:    ln.partition % n, // a topic that was created again may have fewer
		RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(records...)})
	if err == nil {
		err = res.Error
	}
	return err
}

// partitions tells how many partitions a dead-letter topic has. It asks the transport, which asks the brokers from time
// to time.
func (w *Writer) partitions(ctx context.Context, topic string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	answer, err := w.transport.RoundTrip(ctx, w.client.Addr, &metadata.Request{TopicNames: []string{topic}})
	if err != nil {
		return 0, err
	}
	res, ok := answer.(*metadata.Response)
	if !ok {
		return 0, fmt.Errorf("look up topic %s: the answer is a %T", topic, answer)
	}
	for _, t := range res.Topics {
		switch {
		case t.Name != topic:
		case t.ErrorCode != 0:
			return 0, kafka.Error(t.ErrorCode)
		case len(t.Partitions) > 0:
			return len(t.Partitions), nil
		}
	}
	return 0, kafka.UnknownTopicOrPartition
}

// partitionOf is the partition of a letter in a topic with n of them: that of the record's key, as Kafka's own clients
// choose it, whether the letter has the key or not; without a key that of the source partition.
func partitionOf(rec *consumer.Record, n int) int {
	if rec.Key == nil {
		return rec.Partition % n
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return kafka.Murmur2Balancer{Consistent: true}.Balance(kafka.Message{Key: rec.Key}, all...)
}
