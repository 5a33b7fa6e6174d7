package main

import (
	"context"
	"net"

	"github.com/segmentio/kafka-go"
)

// With --advertise the demo serves pods and other machines: it listens on all addresses. Kafka must tell its clients
// where it is, as they ask one address first and then go to those it names, and none of its own may be the one they can
// reach: a container's host has a name of its own.

// advertised is a listener on all addresses whose address is said to be another host's.
type advertised struct {
	net.Listener
	host string
}

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

func (l advertised) Addr() net.Addr {
	return address(net.JoinHostPort(l.host, port(l.Listener.Addr().String())))
}

// everywhere listens on all addresses, for kfake and for HubSpot; with an empty host, where it is told to.
func everywhere(host string) func(network, addr string) (net.Listener, error) {
	var listen net.ListenConfig
	return func(network, addr string) (net.Listener, error) {
		if host == "" {
			return listen.Listen(context.Background(), network, addr)
		}
		l, err := listen.Listen(context.Background(), network, ":"+port(addr))
		if err != nil {
			return nil, err
		}
		return advertised{l, host}, nil
	}
}

// transport is for the demo's own way to Kafka: the advertised host need not lead there from here.
func (w *world) transport() *kafka.Transport {
	if w.Advertise == "" || w.kafka == nil {
		return &kafka.Transport{}
	}
	return &kafka.Transport{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port(addr)))
	}}
}

func port(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "0" // any: no address that is given here lacks one
	}
	return port
}
