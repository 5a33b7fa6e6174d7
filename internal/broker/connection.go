// Package broker says how to reach Kafka: the addresses, TLS, SASL, and what to do about a refused connection.
//
// It promises that consumer group, fetches, commits and dead letters reach Kafka in the same way; that TLS files and
// the password are read again for each connection, so that they can be replaced without a restart; and that no read or
// write takes for ever.
//
// Use: make a Connection, with NewTLS and NewSASL, and ask it for a Transport. Remedy turns an error into
// what an operator can do about it.
//
// The tests run a consumer and a writer of dead letters against secured brokers, Apache Kafka and kfake.
package broker

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
)

// Connection says how to reach the brokers. Consumer group, fetches, commits and dead letters all use it, so that
// they cannot differ.
type Connection struct {
	Brokers  []string // host:port
	ClientID string
	TLS      *TLS                                                              // nil: without
	SASL     sasl.Mechanism                                                    // nil: without
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error) // nil: net.Dialer's
}

const (
	// dialTimeout is how long it may take to connect, TLS included.
	dialTimeout = 5 * time.Second
	// silence is how long a read or write may take that kafka-go gave no deadline: its SASL handshake would wait
	// for ever for a peer that accepts and never answers. It is longer than any long poll.
	silence = 15 * time.Second
)

func (c Connection) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := c.reach(ctx, network, addr)
	if err == nil && c.TLS != nil {
		// Not left to kafka-go, which would keep the configuration that it was made with.
		conn, err = c.TLS.over(ctx, conn, addr)
	}
	if err != nil {
		return nil, err
	}
	return &deadlineConn{Conn: conn}, nil
}

func (c Connection) reach(ctx context.Context, network, addr string) (net.Conn, error) {
	if c.Dial != nil {
		return c.Dial(ctx, network, addr)
	}
	return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, addr)
}

// Knock connects to addr, speaks TLS where that is configured, and hangs up. reached tells that there was a connection,
// even if TLS failed over it; without TLS the state is nil.
func (c Connection) Knock(ctx context.Context, addr string) (state *tls.ConnectionState, reached bool, err error) {
	conn, err := c.reach(ctx, "tcp", addr)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = conn.Close() }()
	if c.TLS == nil {
		return nil, true, nil
	}
	secured, err := c.TLS.over(ctx, conn, addr)
	if err != nil {
		return nil, true, err
	}
	seen := secured.ConnectionState()
	return &seen, true, nil
}

// Transport returns a new transport over the connection. It keeps up with the brokers, and with who leads the given
// topics, which a Client or a Writer needs to know: two times a second it asks for all partitions of these topics.
func (c Connection) Transport(topics ...string) *kafka.Transport {
	// On average kafka-go asks after half of it. Its default of 6 s makes a leader's failover take 2.6 s instead of 0.6 s.
	ttl := time.Second
	// the addresses of brokers rarely change, and to ask for them costs an idle worker 0.2 % of a core
	if len(topics) == 0 {
		ttl = 3 * time.Second
	}
	return &kafka.Transport{
		Dial: c.dial, DialTimeout: dialTimeout, ClientID: c.ClientID, SASL: c.SASL,
		MetadataTTL:    ttl,
		MetadataTopics: append([]string{}, topics...), // nil would be every topic of the cluster
	}
}
