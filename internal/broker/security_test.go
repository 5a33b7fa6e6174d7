package broker_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/hold"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/internal/secret"
)

// guest is a member of a secured broker, with its files mounted as Kubernetes does it. It settles what it gets, and
// makes a dead letter of each tenth record.
type guest struct {
	t       *testing.T
	s       *kafkatest.Secured
	topic   string
	dir     string
	files   map[string][]byte
	mounted int
	board   *hold.Board
	got     atomic.Int64 // records, those that came again included
	keys    sync.Map     // of the records

	mu    sync.Mutex
	conns map[net.Conn]struct{}

	stop func()
	done chan error
}

func newGuest(t *testing.T, s *kafkatest.Secured) *guest {
	t.Helper()
	g := &guest{t: t, s: s, topic: s.Topic(t, 4, nil), dir: t.TempDir(), conns: map[net.Conn]struct{}{},
		done:  make(chan error, 1),
		board: hold.NewBoard(zerolog.New(zerolog.NewTestWriter(t)))}
	s.CreateTopic(t, g.topic+".dlq", 1, nil)
	g.files = map[string][]byte{"ca": s.Old.PEM, "password": []byte(s.Password + "\n")}
	g.certify(s.Old)
	return g
}

// certify gives the guest a certificate that a signs; it counts when mounted.
func (g *guest) certify(a *kafkatest.Authority) {
	g.t.Helper()
	cert, key, err := a.Issue(g.s.User)
	if err != nil {
		g.t.Fatal(err)
	}
	g.files["cert"], g.files["key"] = cert, key
}

// mount swaps all files at once: each is a link into ..data, which is a link to a directory that is replaced.
func (g *guest) mount() {
	g.t.Helper()
	g.mounted++
	version := fmt.Sprintf("..version-%d", g.mounted)
	try := func(err error) {
		if err != nil {
			g.t.Fatal(err)
		}
	}
	try(os.Mkdir(filepath.Join(g.dir, version), 0o700))
	for name, content := range g.files {
		try(os.WriteFile(filepath.Join(g.dir, version, name), content, 0o600))
		if g.mounted == 1 {
			try(os.Symlink(filepath.Join("..data", name), filepath.Join(g.dir, name)))
		}
	}
	try(os.Symlink(version, filepath.Join(g.dir, "..next")))
	try(os.Rename(filepath.Join(g.dir, "..next"), filepath.Join(g.dir, "..data")))
	if g.mounted > 1 {
		try(os.RemoveAll(filepath.Join(g.dir, fmt.Sprintf("..version-%d", g.mounted-1))))
	}
}

func (g *guest) file(name string) string { return filepath.Join(g.dir, name) }

// cut ends all connections, as a broker does that has learnt to refuse a credential.
func (g *guest) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		_ = c.Close()
	}
	clear(g.conns)
}

func (g *guest) connection() broker.Connection {
	g.t.Helper()
	conn := broker.Connection{Brokers: []string{g.s.Addr}, ClientID: g.s.User,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err == nil {
				g.mu.Lock()
				g.conns[c] = struct{}{}
				g.mu.Unlock()
			}
			return c, err
		}}
	cert, key := "", ""
	if g.s.Mode.Mutual {
		cert, key = g.file("cert"), g.file("key")
	}
	var err error
	if conn.TLS, err = broker.NewTLS(g.file("ca"), cert, key, ""); err != nil {
		g.t.Fatal(err)
	}
	if g.s.Mode.Mechanism != "" {
		password, err := secret.PasswordFile(g.file("password"))
		if err != nil {
			g.t.Fatal(err)
		}
		if conn.SASL, err = broker.NewSASL(g.s.Mode.Mechanism, g.s.User, password); err != nil {
			g.t.Fatal(err)
		}
	}
	return conn
}

