package restore_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"rqvault/internal/redistest"
	"rqvault/restore"
)

const created = "2026-11-23T06:00:00.000000Z"

// hash writes a job's hash in database 0, further fields given in pairs.
func hash(s *redistest.Server, id, status string, fields ...any) {
	args := []any{"HSET", "rq:job:" + id, "data", "payload of " + id, "status", status, "origin", "q", "created_at", created,
		"enqueued_at", "2026-11-23T06:00:01.000000Z"}
	s.Do(append(args, fields...)...)
}

// enqueue makes queued jobs at the end of the queue q.
func enqueue(s *redistest.Server, ids ...string) {
	s.Do("SADD", "rq:queues", "rq:queue:q")
	for _, id := range ids {
		hash(s, id, "queued")
		s.Do("RPUSH", "rq:queue:q", id)
	}
}

// evict takes jobs out of the queue q and their hashes with them.
func evict(s *redistest.Server, ids ...string) {
	for _, id := range ids {
		s.Do("LREM", "rq:queue:q", 0, id)
		s.Do("DEL", "rq:job:"+id)
	}
}

// every makes jobs in every state a restore puts back, in two databases, with all that
// can belong to a job, and keys of every kind beside them.
func every(s *redistest.Server) {
	enqueue(s, "a0", "a1", "a2")
	hash(s, "first", "queued", "enqueue_at_front", "1")
	s.Do("LPUSH", "rq:queue:q", "first")
	hash(s, "popped", "queued")
	s.Do("RPUSH", "rq:queue:q:intermediate", "popped")
	s.Do("PEXPIREAT", "rq:job:a1", 4102444800123)
	for _, status := range []string{"finished", "failed", "canceled", "scheduled"} {
		hash(s, status, status, "ended_at", "2026-11-23T06:00:05.000000Z")
		s.Do("ZADD", "rq:"+status+":q", 4102444800.25, status)
	}
	s.Do("ZADD", "rq:finished:q", "+inf", "finished")
	s.Do("ZADD", "rq:failed:q", -1, "failed")
	s.Do("PEXPIREAT", "rq:job:failed", 4102444800321)
	s.Do("XADD", "rq:results:finished", "1763877605000-0", "type", "1", "return_value", "x")
	s.Do("XADD", "rq:results:finished", "1763877605000-1", "type", "1", "other", "y")
	s.Do("XDEL", "rq:results:finished", "1763877605000-1")
	s.Do("PEXPIREAT", "rq:results:finished", 4102444800456)
	hash(s, "child", "deferred", "dependency_ids", `["a2","finished"]`)
	s.Do("ZADD", "rq:deferred:q", 1763877601.5, "child")
	s.Do("SADD", "rq:job::child:dependencies", "a2", "finished")
	s.Do("SADD", "rq:job:a2:dependents", "child")
	s.Do("PEXPIREAT", "rq:job:a2:dependents", 4102444800789)
	s.Do("SADD", "rq:groups", "g")
	s.Do("SADD", "rq:group:g", "a0", "finished")
	s.Do("EVAL", `redis.call('select', 2)
		redis.call('hset', 'rq:job:b', 'data', 'x', 'status', 'queued', 'origin', 'p', 'created_at', ARGV[1])
		redis.call('rpush', 'rq:queue:p', 'b')
		redis.call('sadd', 'rq:queues', 'rq:queue:p', 'rq:queue:empty')`, 0, created)
}

// entry is one key as the server sees it.
type entry struct {
	kind, digest string
	expireAt     int64
	content      string // of lists and sets, and all that can be read of a stream
}

// look reads every key of the databases 0 to 2, by "db/key".
func look(t testing.TB, s *redistest.Server) map[string]entry {
	t.Helper()
	ctx := context.Background()
	all := map[string]entry{}
	for db := range 3 {
		c := redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket(), DB: db, Protocol: 2, DisableIdentity: true, MaxRetries: -1})
		keys, err := c.Keys(ctx, "*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			p := c.Pipeline()
			kind, digest, expires := p.Type(ctx, k), p.Do(ctx, "DEBUG", "DIGEST-VALUE", k), p.Do(ctx, "PEXPIRETIME", k)
			if _, err := p.Exec(ctx); err != nil {
				t.Fatalf("look at %q: %v", k, err)
			}
			e := entry{kind: kind.Val(), digest: fmt.Sprint(digest.Val()), expireAt: expires.Val().(int64)}
			switch e.kind {
			case "list":
				e.content = fmt.Sprint(c.LRange(ctx, k, 0, -1).Val())
			case "stream":
				e.content = stream(t, c, k)
			}
			all[fmt.Sprintf("%d/%s", db, k)] = e
		}
		_ = c.Close()
	}
	return all
}

// stream reads what a stream's digest does not cover.
func stream(t testing.TB, c *redis.Client, key string) string {
	t.Helper()
	ctx := context.Background()
	info, err := c.XInfoStream(ctx, key).Result()
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprint(info.Length, info.LastGeneratedID, c.XRange(ctx, key, "-", "+").Val())
	for _, g := range c.XInfoGroups(ctx, key).Val() {
		out += fmt.Sprint(" ", g.Name, g.LastDeliveredID)
		for _, p := range c.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: key, Group: g.Name, Start: "-", End: "+", Count: 100}).Val() {
			out += fmt.Sprint(" ", p.ID, p.Consumer, p.RetryCount)
		}
	}
	return out
}

// without leaves out the ledger and the keys that begin so.
func without(all map[string]entry, prefixes ...string) map[string]entry {
	out := maps.Clone(all)
	maps.DeleteFunc(out, func(k string, _ entry) bool {
		_, key, _ := strings.Cut(k, "/")
		return key == restore.LedgerKey || key == restore.SettledKey || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
	})
	return out
}

// same fails the test for each key in which two keyspaces differ.
func same(t testing.TB, what string, got, want map[string]entry) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[k]; !ok || g != want[k] {
			t.Errorf("%s: %q: got %+v\nwant %+v", what, k, g, want[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			t.Errorf("%s: %q is there (%+v), and must not be", what, k, got[k])
		}
	}
}

// queue is the list of the queue q.
func queue(t testing.TB, s *redistest.Server) []string {
	t.Helper()
	ids, err := s.Client().LRange(context.Background(), "rq:queue:q", 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func wantQueue(t testing.TB, s *redistest.Server, want ...string) {
	t.Helper()
	if got := queue(t, s); !slices.Equal(got, want) {
		t.Errorf("the queue holds %q, want %q", got, want)
	}
}

func wantIDs(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
