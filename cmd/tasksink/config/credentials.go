package config

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/tasksink/tasksink/internal/broker"
	"github.com/tasksink/tasksink/internal/secret"
	"github.com/tasksink/tasksink/upsert/hubspot"
)

// Secret is text that never prints itself.
type Secret string

// String is ***, or empty if there is nothing to hide.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String, for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (c Config) checkKafkaSecurity(wrong func(string, ...any)) {
	if _, err := broker.NewTLS(c.KafkaTLSCA, "", "", ""); err != nil {
		wrong("--kafka-tls-ca=%s: %v", c.KafkaTLSCA, err)
	}
	if (c.KafkaTLSCert == "") != (c.KafkaTLSKey == "") {
		wrong("--kafka-tls-cert and --kafka-tls-key belong together: give both or neither")
	} else if _, err := broker.NewTLS("", c.KafkaTLSCert, c.KafkaTLSKey, ""); err != nil {
		wrong("--kafka-tls-cert=%s: %v", c.KafkaTLSCert, err)
	}
	if c.KafkaSASLMechanism == "" {
		if c.KafkaSASLUsername != "" || c.KafkaSASLPassword != "" || c.KafkaSASLPasswordFile != "" {
			wrong("--kafka-sasl-mechanism is missing: a user or a password is given")
		}
		return
	}
	if c.KafkaSASLUsername == "" {
		wrong("--kafka-sasl-username is missing: --kafka-sasl-mechanism=%s needs it", c.KafkaSASLMechanism)
	}
	if (c.KafkaSASLPassword == "") == (c.KafkaSASLPasswordFile == "") {
		wrong("--kafka-sasl-password-file or --kafka-sasl-password: give one of them")
	}
	readable(wrong, c.kafkaSecrets())
	usable(wrong, "--kafka-sasl-password", c.KafkaSASLPassword, secret.CheckPassword)
	if c.KafkaSASLMechanism == "plain" && !c.UsesTLS() && !c.Insecure && slices.ContainsFunc(c.KafkaBrokers, Remote) {
		wrong("--kafka-sasl-mechanism=plain without TLS would send the password in clear: add --kafka-tls, or --insecure")
	}
}

// checkToken sees to it that there is one way to get a token for HubSpot, and all that belongs to it.
func (c Config) checkToken(wrong func(string, ...any)) {
	ways := 0
	for _, given := range []bool{c.HubspotToken != "", c.HubspotTokenFile != "", c.usesOAuth()} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		wrong("--hubspot-token-file, --hubspot-token or --hubspot-oauth-client-id: give one of them")
	}
	readable(wrong, c.hubspotSecrets())
	usable(wrong, "--hubspot-token", c.HubspotToken, secret.CheckToken)
	if !c.usesOAuth() {
		return
	}
	for _, s := range []struct{ flag, value string }{{"--hubspot-oauth-client-id", c.HubspotOAuthClientID},
		{"--hubspot-oauth-client-secret-file", c.HubspotOAuthClientSecretFile},
		{"--hubspot-oauth-refresh-token-file", c.HubspotOAuthRefreshTokenFile}} {
		if s.value == "" {
			wrong("%s is missing: OAuth needs the app's id, its secret and a refresh token", s.flag)
		}
	}
}

// masked is a URL or an address without what stands before the host: it may be a password.
func masked(address string) string {
	at := strings.LastIndex(address, "@")
	if at < 0 {
		return address
	}
	scheme, _, ok := strings.Cut(address[:at], "://")
	if !ok {
		return "***" + address[at:]
	}
	return scheme + "://***" + address[at:]
}

// usable refuses a secret that cannot be right. It never shows it.
func usable(wrong func(string, ...any), flag string, value Secret, check func(string) error) {
	if value == "" {
		return
	}
	if err := check(string(value)); err != nil {
		wrong("%s %v", flag, err)
	}
}

// Remote tells whether the host, with or without a port, may be another machine.
func Remote(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// UsesTLS tells whether connections to Kafka are to be encrypted.
func (c Config) UsesTLS() bool { return c.KafkaTLS || c.KafkaTLSCA != "" || c.KafkaTLSCert != "" }

func (c Config) usesOAuth() bool {
	return c.HubspotOAuthClientID != "" || c.HubspotOAuthClientSecretFile != "" || c.HubspotOAuthRefreshTokenFile != ""
}

// ClientID begins the name by which each replica goes at the brokers: in their logs and quotas, and among the members
// of the group.
const ClientID = "tasksink"

// Connection says how to reach Kafka.
func (c Config) Connection() (conn broker.Connection, err error) {
	host, err := os.Hostname() // the pod's name: stable, so that partitions mostly stay where they were
	if err != nil {
		host = "tasksink"
	}
	if !strings.HasPrefix(host, ClientID) {
		host = ClientID + "-" + host
	}
	conn = broker.Connection{Brokers: c.KafkaBrokers, ClientID: host}
	if c.UsesTLS() {
		if conn.TLS, err = broker.NewTLS(c.KafkaTLSCA, c.KafkaTLSCert, c.KafkaTLSKey, c.KafkaTLSServerName); err != nil {
			return conn, fmt.Errorf("--kafka-tls-*: %w", err)
		}
	}
	if c.KafkaSASLMechanism != "" {
		password, err := oneSecret(c.KafkaSASLPassword, c.KafkaSASLPasswordFile, secret.PasswordFile)
		if err != nil {
			return conn, fmt.Errorf("--kafka-sasl-password-file: %w", err)
		}
		if conn.SASL, err = broker.NewSASL(c.KafkaSASLMechanism, c.KafkaSASLUsername, password); err != nil {
			return conn, fmt.Errorf("--kafka-sasl-mechanism: %w", err)
		}
	}
	return conn, nil
}

// Client is for HubSpot. room counts the memory of long answers; nil: nobody does.
func (c Config) Client(room func(bytes int64)) (*hubspot.Client, error) {
	cfg := hubspot.Config{Room: room, URL: c.HubspotURL, Path: c.HubspotPath, Timeout: c.HubspotTimeout,
		UserAgent: "tasksink/" + ReadBuild().Version}
	var err error
	if !c.usesOAuth() {
		if cfg.Token, err = oneSecret(c.HubspotToken, c.HubspotTokenFile, secret.File); err != nil {
			return nil, fmt.Errorf("--hubspot-token-file: %w", err)
		}
		return hubspot.New(cfg)
	}
	cfg.OAuth = &hubspot.OAuthConfig{Path: c.HubspotOAuthPath, ClientID: c.HubspotOAuthClientID}
	if cfg.OAuth.ClientSecret, err = secret.File(c.HubspotOAuthClientSecretFile); err != nil {
		return nil, fmt.Errorf("--hubspot-oauth-client-secret-file: %w", err)
	}
	if cfg.OAuth.RefreshToken, err = secret.File(c.HubspotOAuthRefreshTokenFile); err != nil {
		return nil, fmt.Errorf("--hubspot-oauth-refresh-token-file: %w", err)
	}
	return hubspot.New(cfg)
}

func oneSecret(text Secret, file string, read func(path string) (*secret.Secret, error)) (*secret.Secret, error) {
	if file != "" {
		return read(file)
	}
	return secret.Text(string(text)), nil
}
