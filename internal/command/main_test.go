package command_test

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"rqvault/internal/command"
)

// asRqvault is the variable that makes the test binary be rqvault.
const asRqvault = "RQVAULT_TEST_BINARY_IS"

// TestMain lets the test binary be rqvault, as main.go runs it, so that tests can start
// it as a process of its own and kill it.
func TestMain(m *testing.M) {
	if os.Getenv(asRqvault) != "rqvault" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command.Run(ctx, os.Args, command.Streams{Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

// process is rqvault as a process of its own, not started yet.
func process(t testing.TB, args []string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = args
	// The race detector's runtime would sleep a second before each exit, and diff two minutes
	// where workers are alive.
	cmd.Env = append(append(os.Environ(), asRqvault+"=rqvault", "GORACE=atexit_sleep_ms=0", "RQVAULT_PATIENCE=3s"), env...)
	return cmd
}
