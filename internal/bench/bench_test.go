package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain also is the simulator and kfake, when the bench under test starts its own program as one of them.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "simulator" || os.Args[1] == "kfake") {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// TestRowA runs the whole bench with a tiny row a: it must find what cannot be otherwise, and tell it in all ways.
func TestRowA(t *testing.T) {
	dir := t.TempDir()
	out, page := filepath.Join(dir, "bench.json"), filepath.Join(dir, "page.md")
	if err := os.WriteFile(page, []byte("before\n<!-- bench:a -->\nold\n<!-- bench:end -->\nafter\n<!-- bench:b "+
		"-->\nstays\n<!-- bench:end -->\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := measure(t.Context(), options{Rows: "a", Runs: 1, Records: 1000, Kfake: true, Out: out, Pictures: dir,
		Page: page}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Machine.Broker != "kfake, on disk" || got.Machine.Cores < 1 || got.Machine.Memory < 1<<28 ||
		!strings.HasPrefix(got.Machine.Go, "go1.") {
		t.Errorf("the machine is %+v", got.Machine)
	}
	found := map[string]float64{}
	for _, r := range got.Results {
		if len(r.Runs) != 1 || r.Runs[0] != r.Median {
			t.Errorf("%+v: want one run, and it as the median", r)
		}
		found[strings.Join([]string{r.Row, r.Case, r.Worker, r.Figure}, "/")] = r.Median
	}
	for _, worker := range []string{"tasksink", "plain", "spliced"} {
		for _, name := range []string{"0 ms", "20 ms", "150 ms"} {
			prefix := fmt.Sprintf("a/%s/%s/", name, worker)
			// A request carries 100 records at the most; a worker may send some smaller ones.
			if v := found[prefix+"requests_per_1000_records"]; v < 10 || v > 50 {
				t.Errorf("%s: %v requests for 1000 records", prefix, v)
			}
			if v := found[prefix+"cpu_us_per_record"]; v < 1 || v > 10_000 {
				t.Errorf("%s: %v µs", prefix, v)
			}
			if v := found[prefix+"peak_rss_mib"]; v < 3 || v > 500 {
				t.Errorf("%s: %v MiB", prefix, v)
			}
			if v, is := found[prefix+"written_again"]; v != 0 || !is {
				t.Errorf("%s: %v records were written again", prefix, v)
			}
		}
	}
	md, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(md); !strings.HasPrefix(s, "before\n<!-- bench:a -->\n| case | worker |") ||
		strings.Contains(s, "old") || !strings.HasSuffix(s, "after\n<!-- bench:b -->\nstays\n<!-- bench:end -->\n") {
		t.Errorf("the page is\n%s", s)
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "a.svg")); err != nil || !strings.Contains(string(svg), "</svg>") ||
		!strings.Contains(string(svg), "spliced") {
		t.Errorf("no picture: %v", err)
	}
}

func TestOptions(t *testing.T) {
	if _, err := (options{Rows: "a x b,y", Runs: 1, Records: 1000}).chosen(); err == nil ||
		!strings.Contains(err.Error(), `"x"`) || !strings.Contains(err.Error(), `"y"`) {
		t.Errorf("unknown rows: %v", err)
	}
	some, err := options{Rows: "c a", Runs: 1, Records: 1000}.chosen()
	if err != nil || len(some) != 2 || some[0].name != "c" || some[1].name != "a" {
		t.Errorf("%v, %v", some, err)
	}
	if all, err := (options{Runs: 1, Records: 1000}).chosen(); err != nil || len(all) != len(rows) {
		t.Errorf("%d rows, %v", len(all), err)
	}
}

// TestEvents: every event is JSON of the size asked for, wherever its text is cut off, and tells its number.
func TestEvents(t *testing.T) {
	for size := 300; size < 700; size++ {
		key, value := event(size, size)
		var e struct {
			ID         string
			Properties map[string]string
		}
		if err := json.Unmarshal(value, &e); err != nil || e.ID != string(key) ||
			e.Properties["hs_task_status"] != "WAITING" || strings.ContainsRune(e.Properties["hs_task_body"], '\ufffd') {
			t.Fatalf("%s: %v", value, err)
		}
		if len(value) > size || len(value) < size-1 {
			t.Errorf("%d bytes, want %d", len(value), size)
		}
		if n, is := number(key); !is || n != size {
			t.Errorf("the number of %s is %d, %v", key, n, is)
		}
	}
	for _, other := range []string{"", "task-", "task--1", "task-x", "7"} {
		if _, is := number([]byte(other)); is {
			t.Errorf("%q has a number", other)
		}
	}
	var ids []string
	for i := range 1000 {
		key, _ := event(i, 0)
		ids = append(ids, string(key))
	}
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != 1000 {
		t.Errorf("%d distinct ids, want 1000", n)
	}
}
