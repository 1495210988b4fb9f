package restore_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"rqvault/internal/index"
	"rqvault/internal/redistest"
	"rqvault/restore"
	"rqvault/verify"
)

// reader is a Redis that holds the keys named and notes how it was asked for them.
type reader struct {
	restore.Redis
	there   []string
	batches []string
	reply   any // instead of any other
	err     error
}

func (r *reader) Pipeline(_ context.Context, db int, commands [][]any) ([]any, error) {
	r.batches = append(r.batches, fmt.Sprintf("%d:%d", db, len(commands)))
	var replies []any
	for _, c := range commands {
		reply := r.reply
		if reply == nil && c[0] == "EXISTS" {
			reply = int64(0)
			if slices.Contains(r.there, string(c[1].([]byte))) {
				reply = int64(1)
			}
		}
		replies = append(replies, reply)
	}
	return replies, r.err
}

// table is a snapshot's table of keys, its row used again for each as a reader may.
func table(err error, ks ...index.KeyRow) restore.Keys {
	return func() iter.Seq2[*index.KeyRow, error] {
		return func(yield func(*index.KeyRow, error) bool) {
			var row index.KeyRow
			for _, k := range ks {
				if row = k; !yield(&row, nil) {
					return
				}
			}
			if err != nil {
				yield(nil, err)
			}
		}
	}
}

func TestKeysAreSelectedByPattern(t *testing.T) {
	all := []index.KeyRow{{Key: "session:1", Kind: "string"}, {Key: "session:2", Kind: "hash", ExpireAt: 1001}, {Key: "session:old", ExpireAt: 1000},
		{Key: "session:kept"}, {Key: "rq:rl:x", Role: "plain"}, {Key: "rq:job:a", Role: "hash"}, {Key: "rq:what", Role: "unknown"}, {Key: "rqvault:ledger"}, {Key: "rqvault:x"},
		{Key: `\xff`, Raw: []byte("\xff")}, {Key: "session:1", DB: 2}, {Key: "rqvault", DB: 2}}
	for _, c := range []struct {
		patterns []string
		want     []string
		n        restore.KeyCounts
	}{
		{[]string{"*"}, []string{"0 session:1", "0 session:2", "0 rq:rl:x", "0 \xff", "2 session:1", "2 rqvault"}, restore.KeyCounts{Present: 1, Expired: 1, Queues: 2}},
		{[]string{"session:[0-9]"}, []string{"0 session:1", "0 session:2", "2 session:1"}, restore.KeyCounts{}},
		{[]string{"session:1", "session:*"}, []string{"0 session:1", "0 session:2", "2 session:1"}, restore.KeyCounts{Present: 1, Expired: 1}},
		{[]string{"rq:*", "rqvault:*"}, []string{"0 rq:rl:x"}, restore.KeyCounts{Queues: 2}},
		{[]string{"Session:*", "ession:1", "session:"}, nil, restore.KeyCounts{}},
		{[]string{"\xff"}, []string{"0 \xff"}, restore.KeyCounts{}},
		{nil, nil, restore.KeyCounts{}},
	} {
		steps, n, err := restore.PlanKeys(t.Context(), &reader{there: []string{"session:kept"}}, table(nil, all...), c.patterns, 1000)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range steps {
			got = append(got, fmt.Sprint(s.DB, " ", s.Key))
			if s.Action != verify.Restore || s.Guard != verify.GuardAbsent || s.Verdict != verify.Lost || s.JobID != "" {
				t.Errorf("%q: planned %+v", c.patterns, s)
			}
		}
		if !slices.Equal(got, c.want) || n != c.n {
			t.Errorf("%q: got %q, %+v; want %q, %+v", c.patterns, got, n, c.want, c.n)
		}
	}
}

func TestKeysAreAskedForInBatches(t *testing.T) {
	var all []index.KeyRow
	for i := range 1003 {
		all = append(all, index.KeyRow{Key: fmt.Sprint("k", i), DB: int32(i / 1001)})
	}
	r := &reader{there: []string{"k499", "k500", "k1002"}}
	steps, n, err := restore.PlanKeys(t.Context(), r, table(nil, all...), []string{"*"}, 0)
	if err != nil || len(steps) != 1000 || n.Present != 3 {
		t.Errorf("got %d steps, %+v, %v", len(steps), n, err)
	}
	if want := []string{"0:500", "0:500", "0:1", "1:2"}; !slices.Equal(r.batches, want) {
		t.Errorf("asked in %q, want %q", r.batches, want)
	}
	for i, s := range steps[:499] {
		if s.Key != fmt.Sprint("k", i) {
			t.Fatalf("step %d is for %s", i, s.Key)
		}
	}
}

func TestKeysThatCannotBeAskedForMakeNoPlan(t *testing.T) {
	broken := errors.New("gone")
	for what, c := range map[string]struct {
		r    *reader
		keys restore.Keys
	}{
		"the table breaks off":  {&reader{}, table(broken, index.KeyRow{Key: "a"})},
		"the connection breaks": {&reader{err: broken}, table(nil, index.KeyRow{Key: "a"})},
		"Redis refuses":         {&reader{reply: broken}, table(nil, index.KeyRow{Key: "a"})},
	} {
		if steps, _, err := restore.PlanKeys(t.Context(), c.r, c.keys, []string{"*"}, 0); !errors.Is(err, broken) || what == "the table breaks off" && steps != nil {
			t.Errorf("%s: got %v, %v", what, steps, err)
		}
	}
}

