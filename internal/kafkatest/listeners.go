package kafkatest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// secured is the Apache Kafka with all modes that the tests of a process share.
var secured struct {
	sync.Mutex
	addrs map[Mode]string
	admin *Broker
	dir   string
	err   error
}

func secureKafka(t *testing.T, mode Mode) *Secured {
	t.Helper()
	both, err := authorities()
	if err != nil {
		t.Fatal(err)
	}
	secured.Lock()
	defer secured.Unlock()
	if secured.admin == nil && secured.err == nil {
		secured.err = launchSecured(both)
	}
	if secured.err != nil {
		if os.Getenv("TASKSINK_REQUIRE_KAFKA") == "1" {
			t.Fatalf("no secured Apache Kafka, and TASKSINK_REQUIRE_KAFKA=1: %v", secured.err)
		}
		t.Skipf("NOT TESTED AGAINST APACHE KAFKA: %v", secured.err)
	}
	s := &Secured{Broker: secured.admin, Mode: mode, Addr: secured.addrs[listener(mode)],
		User:     fmt.Sprintf("tasksink-%d", users.Add(1)),
		Password: "first password", Old: both[0], New: both[1], Authorizes: mode != TLS}
	switch mode.Mechanism {
	case "":
	case "plain":
		s.User, s.Password = plainUser, plainPassword
	default:
		s.SetPassword(t, s.Password)
	}
	dir := secured.dir
	s.renew = func(a *Authority) error {
		store := filepath.Join(dir, fmt.Sprintf("broker-%d.pem", users.Add(1)))
		if err := writeKeystore(a, store); err != nil {
			return err
		}
		return s.alter("listener.name."+strings.ToLower(listenerName(mode))+".ssl.keystore.location", store)
	}
	return s
}

const plainUser, plainPassword = "tasksink-plain", "plain password"

// listener is the mode whose listener serves a mode: one serves all mechanisms.
func listener(m Mode) Mode {
	if m == Plain || m == Scram256 {
		return Scram512
	}
	return m
}

func listenerName(m Mode) string {
	return map[Mode]string{TLS: "TLS", MTLS: "MTLS", Scram512: "SASL", Both: "BOTH"}[listener(m)]
}

// launchSecured starts Apache Kafka with a listener for each mode, its authorizer, and one without anything, whose user
// is super, for the test itself.
func launchSecured(both [2]*Authority) error {
	dir, err := os.MkdirTemp("", "kafkatest-")
	if err != nil {
		return err
	}
	keystore, truststore := filepath.Join(dir, "broker.pem"), filepath.Join(dir, "trusted.pem")
	if err := errors.Join(writeKeystore(both[0], keystore),
		os.WriteFile(truststore, append(both[0].PEM, both[1].PEM...), 0o600)); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	admin := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	listeners, protocols, more, addrs := []string{}, []string{}, []string{}, map[Mode]string{}
	for _, mode := range []Mode{TLS, MTLS, Scram512, Both} {
		port, err := freePort()
		if err != nil {
			return err
		}
		name, protocol := listenerName(mode), "SSL"
		addrs[mode] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		prefix := "listener.name." + strings.ToLower(name) + "."
		more = append(more, prefix+"ssl.keystore.type=PEM", prefix+"ssl.keystore.location="+keystore)
		if mode.Mutual {
			more = append(more, prefix+"ssl.client.auth=required", prefix+"ssl.truststore.type=PEM",
				prefix+"ssl.truststore.location="+truststore,
				prefix+`ssl.principal.mapping.rules=RULE:^CN=(.*)$/$1/`)
		}
		if mode.Mechanism != "" {
			protocol = "SASL_SSL"
			const login = "org.apache.kafka.common.security."
			more = append(more, prefix+"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
				prefix+"plain.sasl.jaas.config="+login+`plain.PlainLoginModule required user_`+plainUser+`="`+plainPassword+`";`,
				prefix+"scram-sha-256.sasl.jaas.config="+login+"scram.ScramLoginModule required;",
				prefix+"scram-sha-512.sasl.jaas.config="+login+"scram.ScramLoginModule required;")
		}
		listeners, protocols = append(listeners, name+"://"+addrs[mode]), append(protocols, name+":"+protocol)
	}
	node, err := launchJava(Current, func(controller int, data string) string {
		text := settings(port, controller, data)
		text = strings.Replace(text, "\nlisteners=", "\nlisteners="+strings.Join(listeners, ",")+",", 1)
		text = strings.Replace(text, "\nadvertised.listeners=", "\nadvertised.listeners="+strings.Join(listeners, ",")+",", 1)
		text = strings.Replace(text, "security.protocol.map=", "security.protocol.map="+strings.Join(protocols, ",")+",", 1)
		more = append(more, "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
			"super.users=User:ANONYMOUS", "")
		return text + strings.Join(more, "\n")
	})
	if err != nil {
		_ = os.RemoveAll(dir)
		return fmt.Errorf("start a secured Apache Kafka %s: %w", Current, err)
	}
	end := func() { node.remove(); _ = os.RemoveAll(dir) }
	if err := serves(admin); err != nil {
		end()
		return fmt.Errorf("start a secured Apache Kafka %s: %w", Current, err)
	}
	b := newBroker("kafka", []string{admin})
	b.data = map[int32]string{1: node.data()}
	secured.admin, secured.addrs, secured.dir = b, addrs, dir
	shared.Lock()
	shared.stop = append(shared.stop, b.close, end)
	shared.Unlock()
	return nil
}

// writeKeystore writes a broker's key and certificate as Kafka reads them: one after the other.
func writeKeystore(a *Authority, path string) error {
	cert, key, err := a.Issue("broker")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(key, cert...), 0o600)
}
