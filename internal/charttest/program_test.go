package charttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestProgram: the program takes the settings that the chart writes for it. tasksink config judges as tasksink run
// does.
func TestProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "tasksink")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/tasksink")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	told := make(chan string, 1000)
	t.Run("files", func(t *testing.T) {
		each(t, func(t *testing.T, _ string, objects []object) {
			var config string
			var args []string
			for _, o := range objects {
				switch data, _ := o.fields["data"].(map[string]any); o.kind {
				case "ConfigMap":
					if text, is := data["tasksink.yaml"].(string); is {
						config = text
					}
				case "Deployment":
					args = containerArgs(o.fields)
				}
			}
			for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(config, -1) {
				told <- m[1]
			}
			mounts := t.TempDir()
			for _, path := range regexp.MustCompile(`/etc/tasksink/[^"]+`).FindAllString(config, -1) {
				mount(t, strings.Replace(path, "/etc/tasksink", mounts, 1))
			}
			file := filepath.Join(mounts, "tasksink.yaml")
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "/etc/tasksink", mounts)), 0o600); err != nil {
				t.Fatal(err)
			}
			for i := range args {
				if strings.HasPrefix(args[i], "--config=") {
					args[i] = "--config=" + file
				}
			}
			if len(args) < 2 || args[0] != "run" {
				t.Fatalf("the worker is not told to run: %v", args)
			}
			cmd := exec.CommandContext(t.Context(), program, append([]string{"config"}, args[1:]...)...)
			if !strings.Contains(config, "hubspot-token-file") && !strings.Contains(config, "hubspot-oauth") {
				cmd.Env = append(os.Environ(), "TASKSINK_HUBSPOT_TOKEN=from-the-environment")
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s\nwith\n%s", err, out, config)
			}
		})
	})
	close(told)
	all := map[string]bool{}
	for name := range told {
		all[name] = true
	}
	for _, name := range strings.Fields("kafka-brokers kafka-topics kafka-group kafka-tls kafka-tls-ca kafka-tls-cert " +
		"kafka-tls-key kafka-tls-server-name " +
		"kafka-sasl-mechanism kafka-sasl-username kafka-sasl-password-file dlq-topic hubspot-token-file hubspot-oauth-client-id " +
		"hubspot-oauth-client-secret-file hubspot-oauth-refresh-token-file hubspot-id-property hubspot-id-properties listen dead-letter-file") {
		if !all[name] {
			t.Errorf("no values file makes the chart say %s", name)
		}
	}
}

func containerArgs(deployment map[string]any) (args []string) {
	at := any(deployment)
	for _, key := range []string{"spec", "template", "spec", "containers"} {
		at = at.(map[string]any)[key]
	}
	for _, arg := range at.([]any)[0].(map[string]any)["args"].([]any) {
		args = append(args, arg.(string))
	}
	return args
}

// mount puts at path what the Secret would: a certificate with its key, or a secret text.
func mount(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	text := []byte("secret\n")
	if strings.Contains(path, "kafka-tls") {
		text = identity()
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// identity is a certificate and its key in one text, the same in each file, so that they belong together.
var identity = sync.OnceValue(func() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
})
