package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/segmentio/kafka-go"
)

// Remedy says what an operator can do about an error of Kafka's that has to do with who we are and whom we trust; empty
// if it has not.
func Remedy(err error) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		noTLS     tls.RecordHeaderError
		op        *net.OpError
	)
	switch {
	case errors.Is(err, kafka.SASLAuthenticationFailed):
		return "check --kafka-sasl-username, --kafka-sasl-mechanism and the password in the file that " +
			"--kafka-sasl-password-file names; it is read again by itself"
	case errors.Is(err, kafka.UnsupportedSASLMechanism):
		return "the brokers do not offer --kafka-sasl-mechanism: choose another one, or enable it there"
	case errors.As(err, &authority):
		return "put the authority that signed the brokers' certificates into the file that --kafka-tls-ca names; it is " +
			"read again by itself"
	case errors.As(err, &host):
		return "name the host that the brokers' certificates are made out for with --kafka-tls-server-name, or renew them " +
			"for the hosts that the brokers advertise"
	case errors.As(err, &invalid):
		return "renew the brokers' certificates, and check the clocks: " + invalid.Error()
	case errors.As(err, &noTLS):
		return "the brokers do not speak TLS at this port: check the ports of --kafka-brokers, or leave --kafka-tls out"
	case errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Error(), "tls: "):
		return "the brokers refuse our certificate: check the files that --kafka-tls-cert and --kafka-tls-key name, and " +
			"which authorities the brokers trust; the files are read again by themselves"
	case errors.Is(err, kafka.TopicAuthorizationFailed):
		return "allow the principal READ on the topics: docs/security.md has the list"
	case errors.Is(err, kafka.GroupAuthorizationFailed):
		return "allow the principal READ on the group: docs/security.md has the list"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "the brokers hang up: check whether they expect TLS (--kafka-tls) or SASL (--kafka-sasl-mechanism) at the " +
			"ports of --kafka-brokers, and --kafka-sasl-username and the password in the file that --kafka-sasl-password-file " +
			"names; tasksink goes on by itself"
	default:
		return ""
	}
}
