package consumer

import (
	"context"

	"github.com/segmentio/kafka-go/protocol"
)

// Version 2 is the first that names the leader's epoch. Brokers before Kafka 2.3 speak nothing newer, and answer only
// clients with rights over the cluster.
var epochAPI = api{key: protocol.OffsetForLeaderEpoch, oldest: 2, newest: 3, flexible: 4}

// epochQuery asks for the end of a leader epoch in a partition's log.
type epochQuery struct {
	topic       string
	partition   int32
	leaderEpoch int32 // the leader's, as far as we know; -1: whichever it is
	epoch       int32 // the one whose end is asked for
}

// epochEnd is the end of the newest epoch in the log that is no newer than the one asked for.
type epochEnd struct {
	topic     string
	partition int32
	err       error
	epoch     int32 // -1 if the log has no such epoch
	end       int64 // the first offset after it; -1 as above
}

// epochEnds asks a broker for the ends of epochs in the logs that it leads. An error concerns all of them.
func (w *wire) epochEnds(ctx context.Context, broker int, asked []epochQuery) ([]epochEnd, error) {
	answer, err := w.ask(ctx, broker, epochAPI, epochAPI.newest, nil,
		func(f *requestFields, version int16) { writeEpochs(f, version, asked) })
	if err != nil {
		return nil, err
	}
	return decodeEpochs(answer)
}

func writeEpochs(f *requestFields, version int16, asked []epochQuery) {
	var topics []string // in the order in which they are first named
	byTopic := map[string][]epochQuery{}
	for _, q := range asked {
		if byTopic[q.topic] == nil {
			topics = append(topics, q.topic)
		}
		byTopic[q.topic] = append(byTopic[q.topic], q)
	}
	if version >= 3 {
		f.int32(-1) // we are no replica
	}
	f.length(len(topics))
	for _, topic := range topics {
		f.string(topic)
		f.length(len(byTopic[topic]))
		for _, q := range byTopic[topic] {
			f.int32(q.partition)
			f.int32(q.leaderEpoch)
			f.int32(q.epoch)
		}
	}
}

func decodeEpochs(answer rawAnswer) ([]epochEnd, error) {
	f := answer.fields()
	f.int32() // the throttle time
	var ends []epochEnd
	for range f.count(2 + 4) {
		topic := f.string()
		for range f.count(2 + 4 + 4 + 8) {
			ends = append(ends, epochEnd{topic: topic, err: failure(f.int16()), partition: f.int32(), epoch: f.int32(),
				end: f.int64()})
		}
	}
	return ends, f.end(answer.api, answer.version)
}
