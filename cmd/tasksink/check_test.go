package main_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestCheck: the status is 0 where all is well, 1 where a look failed, and 2 where the settings are wrong; standard
// output has nothing but the answer.
func TestCheck(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	b.CreateTopic(t, "tasks", 1, nil)
	b.CreateTopic(t, "tasks.dlq", 1, map[string]string{"max.message.bytes": "2000000"})
	server := httptest.NewServer(hubspottest.New(hubspottest.Config{Token: canary}))
	t.Cleanup(server.Close)
	args := []string{"check", "--kafka-brokers=" + strings.Join(b.Addrs, ","), "--hubspot-url=" + server.URL,
		"--hubspot-token=" + canary, "--json"}
	for _, tc := range []struct {
		more   []string
		status int
		errs   string
	}{
		{[]string{"--hubspot-id-property=external_task_id"}, 0, ""},
		{[]string{"--hubspot-id-property=none", "--kafka-topics=tasks,others"}, 1, "3 of"},
		{[]string{"--batch-size=0"}, 2, "--batch-size=0"},
	} {
		status, stdout, stderr := tasksink(t, nil, append(args, tc.more...)...)
		clean(t, "the output", stdout+stderr)
		var rows []struct{ Check, Subject, Result, Seen, Remedy string }
		if status != tc.status || !strings.Contains(stderr, tc.errs) || (stderr == "") != (tc.errs == "") {
			t.Errorf("%v: status %d, %s", tc.more, status, stderr)
		}
		if err := json.Unmarshal([]byte(stdout), &rows); status != 2 && (err != nil || len(rows) < 15) || status == 2 &&
			stdout != "" {
			t.Errorf("%v: %v, %s", tc.more, err, stdout)
		}
	}
	status, stdout, _ := tasksink(t, nil, append(args[:len(args)-1], "--hubspot-id-property=external_task_id")...)
	if status != 0 || !strings.Contains(stdout, "✓ id property") || strings.Contains(stdout, "\x1b") {
		t.Errorf("status %d, %s", status, stdout)
	}
}
