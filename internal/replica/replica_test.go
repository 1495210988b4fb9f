package replica_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rqvault/internal/redistest"
	"rqvault/internal/replica"
)

func target(s *redistest.Server) replica.Target {
	return replica.Target{Network: s.Network(), Addr: s.Addr()}
}

func fill(s *redistest.Server, n int) {
	s.Do("EVAL", `for i=1,ARGV[1] do redis.call('set', 'k'..i, string.rep('v', i % 300)..i) end
		redis.call('select', 3) redis.call('hset', 'h', 'f', 'v') redis.call('pexpire', 'h', 100000000)`, 0, n)
}

// readRDB reads the stream to its end and has redis-check-rdb look at it.
func readRDB(t *testing.T, s *replica.Stream) []byte {
	t.Helper()
	defer s.Close()
	b, err := io.ReadAll(s)
	if err != nil {
		t.Fatalf("after %d bytes: %v", len(b), err)
	}
	path := filepath.Join(t.TempDir(), "dump.rdb")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("redis-check-rdb", path).CombinedOutput(); err != nil {
		t.Fatalf("redis-check-rdb: %v\n%s", err, out)
	}
	return b
}

// loadRDB starts a server with the dump and returns its digest.
func loadRDB(t *testing.T, b []byte) string {
	t.Helper()
	s := redistest.Start(t)
	s.Kill()
	if err := os.WriteFile(s.DumpPath(), b, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Restart(false)
	return s.Digest(context.Background())
}

func TestSyncReadsTheRDBAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"disk-based":              {"--repl-diskless-sync", "no"},
		"diskless":                {"--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"},
		"diskless with wait":      {"--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "2"},
		"slow, with sign of life": {"--repl-diskless-sync", "no", "--rdb-key-save-delay", "2000"},
		"no checksum":             {"--rdbchecksum", "no", "--repl-diskless-sync-delay", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := redistest.Start(t, redistest.WithTCP(), redistest.WithArgs(args...))
			fill(r, 3000)
			o := replica.Options{}
			if strings.HasPrefix(name, "slow") {
				o.IdleTimeout = 4 * time.Second // the save takes six; a newline comes each second
			}
			s, err := replica.Sync(context.Background(), target(r), o)
			if err != nil {
				t.Fatal(err)
			}
			b := readRDB(t, s)
			if want := strings.HasPrefix(name, "diskless") || name == "no checksum"; (s.Size() == -1) != want {
				t.Errorf("size: got %d, diskless %v", s.Size(), want)
			}
			if s.Size() >= 0 && s.Size() != int64(len(b)) {
				t.Errorf("size: got %d, read %d", s.Size(), len(b))
			}
			// The file format ends in 0xFF and eight bytes; a mark left over would follow.
			if !bytes.HasPrefix(b, []byte("REDIS")) || b[len(b)-9] != 0xFF {
				t.Errorf("the bytes do not end where an RDB does: %x", b[len(b)-12:])
			}
			if got, want := loadRDB(t, b), r.Digest(context.Background()); got != want {
				t.Errorf("digest: got %s, want %s", got, want)
			}
			if got, want := s.ReplID(), r.Info("replication", "master_replid"); got != want || s.Offset() < 0 {
				t.Errorf("replication id: got %s offset %d, want %s", got, s.Offset(), want)
			}
			if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("read past the end: %d, %v", n, err)
			}
			waitFor(t, "the link to go", func() bool { return r.Info("replication", "connected_slaves") == "0" })
		})
	}
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	if err := redistest.Poll(15*time.Second, func() error {
		if !cond() {
			return errors.New("not yet")
		}
		return nil
	}); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

