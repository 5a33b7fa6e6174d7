package broker

import (
	"context"
	"fmt"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/tasksink/tasksink/internal/secret"
)

// NewSASL returns a mechanism that takes the password, for each connection, as it is then. The name is plain,
// scram-sha-256 or scram-sha-512.
func NewSASL(name, username string, password *secret.Secret) (sasl.Mechanism, error) {
	l := &login{name: strings.ToUpper(name), username: username, password: password}
	_, err := l.mechanism() // a name or a password that cannot be used shows now
	return l, err
}

// login is a user. It prints no password: secret.Secret does not.
type login struct {
	name     string // as Kafka calls it
	username string
	password *secret.Secret
}

func (l *login) Name() string { return l.name }

func (l *login) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	m, err := l.mechanism()
	if err != nil {
		return nil, nil, err
	}
	return m.Start(ctx)
}

func (l *login) mechanism() (sasl.Mechanism, error) {
	switch l.name {
	case "PLAIN":
		return plain.Mechanism{Username: l.username, Password: l.password.Value()}, nil
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, l.username, l.password.Value())
	case "SCRAM-SHA-512":
		return scram.Mechanism(scram.SHA512, l.username, l.password.Value())
	default:
		return nil, fmt.Errorf("SASL mechanism %s is not known", l.name)
	}
}
