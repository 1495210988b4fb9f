package command_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rqvault/internal/redistest"
)

// entry is one key as the server sees it: its type, the server's own digest of the
// value, its expiry in Unix ms (-1 none), and its members where they are ids.
type entry struct {
	kind, digest string
	expireAt     int64
	members      []string
	payload      string // as DUMP gives it
}

// image is a whole keyspace, by "db/key".
type image map[string]entry

// client opens one database of a server.
func client(t testing.TB, s *redistest.Server, db int) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket(), DB: db, Protocol: 2, DisableIdentity: true, MaxRetries: -1,
		ReadTimeout: time.Minute}) // values of 300,000 elements are read whole, on a machine that may be busy
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// look reads every key of every database.
func look(t testing.TB, s *redistest.Server) image {
	t.Helper()
	im := image{}
	for db := range 4 {
		c := client(t, s, db)
		keys, err := c.Keys(context.Background(), "*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			im[fmt.Sprintf("%d/%s", db, k)] = lookKey(t, c, k)
		}
		_ = c.Close()
	}
	return im
}

func lookKey(t testing.TB, c *redis.Client, key string) entry {
	t.Helper()
	ctx := context.Background()
	p := c.Pipeline()
	kind := p.Type(ctx, key)
	digest := p.Do(ctx, "DEBUG", "DIGEST-VALUE", key)
	expire := p.Do(ctx, "PEXPIRETIME", key)
	dump := p.Dump(ctx, key)
	if _, err := p.Exec(ctx); err != nil {
		t.Fatalf("look at %q: %v", key, err)
	}
	e := entry{kind: kind.Val(), expireAt: expire.Val().(int64), payload: dump.Val()}
	if d, _ := digest.Slice(); len(d) == 1 {
		e.digest = fmt.Sprint(d[0])
	}
	e.members = members(t, c, key, e.kind)
	return e
}

func members(t testing.TB, c *redis.Client, key, kind string) []string {
	t.Helper()
	ctx := context.Background()
	var out []string
	var err error
	switch kind {
	case "list":
		out, err = c.LRange(ctx, key, 0, -1).Result()
	case "set":
		out, err = c.SMembers(ctx, key).Result()
		slices.Sort(out)
	case "zset":
		var zs []redis.Z
		zs, err = c.ZRangeWithScores(ctx, key, 0, -1).Result()
		for _, z := range zs {
			out = append(out, z.Member.(string)+" = "+strconv.FormatFloat(z.Score, 'g', -1, 64))
		}
		slices.Sort(out)
	}
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	return out
}

// load makes the server hold exactly the image.
func (im image) load(t testing.TB, s *redistest.Server) {
	t.Helper()
	ctx := context.Background()
	s.Do("FLUSHALL")
	for db := range 4 {
		c := client(t, s, db)
		p := c.Pipeline()
		n := 0
		for k, e := range im {
			if key, ok := strings.CutPrefix(k, fmt.Sprintf("%d/", db)); ok {
				n++
				p.Do(ctx, "RESTORE", key, max(e.expireAt, 0), e.payload, "ABSTTL")
			}
		}
		if n > 0 {
			if _, err := p.Exec(ctx); err != nil {
				t.Fatalf("load database %d: %v", db, err)
			}
		}
		_ = c.Close()
	}
}

// without leaves out keys that fit f.
func (im image) without(f func(key string) bool) image {
	out := maps.Clone(im)
	maps.DeleteFunc(out, func(k string, _ entry) bool {
		_, key, _ := strings.Cut(k, "/")
		return f(key)
	})
	return out
}

func ledger(key string) bool { return key == "rqvault:ledger" || key == "rqvault:settled" }

// same compares two images key by key and says each difference. Digests are compared
// where both sides have one; members always.
func same(t testing.TB, what string, got, want image) {
	t.Helper()
	shown := 0
	complain := func(format string, args ...any) {
		t.Helper()
		if shown++; shown <= 25 {
			t.Errorf(what+": "+format, args...)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		w := want[k]
		g, ok := got[k]
		switch {
		case !ok:
			complain("%q did not come back (%s %.300q)", k, w.kind, w.members)
		case g.kind != w.kind:
			complain("%q is a %s, want %s", k, g.kind, w.kind)
		case !slices.Equal(g.members, w.members):
			complain("%q holds %.600q, want %.600q", k, g.members, w.members)
		case g.digest != w.digest && w.digest != "" && g.digest != "":
			complain("%q has other content", k)
		case g.expireAt != w.expireAt:
			complain("%q expires at %d, want %d", k, g.expireAt, w.expireAt)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			complain("%q came back (%s %.300q), and must not", k, got[k].kind, got[k].members)
		}
	}
}

// restorable is what a restore must make of an image of RQ's keys on an empty server, by
// the table in rq-keyspace.md §1: everything of every job but those held, and nothing
// that is volatile or belongs to no job.
func restorable(before image, held ...string) image {
	out := image{}
	jobs := map[string]bool{} // "db/id"
	for k, e := range before {
		db, key, _ := strings.Cut(k, "/")
		id, ok := strings.CutPrefix(key, "rq:job:")
		if ok && e.kind == "hash" && !slices.Contains(held, id) && id != "stub" {
			jobs[db+"/"+id] = true
			out[k] = e
		}
	}
	for k, e := range before {
		db, key, _ := strings.Cut(k, "/")
		alive := func(members []string) []string {
			return slices.DeleteFunc(slices.Clone(members), func(m string) bool {
				if e.kind == "zset" {
					m = m[:strings.LastIndex(m, " = ")]
				}
				return !jobs[db+"/"+m]
			})
		}
		part := func(m []string) {
			if len(m) > 0 {
				out[k] = entry{kind: e.kind, expireAt: e.expireAt, members: m}
			}
		}
		switch {
		case e.kind == "set" && strings.HasPrefix(key, "rq:job::") && jobs[db+"/"+between(key, "rq:job::", ":dependencies")],
			e.kind == "set" && jobs[db+"/"+between(key, "rq:job:", ":dependents")],
			e.kind == "stream" && jobs[db+"/"+strings.TrimPrefix(key, "rq:results:")], key == "rq:queues":
			out[k] = e
		case e.kind == "set" && strings.HasPrefix(key, "rq:job:") && strings.HasSuffix(key, ":dependents"):
			part(alive(e.members)) // of a held parent: its children must be told when it ends
		case key == "rq:groups":
			out[k] = e
		case strings.HasPrefix(key, "rq:group:"):
			part(alive(e.members))
		case e.kind == "list" && strings.HasPrefix(key, "rq:queue:"):
			popped := before[k+":intermediate"]
			if q := before[db+"/rq:queues"]; slices.Contains(q.members, key+":intermediate") {
				popped = entry{} // a queue of its own that is called so
			}
			if q := before[db+"/rq:queues"]; slices.Contains(q.members, key) {
				part(alive(append(slices.Clone(popped.members), e.members...)))
			}
		case e.kind == "zset" && !strings.HasPrefix(key, "rq:wip:"):
			for _, p := range []string{"finished", "failed", "deferred", "scheduled", "canceled"} {
				if strings.HasPrefix(key, "rq:"+p+":") {
					part(alive(e.members))
				}
			}
		}
	}
	return out
}

func between(s, prefix, suffix string) string {
	s, ok1 := strings.CutPrefix(s, prefix)
	s, ok2 := strings.CutSuffix(s, suffix)
	if !ok1 || !ok2 {
		return "\x00"
	}
	return s
}
