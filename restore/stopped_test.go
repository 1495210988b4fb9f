package restore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/live"
	"rqvault/internal/redistest"
	"rqvault/restore"
	"rqvault/verify"
)

// durable runs a server that comes back from a kill with all it had answered for.
func durable(t testing.TB) *redistest.Server {
	t.Helper()
	return redistest.Start(t, redistest.WithArgs("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"))
}

// whole fails the test if a queue lists an id twice, or one without a hash.
func whole(t testing.TB, what string, all map[string]entry) {
	t.Helper()
	for k, e := range all {
		db, key, _ := strings.Cut(k, "/")
		if e.kind != "list" || !strings.HasPrefix(key, "rq:queue:") {
			continue
		}
		seen := map[string]bool{}
		for _, id := range strings.Fields(strings.Trim(e.content, "[]")) {
			if _, ok := all[db+"/rq:job:"+id]; !ok || seen[id] {
				t.Errorf("%s: %s lists %s twice, or without its hash", what, k, id)
			}
			seen[id] = true
		}
	}
}

// Redis is killed before the first script call, the second, and so on. Each time there is
// one error, nothing is half done, and the same plan or a new one completes it.
func TestAServerThatGoesAwayInTheMiddle(t *testing.T) {
	t.Parallel()
	s := durable(t)
	every(s)
	hash(s, "orphan", "deferred", "dependency_ids", `["finished"]`)
	s.Do("ZADD", "rq:deferred:q", 5, "orphan")
	d := take(t, s)
	outage := func() {
		s.Do("FLUSHALL")
		enqueue(s, "new")
	}
	outage()
	plan := d.plan(s, everything)
	if out := d.apply(s, connect(t, s, ""), plan); out.err != nil {
		t.Fatal(out.err)
	}
	varies := "rq:job:orphan" // when it was enqueued differs from one run to the next
	want := without(look(t, s), varies)
	wantQueue(t, s, "popped", "first", "a0", "a1", "a2", "new", "orphan")
	n := 0
	for stopped := true; stopped && !t.Failed(); n++ {
		outage()
		what := fmt.Sprintf("killed before call %d", n)
		cut, calls := &told{}, 0
		c := connect(t, s, "")
		c.before = func() {
			if calls++; calls == n+1 {
				s.Kill()
			}
		}
		o, now := d.options(s, c, cut), clock(t, s)
		o.Now = func() time.Time { return now }
		cut.err = restore.Apply(t.Context(), plan, o)
		if stopped = calls > n; stopped {
			if !errors.Is(cut.err, live.ErrUnreachable) || strings.Contains(cut.err.Error(), "\n") || len(cut.with(restore.Failed)) > 0 {
				t.Errorf("%s: got %v and %q failed, want one error that says it is unreachable", what, cut.err, cut.with(restore.Failed))
			}
			s.Restart(false)
		} else if cut.err != nil {
			t.Fatal(cut.err)
		}
		whole(t, what, look(t, s))
		next := plan
		if n%2 == 1 {
			next = d.plan(s, everything)
		}
		out := d.apply(s, connect(t, s, ""), next)
		if out.err != nil || len(out.with(restore.Failed)) > 0 || len(out.outcomes) != len(next.Steps) {
			t.Errorf("%s, then again: got %+v, %v", what, out.outcomes, out.err)
		}
		same(t, what+", then again", without(look(t, s), varies), want)
	}
	if n < len(plan.Steps)+5 { // the queues of two databases, two releases, two deferred jobs
		t.Errorf("only %d script calls were made for %d jobs", n-1, len(plan.Steps))
	}
}

