package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// letter is a dead letter as the worker writes it; more are headers, by their short names, that are other ones.
func letter(topic string, n int, key, value []byte, more ...string) kafka.Message {
	own := map[string]string{"schema": "1", "topic": topic, "partition": "0", "offset": strconv.Itoa(100 + n),
		"timestamp": "1758300000123", "group": "tasksink",
		"stage": "upsert", "category": "VALIDATION_ERROR", "code": "INVALID_OPTION", "correlation_id": "c0ffee-" + strconv.Itoa(n), "attempts": "2",
		"message":   `Property values were not valid: [{"isValid":false,"message":"NONSENSE was not one of the allowed options","error":"INVALID_OPTION","name":"hs_task_status"}]`,
		"failed_at": time.Date(2025, 9, 20, 12, 0, n, 500, time.UTC).Format(time.RFC3339Nano), "redrive_count": "0"}
	m := kafka.Message{Key: key, Value: value, Headers: []kafka.Header{{Key: "traceparent",
		Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}}}
	for i := 0; i < len(more); i += 2 {
		own[more[i]] = more[i+1]
	}
	for _, name := range strings.Fields("schema topic partition offset timestamp group stage category code message " +
		"correlation_id attempts failed_at redrive_count truncated") {
		if value, ok := own[name]; ok {
			m.Headers = append(m.Headers, kafka.Header{Key: "tasksink.dlq." + name, Value: []byte(value)})
		}
	}
	return m
}

// hostile is what may make a terminal do something.
const hostile = "\x1b[31mred\x1b]0;title\x07 \u202eesrever\u202c \u009b2J \r\nletter          forged\t\x00\xff " +
	"\U0001f600 \u200b"

// letters fills a dead-letter topic with all kinds of letters.
func letters(t *testing.T, b *kafkatest.Broker) (topic string) {
	t.Helper()
	topic = b.Topic(t, 1, nil)
	b.CreateTopic(t, topic+".dlq", 1, nil)
	value := []byte(`{"id":"task-1","properties":{"hs_task_status":"NONSENSE"}}`)
	often := letter(topic, 6, []byte("task-6"), value, "redrive_count", "3")
	many := letter(topic, 11, []byte("task-11"), value)
	many.Headers = append(many.Headers, make([]kafka.Header, 990)...)
	b.Produce(t, topic+".dlq",
		letter(topic, 0, []byte("task-0"), value),
		letter(topic, 1, []byte("task-1"), []byte("{"), "stage", "decode", "category", "INVALID_JSON", "code", "SYNTAX",
			"attempts", "0", "correlation_id", "",
			"message", "the value is not JSON: jsontext: unexpected EOF"),
		letter(topic, 2, nil, nil, "stage", "decode", "category", "TOMBSTONE", "code", "", "message",
			"the record has no value, and upsert cannot delete"),
		letter(topic, 3, []byte("task-3"), nil, "truncated", "too-large", "code", "PROPERTY_VALUE_TOO_LONG"),
		letter(topic, 4, []byte(hostile), []byte(hostile), "code", hostile, "message", hostile, "category", "REFUSED",
			"group", hostile),
		kafka.Message{Key: []byte("stranger"), Value: []byte("no letter at all")},
		often,
		letter("elsewhere", 7, []byte("task-7"), value),
		letter(topic, 8, []byte("task-8"), value, "partition", "9"),
		letter(topic, 9, []byte("task-9"), value, "redrive_count", "1"),
		letter(topic, 10, []byte("task-10"), value, "stage", "decode", "category", "TOO_MANY_HEADERS", "code", "",
			"attempts", "0", "correlation_id", "", "truncated", "too-many-headers",
			"message", "the record has 450000 headers, and tasksink takes 1000 at the most; let the producer write fewer"),
		many)
	return topic
}

var changing = regexp.MustCompile(`written( +)\S+`)

