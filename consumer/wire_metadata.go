package consumer

import (
	"context"

	"github.com/segmentio/kafka-go/protocol"
)

// Leader epochs came with version 7, topic ids with 10.
var metadataAPI = api{key: protocol.Metadata, oldest: 4, newest: 12, flexible: 9}

// metadataTopic is what a broker knows of a topic.
type metadataTopic struct {
	name       string
	id         topicID // zero if the broker has none
	err        error
	internal   bool
	partitions []metadataPartition
}

type metadataPartition struct {
	id     int32
	leader int32 // -1 if there is none
	epoch  int32 // the leader's; -1 if it is unknown
	err    error
}

// metadata asks any broker for topics, and for the cluster's id. It does not create topics, and is not answered from
// the Transport's cache.
func (w *wire) metadata(ctx context.Context, topics []string) (cluster string, found []metadataTopic, err error) {
	answer, err := w.ask(ctx, anyBroker, metadataAPI, metadataAPI.newest, nil,
		func(f *requestFields, version int16) { writeMetadata(f, version, topics) })
	if err != nil {
		return "", nil, err
	}
	return decodeMetadata(answer)
}

func writeMetadata(f *requestFields, version int16, topics []string) {
	f.length(len(topics))
	for _, topic := range topics {
		if version >= 10 {
			f.id(topicID{}) // it is asked for by its name
		}
		f.string(topic)
		f.noTags()
	}
	f.bool(false) // do not create topics
	if version >= 8 && version <= 10 {
		f.bool(false) // not what we may do with the cluster
	}
	if version >= 8 {
		f.bool(false) // nor with the topics
	}
	f.noTags()
}

func decodeMetadata(answer rawAnswer) (cluster string, topics []metadataTopic, err error) {
	f, version := answer.fields(), answer.version
	f.int32()                          // the throttle time
	for range f.count(4 + 1 + 4 + 1) { // the brokers
		f.int32()
		f.string()
		f.int32()
		f.string()
		f.skipTags()
	}
	cluster = f.string()
	f.int32() // the controller
	topics = make([]metadataTopic, f.count(2+1+1+1))
	for i := range topics {
		decodeMetadataTopic(f, version, &topics[i])
	}
	if version >= 8 && version <= 10 {
		f.int32() // what we may do with the cluster
	}
	f.skipTags()
	return cluster, topics, f.end(answer.api, version)
}

func decodeMetadataTopic(f *answerFields, version int16, t *metadataTopic) {
	t.err = failure(f.int16())
	t.name = f.string()
	if version >= 10 {
		t.id = f.id()
	}
	t.internal = f.bool()
	t.partitions = make([]metadataPartition, f.count(2+4+4+1+1))
	for i := range t.partitions {
		p := &t.partitions[i]
		p.err, p.id, p.leader, p.epoch = failure(f.int16()), f.int32(), f.int32(), -1
		if version >= 7 {
			p.epoch = f.int32()
		}
		f.skipInt32s() // replicas
		f.skipInt32s() // those in sync
		if version >= 5 {
			f.skipInt32s() // those offline
		}
		f.skipTags()
	}
	if version >= 8 {
		f.int32() // what we may do with the topic
	}
	f.skipTags()
}
