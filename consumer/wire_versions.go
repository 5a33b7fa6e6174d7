package consumer

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"weak"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
)

// versions are what a broker speaks.
type versions map[protocol.ApiKey]span

type span struct{ oldest, newest int16 }

// pick returns the newest version that both sides speak, and that is no newer than newest.
func (v versions) pick(a api, newest int16) (int16, error) {
	speaks, ok := v[a.key]
	if !ok {
		return 0, fmt.Errorf("the broker does not speak %s: %w", a.key, kafka.UnsupportedVersion)
	}
	version := min(newest, a.newest, speaks.newest)
	if version < max(a.oldest, speaks.oldest) {
		return 0, fmt.Errorf("the broker speaks versions %d to %d of %s, tasksink %d to %d: %w", speaks.oldest,
			speaks.newest, a.key, a.oldest, min(newest, a.newest), kafka.UnsupportedVersion)
	}
	return version, nil
}

// spokenVersions are the versions that brokers speak, by connection. A broker cannot change while a connection to it
// lasts. Neither the broker's id nor its address would do as a key: another release may replace the broker between two
// connections, and a bootstrap address may stand for several brokers. A request in a version that a broker does not
// speak has no error of its own: Apache Kafka closes the connection.
type spokenVersions struct {
	mu     sync.Mutex
	byConn map[weak.Pointer[protocol.Conn]]versions
}

// of asks the broker at the other end, if that was not done before. kafka-go has asked, too, but keeps the answer to
// itself.
func (s *spokenVersions) of(rw io.ReadWriter, clientID string) (versions, error) {
	conn, ok := rw.(*protocol.Conn)
	if !ok {
		return askVersions(rw, clientID)
	}
	key := weak.Make(conn)
	s.mu.Lock()
	spoken := s.byConn[key]
	s.mu.Unlock()
	if spoken != nil {
		return spoken, nil
	}
	spoken, err := askVersions(rw, clientID)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byConn == nil {
		s.byConn = map[weak.Pointer[protocol.Conn]]versions{}
	}
	s.byConn[key] = spoken
	runtime.AddCleanup(conn, s.forget, key)
	return spoken, nil
}

func (s *spokenVersions) forget(key weak.Pointer[protocol.Conn]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byConn, key)
}

func askVersions(rw io.ReadWriter, clientID string) (versions, error) {
	msg, err := protocol.RoundTrip(rw, 0, 1, clientID, &apiversions.Request{})
	if err != nil {
		return nil, fmt.Errorf("ask the broker which versions it speaks: %w", err)
	}
	res, ok := msg.(*apiversions.Response)
	if !ok {
		return nil, fmt.Errorf("Kafka sent an answer of type %T", msg)
	}
	if err := failure(res.ErrorCode); err != nil {
		return nil, fmt.Errorf("ask the broker which versions it speaks: %w", err)
	}
	spoken := versions{}
	for _, k := range res.ApiKeys {
		spoken[protocol.ApiKey(k.ApiKey)] = span{k.MinVersion, k.MaxVersion}
	}
	return spoken, nil
}