// TestLetters holds what list, show and redrive tell of all kinds of letters, and what redrive writes.
func TestLetters(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := letters(t, b)
		var got strings.Builder
		tell := func(args ...string) (status int) {
			t.Helper()
			status, stdout, stderr := tasksink(t, []string{"TASKSINK_KAFKA_BROKERS=" + strings.Join(b.Addrs, ","),
				"TASKSINK_KAFKA_TOPICS=" + topic}, append([]string{"dlq"}, args...)...)
			if all := stdout + stderr; strings.ContainsAny(all, "\x1b\x07\x00\r\u202e\u009b\u200b") || !utf8.ValidString(all) {
				t.Errorf("%q: what may harm a terminal is shown: %q", args, all)
			}
			// The topic's name gives way to a short one; columns stay where they are.
			pad := strings.Repeat(" ", len(topic)-len("tasks"))
			stdout = regexp.MustCompile(`(?m)`+topic+`(/\d+/\d+)  `).ReplaceAllString(stdout, "tasks$1  "+pad)
			shown := strings.ReplaceAll(fmt.Sprintf("$ tasksink dlq %s\n%s%sstatus %d\n\n", strings.Join(args, " "), stdout,
				stderr, status), topic, "tasks")
			got.WriteString(changing.ReplaceAllString(regexp.MustCompile(`"written_at":"[^"]+"`).ReplaceAllString(shown,
				`"written_at":"TIME"`), "written${1}TIME"))
			return status
		}
		tell("list")
		tell("list", "--category=VALIDATION_ERROR", "--code=INVALID_OPTION", "--limit=2")
		tell("list", "--stage=decode")
		tell("list", "--since=2025-09-20T12:00:02Z", "--until=2025-09-20T12:00:04Z", "--json")
		tell("list", "--since=1ns")
		tell("list", "--by=reason")
		tell("list", "--by=reason", "--json", "--topic="+topic)
		tell("show", "0/0")
		tell("show", topic+".dlq/0/2")
		tell("show", "0/3")
		tell("show", "0/4")
		tell("show", "0/4", "--json")
		tell("show", "0/5")
		tell("show", "0/99")
		tell("show", "7/0")
		tell("show", "0/3", "--raw")
		tell("show", "0/10")
		if _, raw, _ := tasksink(t, nil, "dlq", "show", "0/4", "--raw", "--kafka-brokers="+strings.Join(b.Addrs, ","),
			"--kafka-topics="+topic); raw != hostile {
			t.Errorf("--raw: %q, want %q", raw, hostile)
		}
		tell("redrive", "--dry-run")
		tell("redrive", "--code=INVALID_OPTION")
		if n := len(b.ReadAll(t, topic)); n != 0 {
			t.Errorf("%d records were sent by a dry run, or without --yes", n)
		}
		tell("redrive", "--yes", "--limit=2")
		tell("redrive", "--yes", "0/9", topic+".dlq/0/3", "0/77")
		tell("redrive", "--yes", "--from=0/4", "--max-redrives=4", "--any-group")
		golden.Compare(t, "letters.golden", got.String())

		sent := b.ReadAll(t, topic)
		var order []string
		for _, m := range sent {
			order = append(order, string(m.Key))
		}
		if want := []string{"task-0", "task-1", "task-9", hostile, "task-6", "task-9"}; fmt.Sprintf("%q",
			order) != fmt.Sprintf("%q", want) {
			t.Fatalf("sent %q, want %q", order, want)
		}
		if m := sent[3]; string(m.Value) != hostile || time.Since(m.Time) > time.Minute {
			t.Errorf("value %q of %v", m.Value, m.Time)
		}
		first := letter(topic, 0, []byte("task-0"), nil).Headers
		first[len(first)-1].Value = []byte("1")
		if got, want := fmt.Sprintf("%s", sent[0].Headers), fmt.Sprintf("%s", first); got != want {
			t.Errorf("headers\n%s\nwant\n%s", got, want)
		}
		if n := len(b.ReadAll(t, topic+".dlq")); n != 12 {
			t.Errorf("%d letters are left, want all 12", n)
		}
	})
}

