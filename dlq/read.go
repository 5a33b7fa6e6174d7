package dlq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/tasksink/tasksink/internal/broker"
)

const (
	readBytes = 1 << 20 // of one fetch; a larger letter comes all the same
	readWait  = 500 * time.Millisecond
	patience  = 15 * time.Second // with brokers that cannot be reached, or that choose a leader
)

// Reader reads letters back. It joins no group and commits nothing, so that it may be used beside a running worker,
// and twice. It is for one goroutine at a time.
type Reader struct {
	brokers   []string
	client    *kafka.Client
	transport *kafka.Transport
}

// NewReader returns a Reader of the given topics. Close it after use.
func NewReader(conn broker.Connection, topics ...string) *Reader {
	transport := conn.Transport(topics...)
	return &Reader{brokers: conn.Brokers, transport: transport,
		client: &kafka.Client{Addr: kafka.TCP(conn.Brokers...), Transport: transport}}
}

// Close ends the Reader's connections.
func (r *Reader) Close() { r.transport.CloseIdleConnections() }

// Span is a part of a partition: the offsets from First to before End.
type Span struct {
	Topic      string
	Partition  int
	First, End int64
}

// Len is how many offsets the span has. As offsets may have gaps, no more letters than this are in it.
func (s Span) Len() int64 { return max(0, s.End-s.First) }

// Spans tells what a topic holds now, by partition. Errors say what to do about them.
func (r *Reader) Spans(ctx context.Context, topic string) (spans []Span, err error) {
	err = r.try(ctx, func(ctx context.Context) error {
		spans = nil
		found, err := r.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		if err != nil {
			return err
		}
		var ask []kafka.OffsetRequest
		for _, t := range found.Topics {
			if t.Error != nil {
				return t.Error
			}
			for _, p := range t.Partitions {
				ask = append(ask, kafka.FirstOffsetOf(p.ID), kafka.LastOffsetOf(p.ID))
			}
		}
		res, err := r.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: ask},
			IsolationLevel: kafka.ReadCommitted})
		if err != nil {
			return err
		}
		for _, o := range res.Topics[topic] {
			if o.Error != nil {
				return o.Error
			}
			spans = append(spans, Span{Topic: topic, Partition: o.Partition, First: o.FirstOffset, End: o.LastOffset})
		}
		return nil
	})
	slices.SortFunc(spans, func(a, b Span) int { return a.Partition - b.Partition })
	if err != nil {
		return nil, fmt.Errorf("look up topic %s at %v: %w", topic, r.brokers, withRemedy(err))
	}
	return spans, nil
}

// Letters reads the letters of the spans, in the order of the spans and of the offsets. An error ends it; it says what
// to do about it.
//
// Letters are not written in transactions: what a stranger wrote in one and aborted is read like any other record.
func (r *Reader) Letters(ctx context.Context, spans []Span) iter.Seq2[*Letter, error] {
	return func(yield func(*Letter, error) bool) {
		for _, s := range spans {
			for s.First < s.End {
				letters, next, err := r.fetch(ctx, s)
				if err != nil {
					yield(nil, fmt.Errorf("read %s/%d at offset %d: %w", s.Topic, s.Partition, s.First, withRemedy(err)))
					return
				}
				for _, l := range letters {
					if !yield(l, nil) {
						return
					}
				}
				s.First = next
			}
		}
	}
}

// fetch reads some letters from the front of the span, and tells where to go on.
func (r *Reader) fetch(ctx context.Context, s Span) (letters []*Letter, next int64, err error) {
	err = r.try(ctx, func(ctx context.Context) error {
		letters = nil
		next, err = r.records(ctx, s, func(rec *protocol.Record) error {
			l, err := letterOf(s, rec)
			if err == nil {
				letters = append(letters, l)
			}
			return err
		})
		return err
	})
	return letters, next, err
}

// scan is records, as often as it takes: visit may meet a record more than once.
func (r *Reader) scan(ctx context.Context, s Span, visit func(*protocol.Record) error) (next int64, err error) {
	err = r.try(ctx, func(ctx context.Context) error {
		next, err = r.records(ctx, s, visit)
		return err
	})
	return next, err
}

// picker reads single letters. It keeps what it read last, as the next one is often near.
type picker struct {
	reader *Reader
	chunks []chunk // the one read last is the last one
}

const maxChunks = 8 // each about readBytes

// chunk is what one fetch brought.
type chunk struct {
	span    Span // from the first offset that was asked for to where the next fetch begins
	letters []*Letter
}

