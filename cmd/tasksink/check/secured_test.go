package check_test

import (
	"crypto/tls"
	"io"
	"log"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/internal/kafkatest"
)

var quiet = log.New(io.Discard, "", 0)

// documented are the rights that docs/security.md lists.
func (p *place) documented() []kafkatest.ACL {
	p.t.Helper()
	b, err := os.ReadFile("../../../docs/security.md")
	if err != nil {
		p.t.Fatal(err)
	}
	own := map[string]string{"tasks": p.name, "tasks.dlq": p.name + ".dlq", "tasksink": p.name}
	var acls []kafkatest.ACL
	for _, m := range regexp.MustCompile(`(?m)^kafka-acls\.sh --bootstrap-server \S+ --add --allow-principal User:tasksink --operation (\w+) --(topic|group) (\S+)$`).FindAllStringSubmatch(string(b), -1) {
		acls = append(acls, kafkatest.ACL{Operation: m[1], Resource: m[2], Name: own[m[3]]})
	}
	return acls
}

// as presents p to the broker as the mode wants it.
func (p *place) as(s *kafkatest.Secured) {
	p.t.Helper()
	p.cfg.KafkaBrokers = []string{s.Addr}
	p.cfg.KafkaTLSCA = p.file("ca", s.Old.PEM)
	if s.Mode.Mutual {
		p.certify(s, s.Old)
	}
	if s.Mode.Mechanism == "" {
		return
	}
	password := s.Password
	if s.Mode.Mechanism != "plain" {
		password = canary
		s.SetPassword(p.t, password)
	}
	p.cfg.KafkaSASLMechanism, p.cfg.KafkaSASLUsername, p.cfg.KafkaSASLPassword = s.Mode.Mechanism, s.User,
		config.Secret(password)
}

func (p *place) certify(s *kafkatest.Secured, a *kafkatest.Authority) {
	p.t.Helper()
	cert, key, err := a.Issue(s.User)
	if err != nil {
		p.t.Fatal(err)
	}
	p.cfg.KafkaTLSCert, p.cfg.KafkaTLSKey = p.file("cert", cert), p.file("key", key)
}

