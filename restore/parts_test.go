package restore_test

import (
	"slices"
	"strings"
	"testing"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/redistest"
	"rqvault/restore"
)

// limited is a user that may do all but RESTORE.
func limited() redistest.Option {
	return redistest.WithUser("limited on >pw ~* &* +@all -restore")
}

// A job whose time passes between plan and restore leaves nothing, least of all its id.
func TestAJobThatExpiresMeanwhile(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	enqueue(s, "stays", "soon")
	s.Do("PEXPIREAT", "rq:job:soon", 4102444800000)
	s.Do("SADD", "rq:job:soon:dependents", "x")
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	d.row("soon").Part(job.HashPart).ExpireAt = d.at.UnixMilli() - 1
	for _, user := range []string{"", "limited"} {
		s.Do("FLUSHALL")
		out := d.apply(s, connect(t, s, user), plan)
		wantIDs(t, "skipped", out.with(restore.Skipped), "soon")
		wantIDs(t, "restored", out.with(restore.Restored), "stays")
		wantQueue(t, s, "stays")
		for k := range look(t, s) {
			if strings.Contains(k, "soon") {
				t.Errorf("as user %q: %s is there", user, k)
			}
		}
	}
}

func TestAJobThatGoesBeforeItIsPlaced(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "a", "b", "c")
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	c, calls := connect(t, s, ""), 0
	c.before = func() {
		if calls++; calls == 5 { // after the queues and the three hashes
			s.Do("DEL", "rq:job:b")
		}
	}
	for range 2 { // and again: it stays away
		out := d.apply(s, c, plan)
		if o := out.of(t, "b"); o.Result != restore.Skipped || out.err != nil {
			t.Errorf("got %+v, %v", o, out.err)
		}
		wantQueue(t, s, "a", "c")
	}
}

// What live has of a job's sets and results is newer than the snapshot's, and stays.
func TestWhatLiveHasOfAJobIsKept(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	hash(s, "a", "finished")
	s.Do("ZADD", "rq:finished:q", 7, "a")
	s.Do("XADD", "rq:results:a", "5-0", "type", "1")
	s.Do("SADD", "rq:job:a:dependents", "old")
	s.Do("SADD", "rq:job::a:dependencies", "p")
	s.Do("PEXPIREAT", "rq:job:a:dependents", 4102444800000)
	s.Do("PEXPIREAT", "rq:job::a:dependencies", 4102444800000)
	d := take(t, s)
	for _, user := range []string{"", "limited"} {
		s.Do("FLUSHALL")
		plan := d.plan(s, everything)
		d.row("a").Part(job.DependenciesPart).ExpireAt = d.at.UnixMilli() - 1
		s.Do("ZADD", "rq:finished:q", 9, "a")
		s.Do("XADD", "rq:results:a", "9-0", "type", "2")
		s.Do("SADD", "rq:job:a:dependents", "new")
		s.Do("PEXPIREAT", "rq:job:a:dependents", 4102444900000)
		s.Do("SADD", "rq:job::a:dependencies", "mine")
		before := without(look(t, s), "rq:job:a:dependents")
		out := d.apply(s, connect(t, s, user), plan)
		wantIDs(t, "restored", out.with(restore.Restored), "a")
		same(t, "as user "+user, without(look(t, s), "rq:job:a"), before)
		if s.Do("SCARD", "rq:job:a:dependents") != int64(2) || s.Do("PEXPIRETIME", "rq:job:a:dependents") != int64(4102444900000) {
			t.Errorf("as user %q: the children are %v, expiring at %v", user, s.Do("SMEMBERS", "rq:job:a:dependents"), s.Do("PEXPIRETIME", "rq:job:a:dependents"))
		}
	}
}

// A hash goes back, then the server refuses the results' newer encoding: the job is taken
// back in the same script and written field by field. (Without groups the encodings of
// Redis 7.0 and 7.2 differ in nothing but their number.)
func TestResultsThatTheServerRefuses(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, id := range []string{"a", "b"} {
		hash(s, id, "finished")
		s.Do("ZADD", "rq:finished:q", 7, id)
		s.Do("XADD", "rq:results:"+id, "5-0", "type", "1")
	}
	want := look(t, s)
	d := take(t, s)
	const listpacks3 = 21
	d.row("a").Part(job.ResultsPart).Type = listpacks3
	d.format = keyspace.Format{Version: 11}
	s.Do("FLUSHALL")
	out := d.restore(s)
	wantIDs(t, "restored", out.with(restore.Restored), "a", "b")
	same(t, "after the restore", without(look(t, s)), want)
}

// A value that nothing can write is one failed step, and the others come back.
func TestAValueThatTheServerRefuses(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	s.Do("SET", "k:a", "x")
	s.Do("SET", "k:module", "x")
	s.Do("SET", "k:z", "x")
	d := take(t, s)
	i := slices.IndexFunc(d.keys, func(k *index.KeyRow) bool { return k.Key == "k:module" })
	d.keys[i].Type, d.keys[i].Kind = 7, "other"
	for _, user := range []string{"", "limited"} {
		s.Do("FLUSHALL")
		out := d.restoreKeys(s, connect(t, s, user), func() {})
		wantIDs(t, "failed", out.with(restore.Failed), "k:module")
		wantIDs(t, "restored", out.with(restore.Restored), "k:a", "k:z")
	}
}

// The queues' names come back with the first of their jobs, and only in its database.
func TestQueuesAreRegistered(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	hash(s, "a", "finished")
	s.Do("ZADD", "rq:finished:q", 7, "a")
	s.Do("EVAL", `for i = 1, 9000 do redis.call('sadd', 'rq:queues', 'rq:queue:'..i) end
		redis.call('select', 2) redis.call('sadd', 'rq:queues', 'rq:queue:other')`, 0)
	want := look(t, s)
	delete(want, "2/rq:queues")
	d := take(t, s)
	s.Do("FLUSHALL")
	d.restore(s)
	same(t, "after the restore", without(look(t, s)), want)
	if out := d.apply(s, connect(t, s, ""), &restore.Plan{}); out.err != nil || len(out.outcomes) > 0 {
		t.Errorf("an empty plan: got %+v, %v", out.outcomes, out.err)
	}
}

// A queue whose name the snapshot does not have is registered with the job put into it.
func TestAQueueThatWasNotRegistered(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"queued", "deferred"} {
		s := redistest.Start(t)
		hash(s, "a", status)
		s.Do("ZADD", "rq:deferred:q", 5, "a")
		if status == "queued" {
			s.Do("DEL", "rq:deferred:q")
			s.Do("RPUSH", "rq:queue:q", "a")
		}
		d := take(t, s)
		s.Do("FLUSHALL")
		d.restore(s)
		wantQueue(t, s, "a")
		if s.Do("SISMEMBER", "rq:queues", "rq:queue:q") != int64(1) {
			t.Errorf("%s: its queue is not registered", status)
		}
	}
}