// others makes keys of every kind that no queue library owns.
func others(s *redistest.Server) {
	s.Do("SET", "k:string", "text\x00\xff")
	s.Do("SET", "k:number", 12345, "PXAT", 4102444800001)
	s.Do("SET", "k:empty", "")
	// More elements than one command of a script takes.
	s.Do("EVAL", `for i = 1, 9000 do
		redis.call('rpush', 'k:list', 'element '..i)
		redis.call('hset', 'k:hash', 'field '..i, i)
		redis.call('zadd', 'k:zset', i / 3, 'member '..i)
		redis.call('sadd', 'k:ints', i) end`, 0)
	s.Do("ZADD", "k:zset", "-inf", "low", "inf", "high", 1e300, "far", -0.1, "near")
	s.Do("SADD", "k:set", "a", "\x00", "")
	s.Do("PEXPIREAT", "k:set", 4102444800002)
	for i := range 5 {
		s.Do("XADD", "k:stream", fmt.Sprintf("7-%d", i+1), "f", i, "g", "x")
	}
	s.Do("XDEL", "k:stream", "7-5")
	s.Do("XGROUP", "CREATE", "k:stream", "readers", 0)
	s.Do("XGROUP", "CREATE", "k:stream", "late", "7-2")
	s.Do("XREADGROUP", "GROUP", "readers", "one", "COUNT", 2, "STREAMS", "k:stream", ">")
	s.Do("XREADGROUP", "GROUP", "readers", "two", "COUNT", 1, "STREAMS", "k:stream", ">")
	s.Do("XADD", "k:drained", "5-5", "f", "v")
	s.Do("XDEL", "k:drained", "5-5")
	s.Do("EVAL", `redis.call('select', 2) redis.call('set', 'k:string', 'another')`, 0)
}

func (d *taken) keyTable() iter.Seq2[*index.KeyRow, error] { return all2(d.keys, nil) }

// restoreKeys plans the keys k:*, calls meanwhile, and carries the plan out.
func (d *taken) restoreKeys(s *redistest.Server, c *conn, meanwhile func()) *told {
	d.t.Helper()
	steps, _, err := restore.PlanKeys(d.t.Context(), c, d.keyTable, []string{"k:*"}, clock(d.t, s).UnixMilli())
	if err != nil {
		d.t.Fatal(err)
	}
	meanwhile()
	out := &told{}
	if out.err = restore.ApplyKeys(d.t.Context(), &restore.Plan{Steps: steps}, d.keyTable, d.options(s, c, out)); out.err != nil {
		d.t.Fatal(out.err)
	}
	return out
}

func TestKeysComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	others(s)
	before := look(t, s)
	d := take(t, s)
	for _, user := range []string{"", "limited"} {
		s.Do("FLUSHALL")
		c := connect(t, s, user)
		out := d.restoreKeys(s, c, func() {})
		same(t, "as user "+user, without(look(t, s)), before)
		if n := len(out.with(restore.Restored)); n != len(before) || len(out.outcomes) != n {
			t.Errorf("as user %q: got %+v, want %d restored", user, out.outcomes, len(before))
		}
		if again := d.restoreKeys(s, c, func() {}); len(again.outcomes) > 0 {
			t.Errorf("as user %q, again: got %+v, want nothing to do", user, again.outcomes)
		}
		// What was put back and is gone by now went for a reason.
		s.Do("DEL", "k:list")
		out = d.restoreKeys(s, c, func() {})
		wantIDs(t, "skipped", out.with(restore.Skipped), "k:list")
		if s.Do("EXISTS", "k:list") != int64(0) {
			t.Errorf("as user %q: a key that was deleted after its restore came back", user)
		}
	}
}

func TestAKeyThatAppearedMeanwhileIsNotTouched(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	s.Do("SET", "k:string", "old")
	s.Do("HSET", "k:hash", "field", "old")
	s.Do("RPUSH", "k:list", "old")
	s.Do("SET", "k:free", "old")
	d := take(t, s)
	for _, user := range []string{"", "limited"} {
		s.Do("FLUSHALL")
		out := d.restoreKeys(s, connect(t, s, user), func() {
			s.Do("SET", "k:string", "newer")
			s.Do("HSET", "k:hash", "other", "newer")
			s.Do("SET", "k:list", "of another type")
		})
		wantIDs(t, "skipped", out.with(restore.Skipped), "k:hash", "k:list", "k:string")
		wantIDs(t, "restored", out.with(restore.Restored), "k:free")
		if s.Do("GET", "k:string") != "newer" || s.Do("HLEN", "k:hash") != int64(1) || s.Do("GET", "k:list") != "of another type" {
			t.Errorf("as user %q: a newer key was changed", user)
		}
	}
}
