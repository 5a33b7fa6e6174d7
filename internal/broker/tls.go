package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// TLS is how to speak TLS, 1.2 or newer, with the brokers. Its files are read again for each connection, so that they
// can be replaced while tasksink runs; while they do not fit together, or cannot be read, what they held before serves.
type TLS struct {
	ca, cert, key, serverName string

	mu   sync.Mutex
	good *tls.Config // as of the last time that the files were good
}

// NewTLS reads PEM files: ca holds the authorities to trust (empty: the system's), cert and key a certificate to show
// (empty: none). serverName is expected in the brokers' certificates; empty: the host that is dialled.
func NewTLS(ca, cert, key, serverName string) (*TLS, error) {
	t := &TLS{ca: ca, cert: cert, key: key, serverName: serverName}
	_, err := t.config()
	return t, err
}

// config is what to use now. If there is an error as well, it says why the files as they are now are not that.
func (t *TLS) config() (*tls.Config, error) {
	cfg, err := t.read()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.good = cfg
	}
	return t.good, err
}

func (t *TLS) read() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.serverName}
	if t.ca != "" {
		pem, err := os.ReadFile(t.ca)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New(t.ca + " holds no certificate in PEM form")
		}
	}
	if t.cert != "" {
		pair, err := tls.LoadX509KeyPair(t.cert, t.key)
		if err != nil {
			return nil, fmt.Errorf("read %s and %s: %w", t.cert, t.key, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// over speaks TLS over a connection to addr, and closes it if that fails.
func (t *TLS) over(ctx context.Context, conn net.Conn, addr string) (*tls.Conn, error) {
	cfg, stale := t.config()
	if cfg.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			host = addr
		}
		cfg = cfg.Clone()
		cfg.ServerName = host
	}
	secured := tls.Client(conn, cfg)
	err := secured.HandshakeContext(ctx)
	if err == nil {
		return secured, nil
	}
	_ = conn.Close()
	if stale != nil {
		return nil, fmt.Errorf("TLS handshake with %s: %w (with what the files held before, as now: %w)", addr, err, stale)
	}
	return nil, fmt.Errorf("TLS handshake with %s: %w", addr, err)
}