// TestRoundTrip: what died is redriven and upserted, once the cause is mended; where it is not, it dies again, with one
// redrive more and the new reason in place of the old one.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic, hubspot, args := world(t, b, 3, hubspottest.Config{})
		b.CreateTopic(t, topic+".dlq", 1, nil)
		m := start(t, "worker", args...)
		// HubSpot wants a timestamp, but only for a task that is new; it never takes the option.
		b.Produce(t, topic, kafka.Message{Key: []byte("curable"),
			Value:   []byte(`{"id":"curable","properties":{"hs_task_subject":"late"}}`),
			Headers: []kafka.Header{{Key: "own", Value: []byte("h")}}},
			kafka.Message{Key: []byte("hopeless"), Value: []byte(`{"id":"hopeless","properties":{"hs_timestamp":"2026-11-23T10:00:00Z","hs_task_status":"NONSENSE"}}`)})
		dlqCommand := []string{"--kafka-brokers=" + strings.Join(b.Addrs, ","), "--kafka-topics=" + topic,
			"--kafka-group=" + topic}
		list := func() (all []map[string]any) {
			status, stdout, stderr := tasksink(t, nil, append([]string{"dlq", "list", "--json", "--limit=0"}, dlqCommand...)...)
			if status != 0 {
				t.Fatalf("list: status %d, %s", status, stderr)
			}
			for _, line := range strings.Split(strings.TrimSpace(stdout), "\n") {
				var l map[string]any
				if line != "" {
					if err := json.Unmarshal([]byte(line), &l); err != nil {
						t.Fatalf("%v in %s", err, line)
					}
					all = append(all, l)
				}
			}
			return all
		}
		until(t, "both are dead", 30*time.Second, func() bool { return len(b.ReadAll(t, topic+".dlq")) == 2 })
		b.Produce(t, topic, kafka.Message{Key: []byte("curable"),
			Value: []byte(`{"id":"curable","properties":{"hs_timestamp":"2026-11-23T10:00:00Z"}}`)})
		until(t, "the task is there", 20*time.Second, func() bool { return len(hubspot.Journal()) == 1 })
		// The newer event makes the letter a stale one, as nobody but the operator knows that they are of different
		// properties.
		code := list()[0]["code"].(string)
		status, stdout, stderr := tasksink(t, nil, append([]string{"dlq", "redrive", "--yes", "--code=" + code},
			dlqCommand...)...)
		if status != 0 || !strings.Contains(stdout, "1  refused: stale") ||
			!strings.Contains(stderr, "stale: letter 0/0 of") {
			t.Errorf("redrive: status %d, %s%s", status, stdout, stderr)
		}
		for round := 1; round <= 2; round++ {
			redrive := append([]string{"dlq", "redrive", "--yes", "--force"}, dlqCommand...)
			if round == 2 {
				redrive = append(redrive, "--code=INVALID_OPTION", fmt.Sprintf("--from=0/%d", 2))
			}
			if status, stdout, stderr := tasksink(t, nil, redrive...); status != 0 {
				t.Fatalf("redrive: status %d, %s%s", status, stdout, stderr)
			}
			until(t, "one died again", 30*time.Second, func() bool { return len(b.ReadAll(t, topic+".dlq")) == 2+round })
		}
		until(t, "the other one is written", 20*time.Second, func() bool {
			return hubspot.Objects()["external_task_id\x00curable"]["hs_task_subject"] == "late"
		})
		all := list()
		if len(all) != 4 || all[3]["redrive_count"] != 2.0 || all[3]["code"] != "INVALID_OPTION" ||
			all[3]["attempts"] == 0.0 {
			t.Errorf("letters %v", all)
		}
		offset := int64(all[3]["source"].(map[string]any)["offset"].(float64))
		dead := b.ReadAll(t, topic+".dlq")[3]
		counted := map[string]int{}
		for _, h := range dead.Headers {
			counted[h.Key]++
			if h.Key == "tasksink.dlq.offset" && (string(h.Value) != strconv.FormatInt(offset, 10) || offset < 2) {
				t.Errorf("the letter is of offset %s, want that of the last redrive", h.Value)
			}
		}
		for name, n := range counted {
			if n != 1 {
				t.Errorf("header %s is there %d times", name, n)
			}
		}
		if err := m.terminate(t); err != nil {
			t.Errorf("SIGTERM: %v", err)
		}
	})
}

