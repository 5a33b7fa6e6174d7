package consumer

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// franz-go's messages are the second opinion: they are generated from Kafka's own definitions.

// apis are all that this package writes, with a request of each and what franz-go makes of the same.
var apis = []struct {
	api   api
	write func(f *requestFields, version int16)
	twin  func() kmsg.Request
}{
	{metadataAPI, func(f *requestFields, version int16) { writeMetadata(f, version, []string{"tasks", "other"}) }, metadataTwin},
	{fetchAPI, func(f *requestFields, version int16) { writeFetch(f, version, &someFetch) }, fetchTwin},
	{epochAPI, func(f *requestFields, version int16) { writeEpochs(f, version, someEpochs) }, epochTwin},
}

var (
	someID    = topicID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	someFetch = fetchQuery{wait: 500 * time.Millisecond, minBytes: 1, maxBytes: 512 << 10, topics: []fetchTopic{
		{name: "tasks", id: someID, partitions: []fetchPartition{
			{id: 3, leaderEpoch: 7, offset: 1 << 40, lastEpoch: -1, maxBytes: 256 << 10},
			{id: 4, leaderEpoch: -1, offset: 0, lastEpoch: 6, maxBytes: 1}}},
		{name: "other", id: topicID{9}, partitions: []fetchPartition{{offset: 5, lastEpoch: -1, maxBytes: 2}}}}}
	someEpochs = []epochQuery{{"tasks", 3, 7, 6}, {"other", 0, -1, 0}, {"tasks", 4, 2, 1}}
)

func metadataTwin() kmsg.Request {
	req := kmsg.NewPtrMetadataRequest()
	for _, topic := range []string{"tasks", "other"} {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &topic
		req.Topics = append(req.Topics, rt)
	}
	return req
}