// join starts the guest.
func (g *guest) join() {
	g.t.Helper()
	conn, log := g.connection(), zerolog.New(zerolog.NewTestWriter(g.t)).Level(zerolog.WarnLevel)
	c, err := consumer.New(consumer.Config{Connection: conn, Topics: []string{g.topic}, Group: g.topic, MaxPending: 2000,
		MaxPendingBytes: 64 << 20,
		DrainTimeout:    10 * time.Second, SessionTimeout: 6 * time.Second, HeartbeatInterval: 200 * time.Millisecond,
		Board: g.board, Log: log})
	if err != nil {
		g.t.Fatal(err)
	}
	w := dlq.NewWriter(dlq.Config{Connection: conn, Group: g.topic,
		Topic: func(source string) string { return source + ".dlq" }, Topics: []string{g.topic + ".dlq"},
		Board: g.board, Log: log})
	ctx, stop := context.WithCancel(context.Background())
	downstream, end := context.WithCancel(context.Background())
	var letters sync.WaitGroup
	letters.Go(func() { w.Run(downstream) })
	go func() {
		err := c.Run(ctx, func(rec *consumer.Record) {
			rec.Leave()
			g.keys.Store(string(rec.Key), true)
			if g.got.Add(1)%10 == 0 {
				w.DeadLetter(rec, dlq.Reason{Stage: dlq.StageUpsert, Category: "VALIDATION_ERROR"}, func(bool) {})
				return
			}
			rec.Settle(time.Now())
		}, w.Drop)
		end()
		letters.Wait()
		g.done <- err
	}()
	g.stop = stop
	g.t.Cleanup(stop)
}

// leave stops the guest, which must not have stopped before, and checks that it ends well.
func (g *guest) leave() {
	g.t.Helper()
	select {
	case err := <-g.done:
		g.t.Fatalf("it had stopped by itself: %v", err)
	default:
	}
	g.stop()
	select {
	case err := <-g.done:
		if err != nil {
			g.t.Errorf("Run: %v", err)
		}
	case <-time.After(30 * time.Second):
		g.t.Fatal("Run did not return")
	}
}

// holds waits until a hold stands whose detail or remedy says what it should.
func (g *guest) holds(reasons, says string) {
	g.t.Helper()
	until(g.t, "a hold says "+says, 40*time.Second, func() bool {
		for _, h := range g.board.List() {
			if strings.Contains(reasons, h.Reason) && strings.Contains(h.Remedy, says) {
				return true
			}
		}
		return false
	})
}

// caughtUp waits until all is committed and no hold is left.
func (g *guest) caughtUp(limit time.Duration) {
	g.t.Helper()
	start := time.Now()
	until(g.t, "all is committed", limit, func() bool {
		return g.s.Lag(g.t, g.topic, g.topic) == 0 &&
			len(g.board.List()) == 0
	})
	g.t.Logf("caught up after %v", time.Since(start).Round(100*time.Millisecond))
}

// documented are the ACLs that docs/security.md names, for the guest's own topics and group.
func (g *guest) documented() (acls []kafkatest.ACL) {
	g.t.Helper()
	b, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		g.t.Fatal(err)
	}
	own := map[string]string{"tasks": g.topic, "tasks.dlq": g.topic + ".dlq", "tasksink": g.topic}
	for _, m := range regexp.MustCompile(`(?m)^kafka-acls\.sh --bootstrap-server \S+ --add --allow-principal User:tasksink --operation (\w+) --(topic|group) (\S+)$`).FindAllStringSubmatch(string(b), -1) {
		acls = append(acls, kafkatest.ACL{Operation: m[1], Resource: m[2], Name: own[m[3]]})
	}
	if n := strings.Count(string(b), "\nkafka-acls.sh "); n != len(acls) || n == 0 {
		g.t.Fatalf("docs/security.md has %d lines with kafka-acls.sh, of which %d can be read", n, len(acls))
	}
	return acls
}

