package scratch_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rqvault/internal/redistest"
	"rqvault/internal/scratch"
)

// program is the redis-server that tests run.
func program() string {
	if p := os.Getenv("RQVAULT_REDIS_SERVER"); p != "" {
		return p
	}
	return "redis-server"
}

// place makes a private server's directory, gone with the test.
func place(t testing.TB) (*scratch.Server, string) {
	t.Helper()
	parent, err := os.MkdirTemp("/tmp", "rqs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	s, err := scratch.New(context.Background(), program(), parent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, parent
}

func copyDump(t testing.TB, from, to string) []byte {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAPrivateServerLoadsADumpAndLeavesNothing(t *testing.T) {
	t.Parallel()
	from := redistest.Start(t, redistest.WithArgs("--databases", "40"))
	from.Do("SELECT", "0")
	from.Do("SET", "a", "b")
	from.Do("MOVE", "a", "30")
	from.Save()
	s, parent := place(t)
	copyDump(t, from.DumpPath(), s.DumpPath())
	if err := s.Start(context.Background(), 31); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(s.Socket())
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its directory: %v, %v, want one for the owner alone", info, err)
	}
	if _, err := os.Stat(s.DumpPath()); !os.IsNotExist(err) {
		t.Errorf("the dump is still there: %v", err)
	}
	conf, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.Pid()), "cmdline"))
	if err != nil || !strings.Contains(string(conf), "redis-server") || s.Version() == "" {
		t.Errorf("process %d, %s: %q, %v", s.Pid(), s.Version(), conf, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(s.Pid()))); !os.IsNotExist(err) {
		t.Errorf("the server lives on: %v", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWhatAServerDoesNotLoadIsSaid(t *testing.T) {
	t.Parallel()
	from := redistest.Start(t)
	from.Do("SET", "secret-key", "secret-value")
	from.Save()
	for name, c := range map[string]struct {
		spoil func(b []byte) []byte
		want  error
		says  string
	}{
		"a later version": {func(b []byte) []byte { return append([]byte("REDIS0099"), b[9:]...) }, scratch.ErrTooOld, "RDB format version 99"},
		"another vendor":  {func(b []byte) []byte { return append([]byte("VALKEY080"), b[9:]...) }, scratch.ErrTooOld, ""},
		"a later type":    {func(b []byte) []byte { i := strings.Index(string(b), "\x00\x0asecret-key"); b[i] = 99; return b }, scratch.ErrTooOld, "type of value"},
		"half a dump":     {func(b []byte) []byte { return b[:len(b)-20] }, scratch.ErrNotLoaded, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := place(t)
			b := c.spoil(copyDump(t, from.DumpPath(), s.DumpPath()))
			if err := os.WriteFile(s.DumpPath(), b, 0o600); err != nil {
				t.Fatal(err)
			}
			err := s.Start(context.Background(), 16)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v that says %q", err, c.want, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("it tells a key: %v", err)
			}
		})
	}
}

func TestAWaitThatIsCalledOffEnds(t *testing.T) {
	t.Parallel()
	from := redistest.Start(t)
	from.Do("DEBUG", "POPULATE", "300000", "k", "200")
	from.Save()
	s, parent := place(t)
	copyDump(t, from.DumpPath(), s.DumpPath())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Start(ctx, 16); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, program := range []string{"/nonexistent/redis-server", "/bin/true", "/bin/false"} {
		if _, err := scratch.New(ctx, program, t.TempDir()); !errors.Is(err, scratch.ErrMissing) {
			t.Errorf("%s: got %v, want ErrMissing", program, err)
		}
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := scratch.New(ctx, program(), long); !errors.Is(err, scratch.ErrLongPath) {
		t.Errorf("got %v, want ErrLongPath", err)
	}
	if left, _ := os.ReadDir(long); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
