package config_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/cmd/tasksink/config"
)

// TestWatchSecrets: a token file that is replaced by something that cannot be a token is one error in the log, which
// names the setting and the cause and shows nothing of the file.
func TestWatchSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token")
		write := func(content string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var log bytes.Buffer
		said := func(want ...string) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			if len(want) == 0 && log.Len() == 0 {
				return
			}
			if len(want) == 0 || len(lines) != 1 || strings.Contains(lines[0], "hunter") {
				t.Errorf("the log has %q", lines)
			}
			for _, part := range want {
				if !strings.Contains(lines[0], part) {
					t.Errorf("the log has %q, without %q", lines[0], part)
				}
			}
			log.Reset()
		}
		write("hunter1")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			config.Config{HubspotTokenFile: path}.WatchSecrets(ctx, zerolog.New(&log))
			close(ended)
		}()
		said()
		write("Bearer hunter2")
		said(`"error"`, "--hubspot-token-file", "Bearer", path, "stays in use")
		said()
		write("\"hunter2\"\n")
		said(`"error"`, "quote")
		write("hunter2")
		said(`"info"`, "--hubspot-token-file")
		write("") // for less than two looks, as somebody writes it
		time.Sleep(6 * time.Second)
		write("hunter3")
		said()
		stop()
		<-ended
	})
}