// TestSecured: in each mode records come in, offsets are committed and dead letters go out, with exactly the rights
// that docs/security.md lists.
func TestSecured(t *testing.T) {
	for _, mode := range []kafkatest.Mode{kafkatest.TLS, kafkatest.MTLS, kafkatest.Plain, kafkatest.Scram256,
		kafkatest.Scram512} {
		t.Run(mode.Name, func(t *testing.T) {
			t.Parallel()
			kafkatest.EachSecured(t, mode, func(t *testing.T, s *kafkatest.Secured) {
				t.Parallel()
				g := newGuest(t, s)
				if s.Authorizes {
					s.Allow(t, g.documented()...)
				}
				g.mount()
				produce(t, s.Broker, g.topic, 1000)
				g.join()
				g.caughtUp(30 * time.Second)
				g.leave()
				if n := len(s.ReadAll(t, g.topic+".dlq")); n != 100 || g.got.Load() != 1000 {
					t.Errorf("%d records and %d dead letters, want 1000 and 100", g.got.Load(), n)
				}
			})
		})
	}
}

// TestEachACL: without any one of the documented rights there is a hold that names it, and once it is granted records
// flow. So none is listed in vain.
func TestEachACL(t *testing.T) {
	for i, want := range []struct{ reasons, says string }{{"kafka", "READ on the topics"}, {"kafka", "READ on the group"},
		{"dlq", "WRITE on the dead-letter topic"}} {
		t.Run(want.says, func(t *testing.T) {
			t.Parallel()
			kafkatest.EachSecured(t, kafkatest.Scram512, func(t *testing.T, s *kafkatest.Secured) {
				t.Parallel()
				g := newGuest(t, s)
				acls := g.documented()
				if len(acls) != 3 {
					t.Fatalf("%d ACLs are documented: give each a case", len(acls))
				}
				s.Allow(t, append(append([]kafkatest.ACL(nil), acls[:i]...), acls[i+1:]...)...)
				g.mount()
				produce(t, s.Broker, g.topic, 100)
				g.join()
				g.holds(want.reasons, want.says)
				s.Allow(t, acls[i])
				g.caughtUp(30 * time.Second)
				g.leave()
			})
		})
	}
}

// TestWrongCredentials: what the brokers refuse, or what we do, is a hold that says what to do, and ends by itself when
// the file is mended.
func TestWrongCredentials(t *testing.T) {
	for _, tc := range []struct {
		name  string
		mode  kafkatest.Mode
		spoil func(g *guest)
		mend  func(g *guest)
		says  string
	}{
		{"a password, PLAIN", kafkatest.Plain, func(g *guest) { g.files["password"] = []byte("wrong") }, func(g *guest) { g.files["password"] = []byte(g.s.Password) }, "--kafka-sasl-password-file"},
		{"a password, SCRAM-256", kafkatest.Scram256, func(g *guest) { g.files["password"] = []byte("wrong") }, func(g *guest) { g.files["password"] = []byte(g.s.Password) }, "--kafka-sasl-password-file"},
		{"a password, SCRAM-512", kafkatest.Scram512, func(g *guest) { g.files["password"] = []byte("wrong") }, func(g *guest) { g.files["password"] = []byte(g.s.Password) }, "--kafka-sasl-password-file"},
		{"an authority that we do not know", kafkatest.TLS, func(g *guest) { g.files["ca"] = g.s.New.PEM }, func(g *guest) { g.files["ca"] = g.s.Old.PEM }, "--kafka-tls-ca"},
		{"an authority that they do not know", kafkatest.MTLS, func(g *guest) {
			other, err := kafkatest.NewAuthority("other")
			if err != nil {
				g.t.Fatal(err)
			}
			g.certify(other)
		}, func(g *guest) { g.certify(g.s.New) }, "--kafka-tls-cert"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			kafkatest.EachSecured(t, tc.mode, func(t *testing.T, s *kafkatest.Secured) {
				t.Parallel()
				g := newGuest(t, s)
				if s.Authorizes {
					s.Allow(t, g.documented()...)
				}
				tc.spoil(g)
				g.mount()
				produce(t, s.Broker, g.topic, 100)
				g.join()
				g.holds("kafka", tc.says)
				tc.mend(g)
				g.mount()
				g.caughtUp(20 * time.Second)
				g.leave()
			})
		})
	}
}

