package restore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/keyspace"
	"rqvault/internal/redistest"
	"rqvault/restore"
)

// meddler is a target to which somebody else does something before each batch.
type meddler struct {
	*conn
	do func(commands [][]any) error
}

func (m *meddler) Pipeline(ctx context.Context, db int, commands [][]any) ([]any, error) {
	if err := m.do(commands); err != nil {
		return nil, err
	}
	return m.conn.Pipeline(ctx, db, commands)
}

func fillInto(t testing.TB, d *taken, target restore.Target, s *redistest.Server, mask bool) (restore.IntoResult, error) {
	t.Helper()
	return restore.Into(t.Context(), restore.IntoOptions{Target: target, Dump: bytes.NewReader(d.raw), Size: int64(len(d.raw)),
		Schema: schema, Mask: mask, Now: func() time.Time { return clock(t, s) }})
}

func first(commands [][]any, word string) bool {
	return slices.ContainsFunc(commands, func(c []any) bool { return c[0] == word })
}

func TestIntoDoesNotOverwriteWhatSomebodyElseWrites(t *testing.T) {
	t.Parallel()
	from, to := redistest.Start(t), redistest.Start(t)
	from.Do("MSET", "k", "snapshot", "l", "snapshot")
	d := take(t, from)
	r, err := fillInto(t, d, &meddler{connect(t, to, ""), func(c [][]any) error {
		if first(c, "RESTORE") {
			to.Do("SET", "k", "other")
		}
		return nil
	}}, to, false)
	if err != nil || r.Counts.Keys != 1 || r.Counts.Failed != 1 || len(r.Failures) != 1 || r.Failures[0].Key != "k" {
		t.Errorf("got %+v, %v, want 1 key written and k refused", r, err)
	}
	if k, l := to.Do("GET", "k"), to.Do("GET", "l"); k != "other" || l != "snapshot" {
		t.Errorf("the target holds %v and %v", k, l)
	}
}

// Workers wait before the first key of the queue library is there, and only in its databases.
func TestIntoSuspendsBeforeTheFirstJob(t *testing.T) {
	t.Parallel()
	from, to := redistest.Start(t), redistest.Start(t)
	from.Do("SET", "session", "x")
	from.Do("HSET", "rq:job:a", "data", "x", "status", "queued")
	from.Do("RPUSH", "rq:queue:q", "a")
	from.Do("MOVE", "session", 2)
	suspended := false
	r, err := fillInto(t, take(t, from), &meddler{connect(t, to, ""), func(c [][]any) error {
		for _, command := range c {
			key := fmt.Sprintf("%s", command[1])
			suspended = suspended || key == "rq:suspended"
			if strings.HasPrefix(key, "rq:job") && !suspended {
				t.Errorf("%s is written before workers wait", key)
			}
		}
		return nil
	}}, to, false)
	if err != nil || !slices.Equal(r.Suspended, []int{0}) || r.Counts.Keys != 3 {
		t.Errorf("got %+v, %v", r, err)
	}
}

// A piece of a large value is refused: nothing of it stays, all others are there.
func TestIntoLeavesNoHalfValue(t *testing.T) {
	t.Parallel()
	from, to := redistest.Start(t), redistest.Start(t)
	from.Do("CONFIG", "SET", "rdbcompression", "no")
	from.Do("EVAL", "for i = 1, 300 do local a = {} for j = 1, 100 do a[j] = string.rep('x', 500) .. i .. j end redis.call('RPUSH', 'large', unpack(a)) end", 0)
	from.Do("SET", "small", "x")
	d := take(t, from)
	pieces := 0
	r, err := fillInto(t, d, &meddler{connect(t, to, ""), func(c [][]any) error {
		if first(c, "RPUSH") {
			if pieces++; pieces == 5 { // becomes something that takes no RPUSH
				to.Do("DEL", "large")
				to.Do("SET", "large", "x")
			}
		}
		return nil
	}}, to, false)
	if err != nil || pieces < 5 || r.Counts.Failed != 1 || r.Counts.Keys != 1 {
		t.Errorf("after %d pieces: %+v, %v", pieces, r, err)
	}
	if n := to.Do("DBSIZE"); n != int64(1) || to.Do("GET", "small") != "x" {
		t.Errorf("the target holds %v keys, want small alone", n)
	}
}

func TestIntoEndsWhereTheTargetIsGone(t *testing.T) {
	t.Parallel()
	from, to := redistest.Start(t), redistest.Start(t)
	from.Do("SET", "k", "x")
	gone := errors.New("gone")
	if _, err := fillInto(t, take(t, from), &meddler{connect(t, to, ""), func([][]any) error { return gone }}, to, false); !errors.Is(err, gone) {
		t.Errorf("got %v, want %v", err, gone)
	}
	to.Do("CONFIG", "SET", "maxmemory", "1")
	if _, err := fillInto(t, take(t, from), connect(t, to, ""), to, false); !errors.Is(err, restore.ErrTarget) {
		t.Errorf("without room: got %v, want ErrTarget", err)
	}
}

// Every encoding goes in by RESTORE, and command by command where that is denied: what the
// target holds then digests as what a server that loads the file holds.
func TestIntoTakesEveryEncoding(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"all", "plain", "nocompress", "lfu", "rq"} {
		raw, err := os.ReadFile("../testdata/rdb/" + name + ".rdb")
		if err != nil {
			t.Fatal(err)
		}
		loads := redistest.Start(t)
		loads.Kill()
		if err := os.WriteFile(loads.DumpPath(), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		loads.Restart(false)
		for _, user := range []string{"", "limited"} {
			to := redistest.Start(t, redistest.WithUser("limited on >pw ~* +@all -restore"))
			r, err := restore.Into(t.Context(), restore.IntoOptions{Target: connect(t, to, user), Dump: bytes.NewReader(raw), Schema: schema,
				Now: func() time.Time { return time.Now() }})
			if err != nil || r.Counts.Failed > 0 {
				t.Errorf("%s as %q: %+v, %v", name, user, r, err)
			}
			for _, db := range r.Suspended {
				to.Do("EVAL", "redis.call('SELECT', ARGV[1]) return redis.call('DEL', 'rq:suspended')", 0, db)
			}
			if r.Counts.LeftOut() > 0 {
				continue // workers and runs are in the file
			}
			if got, want := to.Digest(t.Context()), loads.Digest(t.Context()); got != want {
				t.Errorf("%s as %q: the target's digest is %s, want %s", name, user, got, want)
			}
		}
	}
}

func TestOmitted(t *testing.T) {
	for name, kind := range map[string]keyspace.Kind{"rq:worker:w": keyspace.Hash, "rq:workers": keyspace.Set, "rq:suspended": keyspace.String,
		"rq:wip:q": keyspace.ZSet, "rq:executions:j": keyspace.ZSet, "rq:execution:j:e": keyspace.Hash, "rq:scheduler-lock:q": keyspace.String,
		"rq:clean_registries:q": keyspace.String} {
		if !restore.Omitted(schema, []byte(name), kind) {
			t.Errorf("%s goes into the target", name)
		}
	}
	for name, kind := range map[string]keyspace.Kind{"session:1": keyspace.String, "rq:job:j": keyspace.Hash, "rq:queue:q": keyspace.List, "rq:queues": keyspace.Set,
		"rq:finished:q": keyspace.ZSet, "rq:results:j": keyspace.Stream, "rq:queue:q:intermediate": keyspace.List, "rq:odd": keyspace.String} {
		if restore.Omitted(schema, []byte(name), kind) {
			t.Errorf("%s is left out", name)
		}
	}
}