func TestSyncLogsInEveryWay(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.WithTCP(), redistest.WithPassword("pw"), redistest.WithArgs("--repl-diskless-sync-delay", "0"),
		redistest.WithUser("link on >s3cret +psync +replconf"), redistest.WithUser("half on >s3cret +psync"),
		redistest.WithUser("none on >s3cret +@all -psync ~*"))
	secure := redistest.Start(t, redistest.WithTLS(), redistest.WithArgs("--repl-diskless-sync-delay", "0"))
	fill(r, 10)
	tcp, unix := replica.Target{Network: "tcp", Addr: r.Addr()}, replica.Target{Network: "unix", Addr: r.Socket()}
	as := func(t replica.Target, user, password string) replica.Target {
		t.Username, t.Password = user, password
		return t
	}
	over := func(c *tls.Config) replica.Target {
		return replica.Target{Network: "tcp", Addr: secure.Addr(), TLS: c}
	}
	good, bare := tlsConfig(t, secure.TLS(), true), tlsConfig(t, secure.TLS(), false)
	for _, c := range []struct {
		name string
		t    replica.Target
		want error
	}{
		{"password", as(tcp, "", "pw"), nil},
		{"unix socket", as(unix, "default", "pw"), nil},
		{"acl user", as(tcp, "link", "s3cret"), nil},
		{"tls", over(good), nil},
		{"no password", tcp, replica.ErrAuth},
		{"wrong password", as(tcp, "", "hunter2"), replica.ErrAuth},
		{"wrong user", as(tcp, "bob", "hunter2"), replica.ErrAuth},
		{"no replconf", as(tcp, "half", "s3cret"), replica.ErrDenied},
		{"no psync", as(tcp, "none", "s3cret"), replica.ErrDenied},
		{"no client certificate", over(bare), replica.ErrTLS},
		{"unknown ca", over(&tls.Config{}), replica.ErrTLS},
		{"tls to a plain port", replica.Target{Network: "tcp", Addr: r.Addr(), TLS: good}, replica.ErrTLS},
		{"nobody", replica.Target{Network: "tcp", Addr: "127.0.0.1:1"}, replica.ErrUnreachable},
	} {
		ctx, o := context.Background(), replica.Options{DialTimeout: time.Second}
		s, err := replica.Sync(ctx, c.t, o)
		if err == nil {
			readRDB(t, s)
		}
		probe := replica.Probe(ctx, c.t, o)
		for what, err := range map[string]error{"sync": err, "probe": probe} {
			if !errors.Is(err, c.want) {
				t.Errorf("%s, %s: got %v, want %v", c.name, what, err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s, %s: the error shows the password: %v", c.name, what, err)
			}
		}
	}
}

func tlsConfig(t *testing.T, f *redistest.Files, client bool) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	c.RootCAs.AppendCertsFromPEM(pem)
	if client {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

func TestProbeStartsNothing(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.WithTCP(), redistest.WithUser("blind on >pw +psync +replconf"))
	id := r.Info("replication", "master_replid")
	for _, c := range []replica.Target{target(r), {Network: "tcp", Addr: r.Addr(), Username: "blind", Password: "pw"}} {
		if err := replica.Probe(context.Background(), c, replica.Options{}); err != nil {
			t.Error(err)
		}
	}
	if full, now := r.Info("stats", "sync_full"), r.Info("replication", "master_replid"); full != "0" || now != id {
		t.Errorf("sync_full %s, replication id %s (was %s)", full, now, id)
	}
}

func TestServersThatCannotReplicateNow(t *testing.T) {
	t.Parallel()
	orphan := redistest.Start(t)
	orphan.Do("REPLICAOF", "127.0.0.1", "1")
	managed := redistest.Start(t, redistest.WithArgs("--rename-command", "PSYNC", ""))
	bare := redistest.Start(t, redistest.WithArgs("--rename-command", "REPLCONF", ""))
	loading := redistest.Start(t, redistest.WithReadyWhileLoading(), redistest.WithArgs("--key-load-delay", "5000",
		"--loading-process-events-interval-bytes", "1024", "--rdbcompression", "no"))
	for i := range 1000 {
		loading.Do("SET", i, strings.Repeat("xyz", 400))
	}
	loading.Save()
	loading.Restart(false)
	for _, c := range []struct {
		name string
		s    *redistest.Server
		want error
	}{
		{"replica without master", orphan, replica.ErrNotReady},
		{"psync blocked", managed, replica.ErrDenied},
		{"replconf blocked", bare, replica.ErrDenied},
		{"loading", loading, replica.ErrLoading},
	} {
		if _, err := replica.Sync(context.Background(), target(c.s), replica.Options{}); !errors.Is(err, c.want) {
			t.Errorf("%s: sync: got %v, want %v", c.name, err, c.want)
		}
		if err := replica.Probe(context.Background(), target(c.s), replica.Options{}); !errors.Is(err, c.want) {
			t.Errorf("%s: probe: got %v, want %v", c.name, err, c.want)
		}
	}
}

