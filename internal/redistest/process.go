package redistest

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// binary finds redis-server: RQVAULT_REDIS_SERVER, else the PATH.
func binary(t testing.TB) string {
	t.Helper()
	name := os.Getenv("RQVAULT_REDIS_SERVER")
	if name == "" {
		name = "redis-server"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("redis-server is needed (apt install redis-server, or set RQVAULT_REDIS_SERVER): %v", err)
	}
	return path
}

// debugNeedsConsent reports whether the program is new enough (7.0) to refuse
// DEBUG unless it was started with enable-debug-command, and old programs do not
// know that word.
func debugNeedsConsent(t testing.TB, bin string) bool {
	t.Helper()
	out, err := exec.Command(bin, "--version").Output()
	if err != nil {
		t.Fatalf("ask %s for its version: %v", bin, err)
	}
	_, rest, _ := strings.Cut(string(out), " v=")
	major, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(major)
	return err != nil || n >= 7
}

// shortDir makes a directory whose name leaves room for a socket in the 108 bytes
// that a unix socket's path may have; t.TempDir does not.
func shortDir(t testing.TB) string {
	t.Helper()
	base := "/tmp"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "rqv")
	if err != nil {
		t.Fatalf("make directory for redis-server: %v", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatalf("resolve directory for redis-server: %v", err)
	}
	return dir
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func listening(socket string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	return c.Close()
}

// Poll calls f until it returns nil, every few milliseconds, for at most limit.
// It returns f's last error. An error wrapped by Stop ends it at once.
func Poll(limit time.Duration, f func() error) error {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		var stop stopError
		if err == nil || errors.As(err, &stop) || time.Now().After(deadline) {
			return err
		}
		<-tick.C
	}
}

// Stop marks an error as one that waiting will not mend.
func Stop(err error) error { return stopError{err} }

type stopError struct{ error }

func (s stopError) Unwrap() error { return s.error }
