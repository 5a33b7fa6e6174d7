package worker

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/tasksink/tasksink/consumer"
)

// desk is a deadLetterFile with records that wait, and what it logs.
type desk struct {
	t       *testing.T
	path    string
	mu      sync.Mutex
	waiting []*consumer.Record
	handed  []string
	asked   int
	log     bytes.Buffer
}

func (d *desk) handOver(listed func(*consumer.Record) bool) (handed []*consumer.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	d.waiting = slices.DeleteFunc(d.waiting, func(rec *consumer.Record) bool {
		if !listed(rec) {
			return false
		}
		handed = append(handed, rec)
		d.handed = append(d.handed, placeOf(rec).String())
		return true
	})
	return handed
}

func (d *desk) wait(topic string, partition int, offset int64) *consumer.Record {
	rec := &consumer.Record{Topic: topic, Partition: partition, Offset: offset}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting = append(d.waiting, rec)
	return rec
}

func (d *desk) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(b)
}

// write replaces the file as an editor does: whoever reads it has the old one or the new one.
func (d *desk) write(content string) {
	d.t.Helper()
	if err := os.WriteFile(d.path+".new", []byte(content), 0o600); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(d.path+".new", d.path); err != nil {
		d.t.Fatal(err)
	}
}

// after lets time pass, then compares what was handed over since, and wants each text once in the log since.
func (d *desk) after(wait time.Duration, handed string, says ...string) {
	d.t.Helper()
	time.Sleep(wait)
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.Sort(d.handed)
	if got := strings.Join(d.handed, " "); got != handed {
		d.t.Errorf("%q were handed over, want %q", got, handed)
	}
	for _, text := range says {
		if n := strings.Count(d.log.String(), text); n != 1 {
			d.t.Errorf("%q is %d times in the log:\n%s", text, n, d.log.String())
		}
	}
	if len(says) == 0 && d.log.Len() > 0 {
		d.t.Errorf("the log says\n%s", d.log.String())
	}
	d.handed = nil
	d.log.Reset()
}

func play(t *testing.T, path string, story func(d *desk)) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{t: t, path: path}
		f := &deadLetterFile{path: path, topics: []string{"tasks", "my.calls-2"}, handOver: d.handOver, log: zerolog.New(d)}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { f.run(ctx) })
		story(d)
		stop()
		running.Wait()
	})
}

// TestDeadLetterFile: what is listed is handed over, at the start, when the file changes, and when the record comes; a
// line works once, until it is taken out.
func TestDeadLetterFile(t *testing.T) {
	play(t, filepath.Join(t.TempDir(), "records"), func(d *desk) {
		d.after(time.Minute, "", "does not exist: nothing is listed until it does")
		if d.asked > 0 {
			t.Error("the queue is searched for nothing")
		}
		d.wait("tasks", 0, 5)
		d.wait("tasks", 0, 57)
		d.write("# why\n\n  tasks/0/5 \r\nmy.calls-2/12/7")
		d.after(2200*time.Millisecond, "tasks/0/5", `"records":2,`, "record tasks/0/5: it becomes a dead letter")
		rec := d.wait("my.calls-2", 12, 7)
		d.after(1500*time.Millisecond, "my.calls-2/12/7", "record my.calls-2/12/7")
		rec.Settle(time.Now())
		d.after(time.Minute, "")
		d.wait("my.calls-2", 12, 7)
		d.after(time.Minute, "") // the line worked
		d.write("my.calls-2/12/7\ntasks/0/5\n# more\n")
		d.after(time.Minute, "", `"records":2,`)
		d.write("tasks/0/5\n")
		d.after(2200*time.Millisecond, "", `"records":1,`)
		d.write("my.calls-2/12/7\ntasks/0/5\n")
		d.after(2200*time.Millisecond, "my.calls-2/12/7", `"records":2,`, "record my.calls-2/12/7")
	})
}

