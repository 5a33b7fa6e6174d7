package consumer

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// kafka-go's Client lacks some of what a member of a group needs. Its Transport leaves a door open for messages that
// exchange request and answer themselves (protocol.RawExchanger). A versioned request goes to any broker,
// or to a certain one. What kafka-go cannot write at all is in wire_raw.go.

// versioned is a request in a version no newer than newest. From the versions with tagged fields on, kafka-go writes
// Heartbeat, JoinGroup and SyncGroup in a form that no broker reads.
type versioned struct {
	protocol.Message
	clientID string
	newest   int16
	version  int16 // what the connection speaks
}

func (v *versioned) Required(spoken map[protocol.ApiKey]int16) bool {
	v.version = min(v.newest, spoken[v.ApiKey()])
	return true
}

// RawExchange has the connection to itself, so that any correlation id serves. A byte that flipped in a log can make
// kafka-go's decoder panic, which must not end the process.
func (v *versioned) RawExchange(rw io.ReadWriter) (_ protocol.Message, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errUnreadable, r)
		}
	}()
	msg, err := protocol.RoundTrip(rw, v.version, 1, v.clientID, v.Message)
	if err != nil {
		return nil, err
	}
	return answer{msg}, nil
}

// answer hides an answer's type from kafka-go, which would look for the request that it knows beside some types.
type answer struct{ protocol.Message }

// toBroker is a request for one broker, whoever leads the partitions that it names: the broker's answer says for each
// partition whether it leads it. kafka-go would refuse the whole request if one of them had moved.
type toBroker struct {
	versioned
	id int
}

func (r *toBroker) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return brokerOf(cluster, r.id)
}

func brokerOf(cluster protocol.Cluster, id int) (protocol.Broker, error) {
	b, ok := cluster.Brokers[int32(id)]
	if !ok {
		return b, fmt.Errorf("broker %d: %w", id, kafka.BrokerNotAvailable)
	}
	return b, nil
}

const newestVersion = 1<<15 - 1

// exchange sends a request, and returns its answer.
func exchange[R protocol.Message](ctx context.Context, via *kafka.Transport, addr net.Addr,
	req protocol.Message) (res R, err error) {
	msg, err := via.RoundTrip(ctx, addr, req)
	if err != nil {
		return res, err
	}
	if a, ok := msg.(answer); ok {
		msg = a.Message
	}
	res, ok := msg.(R)
	if !ok {
		return res, fmt.Errorf("Kafka sent an answer of type %T", msg)
	}
	return res, nil
}

// failure is what an error code says; nil for 0.
func failure(code int16) error {
	if code == 0 {
		return nil
	}
	return kafka.Error(code)
}