// A server that comes back empty has forgotten the ledger too: all of it is put back.
func TestAServerThatComesBackEmpty(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "a", "b", "c")
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	now := clock(t, s)
	for n := 1; n <= 5; n++ { // of the calls: the queues, three jobs, their places
		c, cut, calls := connect(t, s, ""), &told{}, 0
		c.before = func() {
			if calls++; calls == n {
				s.Kill()
			}
		}
		o := d.options(s, c, cut)
		o.Now = func() time.Time { return now }
		if err := restore.Apply(t.Context(), plan, o); !errors.Is(err, live.ErrUnreachable) {
			t.Errorf("killed before call %d: got %v, want ErrUnreachable", n, err)
		}
		s.Restart(true)
		out := d.apply(s, connect(t, s, ""), plan)
		wantIDs(t, "restored", out.with(restore.Restored), "a", "b", "c")
		wantQueue(t, s, "a", "b", "c")
		s.Restart(true)
	}
}

func TestARestoreThatIsGivenUp(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "a", "b")
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	c, calls := connect(t, s, ""), 0
	c.before = func() {
		if calls++; calls == 3 {
			cancel(why)
		}
	}
	out := &told{}
	if err := restore.Apply(ctx, plan, d.options(s, c, out)); !errors.Is(err, why) {
		t.Errorf("got %v, want the reason it was given up for", err)
	}
	wantQueue(t, s)
	d.restore(s)
	wantQueue(t, s, "a", "b")
}

// Whoever empties the script cache, at any moment, is not noticed.
func TestScriptsThatTheServerForgot(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	every(s)
	want := without(look(t, s), "rq:queue:q")
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	c, calls := connect(t, s, ""), 0
	c.before = func() {
		calls++
		s.Do("SCRIPT", "FLUSH")
	}
	out := d.apply(s, c, plan)
	if out.err != nil || len(out.with(restore.Restored)) != len(plan.Steps) || calls < len(plan.Steps) {
		t.Errorf("got %+v, %v after %d calls", out.outcomes, out.err, calls)
	}
	same(t, "after the restore", without(look(t, s), "rq:queue:q"), want)
	wantQueue(t, s, "popped", "first", "a0", "a1", "a2")
}

// Where a key is of another type, what concerns it is refused by name, the key stays as
// it is, and nothing else suffers. Once it is put right, a new plan does the rest.
func TestAKeyOfAnotherTypeIsReported(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	every(s)
	d := take(t, s)
	queued := []string{"popped", "first", "a0", "a1", "a2"}
	for key, failed := range map[string][]string{
		"rq:queue:q": queued, "rq:finished:q": {"finished"}, "rq:scheduled:q": {"scheduled"}, "rq:deferred:q": {"child"},
		"rq:group:g": {"a0", "finished"}, "rq:job:a2:dependents": {"a2", "child"}, "rq:job::child:dependencies": {"child"},
	} {
		s.Do("FLUSHALL")
		plan := d.plan(s, everything)
		s.Do("SET", key, "a string")
		out := d.apply(s, connect(t, s, ""), plan)
		if out.err != nil {
			t.Errorf("%s: %v", key, out.err)
		}
		wantIDs(t, key+" is a string: failed", out.with(restore.Failed), failed...)
		if n := len(out.with(restore.Restored)); n != len(plan.Steps)-len(failed) || len(out.outcomes) != len(plan.Steps) {
			t.Errorf("%s: %d of %d steps restored", key, n, len(plan.Steps))
		}
		for _, id := range failed {
			if o := out.of(t, id); !strings.Contains(o.Reason, "WRONGTYPE") {
				t.Errorf("%s: %s failed because %q", key, id, o.Reason)
			}
		}
		if got := s.Do("GET", key); got != "a string" {
			t.Errorf("%s: it is %v now", key, got)
		}
		s.Do("DEL", key)
		d.restore(s)
		if key == "rq:queue:q" {
			wantQueue(t, s, queued...)
		}
	}
}

