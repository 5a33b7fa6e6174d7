package kafkatest

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/scram"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	franz "github.com/twmb/franz-go/pkg/sasl/scram"
)

// Mode is how a member must present itself to a secured broker.
type Mode struct {
	Name      string
	Mechanism string // of SASL, as --kafka-sasl-mechanism names it; empty: none
	Mutual    bool   // the member shows a certificate
}

// The modes. All are over TLS.
var (
	TLS      = Mode{Name: "TLS"}
	MTLS     = Mode{Name: "mutual TLS", Mutual: true}
	Plain    = Mode{Name: "PLAIN", Mechanism: "plain"}
	Scram256 = Mode{Name: "SCRAM-256", Mechanism: "scram-sha-256"}
	Scram512 = Mode{Name: "SCRAM-512", Mechanism: "scram-sha-512"}
	Both     = Mode{Name: "SCRAM-512 over mutual TLS", Mechanism: "scram-sha-512", Mutual: true}
)

// Secured is a broker that wants members to present themselves, and allows them only what its ACLs say. The embedded
// Broker is for the test: it is allowed everything.
type Secured struct {
	*Broker
	Mode           Mode
	Addr           string // for the member
	User, Password string // its own: as a certificate's name, and with SASL
	Old, New       *Authority
	Authorizes     bool // the user is allowed only what ACLs allow it

	renew func(a *Authority) error
}

// EachSecured runs a test against kfake and Apache Kafka, with a user of its own. The brokers' certificates are signed
// by Old until Renew; members' certificates may be signed by either.
func EachSecured(t *testing.T, mode Mode, run func(t *testing.T, s *Secured)) {
	t.Helper()
	t.Run("kfake", func(t *testing.T) { run(t, secureFake(t, mode)) })
	t.Run("kafka", func(t *testing.T) { run(t, secureKafka(t, mode)) })
}

var authorities = sync.OnceValues(func() (both [2]*Authority, err error) {
	for i, name := range []string{"old", "new"} {
		if both[i], err = NewAuthority(name); err != nil {
			return both, err
		}
	}
	return both, nil
})

var users atomic.Int32

const adminPassword = "of-the-test-itself"

func secureFake(t *testing.T, mode Mode) *Secured {
	t.Helper()
	both, err := authorities()
	if err != nil {
		t.Fatal(err)
	}
	s := &Secured{Mode: mode, User: "tasksink", Password: "first password", Old: both[0], New: both[1],
		Authorizes: mode.Mechanism != ""}
	trusted := x509.NewCertPool()
	trusted.AddCert(s.Old.cert)
	trusted.AddCert(s.New.cert)
	var own atomic.Pointer[tls.Certificate]
	s.renew = func(a *Authority) error {
		cert, key, err := a.Issue("broker")
		if err != nil {
			return err
		}
		pair, err := tls.X509KeyPair(cert, key)
		own.Store(&pair)
		return err
	}
	if err := s.renew(s.Old); err != nil {
		t.Fatal(err)
	}
	listen := &tls.Config{MinVersion: tls.VersionTLS12, ClientCAs: trusted,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.Load(), nil }}
	if mode.Mutual {
		listen.ClientAuth = tls.RequireAndVerifyClientCert
	}
	opts := []kfake.Opt{kfake.TLS(listen)}
	if mode.Mechanism != "" {
		opts = append(opts, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("SCRAM-SHA-256", "admin", adminPassword),
			kfake.User(strings.ToUpper(mode.Mechanism), s.User, s.Password))
	}
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1),
		kfake.GroupMinSessionTimeout(100 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatalf("start kfake: %v", err)
	}
	cert, key, err := s.Old.Issue("admin")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	secured := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted, Certificates: []tls.Certificate{pair}}
	transport := &kafka.Transport{MetadataTTL: 2 * time.Second, TLS: secured}
	s.Broker = newBroker("kfake", cluster.ListenAddrs())
	s.Fake, s.Addr = cluster, cluster.ListenAddrs()[0]
	s.opts = []kgo.Opt{kgo.DialTLSConfig(secured)}
	if mode.Mechanism != "" {
		if transport.SASL, err = scram.Mechanism(scram.SHA256, "admin", adminPassword); err != nil {
			t.Fatal(err)
		}
		s.opts = append(s.opts, kgo.SASL(franz.Auth{User: "admin", Pass: adminPassword}.AsSha256Mechanism()))
	}
	s.client.Transport = transport
	t.Cleanup(func() { s.close(); cluster.Close() })
	return s
}

// Renew gives the broker a certificate that a signs.
func (s *Secured) Renew(t testing.TB, a *Authority) {
	t.Helper()
	if err := s.renew(a); err != nil {
		t.Fatalf("renew the broker's certificate: %v", err)
	}
}

// alter changes a setting of the broker while it runs.
func (s *Secured) alter(name, value string) error {
	c, err := kgo.NewClient(append(s.opts, kgo.SeedBrokers(s.Addrs...))...)
	if err != nil {
		return err
	}
	defer c.Close()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = name, &value
	resource.Configs = append(resource.Configs, config)
	req.Resources = append(req.Resources, resource)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	res, err := req.RequestWith(ctx, c)
	if err != nil {
		return err
	}
	for _, r := range res.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			text := ""
			if r.ErrorMessage != nil {
				text = *r.ErrorMessage
			}
			return fmt.Errorf("%w: %s", err, text)
		}
	}
	return nil
}

// SetPassword changes the user's password, with a SCRAM mechanism.
func (s *Secured) SetPassword(t testing.TB, password string) {
	t.Helper()
	of, size, number := sha512.New, sha512.Size, int8(2)
	if s.Mode.Mechanism == "scram-sha-256" {
		of, size, number = sha256.New, sha256.Size, 1
	}
	salt := []byte(t.Name())
	salted, err := pbkdf2.Key(of, password, salt, 4096, size)
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = s.User, number, 4096, salt, salted
	req.Upsertions = append(req.Upsertions, u)
	c := s.franz(t)
	defer c.Close()
	res, err := req.RequestWith(t.Context(), c)
	if err == nil {
		for _, r := range res.Results {
			err = errors.Join(err, kerr.ErrorForCode(r.ErrorCode))
		}
	}
	if err != nil {
		t.Fatalf("change the password of %s: %v", s.User, err)
	}
}

// ACL allows an operation on a resource.
type ACL struct {
	Resource  string // "topic" or "group"
	Name      string
	Operation string // as Kafka's tools write it: Read, Write
}

func (a ACL) String() string { return a.Operation + " on " + a.Resource + " " + a.Name }

// Allow allows the user what acls say.
func (s *Secured) Allow(t testing.TB, acls ...ACL) {
	t.Helper()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, a := range acls {
		kind, err := kmsg.ParseACLResourceType(a.Resource)
		if err != nil {
			t.Fatal(err)
		}
		operation, err := kmsg.ParseACLOperation(a.Operation)
		if err != nil {
			t.Fatal(err)
		}
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType = kind, a.Name, kmsg.ACLResourcePatternTypeLiteral
		c.Principal, c.Host, c.Operation, c.PermissionType = "User:"+s.User, "*", operation, kmsg.ACLPermissionTypeAllow
		req.Creations = append(req.Creations, c)
	}
	c := s.franz(t)
	defer c.Close()
	res, err := req.RequestWith(t.Context(), c)
	if err == nil {
		for _, r := range res.Results {
			err = errors.Join(err, kerr.ErrorForCode(r.ErrorCode))
		}
	}
	if err != nil {
		t.Fatalf("allow %v: %v", acls, err)
	}
}