// letter reads the letter of a span at an offset; nil if it is not there any more.
func (p *picker) letter(ctx context.Context, s Span, at int64) (*Letter, error) {
	i := slices.IndexFunc(p.chunks, func(c chunk) bool {
		return c.span.Topic == s.Topic && c.span.Partition == s.Partition && at >= c.span.First && at < c.span.End
	})
	if i < 0 {
		s.First = at
		letters, next, err := p.reader.fetch(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("read %s/%d at offset %d: %w", s.Topic, s.Partition, at, withRemedy(err))
		}
		if len(p.chunks) == maxChunks {
			p.chunks = slices.Delete(p.chunks, 0, 1)
		}
		s.End = next
		p.chunks, i = append(p.chunks, chunk{s, letters}), len(p.chunks)
	}
	letters := p.chunks[i].letters
	j, found := slices.BinarySearchFunc(letters, at, func(l *Letter, at int64) int {
		return cmp.Compare(l.Place.Offset, at)
	})
	if !found {
		return nil, nil //nolint:nilnil // no letter is no error
	}
	return letters[j], nil
}

// records reads some records from the front of the span, and tells where to go on.
func (r *Reader) records(ctx context.Context, s Span, visit func(*protocol.Record) error) (next int64, err error) {
	next = s.First
	res, err := r.client.Fetch(ctx, &kafka.FetchRequest{Topic: s.Topic, Partition: s.Partition, Offset: s.First,
		MinBytes: 1, MaxBytes: readBytes, MaxWait: readWait, IsolationLevel: kafka.ReadCommitted})
	if err == nil {
		err = res.Error
	}
	if errors.Is(err, kafka.OffsetOutOfRange) {
		return r.logStart(ctx, s)
	}
	if err != nil {
		return next, err
	}
	for {
		rec, err := res.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return next, err
		}
		if rec.Offset >= s.First && rec.Offset < s.End {
			err = visit(rec)
		}
		closeBytes(rec)
		if err != nil {
			return next, err
		}
		next = max(next, rec.Offset+1)
	}
	if next == s.First {
		next++ // what is here was compacted away, or is a transaction's marker
	}
	return next, nil
}

// closeBytes gives back what a record's key and value hold of kafka-go's pages.
func closeBytes(rec *protocol.Record) {
	for _, b := range []protocol.Bytes{rec.Key, rec.Value} {
		if b != nil {
			_ = b.Close()
		}
	}
}

// logStart tells where to go on when retention has overtaken the reading.
func (r *Reader) logStart(ctx context.Context, s Span) (int64, error) {
	first := map[string][]kafka.OffsetRequest{s.Topic: {kafka.FirstOffsetOf(s.Partition)}}
	res, err := r.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: first})
	if err != nil {
		return 0, err
	}
	for _, o := range res.Topics[s.Topic] {
		if o.Error != nil {
			return 0, o.Error
		}
		if o.FirstOffset > s.First {
			return o.FirstOffset, nil
		}
	}
	return 0, kafka.OffsetOutOfRange // the topic was created anew meanwhile
}

func letterOf(s Span, rec *protocol.Record) (*Letter, error) {
	l := &Letter{Place: Place{Topic: s.Topic, Partition: s.Partition, Offset: rec.Offset},
		Written: moment(rec.Time.UnixMilli())}
	var err error
	if rec.Key != nil {
		if l.Key, err = protocol.ReadAll(rec.Key); err != nil {
			return nil, err
		}
	}
	if rec.Value != nil {
		if l.Value, err = protocol.ReadAll(rec.Value); err != nil {
			return nil, err
		}
	}
	l.open(rec.Headers)
	return l, nil
}

// try does what may fail while brokers choose a leader or restart, for as long as patience lasts. What will not get
// better by itself, such as a refused password, fails at once.
func (r *Reader) try(ctx context.Context, do func(ctx context.Context) error) error {
	for start := time.Now(); ; {
		attempt, stop := context.WithTimeout(ctx, patience)
		err := do(attempt)
		stop()
		var told kafka.Error
		switch {
		case err == nil, ctx.Err() != nil, time.Since(start) > patience, broker.Remedy(err) != "",
			errors.As(err, &told) && (!told.Temporary() || errors.Is(told, kafka.UnknownTopicOrPartition)):
			return err
		}
		select {
		case <-time.After(firstPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// withRemedy adds to an error of Kafka's what an operator can do about it.
func withRemedy(err error) error {
	remedy, _, _ := strings.Cut(broker.Remedy(err), "; ") // what follows there is for a worker, which goes on by itself
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, kafka.UnknownTopicOrPartition):
		remedy = "check --kafka-topics and --dlq-topic, and that the principal may DESCRIBE and READ the topic: " +
			"docs/security.md"
	case errors.Is(err, kafka.TopicAuthorizationFailed):
		remedy = "allow the principal READ on the topic: docs/security.md"
	case remedy == "":
		remedy = "check --kafka-brokers, and that the brokers work"
	}
	return fmt.Errorf("%w; %s", err, remedy)
}