// TestSecured: what can be wrong with TLS, SASL and rights shows in its row, with its remedy.
func TestSecured(t *testing.T) {
	type test struct {
		name  string
		mode  kafkatest.Mode
		spoil func(p *place, s *kafkatest.Secured)
	}
	without := func(i int) func(p *place, s *kafkatest.Secured) {
		return func(p *place, s *kafkatest.Secured) {
			acls := p.documented()
			s.Allow(p.t, append(append([]kafkatest.ACL(nil), acls[:i]...), acls[i+1:]...)...)
		}
	}
	all := func(p *place, s *kafkatest.Secured) {
		s.Allow(p.t, append(p.documented(), kafkatest.ACL{Resource: "topic", Name: p.name, Operation: "Describe_Configs"},
			kafkatest.ACL{Resource: "topic", Name: p.name + ".dlq", Operation: "Describe_Configs"})...)
	}
	cases := []test{
		{"all is well, TLS", kafkatest.TLS, func(*place, *kafkatest.Secured) {}},
		{"all is well, mutual TLS and SCRAM", kafkatest.Both, all},
		{"all is well, PLAIN", kafkatest.Plain, all},
		{"just the rights that are documented", kafkatest.Scram512, func(p *place, s *kafkatest.Secured) { s.Allow(p.t, p.documented()...) }},
		{"no right to read the topic", kafkatest.Scram512, without(0)},
		{"no right to the group", kafkatest.Scram512, without(1)},
		{"no right to write dead letters", kafkatest.Scram512, without(2)},
		{"only the right to describe", kafkatest.Scram512, func(p *place, s *kafkatest.Secured) {
			for _, a := range p.documented() {
				a.Operation = "Describe"
				s.Allow(p.t, a)
			}
		}},
		{"the password is wrong, SCRAM", kafkatest.Scram512, func(p *place, s *kafkatest.Secured) {
			all(p, s)
			p.cfg.KafkaSASLPassword = canary + "-wrong"
		}},
		{"the password is wrong, PLAIN", kafkatest.Plain, func(p *place, s *kafkatest.Secured) {
			all(p, s)
			p.cfg.KafkaSASLPassword = canary + "-wrong"
		}},
		{"no login, where one is wanted", kafkatest.Scram512, func(p *place, s *kafkatest.Secured) {
			all(p, s)
			p.cfg.KafkaSASLMechanism, p.cfg.KafkaSASLUsername, p.cfg.KafkaSASLPassword = "", "", ""
		}},
		{"no TLS, where it is wanted", kafkatest.TLS, func(p *place, s *kafkatest.Secured) { p.cfg.KafkaTLSCA = "" }},
		{"an authority that we do not know", kafkatest.TLS, func(p *place, s *kafkatest.Secured) { p.cfg.KafkaTLSCA = p.file("ca", s.New.PEM) }},
		{"another name in the certificate", kafkatest.TLS, func(p *place, s *kafkatest.Secured) { p.cfg.KafkaTLSServerName = "kafka.example" }},
		{"the brokers' certificate expires soon", kafkatest.TLS, func(p *place, s *kafkatest.Secured) { p.live(s, 73*time.Hour) }},
		{"the brokers' certificate has expired", kafkatest.TLS, func(p *place, s *kafkatest.Secured) { p.live(s, -time.Minute) }},
		{"our certificate expires soon", kafkatest.Both, func(p *place, s *kafkatest.Secured) {
			all(p, s)
			p.certify(s, lives(s.Old, 73*time.Hour))
		}},
		{"our certificate has expired", kafkatest.Both, func(p *place, s *kafkatest.Secured) {
			all(p, s)
			p.certify(s, lives(s.Old, -time.Minute))
		}},
		{"an authority that they do not know", kafkatest.Both, func(p *place, s *kafkatest.Secured) {
			all(p, s)
			other, err := kafkatest.NewAuthority("other")
			if err != nil {
				p.t.Fatal(err)
			}
			p.certify(s, other)
		}},
		{"no certificate, where one is wanted", kafkatest.Both, func(p *place, s *kafkatest.Secured) {
			all(p, s)
			p.cfg.KafkaTLSCert, p.cfg.KafkaTLSKey = "", ""
		}},
	}
	// The brokers' own words differ, so each kind has its golden.
	got := map[string]*strings.Builder{"kfake": {}, "kafka": {}}
	first := map[string]*sync.Once{"kfake": {}, "kafka": {}}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			kafkatest.EachSecured(t, tc.mode, func(t *testing.T, s *kafkatest.Secured) {
				p := newPlace(t, s.Broker)
				p.topics(nil, good())
				first[s.Kind].Do(func() { p.firstGroup(s) })
				p.as(s)
				tc.spoil(p, s)
				told := strings.ReplaceAll(p.troubles(tc.name, p.look()), "User:"+s.User, "User:USER")
				got[s.Kind].WriteString(told)
			})
		})
	}
	for kind, text := range got {
		if text.Len() > 0 {
			golden.Compare(t, "secured-"+kind+".golden", text.String())
		}
	}
}

// lives is the authority, of which what it issues lives so long.
func lives(a *kafkatest.Authority, life time.Duration) *kafkatest.Authority {
	other := *a
	other.Life = life
	return &other
}

// live gives the broker a certificate that lives so long, until the test ends.
func (p *place) live(s *kafkatest.Secured, life time.Duration) {
	p.t.Helper()
	p.t.Cleanup(func() { s.Renew(p.t, s.Old); p.served(s, 24*time.Hour*50) })
	s.Renew(p.t, lives(s.Old, life))
	p.served(s, life-time.Hour)
}

// served waits until the broker's certificate lives about so long. Kafka changes it in its own time, in one of its
// network threads after the other, which take connections in turn.
func (p *place) served(s *kafkatest.Secured, life time.Duration) {
	p.t.Helper()
	var left time.Duration
	good := 0
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		c, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true}) // only to see it
		if err != nil {
			continue
		}
		left = time.Until(c.ConnectionState().PeerCertificates[0].NotAfter)
		_ = c.Close()
		if good++; left <= life || left > life+24*time.Hour*12 {
			good = 0
		}
		if good == 12 {
			return
		}
	}
	p.t.Fatalf("the broker's certificate lives for %v, want about %v", left, life)
}

// firstGroup makes a group, as what a cluster tells before its first one is another test's.
func (p *place) firstGroup(s *kafkatest.Secured) {
	p.t.Helper()
	if s.Kind == "kafka" {
		p.commit(0)
	}
}

// TestNoTLS: TLS, where none is spoken.
func TestNoTLS(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		p := newPlace(t, b)
		p.topics(nil, good())
		p.cfg.KafkaTLS = true
		golden.Compare(t, "notls-"+b.Kind+".golden", p.troubles("TLS, where none is spoken", p.look()))
	})
}
