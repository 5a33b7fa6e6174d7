package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/describegroups"
	"github.com/segmentio/kafka-go/protocol/listgroups"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
)

// kafka-go answers a metadata request from its cache, which knows nothing of rights, and looks for the coordinator of a
// group's requests, by which a broker without any group yet would make a topic for them. It knows those requests by
// their types. Under types of our own they go over the wire as they are, to the broker that is asked.
type (
	metadataRequest metadata.Request
	configsRequest  describeconfigs.Request
	groupRequest    describegroups.Request
	groupsRequest   listgroups.Request
	offsetsRequest  offsetfetch.Request
)

func (*metadataRequest) ApiKey() protocol.ApiKey { return protocol.Metadata }
func (*configsRequest) ApiKey() protocol.ApiKey  { return protocol.DescribeConfigs }
func (*groupRequest) ApiKey() protocol.ApiKey    { return protocol.DescribeGroups }
func (*groupsRequest) ApiKey() protocol.ApiKey   { return protocol.ListGroups }
func (*offsetsRequest) ApiKey() protocol.ApiKey  { return protocol.OffsetFetch }

// metadataResponse is a metadata.Response that kafka-go does not know for one: it would look for the request that it
// knows.
type metadataResponse metadata.Response

func (*metadataResponse) ApiKey() protocol.ApiKey { return protocol.Metadata }

// Split lets Merge see the answer before kafka-go does.
func (r *metadataRequest) Split(protocol.Cluster) ([]protocol.Message, protocol.Merger, error) {
	return []protocol.Message{r}, &metadataResponse{}, nil
}

// Merge makes the answer one of our own type.
func (*metadataResponse) Merge(_ []protocol.Message, results []any) (protocol.Message, error) {
	m, err := protocol.Result(results[0])
	if err != nil {
		return nil, err
	}
	res, ok := m.(*metadata.Response)
	if !ok {
		return nil, fmt.Errorf("the answer is a %T", m)
	}
	return (*metadataResponse)(res), nil
}

// ask sends one request to the broker at addr.
func ask[T protocol.Message](ctx context.Context, t *kafka.Transport, addr string, req protocol.Message) (answer T,
	err error) {
	res, err := t.RoundTrip(ctx, kafka.TCP(addr), req)
	if err != nil {
		return answer, err
	}
	answer, ok := res.(T)
	if !ok {
		return answer, fmt.Errorf("%s answers with %T", addr, res)
	}
	return answer, nil
}

// plain is an error in the words of this program, where it has some.
func plain(err error) string {
	var name *net.DNSError
	switch {
	case errors.As(err, &name):
		return "the name " + name.Name + " does not resolve"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("no answer within %v", lookTime)
	case hungUp(err):
		return "it hangs up"
	default:
		return err.Error()
	}
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

// code is an error of Kafka's by its number; nil for 0.
func code(n int16) error {
	if n == 0 {
		return nil
	}
	return kafka.Error(n)
}