// TestTerminal: on a terminal redrive asks first, and shows how far it is; and the bytes of a value are not written
// there, as they may be anything.
func TestTerminal(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := letters(t, b)
	b.Produce(t, topic, slices.Repeat([]kafka.Message{{Key: []byte("other"), Value: []byte("{}")}}, 200)...)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	kafkaFlags := []string{"--kafka-brokers=" + strings.Join(b.Addrs, ","), "--kafka-topics=" + topic}
	on := func(answer string, args ...string) (shown string, status int) {
		t.Helper()
		cmd := exec.Command(path, append(append([]string{"dlq"}, args...), kafkaFlags...)...)
		cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "TASKSINK_") })
		screen, err := pty.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = screen.Close() }()
		if _, err := screen.WriteString(answer); err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(screen)
		if err != nil && !errors.Is(err, syscall.EIO) { // which is how a pseudo-terminal ends
			t.Fatal(err)
		}
		_ = cmd.Wait() // the status says it
		return string(out), cmd.ProcessState.ExitCode()
	}
	if shown, status := on("n\n", "redrive", "--code=INVALID_OPTION"); status != 1 ||
		!strings.Contains(shown, "Send 2 letters back, in about 0s? [y/N]") ||
		!strings.Contains(shown, "1 refused: redriven too often") || !strings.Contains(shown, "nothing was sent") {
		t.Errorf("status %d: %s", status, shown)
	}
	if n := len(b.ReadAll(t, topic)); n != 200 {
		t.Fatalf("%d records in the topic after a no, want 200", n)
	}
	if shown, status := on("y\n", "redrive", "--code=INVALID_OPTION"); status != 0 ||
		!strings.Contains(shown, "reading letters") || !strings.Contains(shown, "looking for newer events") ||
		!strings.Contains(shown, "sending") || !strings.Contains(shown, "2  sent") {
		t.Errorf("status %d: %s", status, shown)
	}
	if n := len(b.ReadAll(t, topic)); n != 202 {
		t.Errorf("%d records in the topic, want 202", n)
	}
	if shown, status := on("", "show", "0/4", "--raw"); status != 1 || strings.Contains(shown, "\x1b") ||
		!strings.Contains(shown, "--force") {
		t.Errorf("status %d: %q", status, shown)
	}
	if shown, status := on("", "show", "0/4", "--raw", "--force"); status != 0 || !strings.Contains(shown, "\x1b[31mred") {
		t.Errorf("status %d: %q", status, shown)
	}
	if shown, status := on("", "list"); status != 0 || !strings.Contains(shown, "reading") ||
		!strings.Contains(shown, "INVALID_OPTION") {
		t.Errorf("status %d: %q", status, shown)
	}
}