func TestALedgerOfAnotherTypeStopsEverything(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "a", "b")
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	s.Do("SET", restore.LedgerKey, "a string")
	before := look(t, s)
	for _, queues := range []bool{true, false} {
		if !queues {
			d.registered = nil
		}
		out := d.apply(s, connect(t, s, ""), plan)
		if queues && (out.err == nil || len(out.outcomes) > 0) || !queues && (out.err != nil || len(out.with(restore.Failed)) != 2) {
			t.Errorf("with queues to register %v: got %+v, %v", queues, out.outcomes, out.err)
		}
		same(t, "after it", look(t, s), before)
	}
}

// A second restore of the same plan runs from end to end before each script call of the
// first: together they do it once.
func TestARestoreWithinARestore(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "a", "b")
	for id, parent := range map[string]string{"child": "a", "orphan": "done"} {
		hash(s, id, "deferred", "dependency_ids", fmt.Sprintf("[%q]", parent))
		s.Do("ZADD", "rq:deferred:q", 5, id)
	}
	hash(s, "done", "finished")
	s.Do("ZADD", "rq:finished:q", 7, "done")
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	n := 0
	for within := true; within; n++ {
		s.Do("FLUSHALL")
		c, inner, calls := connect(t, s, ""), &told{}, 0
		c.before = func() {
			if calls++; calls == n+1 {
				inner = d.apply(s, connect(t, s, ""), plan)
			}
		}
		outer := d.apply(s, c, plan)
		within = calls > n
		wantQueue(t, s, "a", "b", "orphan")
		restored := append(outer.with(restore.Restored), inner.with(restore.Restored)...)
		if slices.Sort(restored); outer.err != nil || inner.err != nil || len(slices.Compact(restored)) != len(plan.Steps) {
			t.Errorf("before call %d: restored %q, %v, %v", n, restored, outer.err, inner.err)
		}
		failed := append(outer.with(restore.Failed), inner.with(restore.Failed)...)
		if len(failed) > 0 || s.Do("ZCARD", "rq:deferred:q") != int64(1) {
			t.Errorf("before call %d: failed %q, deferred are %v", n, failed, s.Do("ZRANGE", "rq:deferred:q", 0, -1))
		}
	}
	if n < len(plan.Steps)+5 { // the queues, the places, two deferred jobs
		t.Errorf("only %d script calls were made for %d jobs", n-1, len(plan.Steps))
	}
}

func TestThreeRestoresAtOnce(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	var want []string
	for i := range 300 {
		want = append(want, fmt.Sprintf("j%03d", i))
	}
	enqueue(s, want...)
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	var wg sync.WaitGroup
	outs := make([]*told, 3)
	for i := range outs {
		c := connect(t, s, "")
		wg.Go(func() { outs[i] = d.apply(s, c, plan) })
	}
	wg.Wait()
	restored := 0
	for _, out := range outs {
		if out.err != nil || len(out.outcomes) != len(want) || len(out.with(restore.Failed)) > 0 {
			t.Errorf("got %+v, %v", out.outcomes, out.err)
		}
		restored += len(out.with(restore.Restored))
	}
	if restored != len(want) {
		t.Errorf("together they restored %d, want %d", restored, len(want))
	}
	wantQueue(t, s, want...)
}

// A plan that only holds writes nothing, and says why.
func TestWhatIsHeldIsNotTouched(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	hash(s, "ran", "started")
	hash(s, "poison", "queued", "created_at", "no time")
	s.Do("RPUSH", "rq:queue:q", "poison")
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	out := d.apply(s, connect(t, s, ""), plan)
	wantIDs(t, "held", out.with(restore.Held), "poison", "ran")
	for _, step := range plan.Steps {
		o := out.of(t, step.JobID)
		if o.Reason != step.Reason || o.Reason == "" || o.Action != verify.Hold || o.Queue != "q" {
			t.Errorf("got %+v of step %+v", o, step)
		}
	}
	if all := look(t, s); len(all) > 0 || d.row("ran").Status != job.Started {
		t.Errorf("%v are there, want no keys", all)
	}
}
