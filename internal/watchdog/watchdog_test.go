package watchdog_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasksink/tasksink/internal/watchdog"
)

func watch(t *testing.T, story func(*watchdog.Dog)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		dog := watchdog.New(time.Minute)
		var running sync.WaitGroup
		running.Go(func() { dog.Run(ctx) })
		story(dog)
		stop()
		running.Wait()
	})
}

func TestWedged(t *testing.T) {
	t.Parallel()
	watch(t, func(dog *watchdog.Dog) {
		works, waits, hangs, ended := dog.Loop("works"), dog.Loop("waits"), dog.Loop("hangs"), dog.Loop("ended")
		waits.Busy()
		waits.Idle()
		hangs.Busy()
		ended.Busy()
		for range 6 {
			works.Busy()
			time.Sleep(10 * time.Second)
			works.Idle()
		}
		ended.End()
		if names := dog.Wedged(); names != nil {
			t.Errorf("wedged within the bound: %v", names)
		}
		for range 2 {
			works.Busy()
			time.Sleep(10 * time.Second)
			works.Idle()
		}
		if names := dog.Wedged(); !slices.Equal(names, []string{"hangs"}) {
			t.Errorf("wedged: %v, want hangs", names)
		}
		hangs.Idle()
		if names := dog.Wedged(); names != nil {
			t.Errorf("wedged after the work ended: %v", names)
		}
	})
}

// TestFrozen: a process that did not run for an hour counts one tick of it.
func TestFrozen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dog := watchdog.New(time.Minute)
		loop := dog.Loop("frozen")
		loop.Busy()
		time.Sleep(time.Hour) // nobody counts
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		dog.Run(ctx)
		if names := dog.Wedged(); names != nil {
			t.Errorf("wedged: %v", names)
		}
	})
}

func TestNobodyWatches(t *testing.T) {
	t.Parallel()
	var dog *watchdog.Dog
	loop := dog.Loop("free")
	loop.Busy()
	loop.Idle()
	loop.End()
	if names := dog.Wedged(); names != nil {
		t.Error(names)
	}
}

// TestOnPanic: a loop that panics is reported by its name, with the stack of the panic. One that ends is not.
func TestOnPanic(t *testing.T) {
	dog, seen := watchdog.New(time.Minute), ""
	dog.OnPanic(func(loop string, value any, stack []byte) {
		seen += fmt.Sprintf("%s: %v, in %v", loop, value, strings.Contains(string(stack), "TestOnPanic"))
	})
	func() {
		defer dog.Loop("sound").End()
	}()
	func() {
		defer dog.Loop("broken").End()
		panic("no way")
	}()
	if want := "broken: no way, in true"; seen != want {
		t.Errorf("%q, want %q", seen, want)
	}
}
