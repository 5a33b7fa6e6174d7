package check

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
	"github.com/tasksink/tasksink/internal/broker"
)

const expiresSoon = 14 * 24 * time.Hour // a certificate

// kafkaLook is what the looks at Kafka share.
type kafkaLook struct {
	cfg       config.Config
	waiting   *waiting
	conn      broker.Connection
	transport *kafka.Transport
	topics    []string // to consume
	letters   []string // for dead letters
}

// brokerSeen is one address, and how far we came with it.
type brokerSeen struct {
	addr    string
	node    string // who advertises the address; empty if --kafka-brokers names it
	reached bool
	tls     *tls.ConnectionState
	met     error             // of connecting and TLS
	asked   error             // of SASL and the first request
	meta    *metadataResponse // nil if it did not come so far
}

func lookAtKafka(ctx context.Context, cfg config.Config, w *waiting) []Row {
	conn, err := cfg.Connection()
	if err != nil {
		return []Row{{Check: "settings", Result: Failed, Seen: err.Error(),
			Remedy: "correct the file that the setting names"}}
	}
	k := &kafkaLook{cfg: cfg, waiting: w, conn: conn, topics: cfg.KafkaTopics, letters: cfg.DeadLetterTopics()}
	k.transport = conn.Transport(append(append([]string{}, k.topics...), k.letters...)...)
	defer k.transport.CloseIdleConnections()

	brokers := k.visit(ctx, unvisited(cfg.KafkaBrokers))
	var from *brokerSeen
	for _, b := range brokers {
		if b.meta != nil {
			from = b
			break
		}
	}
	if from != nil {
		brokers = append(brokers, k.visit(ctx, advertised(from.meta, cfg.KafkaBrokers))...)
	}
	rows := k.brokerRows(brokers)
	rows = append(rows, k.tlsRows(brokers)...)
	rows = append(rows, k.saslRows(brokers)...)
	return append(rows, k.clusterRows(ctx, from)...)
}

func unvisited(addrs []string) (brokers []*brokerSeen) {
	for _, addr := range addrs {
		brokers = append(brokers, &brokerSeen{addr: addr})
	}
	return brokers
}

// advertised are the brokers' own addresses that are not among the known ones. Whoever fetches must reach them, too.
func advertised(meta *metadataResponse, known []string) (brokers []*brokerSeen) {
	seen := map[string]bool{}
	for _, addr := range known {
		seen[addr] = true
	}
	for _, b := range meta.Brokers {
		if addr := address(b); !seen[addr] {
			seen[addr] = true
			brokers = append(brokers, &brokerSeen{addr: addr, node: strconv.Itoa(int(b.NodeID))})
		}
	}
	return brokers
}

func address(b metadata.ResponseBroker) string {
	return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
}

// visit looks at each broker by itself.
func (k *kafkaLook) visit(ctx context.Context, brokers []*brokerSeen) []*brokerSeen {
	var all sync.WaitGroup
	for _, b := range brokers {
		all.Go(func() {
			look, done := within(ctx, k.waiting, b.addr)
			b.tls, b.reached, b.met = k.conn.Knock(look, b.addr)
			done()
			if b.met != nil {
				return
			}
			look, done = within(ctx, k.waiting, b.addr)
			defer done()
			b.meta, b.asked = ask[*metadataResponse](look, k.transport, b.addr, &metadataRequest{
				TopicNames: append(append([]string{}, k.topics...), k.letters...), IncludeTopicAuthorizedOperations: true})
		})
	}
	all.Wait()
	return brokers
}

func (k *kafkaLook) brokerRows(brokers []*brokerSeen) (rows []Row) {
	for _, b := range brokers {
		row := Row{Check: "broker", Subject: b.addr, Result: OK, Seen: "answers"}
		if b.node != "" {
			row.Seen += ", as broker " + b.node + " advertises"
		}
		switch {
		case !b.reached:
			row.Result, row.Seen, row.Remedy = Failed, plain(b.met), k.unreached(b)
			if b.node != "" {
				row.Seen += "; broker " + b.node + " advertises this address"
			}
		case b.met != nil || k.aboutTLS(b.asked) || k.aboutSASL(b.asked):
			row.Seen = "accepts connections"
		case b.asked != nil:
			row.Result, row.Seen = Failed, "accepts connections, then: "+plain(b.asked)
			row.Remedy = cmp.Or(broker.Remedy(b.asked), "check that a Kafka broker listens there, whether it expects TLS, and "+
				"its log")
		}
		rows = append(rows, row)
	}
	return rows
}

func (k *kafkaLook) unreached(b *brokerSeen) string {
	if b.node != "" {
		return fmt.Sprintf("set advertised.listeners in broker %s's server.properties to an address that this machine "+
			"reaches, and restart it; or let this machine resolve and reach %s (DNS, firewall, NetworkPolicy)", b.node, b.addr)
	}
	host, _, _ := net.SplitHostPort(b.addr)
	var name *net.DNSError
	if errors.As(b.met, &name) {
		return "correct the name in --kafka-brokers, or let this machine resolve " + host
	}
	return "correct the address in --kafka-brokers, start the broker, or let this machine through to " + b.addr +
		" (firewall, NetworkPolicy)"
}

