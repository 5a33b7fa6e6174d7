package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// Version 9 names the leader's epoch, 12 asks for the place where the logs part, 13 names topics by id.
var fetchAPI = api{key: protocol.Fetch, oldest: 4, newest: 13, flexible: 12}

const (
	fetchByID     = 13
	readCommitted = 1
)

// fetchQuery asks one broker for records of partitions that it leads.
type fetchQuery struct {
	wait               time.Duration // for minBytes
	minBytes, maxBytes int32         // of the whole answer, compressed
	topics             []fetchTopic
}

type fetchTopic struct {
	name       string
	id         topicID // zero if it is unknown
	partitions []fetchPartition
}

type fetchPartition struct {
	id          int32
	leaderEpoch int32 // the leader's, as far as we know; -1: whichever it is
	offset      int64
	lastEpoch   int32 // of the record before offset; -1: do not compare the logs
	maxBytes    int32
}

// byID tells whether the request can name each topic by its id.
func (q *fetchQuery) byID() bool {
	for _, t := range q.topics {
		if !t.id.known() {
			return false
		}
	}
	return len(q.topics) > 0
}

// fetchAnswer is a broker's answer. Its records are slices of buffer.
type fetchAnswer struct {
	version int16
	topics  []fetchedTopic
	buffer  []byte
}

type fetchedTopic struct {
	name       string // also where the answer names the id only; empty if that was not asked for
	id         topicID
	partitions []fetchedPartition
}

type fetchedPartition struct {
	id            int32
	err           error
	highWatermark int64
	lastStable    int64 // where the first open transaction begins
	logStart      int64 // -1 if the broker does not say (before version 5)
	aborted       []abortedTransaction
	diverging     divergence
	records       []byte // record batches as the broker has them; the last one may be cut off
}

type abortedTransaction struct{ producer, first int64 }

// divergence says that the leader's log does not contain the record before the offset asked for, or has another one
// there, and where the logs still agree.
type divergence struct {
	found bool  // from version 12 on, if lastEpoch was given
	epoch int32 // the newest of the leader's that is not newer than lastEpoch
	end   int64 // the first offset after it in the leader's log
}

// fetch asks a broker for committed records. It names the topics by id if all ids are known and the broker speaks that
// version; then a topic that was deleted and created again is answered with an error. An error concerns the whole
// answer. The answer is read into buffer if it is large enough; after an error buffer must not be used again.
func (w *wire) fetch(ctx context.Context, broker int, q *fetchQuery, buffer []byte) (fetchAnswer, error) {
	newest := int16(fetchByID - 1)
	if q.byID() {
		newest = fetchAPI.newest
	}
	raw, err := w.ask(ctx, broker, fetchAPI, newest, buffer,
		func(f *requestFields, version int16) { writeFetch(f, version, q) })
	if err != nil {
		return fetchAnswer{}, err
	}
	answer, err := decodeFetch(raw)
	if err != nil {
		return fetchAnswer{}, err
	}
	for i := range answer.topics {
		for _, t := range q.topics {
			if a := &answer.topics[i]; a.name == "" && a.id == t.id {
				a.name = t.name
			}
		}
	}
	return answer, nil
}

func writeFetch(f *requestFields, version int16, q *fetchQuery) {
	f.int32(-1) // we are no replica
	f.int32(int32(q.wait / time.Millisecond))
	f.int32(q.minBytes)
	f.int32(q.maxBytes)
	f.int8(readCommitted)
	if version >= 7 {
		f.int32(0)  // the session's id,
		f.int32(-1) // and epoch: no session
	}
	f.length(len(q.topics))
	for i := range q.topics {
		t := &q.topics[i]
		if version >= fetchByID {
			f.id(t.id)
		} else {
			f.string(t.name)
		}
		f.length(len(t.partitions))
		for j := range t.partitions {
			writeFetchPartition(f, version, &t.partitions[j])
		}
		f.noTags()
	}
	if version >= 7 {
		f.length(0) // topics that leave the session
	}
	if version >= 11 {
		f.string("") // our rack
	}
	f.noTags()
}

func writeFetchPartition(f *requestFields, version int16, p *fetchPartition) {
	f.int32(p.id)
	if version >= 9 {
		f.int32(p.leaderEpoch)
	}
	f.int64(p.offset)
	if version >= 12 {
		f.int32(p.lastEpoch)
	}
	if version >= 5 {
		f.int64(-1) // where a replica's log starts
	}
	f.int32(p.maxBytes)
	f.noTags()
}

func decodeFetch(raw rawAnswer) (fetchAnswer, error) {
	f, version := raw.fields(), raw.version
	f.int32() // the throttle time
	if version >= 7 {
		if err := failure(f.int16()); err != nil && !f.failed {
			return fetchAnswer{}, fmt.Errorf("the whole answer: %w", err)
		}
		f.int32() // the session's id
	}
	answer := fetchAnswer{version: version, buffer: raw.buffer}
	answer.topics = make([]fetchedTopic, f.count(1+1))
	for i := range answer.topics {
		t := &answer.topics[i]
		if version >= fetchByID {
			t.id = f.id()
		} else {
			t.name = f.string()
		}
		t.partitions = make([]fetchedPartition, f.count(4+2+8+8+1+1))
		for j := range t.partitions {
			decodeFetchPartition(f, version, &t.partitions[j])
		}
		f.skipTags()
	}
	f.skipTags()
	return answer, f.end(raw.api, version)
}

func decodeFetchPartition(f *answerFields, version int16, p *fetchedPartition) {
	p.id = f.int32()
	p.err = failure(f.int16())
	p.highWatermark = f.int64()
	p.lastStable = f.int64()
	p.logStart = -1
	if version >= 5 {
		p.logStart = f.int64()
	}
	if n := f.count(8 + 8); n > 0 {
		p.aborted = make([]abortedTransaction, n)
	}
	for i := range p.aborted {
		p.aborted[i] = abortedTransaction{f.int64(), f.int64()}
		f.skipTags()
	}
	if version >= 11 {
		f.int32() // a replica that would serve us better: none, as we do not say where we are
	}
	p.records = f.slice()
	f.tags(func(tag uint64, value *answerFields) {
		const diverging = 0 // the others are of no use to a consumer
		if tag == diverging {
			p.diverging = divergence{true, value.int32(), value.int64()}
			value.skipTags()
		}
	})
}
