package main

import (
	"reflect"
	"testing"
)

// TestShares: perf's report, as it prints it, by packages.
func TestShares(t *testing.T) {
	got := shares([]byte(`
    12.50%  [k] copy_user_generic
     9.00%  [.] runtime.mallocgc
     6.25%  [.] github.com/segmentio/kafka-go/protocol.(*RecordBatch).ReadFrom
     4.00%  [.] memeqbody
     3.00%  [.] github.com/tasksink/tasksink/upsert.AppendRequest
     2.00%  [.] github.com/tasksink/tasksink/batcher.(*Batcher[go.shape.*uint8]).Add
     1.00%  [.] internal/runtime/syscall.Syscall6
     0.50%  [.] github.com/tasksink/tasksink/upsert.Judge.func1
     0.20%  [.] fmt.Sprintf
     0.10%  [.] gopkg.in/yaml.v3.yaml_parser_parse
`))
	want := []share{
		{"runtime", 14, []string{"mallocgc 9.0", "memeqbody 4.0", "Syscall6 1.0"}},
		{"kernel", 12.5, []string{"copy_user_generic 12.5"}},
		{"github.com/segmentio/kafka-go/protocol", 6.25, []string{"(*RecordBatch).ReadFrom 6.2"}},
		{"upsert", 3.5, []string{"AppendRequest 3.0", "Judge.func1 0.5"}},
		{"batcher", 2, []string{"(*Batcher[go.shape.*uint8]).Add 2.0"}},
		{"all others", 0.30000000000000004, nil},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