// TestRedrivePace: no faster than --rate; and when it is interrupted it says where to go on, so that nothing is sent
// twice and nothing left out.
func TestRedrivePace(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 1, nil)
		b.CreateTopic(t, topic+".dlq", 2, nil)
		const n = 600 // half a minute at the pace, so that it is interrupted before its end on a slow machine, too
		var msgs []kafka.Message
		for i := range n {
			msgs = append(msgs, letter(topic, i, fmt.Appendf(nil, "task-%d", i), []byte("{}")))
		}
		b.Produce(t, topic+".dlq", msgs...)
		path, err := program()
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"dlq", "redrive", "--yes", "--kafka-brokers=" + strings.Join(b.Addrs, ","), "--kafka-topics=" +
			topic}
		var out, errs log
		cmd := exec.Command(path, append(args, "--rate=20")...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		started := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, "some are sent", 20*time.Second, func() bool { return len(b.ReadAll(t, topic)) >= 10 })
		sent := len(b.ReadAll(t, topic))
		if most := int(time.Since(started).Seconds()*20) + 2; sent > most {
			t.Errorf("%d letters after %v, want at most %d", sent, time.Since(started), most)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("interrupted: %v, want status 1", err)
		}
		from := regexp.MustCompile(`--from=\S+`).FindString(errs.String())
		if from == "" {
			t.Fatalf("it does not say where to go on: %s", errs.String())
		}
		status, stdout, stderr := tasksink(t, nil, append(args, "--rate=1000", from)...)
		if status != 0 {
			t.Fatalf("status %d: %s%s", status, stdout, stderr)
		}
		// Behind what that run has seen, nothing is left.
		if status, stdout, _ := tasksink(t, nil, append(args,
			regexp.MustCompile(`--from=\S+`).FindString(stderr))...); status != 0 || stdout != "0  would be sent\n" {
			t.Errorf("status %d: %s", status, stdout)
		}
		seen := map[string]int{}
		for _, m := range b.ReadAll(t, topic) {
			seen[string(m.Key)]++
		}
		for i := range n {
			if got := seen[fmt.Sprintf("task-%d", i)]; got != 1 {
				t.Errorf("letter %d was sent %d times", i, got)
			}
		}
	})
}

// TestLettersSecured: with TLS, SCRAM and ACLs, and what docs/security.md says must be allowed, letters are listed and
// redriven; without, it says what is missing.
func TestLettersSecured(t *testing.T) {
	t.Parallel()
	kafkatest.EachSecured(t, kafkatest.Scram512, func(t *testing.T, s *kafkatest.Secured) {
		t.Parallel()
		topic := s.Topic(t, 1, nil)
		s.CreateTopic(t, topic+".dlq", 1, nil)
		s.Produce(t, topic+".dlq", letter(topic, 0, []byte("task-0"), []byte("{}"), "offset", "0"))
		s.Produce(t, topic, kafka.Message{Value: []byte("the one that died")}, kafka.Message{Value: []byte("a newer one")})
		dir := t.TempDir()
		ca := dir + "/ca"
		if err := os.WriteFile(ca, s.Old.PEM, 0o600); err != nil {
			t.Fatal(err)
		}
		s.SetPassword(t, "swordfish")
		args := []string{"--kafka-brokers=" + s.Addr, "--kafka-topics=" + topic, "--kafka-tls-ca=" + ca,
			"--kafka-sasl-mechanism=scram-sha-512", "--kafka-sasl-username=" + s.User}
		try := func(want int, says string, more ...string) {
			t.Helper()
			status, stdout, stderr := tasksink(t, nil, append(append([]string{"dlq"}, more...), args...)...)
			if status != want || !strings.Contains(stdout+stderr, says) {
				t.Errorf("%v: status %d, want %d and %q: %s%s", more, status, want, says, stdout, stderr)
			}
		}
		try(1, "--kafka-sasl-username", "list", "--kafka-sasl-password=wrong")
		args = append(args, "--kafka-sasl-password=swordfish")
		try(1, "docs/security.md", "list")
		s.Allow(t, kafkatest.ACL{Resource: "topic", Name: topic + ".dlq", Operation: "Read"})
		try(0, "task-0", "show", "0/0")
		try(0, "INVALID_OPTION", "list")
		try(1, "docs/security.md", "redrive", "--yes")
		s.Allow(t, kafkatest.ACL{Resource: "topic", Name: topic, Operation: "Write"})
		try(1, "--force", "redrive", "--yes")
		s.Allow(t, kafkatest.ACL{Resource: "topic", Name: topic, Operation: "Read"})
		try(0, "1  sent", "redrive", "--yes")
		if n := len(s.ReadAll(t, topic)); n != 3 {
			t.Errorf("%d records in the topic, want 3", n)
		}
	})
}

