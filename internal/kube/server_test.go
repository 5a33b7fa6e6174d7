// Package kube installs the chart into an API server of Kubernetes that is built from source: `make kube-test`. There
// is no kubelet and no controller: objects are admitted, validated and stored, and no pod starts.
package kube

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is an API server with its etcd, for as long as the test takes.
type server struct {
	url, kubeconfig string
	client          *http.Client
}

const token = "kube-test" // of an API server on loopback that dies with the test

// start starts etcd and the API server that the Makefile has built, and returns when it is ready.
func start(t *testing.T) *server {
	t.Helper()
	bin := os.Getenv("KUBE_BIN")
	if bin == "" {
		t.Fatal("KUBE_BIN names no directory with etcd and kube-apiserver: run make kube-test")
	}
	dir := t.TempDir()
	clients, peers, secure := freePort(t), freePort(t), freePort(t)
	run(t, dir, bin+"/etcd", "--data-dir="+dir+"/etcd", "--unsafe-no-fsync",
		"--listen-client-urls=http://"+clients, "--advertise-client-urls=http://"+clients,
		"--listen-peer-urls=http://"+peers, "--initial-advertise-peer-urls=http://"+peers, "--initial-cluster=default=http://"+peers)

	write(t, dir+"/tokens.csv", token+",admin,admin,system:masters\n")
	signing, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/signing.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY",
		Bytes: x509.MarshalPKCS1PrivateKey(signing)})))
	_, port, err := net.SplitHostPort(secure)
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, bin+"/kube-apiserver", "--etcd-servers=http://"+clients, "--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--secure-port="+port, "--cert-dir="+dir+"/certs", "--token-auth-file="+dir+"/tokens.csv", "--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none", "--service-account-issuer=https://kube-test", "--service-account-key-file="+dir+"/signing.pem",
		"--service-account-signing-key-file="+dir+"/signing.pem")
	s := &server{url: "https://" + secure, kubeconfig: dir + "/kubeconfig"}
	certificate := dir + "/certs/apiserver.crt"
	var authorities *x509.CertPool
	await(t, time.Minute, "the API server's certificate", func() error {
		b, err := os.ReadFile(filepath.Clean(certificate))
		authorities = x509.NewCertPool()
		if err == nil && !authorities.AppendCertsFromPEM(b) {
			err = fmt.Errorf("%s holds no certificate yet", certificate)
		}
		return err
	})
	s.client = &http.Client{Timeout: 30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities, ServerName: "kubernetes",
			MinVersion: tls.VersionTLS12}}}
	await(t, 2*time.Minute, "the API server", func() error {
		status, body, err := s.ask("GET", "/readyz", nil)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/readyz: %d %s", status, body)
		}
		return err
	})
	write(t, s.kubeconfig, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "test",
"clusters": [{"name": "test", "cluster": {"server": %q, "certificate-authority": %q, "tls-server-name": "kubernetes"}}],
"users": [{"name": "admin", "user": {"token": %q}}],
"contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}]}`, s.url, certificate, token))
	return s
}

// ask sends a body, JSON or YAML, and returns the answer.
func (s *server) ask(method, path string, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequest(method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/yaml") // JSON is YAML
	}
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// must is ask, where only success will do.
func (s *server) must(t *testing.T, method, path string, body []byte) map[string]any {
	t.Helper()
	status, answer, err := s.ask(method, path, body)
	if err != nil || status >= 300 {
		t.Fatalf("%s %s: %d %v %s\n%s", method, path, status, err, answer, body)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(answer, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

// run starts a program that ends with the test; what it said is shown if the test fails.
func run(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // nothing in it is worth a slow end
		_ = cmd.Wait()
		if t.Failed() {
			lines := strings.Split(said.String(), "\n")
			t.Logf("%s: …\n%s", filepath.Base(program), strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	})
}

func await(t *testing.T, limit time.Duration, what string, look func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := look()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come within %v: %v", what, limit, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