// aboutTLS tells whether a broker's answer to the first request was in truth to our certificate: with TLS 1.3 it comes
// after the handshake.
func (k *kafkaLook) aboutTLS(err error) bool {
	var op *net.OpError
	return k.conn.TLS != nil && errors.As(err, &op) && op.Op == "remote error"
}

// aboutSASL tells whether it was the login that failed. Some brokers only hang up.
func (k *kafkaLook) aboutSASL(err error) bool {
	return k.conn.SASL != nil && err != nil && (errors.Is(err, kafka.SASLAuthenticationFailed) ||
		errors.Is(err, kafka.UnsupportedSASLMechanism) ||
		errors.Is(err, kafka.IllegalSASLState) || hungUp(err))
}

func (k *kafkaLook) tlsRows(brokers []*brokerSeen) (rows []Row) {
	if k.conn.TLS == nil {
		return []Row{skip("TLS", "", "neither --kafka-tls nor --kafka-tls-ca is set")}
	}
	good, until, version := 0, time.Time{}, uint16(0)
	for _, b := range brokers {
		err := b.met
		if k.aboutTLS(b.asked) {
			err = b.asked
		}
		switch {
		case !b.reached:
			continue
		case err != nil:
			remedy := broker.Remedy(err)
			if remedy == "" || hungUp(err) {
				remedy = "check that the broker speaks TLS 1.2 or newer at this port, or leave --kafka-tls out"
			}
			rows = append(rows, Row{"TLS", b.addr, Failed, plain(err), remedy})
			continue
		}
		end := expiry(b.tls.PeerCertificates)
		if left := time.Until(end); left < expiresSoon {
			rows = append(rows, Row{"TLS", b.addr, Warning, "the certificate expires " + in(left) + ", on " +
				end.Format(time.DateOnly),
				"renew the certificate of " + b.addr + " before " + end.Format(time.DateOnly) +
					": tasksink stops trusting it then"})
			continue
		}
		good, version = good+1, b.tls.Version
		if until.IsZero() || end.Before(until) {
			until = end
		}
	}
	if good > 0 {
		rows = append(rows, Row{"TLS", plural(good, "broker"), OK, tls.VersionName(version) + ", certificates good until " +
			until.Format(time.DateOnly), ""})
	}
	if len(rows) == 0 {
		rows = []Row{skip("TLS", "", "no broker is reached")}
	}
	if k.cfg.KafkaTLSCert != "" {
		rows = append(rows, k.ownCertificate())
	}
	return rows
}

// ownCertificate looks at what we show to the brokers.
func (k *kafkaLook) ownCertificate() Row {
	row := Row{Check: "own certificate", Subject: k.cfg.KafkaTLSCert, Result: Failed}
	pair, err := tls.LoadX509KeyPair(k.cfg.KafkaTLSCert, k.cfg.KafkaTLSKey)
	if err != nil {
		row.Seen, row.Remedy = err.Error(), "correct the files that --kafka-tls-cert and --kafka-tls-key name"
		return row
	}
	left := time.Until(pair.Leaf.NotAfter)
	row.Result, row.Seen = OK, "good until "+pair.Leaf.NotAfter.Format(time.DateOnly)
	if left < expiresSoon {
		row.Result, row.Seen = Warning, "expires "+in(left)+", on "+pair.Leaf.NotAfter.Format(time.DateOnly)
		row.Remedy = "put a new certificate and its key into the files that --kafka-tls-cert and --kafka-tls-key name; " +
			"they are read again by themselves"
		if left <= 0 {
			row.Result, row.Seen = Failed, "expired on "+pair.Leaf.NotAfter.Format(time.DateOnly)
		}
	}
	return row
}

// expiry is when the first certificate of a chain ends.
func expiry(chain []*x509.Certificate) (end time.Time) {
	for _, c := range chain {
		if end.IsZero() || c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

func in(left time.Duration) string {
	if left < 48*time.Hour {
		return fmt.Sprintf("in %d h", left/time.Hour)
	}
	return fmt.Sprintf("in %d days", left/(24*time.Hour))
}

func (k *kafkaLook) saslRows(brokers []*brokerSeen) (rows []Row) {
	if k.conn.SASL == nil {
		return []Row{skip("SASL", "", "--kafka-sasl-mechanism is not set")}
	}
	good := 0
	for _, b := range brokers {
		switch {
		case k.aboutSASL(b.asked):
			rows = append(rows, Row{"SASL", b.addr, Failed, "refused: " + plain(b.asked), broker.Remedy(b.asked)})
		case b.meta != nil:
			good++
		}
	}
	if good > 0 {
		rows = append(rows, Row{"SASL", plural(good, "broker"), OK, strings.ToUpper(k.cfg.KafkaSASLMechanism) + " as " +
			k.cfg.KafkaSASLUsername, ""})
	}
	if len(rows) == 0 {
		rows = []Row{skip("SASL", "", "no broker is reached so far")}
	}
	return rows
}
