package consumer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// kafka-go writes no Metadata newer than version 8 and no Fetch newer than version 11, and knows nothing of
// OffsetForLeaderEpoch. Topic ids and leader epochs need these. The requests in wire_metadata.go, wire_fetch.go and
// wire_epoch.go write their own bytes, and read their own answers, on kafka-go's connections.

// api is a kind of request, and the versions of it that this package writes and reads.
type api struct {
	key            protocol.ApiKey
	oldest, newest int16
	flexible       int16 // the first version with tagged fields
}

// wire sends requests in the newest version that both sides speak.
type wire struct {
	via      *kafka.Transport
	addr     net.Addr
	clientID string
	spoken   spokenVersions
	last     atomic.Int32 // correlation id
}

func newWire(via *kafka.Transport, addr net.Addr, clientID string) *wire {
	return &wire{via: via, addr: addr, clientID: clientID}
}

// anyBroker is whichever broker the Transport is connected to.
const anyBroker = -1

// answerLimit is the largest answer that is read: a fetch of fetchBytes, and beyond it one batch, which a broker sends
// whole however large it is.
const answerLimit = 100 << 20

// rawAnswer is an answer, undecoded.
type rawAnswer struct {
	api     api
	version int16
	buffer  []byte // all of it; body is a part
	body    []byte // without the correlation id
}

func (a rawAnswer) ApiKey() protocol.ApiKey { return a.api.key }

// fields begins to decode: it passes over the header.
func (a rawAnswer) fields() *answerFields {
	f := &answerFields{fields{rest: a.body}, a.version >= a.api.flexible}
	f.skipTags()
	return f
}

// ask sends a request to a broker, in version newest or the newest below it that the broker speaks. write writes the
// request's body. The answer is read into buffer if it is large enough. After an error the buffer must not be used
// again: the connection may still be reading into it.
func (w *wire) ask(ctx context.Context, broker int, a api, newest int16, buffer []byte,
	write func(f *requestFields, version int16)) (rawAnswer, error) {
	raw := rawRequest{api: a, newest: newest, write: write, buffer: buffer, clientID: w.clientID, spoken: &w.spoken,
		correlation: w.last.Add(1)}
	var req protocol.Message = &raw
	if broker != anyBroker {
		req = &rawToBroker{raw, broker}
	}
	msg, err := w.via.RoundTrip(ctx, w.addr, req)
	if err != nil {
		return rawAnswer{}, err
	}
	answer, ok := msg.(rawAnswer)
	if !ok {
		return rawAnswer{}, fmt.Errorf("Kafka sent an answer of type %T", msg)
	}
	return answer, nil
}

// rawRequest has its connection to itself while it is exchanged for an answer. kafka-go closes the connection if that
// fails.
type rawRequest struct {
	api         api
	newest      int16
	write       func(f *requestFields, version int16)
	buffer      []byte
	clientID    string
	correlation int32
	spoken      *spokenVersions
}

func (r *rawRequest) ApiKey() protocol.ApiKey { return r.api.key }

func (r *rawRequest) Required(map[protocol.ApiKey]int16) bool { return true }

func (r *rawRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	spoken, err := r.spoken.of(rw, r.clientID)
	if err != nil {
		return nil, err
	}
	version, err := spoken.pick(r.api, r.newest)
	if err != nil {
		return nil, err
	}
	if _, err := rw.Write(r.bytes(version)); err != nil {
		return nil, err
	}
	answer, err := readAnswer(rw, r.buffer, answerLimit)
	if err != nil {
		return nil, err
	}
	if id := int32(binary.BigEndian.Uint32(answer)); id != r.correlation {
		return nil, fmt.Errorf("%w: it answers request %d instead of %d", errAnswer, id, r.correlation)
	}
	return rawAnswer{api: r.api, version: version, buffer: answer, body: answer[4:]}, nil
}

// bytes are the whole request: its size, its header, its body. The header's client id has a length of two bytes in
// every version.
func (r *rawRequest) bytes(version int16) []byte {
	f := &requestFields{b: make([]byte, 4, 512)}
	f.int16(int16(r.api.key))
	f.int16(version)
	f.int32(r.correlation)
	f.string(r.clientID)
	f.flexible = version >= r.api.flexible
	f.noTags()
	r.write(f, version)
	binary.BigEndian.PutUint32(f.b, uint32(len(f.b)-4))
	return f.b
}

// rawToBroker is a rawRequest for one broker, whoever leads the partitions that it names.
type rawToBroker struct {
	rawRequest
	id int
}

func (r *rawToBroker) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return brokerOf(cluster, r.id)
}

// readAnswer reads an answer behind its size. What a broker announces is believed up to 1 MiB; beyond that memory
// grows with what has come.
func readAnswer(r io.Reader, buffer []byte, limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:])))
	if size < 4 || size > limit {
		return nil, fmt.Errorf("%w: its size is %d bytes, and must be 4 to %d", errAnswer, size, limit)
	}
	const believed = 1 << 20
	buffer = buffer[:0]
	if first := min(size, believed); cap(buffer) < first {
		buffer = make([]byte, 0, first)
	}
	for len(buffer) < size {
		if len(buffer) == cap(buffer) {
			buffer = append(make([]byte, 0, min(size, 2*cap(buffer))), buffer...)
		}
		have := len(buffer)
		buffer = buffer[:min(size, cap(buffer))]
		if _, err := io.ReadFull(r, buffer[have:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return buffer, nil
}