func fetchTwin() kmsg.Request {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = 500, 1, 512<<10, 1
	req.SessionID, req.SessionEpoch = 0, -1
	for _, t := range someFetch.topics {
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic, rt.TopicID = t.name, t.id
		for _, p := range t.partitions {
			rp := kmsg.NewFetchRequestTopicPartition()
			rp.Partition, rp.CurrentLeaderEpoch, rp.FetchOffset = p.id, p.leaderEpoch, p.offset
			rp.LastFetchedEpoch, rp.LogStartOffset, rp.PartitionMaxBytes = p.lastEpoch, -1, p.maxBytes
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	return req
}

func epochTwin() kmsg.Request {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	for _, list := range [][]epochQuery{{someEpochs[0], someEpochs[2]}, {someEpochs[1]}} {
		rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
		rt.Topic = list[0].topic
		for _, q := range list {
			rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = q.partition, q.leaderEpoch, q.epoch
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	return req
}

// TestWireRequests: every version of every request is what franz-go writes.
func TestWireRequests(t *testing.T) {
	for _, tc := range apis {
		for version := tc.api.oldest; version <= tc.api.newest; version++ {
			req := rawRequest{api: tc.api, write: tc.write, clientID: "tasksink", correlation: 258}
			twin := tc.twin()
			twin.SetVersion(version)
			want := kmsg.NewRequestFormatter(kmsg.FormatterClientID("tasksink")).AppendRequest(nil, twin, 258)
			if got := req.bytes(version); !bytes.Equal(got, want) {
				t.Errorf("%s version %d:\n%s, franz-go writes\n%s", tc.api.key, version, hex.Dump(got), hex.Dump(want))
			}
		}
	}
}

// TestWireGolden: the newest version of each request, byte for byte.
func TestWireGolden(t *testing.T) {
	header := func(key, version string) string {
		return key + version + "00000102" + "0008" + hex.EncodeToString([]byte("tasksink"))
	}
	tasks, other := hex.EncodeToString([]byte("tasks")), hex.EncodeToString([]byte("other"))
	const noID = "00000000000000000000000000000000"
	for i, want := range []string{
		"00000045" + header("0003", "000c") + "00" + "03" + noID + "06" + tasks + "00" + noID + "06" + other + "00" + "00" + "00" + "00",
		"000000b7" + header("0001", "000d") + "00" + "ffffffff" + "000001f4" + "00000001" + "00080000" + "01" + "00000000" + "ffffffff" +
			"03" + "0102030405060708090a0b0c0d0e0f10" +
			"03" + "00000003" + "00000007" + "0000010000000000" + "ffffffff" + "ffffffffffffffff" + "00040000" + "00" +
			"00000004" + "ffffffff" + "0000000000000000" + "00000006" + "ffffffffffffffff" + "00000001" + "00" + "00" +
			"09000000000000000000000000000000" +
			"02" + "00000000" + "00000000" + "0000000000000005" + "ffffffff" + "ffffffffffffffff" + "00000002" + "00" + "00" +
			"01" + "01" + "00",
		"00000054" + header("0017", "0003") + "ffffffff" + "00000002" +
			"0005" + tasks + "00000002" + "00000003" + "00000007" + "00000006" + "00000004" + "00000002" + "00000001" +
			"0005" + other + "00000001" + "00000000" + "ffffffff" + "00000000",
	} {
		req := rawRequest{api: apis[i].api, write: apis[i].write, clientID: "tasksink", correlation: 258}
		if got := hex.EncodeToString(req.bytes(req.api.newest)); got != want {
			t.Errorf("%s:\n%s, want\n%s", req.api.key, got, want)
		}
	}
}

// response is what franz-go's answers can do.
type response interface {
	SetVersion(version int16)
	AppendTo(b []byte) []byte
}

// encoded is an answer as a broker sends it, without size and correlation id.
func encoded(a api, version int16, res response) []byte {
	res.SetVersion(version)
	var b []byte
	if version >= a.flexible {
		b = append(b, 0) // the header's tagged fields
	}
	return res.AppendTo(b)
}

func raw(a api, version int16, body []byte) rawAnswer {
	return rawAnswer{api: a, version: version, body: body, buffer: body}
}

// TestWireMetadataAnswer: what franz-go writes is read, in every version.
func TestWireMetadataAnswer(t *testing.T) {
	for version := metadataAPI.oldest; version <= metadataAPI.newest; version++ {
		_, got, err := decodeMetadata(raw(metadataAPI, version, encoded(metadataAPI, version, metadataResponse())))
		id, epoch := topicID{}, "-1 -1"
		if version >= 7 {
			epoch = "5 6"
		}
		if version >= 10 {
			id = someID
		}
		want := fmt.Sprintf("[tasks %s internal:true err:<nil> [0/2 err:<nil> 1/-1 err:%v] epochs %s "+
			"absent %s internal:false err:%v]", id, failure(5), epoch, topicID{}, failure(3))
		if have := describe(got); err != nil || have != want {
			t.Errorf("version %d: %s, %v, want\n%s", version, have, err, want)
		}
	}
}

func describe(topics []metadataTopic) string {
	var all []string
	for _, topic := range topics {
		s := fmt.Sprintf("%s %s internal:%v err:%v", topic.name, topic.id, topic.internal, topic.err)
		var parts, epochs []string
		for _, p := range topic.partitions {
			parts = append(parts, fmt.Sprintf("%d/%d err:%v", p.id, p.leader, p.err))
			epochs = append(epochs, fmt.Sprint(p.epoch))
		}
		if len(parts) > 0 {
			s += fmt.Sprint(" ", parts, " epochs ", epochs[0], " ", epochs[1])
		}
		all = append(all, s)
	}
	return fmt.Sprint(all)
}

func metadataResponse() *kmsg.MetadataResponse {
	res := kmsg.NewPtrMetadataResponse()
	rack := "rack"
	for i := range int32(3) {
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port = i, "kafka.example", 9092
		if i == 1 {
			b.Rack = &rack
		}
		res.Brokers = append(res.Brokers, b)
	}
	res.ClusterID, res.ControllerID = kmsg.StringPtr("cluster"), 1
	tasks, absent := kmsg.NewMetadataResponseTopic(), kmsg.NewMetadataResponseTopic()
	tasks.Topic, tasks.TopicID, tasks.IsInternal = kmsg.StringPtr("tasks"), someID, true
	led, unled := kmsg.NewMetadataResponseTopicPartition(), kmsg.NewMetadataResponseTopicPartition()
	led.Partition, led.Leader, led.LeaderEpoch = 0, 2, 5
	led.Replicas, led.ISR, led.OfflineReplicas = []int32{2, 1}, []int32{2}, []int32{1}
	unled.Partition, unled.Leader, unled.LeaderEpoch, unled.ErrorCode = 1, -1, 6, 5
	tasks.Partitions = append(tasks.Partitions, led, unled)
	absent.Topic, absent.ErrorCode = kmsg.StringPtr("absent"), 3
	res.Topics = append(res.Topics, tasks, absent)
	return res
}

// TestWireFetchAnswer: what franz-go writes is read, in every version; records are a part of the buffer.
func TestWireFetchAnswer(t *testing.T) {
	for version := fetchAPI.oldest; version <= fetchAPI.newest; version++ {
		body := encoded(fetchAPI, version, fetchResponse())
		got, err := decodeFetch(raw(fetchAPI, version, body))
		if err != nil {
			t.Errorf("version %d: %v", version, err)
			continue
		}
		topic, p, empty := got.topics[0], got.topics[0].partitions[0], got.topics[0].partitions[1]
		if version >= fetchByID && topic.id != someID || version < fetchByID && topic.name != "tasks" {
			t.Errorf("version %d: the topic is %q, %s", version, topic.name, topic.id)
		}
		logStart, diverging := int64(-1), divergence{}
		if version >= 5 {
			logStart = 70
		}
		if version >= 12 {
			diverging = divergence{true, 4, 99}
		}
		if p.id != 3 || p.err != nil || p.highWatermark != 110 || p.lastStable != 105 || p.logStart != logStart ||
			!slices.Equal(p.aborted, []abortedTransaction{{11, 80}, {12, 90}}) || string(p.records) != "record batches" {
			t.Errorf("version %d: %+v", version, p)
		}
		if i := bytes.Index(body, p.records); &p.records[0] != &body[i] || cap(p.records) != len(p.records) {
			t.Errorf("version %d: the records are a copy, or end beyond their end", version)
		}
		if empty.id != 4 || empty.err == nil || empty.records != nil || empty.aborted != nil || empty.diverging != diverging {
			t.Errorf("version %d: %+v", version, empty)
		}
	}
	for version := int16(7); version <= fetchAPI.newest; version++ {
		res := kmsg.NewPtrFetchResponse()
		res.ErrorCode = 71
		if _, err := decodeFetch(raw(fetchAPI, version, encoded(fetchAPI, version, res))); err == nil {
			t.Errorf("version %d: the broker's error is not seen", version)
		}
	}
}

func fetchResponse() *kmsg.FetchResponse {
	res := kmsg.NewPtrFetchResponse()
	full, empty := kmsg.NewFetchResponseTopicPartition(), kmsg.NewFetchResponseTopicPartition()
	full.Partition, full.HighWatermark, full.LastStableOffset, full.LogStartOffset = 3, 110, 105, 70
	full.RecordBatches, full.PreferredReadReplica = []byte("record batches"), -1
	for _, a := range []abortedTransaction{{11, 80}, {12, 90}} {
		ra := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
		ra.ProducerID, ra.FirstOffset = a.producer, a.first
		full.AbortedTransactions = append(full.AbortedTransactions, ra)
	}
	full.UnknownTags.Set(9, []byte("of the future"))
	empty.Partition, empty.ErrorCode, empty.HighWatermark, empty.LastStableOffset = 4, 1, -1, -1
	empty.DivergingEpoch.Epoch, empty.DivergingEpoch.EndOffset = 4, 99
	empty.CurrentLeader.LeaderID, empty.CurrentLeader.LeaderEpoch = 2, 8
	topic := kmsg.NewFetchResponseTopic()
	topic.Topic, topic.TopicID, topic.Partitions = "tasks", someID, append(topic.Partitions, full, empty)
	res.Topics = append(res.Topics, topic)
	return res
}

// TestWireEpochAnswer: what franz-go writes is read, in every version.
func TestWireEpochAnswer(t *testing.T) {
	want := []epochEnd{{topic: "tasks", partition: 3, epoch: 6, end: 88},
		{topic: "tasks", partition: 4, err: failure(74), epoch: -1, end: -1}}
	for version := epochAPI.oldest; version <= epochAPI.newest; version++ {
		got, err := decodeEpochs(raw(epochAPI, version, encoded(epochAPI, version, epochResponse())))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("version %d: %+v, %v", version, got, err)
		}
	}
}

func epochResponse() *kmsg.OffsetForLeaderEpochResponse {
	res := kmsg.NewPtrOffsetForLeaderEpochResponse()
	known := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
	fenced := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
	known.Partition, known.LeaderEpoch, known.EndOffset = 3, 6, 88
	fenced.Partition, fenced.ErrorCode, fenced.LeaderEpoch, fenced.EndOffset = 4, 74, -1, -1
	topic := kmsg.NewOffsetForLeaderEpochResponseTopic()
	topic.Topic, topic.Partitions = "tasks", append(topic.Partitions, known, fenced)
	res.Topics = append(res.Topics, topic)
	return res
}

// TestWireTruncated: an answer that ends anywhere before its end, or goes on behind it, is refused.
func TestWireTruncated(t *testing.T) {
	for _, tc := range []struct {
		api    api
		res    response
		decode func(rawAnswer) error
	}{
		{metadataAPI, metadataResponse(), func(a rawAnswer) error { _, _, err := decodeMetadata(a); return err }},
		{fetchAPI, fetchResponse(), func(a rawAnswer) error { _, err := decodeFetch(a); return err }},
		{epochAPI, epochResponse(), func(a rawAnswer) error { _, err := decodeEpochs(a); return err }},
	} {
		for version := tc.api.oldest; version <= tc.api.newest; version++ {
			body := encoded(tc.api, version, tc.res)
			for n := range len(body) {
				if err := tc.decode(raw(tc.api, version, body[:n:n])); err == nil {
					t.Fatalf("%s version %d: %d of %d bytes were enough", tc.api.key, version, n, len(body))
				}
			}
			if err := tc.decode(raw(tc.api, version, append(body, 0))); err == nil {
				t.Errorf("%s version %d: a byte behind the end is not seen", tc.api.key, version)
			}
		}
	}
}

// TestWireTags: tagged fields are passed over whatever they hold; one that is read must hold what is read.
func TestWireTags(t *testing.T) {
	for _, tc := range []struct {
		name  string
		bytes string
		ok    bool
		want  int32
	}{
		{"none", "00", true, 0},
		{"a known one", "01" + "00" + "04" + "00000007", true, 7},
		{"a known one that has grown", "01" + "00" + "05" + "0000000700", true, 7},
		{"one of the future, and a known one", "02" + "8001" + "02" + "ffff" + "00" + "04" + "00000007", true, 7},
		{"a known one that is too short", "01" + "00" + "03" + "000000", false, 0},
		{"one that is longer than the answer", "01" + "05" + "04" + "000000", false, 0},
		{"one that is missing", "01", false, 0},
		{"more than there can be", "ffffffff0f" + "00" + "04" + "00000007", false, 7},
		{"a number without end", "ffffffffffffffffff01", false, 0},
	} {
		b, err := hex.DecodeString(tc.bytes)
		if err != nil {
			t.Fatal(err)
		}
		f := answerFields{fields{rest: b}, true}
		got := int32(0)
		f.tags(func(tag uint64, value *answerFields) {
			if tag == 0 {
				got = value.int32()
			}
		})
		if f.failed == tc.ok || got != tc.want || tc.ok && len(f.rest) > 0 {
			t.Errorf("%s: failed %v, read %d, %d bytes are left", tc.name, f.failed, got, len(f.rest))
		}
	}
}

// fuzzAnswer feeds a decoder. No bytes make it panic, or take more memory than a multiple of their number.
func fuzzAnswer(f *testing.F, a api, res response, decode func(rawAnswer) error) {
	f.Helper()
	for version := a.oldest; version <= a.newest; version++ {
		body := encoded(a, version, res)
		f.Add(version, body)
		broken := slices.Clone(body)
		for range 4 {
			broken[rand.IntN(len(broken))] = 0xff
		}
		f.Add(version, broken)
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < a.oldest || version > a.newest {
			return
		}
		limit := 64<<10 + uint64(len(body))*40
		took := limit + 1
		for range 3 { // other goroutines may take memory meanwhile, though not each time
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_ = decode(raw(a, version, body))
			runtime.ReadMemStats(&after)
			if took = after.TotalAlloc - before.TotalAlloc; took <= limit {
				return
			}
		}
		t.Errorf("%d bytes of version %d took %d bytes of memory", len(body), version, took)
	})
}

func FuzzWireMetadata(f *testing.F) {
	fuzzAnswer(f, metadataAPI, metadataResponse(), func(a rawAnswer) error { _, _, err := decodeMetadata(a); return err })
}

func FuzzWireFetch(f *testing.F) {
	fuzzAnswer(f, fetchAPI, fetchResponse(), func(a rawAnswer) error { _, err := decodeFetch(a); return err })
}

func FuzzWireEpochs(f *testing.F) {
	fuzzAnswer(f, epochAPI, epochResponse(), func(a rawAnswer) error { _, err := decodeEpochs(a); return err })
}
