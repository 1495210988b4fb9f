// Rqvault makes a Redis outage harmless for people whose work runs through Redis job
// queues. This file is the process: signals, streams, exit code. Everything else is in
// internal/command.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"rqvault/internal/command"
	"rqvault/internal/niceness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command.Run(ctx, os.Args, command.Streams{Out: os.Stdout, Err: os.Stderr, GiveWay: niceness.Raise})
	stop()
	os.Exit(code)
}
