package live_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/live"
	"rqvault/internal/redistest"
)

// aDump is a dump with some keys in two databases.
func aDump(t testing.TB) []byte {
	t.Helper()
	s := redistest.Start(t)
	s.Do("RPUSH", "list", "a", "b")
	s.Do("SET", "expires", "x", "PX", "86400000")
	s.Do("HSET", "hash", "field", strings.Repeat("v", 1000))
	s.Do("COPY", "hash", "hash", "DB", "5")
	s.Save()
	b, err := os.ReadFile(s.DumpPath())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sends(dump []byte) func(w io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(dump)
		return err
	}
}

// settings are all of a server's, but those that tell of the moment.
func settings(s *redistest.Server) string {
	var all []string
	names := s.Do("CONFIG", "GET", "*").([]any)
	for i := 0; i < len(names); i += 2 {
		all = append(all, fmt.Sprintf("%s %q", names[i], names[i+1]))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func TestAServerLoadsADumpAndIsAsItWas(t *testing.T) {
	t.Parallel()
	dump := aDump(t)
	for name, args := range map[string][]string{
		"as it comes":                   nil,
		"with a password of its master": {"--masterauth", "known", "--masteruser", "somebody"},
		"with an append only file":      {"--appendonly", "yes"},
		"with diskless loading":         {"--repl-diskless-load", "swapdb"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.WithArgs(args...))
			before := settings(s)
			if err := dial(t, s.URL(), live.Options{}).LoadRDB(context.Background(), sends(dump)); err != nil {
				t.Fatal(err)
			}
			if role, n := s.Info("replication", "role"), s.Do("DBSIZE"); role != "master" || n != int64(3) {
				t.Errorf("it is a %s with %v keys in db 0", role, n)
			}
			if n := s.Info("keyspace", "db5"); !strings.HasPrefix(n, "keys=1") {
				t.Errorf("db 5: %s", n)
			}
			if ttl := s.Do("PTTL", "expires").(int64); ttl < 80000000 {
				t.Errorf("the key expires in %d ms", ttl)
			}
			if after := settings(s); after != before {
				t.Errorf("its settings were\n%s\nand are\n%s", before, after)
			}
			s.Do("SET", "new", "x") // it takes writes again
			if strings.Contains(s.Log(), "rqvault-") {
				t.Error("its log tells the password")
			}
		})
	}
}

// What does not take a dump as a whole is left as it was.
func TestWhoDoesNotLoadIsNotTouched(t *testing.T) {
	t.Parallel()
	dump := aDump(t)
	newer := append([]byte("REDIS0099"), dump[9:]...)
	for name, c := range map[string]struct {
		options []redistest.Option
		before  []any // a command
		dump    []byte
	}{
		"it holds something":         {before: []any{"SET", "mine", "x"}},
		"it holds it elsewhere":      {before: []any{"EVAL", "redis.call('SELECT', 7) return redis.call('SET', 'mine', 'x')", 0}},
		"it holds functions":         {before: []any{"FUNCTION", "LOAD", "#!lua name=mine\nredis.register_function('f', function() return 1 end)"}},
		"it is a replica":            {before: []any{"REPLICAOF", "127.0.0.1", "1"}},
		"its memory is bounded":      {options: []redistest.Option{redistest.WithArgs("--maxmemory", "100mb")}},
		"REPLICAOF is not there":     {options: []redistest.Option{redistest.WithArgs("--rename-command", "REPLICAOF", "")}},
		"CONFIG is not there":        {options: []redistest.Option{redistest.WithArgs("--rename-command", "CONFIG", "")}},
		"CLIENT is not there":        {options: []redistest.Option{redistest.WithArgs("--rename-command", "CLIENT", "")}},
		"the user may not":           {options: []redistest.Option{redistest.WithUser("default on nopass ~* &* +@all -replicaof")}},
		"the user may only look":     {options: []redistest.Option{redistest.WithUser("default on nopass ~* &* +@all -config|set")}},
		"it is too old for the dump": {dump: newer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, c.options...)
			if c.before != nil {
				s.Do(c.before...)
			}
			look := func() string {
				if strings.HasPrefix(name, "CONFIG") {
					return s.Info("keyspace", "db0")
				}
				return settings(s) + s.Info("keyspace", "db0") + s.Info("keyspace", "db7") + s.Info("replication", "role") + s.Info("replication", "master_port")
			}
			before := look()
			if c.dump == nil {
				c.dump = dump
			}
			err := dial(t, s.URL(), live.Options{}).LoadRDB(context.Background(), sends(c.dump))
			if !errors.Is(err, live.ErrNotTaken) {
				t.Errorf("it says %v, want ErrNotTaken", err)
			}
			if after := look(); after != before {
				t.Errorf("it was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

// A dump that breaks off leaves nothing.
func TestHalfADumpLeavesNothing(t *testing.T) {
	t.Parallel()
	dump := aDump(t)
	unreadable := errors.New("the store is gone")
	for name, c := range map[string]struct {
		write func(cancel func()) func(w io.Writer) error
		want  error
	}{
		"its source fails": {func(func()) func(w io.Writer) error {
			return func(w io.Writer) error { return errors.Join(sends(dump[:len(dump)-100])(w), unreadable) }
		}, unreadable},
		"we are stopped": {func(cancel func()) func(w io.Writer) error {
			return func(w io.Writer) error {
				err := sends(dump[:len(dump)-100])(w)
				cancel()
				return err
			}
		}, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			before := settings(s)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if err := dial(t, s.URL(), live.Options{}).LoadRDB(ctx, c.write(cancel)); !errors.Is(err, c.want) {
				t.Errorf("it says %v, want %v", err, c.want)
			}
			if role := s.Info("replication", "role"); role != "master" || s.Do("DBSIZE") != int64(0) || settings(s) != before {
				t.Errorf("it is a %s with %v keys, settings %v", role, s.Do("DBSIZE"), settings(s) == before)
			}
		})
	}
}

// Nobody's write gets lost: until the server is a replica it waits, and then it is refused.
func TestWritesOfOthersAreNotLost(t *testing.T) {
	t.Parallel()
	dump := aDump(t)
	s := redistest.Start(t)
	var refused error
	err := dial(t, s.URL(), live.Options{}).LoadRDB(context.Background(), func(w io.Writer) error {
		refused = s.Client().Set(context.Background(), "mine", "x", 0).Err()
		return sends(dump)(w)
	})
	if err != nil || refused == nil {
		t.Errorf("LoadRDB: %v; a write meanwhile: %v", err, refused)
	}
	if s.Do("DBSIZE") != int64(3) {
		t.Errorf("%v keys", s.Do("DBSIZE"))
	}
}

func TestAServerLeftBehindIsKnown(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	server := dial(t, s.URL(), live.Options{})
	if server.Abandoned(context.Background()) {
		t.Error("a master waits for nobody")
	}
	s.Do("REPLICAOF", "127.0.0.1", "1")
	if server.Abandoned(context.Background()) {
		t.Error("anybody's replica is taken for ours")
	}
	s.Do("CONFIG", "SET", "masterauth", "rqvault-1")
	if !server.Abandoned(context.Background()) {
		t.Error("our replica is not known")
	}
	s.Do("REPLICAOF", "NO", "ONE")
	if err := server.LoadRDB(context.Background(), sends(aDump(t))); err != nil {
		t.Error(err)
	}
	if got := settings(s); strings.Contains(got, "rqvault-") {
		t.Error("the password of the one that was killed stays")
	}
}