// TestDeadLetterFileMisses: a line that finds nothing is one warning, and goes on being looked for.
func TestDeadLetterFileMisses(t *testing.T) {
	play(t, filepath.Join(t.TempDir(), "records"), func(d *desk) {
		d.write("tasks/0/5\ntasks/1/6\n")
		d.after(29*time.Second, "", `"records":2,`)
		d.after(4*time.Second, "", "listed records were not found here within 30s",
			`"records":["tasks/0/5","tasks/1/6"],"count":2`, "Another replica")
		d.after(time.Hour, "")
		d.wait("tasks", 1, 6)
		d.after(1500*time.Millisecond, "tasks/1/6", "record tasks/1/6")
	})
}

// TestDeadLetterFileWrongLines: a line that is no record is a warning with its number, and is not quoted. The others
// count.
func TestDeadLetterFileWrongLines(t *testing.T) {
	wrong := []string{"tasks/0", "tasks/0/5/1", "tasks/-1/5", "tasks/0/+5", "tasks/0/9223372036854775808",
		"tasks/4294967296/5",
		"tasks-0-5", "pat-na1-secret", "a/b/c", "tasks/0/ 5"}
	path := filepath.Join(t.TempDir(), "records")
	play(t, path, func(d *desk) {
		d.wait("tasks", 0, 5)
		d.write("\ufefftasks/0/5\n" + strings.Join(wrong, "\n") + "\nother/0/5\nx\n")
		var says []string
		for n := range wrong {
			says = append(says, fmt.Sprintf("line %d is left out: write topic/partition/offset, such as tasks/0/5", n+2))
		}
		time.Sleep(2 * time.Second)
		d.mu.Lock()
		log := d.log.String()
		d.mu.Unlock()
		if strings.Contains(log, "secret") || strings.Contains(log, "line 12 ") {
			t.Errorf("the log quotes a line, or more than %d:\n%s", mostNamed, log)
		}
		d.after(0, "tasks/0/5", append(says, `"records":1,"wrong_lines":12`, "record tasks/0/5")...)
		d.write("other/0/5\n")
		d.after(2200*time.Millisecond, "", "line 1 is left out: its topic is not among --kafka-topics", `"records":0,`)
	})
}

// TestDeadLetterFileTrouble: while the file cannot be read, what was listed before stays in force. Each problem is one
// warning.
func TestDeadLetterFileTrouble(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records")
	play(t, path, func(d *desk) {
		d.write("tasks/0/5\n")
		d.after(2200*time.Millisecond, "", `"records":1,`)
		d.write(strings.Repeat("#\n", fileMost/2+1))
		d.after(10*time.Second, "", "it has 1048578 bytes: 1048576 are read at the most")
		d.wait("tasks", 0, 5)
		d.after(1500*time.Millisecond, "tasks/0/5", "record tasks/0/5")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		d.after(time.Minute, "", "it is no regular file")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		d.after(time.Minute, "", "it does not exist", `"records":0,`)
		d.write("tasks/0/6\n")
		d.after(2200*time.Millisecond, "", `"records":1,`)
	})
}

// TestDeadLetterFileGrows: half a line names another record, so a file that is being written is not read.
func TestDeadLetterFileGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records")
	play(t, path, func(d *desk) {
		d.wait("tasks", 0, 5)
		d.after(2200*time.Millisecond, "", "does not exist")
		for _, part := range []string{"# a", " long comment\n", "tasks/0/5", "0", "0", "0\n"} {
			file, err := os.OpenFile(filepath.Clean(path), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.WriteString(part); err != nil {
				t.Fatal(err)
			}
			_ = file.Close()
			time.Sleep(300 * time.Millisecond)
		}
		d.after(5*time.Second, "", `"records":1,`)
	})
}

// TestDeadLetterFileSwaps: Kubernetes changes a ConfigMap's files by a symbolic link.
func TestDeadLetterFileSwaps(t *testing.T) {
	dir := t.TempDir()
	for version, content := range map[string]string{"1": "tasks/0/5\n", "2": "tasks/0/6\n"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, version, "records"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(version string) {
		if err := os.Symlink(version, filepath.Join(dir, "new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
	}
	link("1")
	play(t, filepath.Join(dir, "data", "records"), func(d *desk) {
		d.wait("tasks", 0, 6)
		d.after(2200*time.Millisecond, "", `"records":1,`)
		link("2")
		d.after(2200*time.Millisecond, "tasks/0/6", `"records":1,`, "record tasks/0/6")
	})
}