// slow starts a server whose sync takes long enough to look at it, and a sync that
// has read its first bytes.
func slow(t *testing.T, ctx context.Context, diskless string, o replica.Options) (*redistest.Server, *replica.Stream) {
	t.Helper()
	r := redistest.Start(t, redistest.WithTCP(), redistest.WithArgs("--repl-diskless-sync", diskless, "--repl-diskless-sync-delay", "0",
		"--rdb-key-save-delay", "1000", "--rdbcompression", "no"))
	r.Do("CONFIG", "SET", "rdb-key-save-delay", "0")
	big := strings.Repeat("0123456789", 10_000)
	for i := range 200 {
		r.Do("SET", "big"+strconv.Itoa(i), big)
	}
	if diskless == "yes" {
		r.Do("CONFIG", "SET", "rdb-key-save-delay", "50000") // 200 keys: ten seconds
	}
	s, err := replica.Sync(ctx, target(r), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := io.ReadFull(s, make([]byte, 9)); err != nil {
		t.Fatal(err)
	}
	return r, s
}

func TestBrokenSyncIsNeverACleanEnd(t *testing.T) {
	t.Parallel()
	for _, diskless := range []string{"yes", "no"} {
		r, s := slow(t, context.Background(), diskless, replica.Options{})
		r.Kill()
		_, err := io.Copy(io.Discard, s)
		if !errors.Is(err, replica.ErrUnreachable) {
			t.Errorf("killed, diskless %s: got %v, want %v", diskless, err, replica.ErrUnreachable)
		}
		if _, again := s.Read(make([]byte, 1)); again != err {
			t.Errorf("the error does not stay: got %v, want %v", again, err)
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	_, s := slow(t, ctx, "yes", replica.Options{})
	cause := errors.New("operator pressed ^C")
	time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
	if _, err := io.Copy(io.Discard, s); !errors.Is(err, cause) {
		t.Errorf("cancelled: got %v, want %v", err, cause)
	}
	r, s := slow(t, context.Background(), "yes", replica.Options{IdleTimeout: 300 * time.Millisecond})
	// Both the server and its child, which writes the stream, hold still.
	child, err := exec.Command("pgrep", "-P", strconv.Itoa(r.Pid())).Output()
	if err != nil {
		t.Fatalf("find the saving child: %v", err)
	}
	childPid, _ := strconv.Atoi(strings.TrimSpace(string(child)))
	for _, pid := range []int{r.Pid(), childPid} {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	}
	if _, err := io.Copy(io.Discard, s); !errors.Is(err, replica.ErrIdle) {
		t.Errorf("silent: got %v, want %v", err, replica.ErrIdle)
	}
}

// Nobody may promote us or wait for us: no port, no acknowledged offset.
func TestNoFailoverCanChooseUs(t *testing.T) {
	t.Parallel()
	r, s := slow(t, context.Background(), "yes", replica.Options{})
	line := r.Info("replication", "slave0")
	if !strings.Contains(line, "port=0,") || !strings.Contains(line, "offset=0,") {
		t.Errorf("slave0: %s", line)
	}
	// Sentinel refuses for want of a replica it could promote.
	sentinel := redistest.StartSentinel(t, "jobs", r)
	waitFor(t, "sentinel to see the replica", func() bool {
		list, _ := sentinel.Do("SENTINEL", "REPLICAS", "jobs").([]any)
		return len(list) == 1
	})
	err := sentinel.Client().Do(context.Background(), "SENTINEL", "FAILOVER", "jobs").Err()
	if err == nil || !strings.Contains(err.Error(), "NOGOODSLAVE") {
		t.Errorf("sentinel failover: got %v, want NOGOODSLAVE", err)
	}
	// The server's own failover gives up and takes writes again. It needs one byte of
	// stream to tell us from a replica that has everything: see the package comment.
	r.Do("SET", "some", "stream")
	r.Do("FAILOVER", "TIMEOUT", 300)
	waitFor(t, "the failover to give up", func() bool { return r.Info("replication", "master_failover_state") == "no-failover" })
	if role := r.Info("replication", "role"); role != "master" {
		t.Errorf("role after the failover: got %s, want master", role)
	}
	if log := r.Log(); !strings.Contains(log, "never caught up before timeout") {
		t.Error("the log does not tell why the failover was given up")
	}
	r.Do("SET", "still", "writable")
	if n := r.Do("WAIT", 1, 50); n != int64(0) {
		t.Errorf("WAIT counts us: %v", n)
	}
	r.Do("CONFIG", "SET", "rdb-key-save-delay", "0")
	_ = s.Close()
	waitFor(t, "the link to go", func() bool { return r.Info("replication", "connected_slaves") == "0" })
}
