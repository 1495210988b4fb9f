// Package redistest gives tests a real redis-server: on a unix socket in a short
// private directory, on a TCP port or behind TLS where a test needs it, stopped by
// its own process id when the test ends. Nothing here is skipped when the program
// is missing: a test that cannot run has failed.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rqvault/internal/child"
)

// startTimeout is how long a server may take until it answers PING. A loaded CI
// machine needs seconds; a server that needs longer will never come.
const startTimeout = 20 * time.Second

// Server is one redis-server process that belongs to one test.
type Server struct {
	t    testing.TB
	opts options
	bin  string
	dir  string
	port int
	tls  *Files

	proc   *child.Process
	client *redis.Client
}

// Start runs a redis-server and returns when it answers PING. It stops with the
// test. The defaults are an empty data set, no persistence of its own accord
// (BGSAVE works), a unix socket and no TCP port.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s := &Server{t: t, bin: binary(t), dir: shortDir(t)}
	for _, o := range opts {
		o(&s.opts)
	}
	if s.opts.tls {
		s.tls = newFiles(t, s.dir, s.opts.until)
	}
	if err := os.MkdirAll(s.Dir(), 0o755); err != nil {
		t.Fatalf("make data directory: %v", err)
	}
	t.Cleanup(s.cleanup)
	s.start()
	return s
}

// Socket is the path of the server's unix socket, whatever else it listens on.
func (s *Server) Socket() string { return filepath.Join(s.dir, "s") }

// Dir is the server's data directory: dump.rdb lands there.
func (s *Server) Dir() string { return filepath.Join(s.dir, "data") }

// DumpPath is where BGSAVE puts its dump.
func (s *Server) DumpPath() string { return filepath.Join(s.Dir(), "dump.rdb") }

// Network is "tcp" for a server with a port, else "unix".
func (s *Server) Network() string {
	if s.opts.tcp || s.opts.tls {
		return "tcp"
	}
	return "unix"
}

// Addr is the address to dial on Network: host:port or the socket's path.
func (s *Server) Addr() string {
	if s.Network() == "unix" {
		return s.Socket()
	}
	return "127.0.0.1:" + strconv.Itoa(s.port)
}

// Port is the TCP port, 0 for a server with only a socket.
func (s *Server) Port() int { return s.port }

// TLS returns the server's certificate files, nil without WithTLS.
func (s *Server) TLS() *Files { return s.tls }

// Pid is the process id of the running server, 0 when it is not running.
func (s *Server) Pid() int {
	if s.proc == nil {
		return 0
	}
	return s.proc.Pid()
}

// URL is the server's address as rqvault takes it, credentials of the default
// user and certificate files included, database 0.
func (s *Server) URL() string {
	u := &url.URL{}
	if s.opts.password != "" {
		u.User = url.UserPassword("", s.opts.password)
	}
	switch {
	case s.tls != nil:
		u.Scheme, u.Host, u.Path = "rediss", s.Addr(), "/0"
		u.RawQuery = url.Values{"ca_cert": {s.tls.CA}, "cert": {s.tls.Cert}, "key": {s.tls.Key}}.Encode()
	case s.Network() == "tcp":
		u.Scheme, u.Host, u.Path = "redis", s.Addr(), "/0"
	default:
		u.Scheme, u.Path, u.RawQuery = "unix", s.Socket(), "db=0"
	}
	return u.String()
}

// SocketURL is the unix-socket address in the form that both rqvault and
// redis-py take.
func (s *Server) SocketURL() string {
	u := &url.URL{Scheme: "unix", Path: s.Socket(), RawQuery: "db=0"}
	if s.opts.password != "" {
		u.User = url.UserPassword("", s.opts.password)
	}
	return u.String()
}

// Client is a client of database 0 over the unix socket, as the default user.
// The same client is returned each time and closed with the test.
func (s *Server) Client() *redis.Client {
	if s.client == nil {
		s.client = redis.NewClient(&redis.Options{
			Network: "unix", Addr: s.Socket(), Password: s.opts.password,
			Protocol: 2, DisableIdentity: true, PoolSize: 20, MaxRetries: -1, DialerRetries: 1,
		})
	}
	return s.client
}

// Do runs one command on database 0 and fails the test on any error reply. A nil
// reply is returned as nil.
func (s *Server) Do(args ...any) any {
	s.t.Helper()
	v, err := s.Client().Do(context.Background(), args...).Result()
	if err != nil && err != redis.Nil {
		s.t.Fatalf("redis command %v: %v", args[0], err)
	}
	return v
}