// TestRedriveTooLarge: a letter that with its headers no longer fits into its topic is refused and counted, and the
// others go on; those of a key stay in order.
func TestRedriveTooLarge(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		topic := b.Topic(t, 3, map[string]string{"max.message.bytes": "20000"})
		b.CreateTopic(t, topic+".dlq", 2, nil)
		var msgs []kafka.Message
		for i := range 40 {
			value := fmt.Appendf(nil, "%d", i)
			if i == 20 {
				value = []byte(strings.Repeat("0123456789", 1950))
			}
			msgs = append(msgs, letter(topic, i, fmt.Appendf(nil, "task-%d", i%4), value, "partition", strconv.Itoa(i%4%3)))
		}
		b.Produce(t, topic+".dlq", msgs...)
		status, stdout, stderr := tasksink(t, nil, "dlq", "redrive", "--yes", "--rate=1000",
			"--kafka-brokers="+strings.Join(b.Addrs, ","), "--kafka-topics="+topic)
		if status != 0 || !strings.Contains(stdout, "39  sent") || !strings.Contains(stdout, "1   refused: too large") {
			t.Errorf("status %d: %s%s", status, stdout, stderr)
		}
		last := map[string]int{}
		for _, m := range b.ReadAll(t, topic) {
			n, err := strconv.Atoi(string(m.Value))
			if err != nil {
				t.Fatal(err)
			}
			if before, ok := last[string(m.Key)]; ok && n < before {
				t.Errorf("%s: letter %d came after %d", m.Key, n, before)
			}
			last[string(m.Key)] = n
			if m.Partition != n%4%3 {
				t.Errorf("letter %d went to partition %d, want %d", n, m.Partition, n%4%3)
			}
		}
	})
}

// TestRedriveDoubt: what Kafka refuses for the moment goes again, once; where its answer leaves open whether it has the
// record, redrive stops, and says so.
func TestRedriveDoubt(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, nil)
	b.CreateTopic(t, topic+".dlq", 1, nil)
	b.Produce(t, topic+".dlq", letter(topic, 0, []byte("a"), []byte("0")), letter(topic, 1, []byte("a"), []byte("1")),
		letter(topic, 2, []byte("a"), []byte("2")))
	produced := 0
	b.Fake.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		produced++
		code := map[int]int16{1: kerr.NotLeaderForPartition.Code, 3: kerr.RequestTimedOut.Code}[produced]
		if code == 0 {
			return nil, nil, false
		}
		asked, ok := req.(*kmsg.ProduceRequest)
		if !ok {
			return nil, nil, false
		}
		res, ok := asked.ResponseKind().(*kmsg.ProduceResponse)
		if !ok {
			return nil, nil, false
		}
		part := kmsg.NewProduceResponseTopicPartition()
		part.ErrorCode = code
		t := kmsg.NewProduceResponseTopic()
		t.Topic, t.Partitions = asked.Topics[0].Topic, []kmsg.ProduceResponseTopicPartition{part}
		res.Topics = append(res.Topics, t)
		return res, nil, true
	})
	args := []string{"dlq", "redrive", "--yes", "--kafka-brokers=" + strings.Join(b.Addrs, ","), "--kafka-topics=" + topic}
	status, stdout, stderr := tasksink(t, nil, args...)
	if status != 1 || stdout != "1  sent\n" || !strings.Contains(stderr, topic+".dlq/0/1 may have been sent") ||
		!strings.Contains(stderr, "--from="+topic+".dlq/0/1") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	if sent := b.ReadAll(t, topic); len(sent) != 1 || string(sent[0].Value) != "0" {
		t.Errorf("sent %v", sent)
	}
}
