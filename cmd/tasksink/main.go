// Command tasksink takes task events from Kafka and upserts them into HubSpot.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // the account's day ends in its own time zone, and an image may have none
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stop() // drain
		<-signals
		os.Exit(exitFailed) // at once: who asks twice does not want to wait
	}()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
