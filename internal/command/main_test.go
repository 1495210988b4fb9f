package command_test

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"rqvault/internal/command"
)

// TestMain lets the test binary be rqvault where it is called by that name, as main.go
// would run it, so that tests can start it as a process and kill it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rqvault": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := command.Run(ctx, os.Args, command.Streams{Out: os.Stdout, Err: os.Stderr})
		stop()
		os.Exit(code)
	}})
}
