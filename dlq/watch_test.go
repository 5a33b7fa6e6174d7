package dlq_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/internal/watchdog"
)

// TestWedged: a Writer that does not come back from a write is named until it goes on. To wait for letters is no fault.
func TestWedged(t *testing.T) {
	t.Parallel()
	b := kafkatest.Fake(t)
	topic := b.Topic(t, 1, nil)
	dog, release := watchdog.New(time.Second), make(chan struct{})
	go dog.Run(t.Context())
	d := openWith(t, b, dog, topic, func(string) string { <-release; return topic })
	goOn := sync.OnceFunc(func() { close(release) })
	t.Cleanup(goOn)
	for range 4 {
		time.Sleep(time.Second)
		if names := dog.Wedged(); names != nil {
			t.Fatalf("wedged without a letter: %q", names)
		}
	}
	rec := &consumer.Record{Topic: "tasks", Value: []byte("x")}
	d.write(rec, reason)
	until(t, "it is named", 10*time.Second, func() bool { return slices.Equal(dog.Wedged(), []string{"dead letters"}) })
	goOn()
	settled(t, rec)
	until(t, "it is not named any more", 10*time.Second, func() bool { return dog.Wedged() == nil })
}
