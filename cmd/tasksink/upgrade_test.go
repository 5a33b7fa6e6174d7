package main_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// previous is the last commit before tasksink brought its own membership of the consumer group. It used kafka-go's.
const previous = "a1f913c"

// previousProgram builds the program of that commit.
func previousProgram(t *testing.T) string {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "git", "cat-file", "-e",
		previous+"^{commit}").CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED WITH THE PREVIOUS VERSION: commit %s is not in this clone (a shallow one?): %v %s", previous, err,
			out)
	}
	dir := t.TempDir()
	unpack := exec.CommandContext(t.Context(), "sh", "-c",
		fmt.Sprintf("git -C \"$(git rev-parse --show-toplevel)\" archive %s | tar -x -C '%s'", previous, dir))
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpack commit %s: %v\n%s", previous, err, out)
	}
	path := filepath.Join(dir, "tasksink")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/tasksink")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build commit %s: %v\n%s", previous, err, out)
	}
	return path
}

// TestUpgrade: a rollout and its way back. Members of the previous version and of this one are in one group, each of
// them leads it once, and nothing is lost, repeated or out of order.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	old := previousProgram(t)
	current, err := program()
	if err != nil {
		t.Fatal(err)
	}
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		t.Parallel()
		const partitions, objects, round = 4, 40, 400
		topic, hubspot, args := world(t, b, partitions, hubspottest.Config{Latency: 10 * time.Millisecond})
		b.CreateTopic(t, topic+".dlq", 1, nil)
		produced := 0
		produce := func() {
			b.Produce(t, topic, versions(produced, round, objects)...)
			produced += round
			until(t, "all is settled", time.Minute, func() bool { return b.Lag(t, topic, topic) == 0 })
		}
		run := func(name, path string) *member {
			return startFrom(t, path, name, []string{"HOSTNAME=" + name}, args...)
		}
		has := func(m *member, n int) {
			t.Helper()
			until(t, fmt.Sprintf("it has %d partitions", n), time.Minute, func() bool {
				_, body := m.get(t, "/status")
				var st struct{ Partitions []struct{} }
				return json.Unmarshal([]byte(body), &st) == nil && len(st.Partitions) == n
			})
		}
		end := func(m *member) {
			t.Helper()
			if err := m.terminate(t); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
		}
		before := run("before", old)
		has(before, partitions)
		produce()
		after := run("after", current) // the previous version leads
		has(after, partitions/2)
		has(before, partitions/2)
		produce()
		end(before)
		has(after, partitions)
		produce()
		back := run("back", old) // this version leads
		has(back, partitions/2)
		has(after, partitions/2)
		produce()
		end(after)
		has(back, partitions)
		produce()
		end(back)

		written, last := map[string]bool{}, map[string]int{}
		for _, w := range hubspot.Journal() {
			version, err := strconv.Atoi(w.Properties["hs_task_subject"])
			if err != nil {
				t.Fatal(err)
			}
			if seen, ok := last[w.ID]; ok && version < seen {
				t.Errorf("%s: version %d was written after %d", w.ID, version, seen)
			}
			if written[w.TraceID] {
				t.Errorf("%s was written twice", w.TraceID)
			}
			last[w.ID], written[w.TraceID] = version, true
		}
		for i := produced - objects; i < produced; i++ {
			if id := fmt.Sprintf("task-%d", i%objects); last[id] != i {
				t.Errorf("%s is at version %d, want %d", id, last[id], i)
			}
		}
	})
}