// Save is SAVE, once the child of an earlier save has been collected: Redis does that ten
// times a second, and refuses to save until then.
func (s *Server) Save() {
	s.t.Helper()
	err := Poll(startTimeout, func() error { return s.Client().Do(context.Background(), "SAVE").Err() })
	if err != nil {
		s.t.Fatalf("redis command SAVE: %v", err)
	}
}

// Digest is DEBUG DIGEST: equal for equal data sets of equal server versions. It
// does not see expiry values.
func (s *Server) Digest(ctx context.Context) string {
	s.t.Helper()
	v, err := s.Client().Do(ctx, "DEBUG", "DIGEST").Text()
	if err != nil {
		s.t.Fatalf("debug digest: %v", err)
	}
	return v
}

// Info returns one field of INFO, "" when it is absent.
func (s *Server) Info(section, field string) string {
	s.t.Helper()
	text, _ := s.Do("INFO", section).(string)
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && k == field {
			return v
		}
	}
	return ""
}

// Kill ends the server with SIGKILL, as a crash does, and waits until it is gone.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server with SIGTERM and waits until it is gone. Without WithArgs
// that set save points, nothing is saved on the way out.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Restart brings the server back on the same socket and port: killed first if it
// still runs, and with its data files removed first when empty is true.
func (s *Server) Restart(empty bool) {
	s.t.Helper()
	s.Kill()
	if empty {
		if err := os.RemoveAll(s.Dir()); err != nil {
			s.t.Fatalf("empty data directory: %v", err)
		}
		if err := os.MkdirAll(s.Dir(), 0o755); err != nil {
			s.t.Fatalf("make data directory: %v", err)
		}
	}
	s.start()
}

// Log is what the server wrote to its log so far.
func (s *Server) Log() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// endPatience is how long a server may ignore SIGTERM before it is killed.
const endPatience = 10 * time.Second

func (s *Server) end(sig syscall.Signal) {
	if s.proc != nil {
		s.proc.End(sig, endPatience)
		s.proc = nil
	}
}

func (s *Server) cleanup() {
	if s.client != nil {
		_ = s.client.Close()
	}
	s.Kill()
	if s.t.Failed() {
		s.t.Logf("log of redis-server in %s:\n%s", s.dir, tail(s.Log(), 4000))
	}
	_ = os.RemoveAll(s.dir)
}

// start tries a few ports, since a port that was free can be taken by the time
// the server binds it.
func (s *Server) start() {
	s.t.Helper()
	var lastErr error
	for range 5 {
		if (s.opts.tcp || s.opts.tls) && s.port == 0 {
			s.port = freePort(s.t)
		}
		_ = os.Remove(s.Socket())
		p, err := child.Start(exec.Command(s.bin, s.args()...), false)
		if err != nil {
			s.t.Fatalf("start %s: %v", s.bin, err)
		}
		s.proc = p
		if lastErr = s.waitReady(); lastErr == nil {
			return
		}
		s.Kill()
		if !strings.Contains(s.Log(), "Address already in use") {
			break
		}
		s.port = 0
	}
	s.t.Fatalf("redis-server did not come up: %v\n%s", lastErr, tail(s.Log(), 4000))
}

func (s *Server) waitReady() error {
	probe := redis.NewClient(&redis.Options{
		Network: "unix", Addr: s.Socket(), Password: s.opts.password, Protocol: 2, DisableIdentity: true, MaxRetries: -1,
	})
	defer probe.Close()
	return Poll(startTimeout, func() error {
		if s.proc.Exited() {
			return Stop(fmt.Errorf("redis-server exited"))
		}
		// Asked first, because go-redis prints a line for every dial that fails.
		if err := listening(s.Socket()); err != nil || s.opts.sentinel || s.opts.whileLoading {
			return err
		}
		return probe.Ping(context.Background()).Err()
	})
}

func tail(s string, n int) string {
	if len(s) > n {
		return s[len(s)-n:]
	}
	return s
}

// RQ runs a Python script with python3-rq at hand and REDIS_URL naming the server,
// and returns what it printed. It fails the test when the script fails, or when
// Python or RQ are missing.
func RQ(t testing.TB, s *Server, script string) string {
	t.Helper()
	python := os.Getenv("RQVAULT_PYTHON")
	if python == "" {
		python = "/usr/bin/python3"
	}
	if err := exec.Command(python, "-c", "import rq").Run(); err != nil {
		t.Fatalf("%s with the rq package is needed (apt install python3-rq, or set RQVAULT_PYTHON): %v", python, err)
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "REDIS_URL="+s.SocketURL(), "PYTHONPATH="+s.dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("python script: %v\n%s", err, tail(stderr.String(), 4000))
	}
	return stdout.String()
}