// TestRotation (SCRAM over mutual TLS): under load the password changes, and the brokers and we get certificates of
// another authority, in the hardest way: old and new are never good at once, all connections end, and the files follow
// only later. Nothing is lost, and nothing needs a restart.
func TestRotation(t *testing.T) {
	t.Parallel()
	kafkatest.EachSecured(t, kafkatest.Both, func(t *testing.T, s *kafkatest.Secured) {
		t.Parallel()
		g := newGuest(t, s)
		s.Allow(t, g.documented()...)
		g.mount()
		g.join()
		load, enough := context.WithCancel(t.Context())
		var producer sync.WaitGroup
		var produced atomic.Int64
		producer.Go(func() {
			for load.Err() == nil {
				var msgs []kafka.Message
				for range 50 {
					msgs = append(msgs, kafka.Message{Key: fmt.Appendf(nil, "%d", produced.Add(1)), Value: []byte("{}")})
				}
				s.Produce(t, g.topic, msgs...)
				select {
				case <-time.After(50 * time.Millisecond):
				case <-load.Done():
				}
			}
		})
		defer producer.Wait()
		defer enough()
		flows := func(limit time.Duration) {
			t.Helper()
			start, before := time.Now(), produced.Load()
			until(t, "records flow", limit, func() bool { return g.got.Load() > before+100 })
			t.Logf("records flow after %v", time.Since(start).Round(100*time.Millisecond))
		}
		flows(20 * time.Second)

		s.SetPassword(t, "second password")
		g.cut()
		time.Sleep(2 * time.Second) // the file comes late, and every handshake is refused meanwhile
		g.files["password"] = []byte("second password")
		g.mount()
		flows(30 * time.Second)

		t.Cleanup(func() { s.Renew(t, s.Old) }) // for other tests
		s.Renew(t, s.New)
		g.cut()
		time.Sleep(2 * time.Second)
		g.files["ca"] = s.New.PEM
		g.certify(s.New)
		g.mount()
		flows(30 * time.Second)

		enough()
		producer.Wait()
		g.caughtUp(30 * time.Second)
		g.leave()
		for i := range produced.Load() {
			if _, came := g.keys.Load(fmt.Sprint(i + 1)); !came {
				t.Errorf("record %d never came", i+1)
			}
		}
		t.Logf("%d records, %d deliveries", produced.Load(), g.got.Load())
	})
}

// TestTLS12: brokers that speak nothing newer than TLS 1.1, or no TLS, are refused.
func TestTLS12(t *testing.T) {
	t.Parallel()
	a, err := kafkatest.NewAuthority("a")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := a.Issue("broker")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(ca, a.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	for says, answer := range map[string]func(net.Conn){
		"protocol version": func(c net.Conn) {
			_ = tls.Server(c, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11,
				Certificates: []tls.Certificate{pair}}).HandshakeContext(t.Context())
		},
		"does not look like a TLS handshake": func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request")) },
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var server sync.WaitGroup
		server.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				answer(c)
				_ = c.Close()
			}
		})
		secured, err := broker.NewTLS(ca, "", "", "")
		if err != nil {
			t.Fatal(err)
		}
		transport := broker.Connection{TLS: secured}.Transport("tasks")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err = (&kafka.Client{Addr: l.Addr(), Transport: transport}).Metadata(ctx, &kafka.MetadataRequest{})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want an error that says %s, got %v", says, err)
		}
		cancel()
		transport.CloseIdleConnections()
		_ = l.Close()
		server.Wait()
	}
}
