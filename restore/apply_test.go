package restore_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"rqvault/internal/redistest"
	"rqvault/restore"
)

// Where RESTORE is refused, the same comes back field by field.
func TestBothWaysOfWritingGiveTheSame(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	every(s)
	// More members than one command of a script takes.
	s.Do("EVAL", `for i = 1, 9000 do redis.call('sadd', 'rq:job:a0:dependents', 'other-'..i) end`, 0)
	want := without(look(t, s), "rq:queue:q")
	s.Do("ZADD", "rq:wip:q", 1, "a0") // what runs is never written
	s.Do("ZADD", "rq:executions:a0", 1, "x")
	s.Do("SET", "rq:scheduler-lock:q", "x")
	d := take(t, s)
	for _, user := range []string{"", "limited"} {
		s.Do("FLUSHALL")
		plan := d.plan(s, everything)
		out := d.apply(s, connect(t, s, user), plan)
		if out.err != nil {
			t.Fatal(out.err)
		}
		same(t, "as user "+user, without(look(t, s), "rq:queue:q"), want)
		wantQueue(t, s, "popped", "first", "a0", "a1", "a2") // what was popped runs first
		if n := len(plan.Steps); n < 11 || len(out.with(restore.Restored)) != n || len(out.outcomes) != n {
			t.Errorf("as user %q: %d steps came to %+v", user, n, out.outcomes)
		}
		if !slices.IsSorted(out.progress) || len(out.progress) != len(plan.Steps) || out.progress[0] != 1 {
			t.Errorf("as user %q: progress %v", user, out.progress)
		}
	}
}

func TestALiveJobThatAppearedMeanwhileIsNotTouched(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	enqueue(s, "free", "other", "stub", "typed", "moved", "again")
	hash(s, "done", "finished")
	s.Do("ZADD", "rq:finished:q", "+inf", "done")
	d := take(t, s)
	for _, user := range []string{"", "limited"} {
		s.Do("FLUSHALL")
		for _, id := range []string{"moved", "again"} { // there, but in no list: to be placed
			hash(s, id, "queued")
		}
		plan := d.plan(s, everything)
		hash(s, "other", "queued", "data", "newer", "extra", "x")
		s.Do("HSET", "rq:job:stub", "last_heartbeat", created)
		s.Do("SET", "rq:job:typed", "no hash at all")
		hash(s, "moved", "started")
		s.Do("RPUSH", "rq:queue:q:intermediate", "again")
		s.Do("HSET", "rq:job:done", "data", "newer")
		before := without(look(t, s))
		out := d.apply(s, connect(t, s, user), plan)
		if out.err != nil {
			t.Fatal(out.err)
		}
		wantIDs(t, "skipped", out.with(restore.Skipped), "other", "typed", "moved", "again", "done")
		wantIDs(t, "held", out.with(restore.Held), "stub")
		wantIDs(t, "restored", out.with(restore.Restored), "free")
		same(t, "as user "+user, without(look(t, s), "rq:job:free", "rq:queue:q", "rq:queues"), without(before, "rq:queue:q"))
		wantQueue(t, s, "free")
		entries := s.Client().HKeys(context.Background(), restore.LedgerKey).Val()
		if slices.Sort(entries); !slices.Equal(entries, []string{"job:free", "queues"}) {
			t.Errorf("the ledger signs for %q, want only for what was done", entries)
		}
	}
}

// An ended job keeps its registry and is never put where a worker would take it, even if
// the snapshot itself lists its id in a queue.
func TestAnEndedJobIsNeverPushed(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	ended := []string{"finished", "failed", "canceled", "stopped"}
	for _, status := range ended {
		hash(s, status, status)
		s.Do("RPUSH", "rq:queue:q", status)
		s.Do("RPUSH", "rq:queue:q:intermediate", status)
	}
	for _, status := range ended[:3] {
		s.Do("ZADD", "rq:"+status+":q", 7, status)
	}
	enqueue(s, "waits")
	d := take(t, s)
	for _, keep := range []bool{false, true} { // whole, and where only its registry is gone
		s.Do("FLUSHALL")
		if keep {
			for _, status := range ended {
				hash(s, status, status)
			}
		}
		out := d.restore(s)
		if keep {
			wantIDs(t, "repaired", out.with(restore.Repaired), ended[:3]...)
			wantIDs(t, "restored", out.with(restore.Restored), "waits")
		} else {
			wantIDs(t, "restored", out.with(restore.Restored), append(slices.Clone(ended), "waits")...)
		}
		wantQueue(t, s, "waits")
		if s.Do("EXISTS", "rq:queue:q:intermediate") != int64(0) {
			t.Error("an id was put into the list of popped ones")
		}
		for _, status := range ended[:3] {
			if got := s.Do("ZSCORE", "rq:"+status+":q", status); got != "7" {
				t.Errorf("keep %v: score of %s: got %v, want 7", keep, status, got)
			}
		}
	}
}

func TestTheLedgerSaysWhatWasPutBack(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	every(s)
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	began := clock(t, s)
	if out := d.apply(s, connect(t, s, ""), plan); out.err != nil {
		t.Fatal(out.err)
	}
	entries := s.Client().HGetAll(context.Background(), restore.LedgerKey).Val()
	if !restore.Signed(entries["queues"], began) {
		t.Errorf("the queues: signed as %q", entries["queues"])
	}
	delete(entries, "queues")
	for _, step := range plan.Steps {
		e := entries[restore.JobEntry(step.JobID)]
		if step.DB == 0 && (!restore.Signed(e, began) || !restore.Settled(e) || restore.Signed(e, clock(t, s).Add(time.Second))) {
			t.Errorf("%s: signed as %q", step.JobID, e)
		}
		delete(entries, restore.JobEntry(step.JobID))
	}
	if len(entries) > 0 {
		t.Errorf("the ledger signs for %v too", entries)
	}
	if life := s.Client().TTL(context.Background(), restore.LedgerKey).Val(); life < 6*24*time.Hour || life > 7*24*time.Hour {
		t.Errorf("the ledger lives %s, want a week", life)
	}
	// They ran and left nothing: the same plan must not bring them back.
	s.Do("EVAL", `for _, db in ipairs({0, 2}) do redis.call('select', db)
		for _, k in ipairs(redis.call('keys', 'rq:*')) do redis.call('del', k) end end`, 0)
	before := look(t, s)
	out := d.apply(s, connect(t, s, ""), plan)
	if n := len(out.with(restore.Skipped)); out.err != nil || n != len(plan.Steps) || len(out.outcomes) != n {
		t.Errorf("the second time: got %+v, %v", out.outcomes, out.err)
	}
	same(t, "after the second time", look(t, s), before)
}

// Entries from before the snapshot are about earlier data.
func TestAnOlderEntryOfTheLedgerDoesNotCount(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "a", "b", "c")
	d := take(t, s)
	s.Do("FLUSHALL")
	plan := d.plan(s, everything)
	at := d.at.UnixMilli()
	for id, entry := range map[string]string{"a": fmt.Sprint("placed:", at-1), "b": fmt.Sprint("placed:", at), "c": "of another form"} {
		s.Do("HSET", restore.LedgerKey, restore.JobEntry(id), entry)
	}
	out := d.apply(s, connect(t, s, ""), plan)
	wantIDs(t, "restored", out.with(restore.Restored), "a", "c")
	wantIDs(t, "skipped", out.with(restore.Skipped), "b")
	wantQueue(t, s, "a", "c")
	for entry, want := range map[string]bool{"placed:999": false, "placed:1000": true, "held:1001": true, "": false, "placed": false, "placed:": false, "placed:x": false} {
		if restore.Signed(entry, time.UnixMilli(1000)) != want {
			t.Errorf("Signed(%q): got %v", entry, !want)
		}
	}
}

func TestLostIDsComeBeforeNewerOnesAndBetweenSurvivors(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "o0", "o1", "o2", "o3", "o4", "o5")
	hash(s, "front", "queued", "enqueue_at_front", "1")
	s.Do("LPUSH", "rq:queue:q", "front") // enqueued last, runs first
	d := take(t, s)
	evict(s, "front", "o0", "o2", "o3", "o5")
	s.Do("DEL", "rq:job:o4") // its id stands where it was
	enqueue(s, "n0", "n1")
	d.restore(s)
	wantQueue(t, s, "front", "o0", "o1", "o2", "o3", "o4", "o5", "n0", "n1")

	s.Do("FLUSHALL")
	enqueue(s, "n0", "n1")
	d.restore(s)
	wantQueue(t, s, "front", "o0", "o1", "o2", "o3", "o4", "o5", "n0", "n1")

	// A survivor that is taken between plan and restore: all before it ran, so what was
	// to follow it is next.
	evict(s, "front", "o0", "o2", "o3")
	s.Do("DEL", restore.LedgerKey)
	plan := d.plan(s, everything)
	s.Do("LPOP", "rq:queue:q") // o1
	if out := d.apply(s, connect(t, s, ""), plan); out.err != nil {
		t.Fatal(out.err)
	}
	wantQueue(t, s, "front", "o0", "o2", "o3", "o4", "o5", "n0", "n1")
}

// More ids than one call of a script places, with survivors among them.
func TestALongQueueKeepsItsOrder(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	const n = 5200
	s.Do("EVAL", `for i = 0, ARGV[1] - 1 do -- not in the order of ids
		local id = string.format('j%04d', i * 7919 % ARGV[1])
		redis.call('hset', 'rq:job:'..id, 'data', 'x', 'status', 'queued', 'origin', 'q', 'created_at', ARGV[2])
		redis.call('rpush', 'rq:queue:q', id) end`, 0, n, created)
	want := queue(t, s)
	d := take(t, s)
	s.Do("FLUSHALL")
	for _, at := range []int{50, n - 50} {
		s.Do("HSET", "rq:job:"+want[at], "data", "x", "status", "queued", "origin", "q", "created_at", created)
		s.Do("RPUSH", "rq:queue:q", want[at])
	}
	enqueue(s, "new")
	out := d.restore(s)
	if got := queue(t, s); !slices.Equal(got, append(want, "new")) {
		t.Errorf("the queue of %d ids is in another order: %.200q", len(got), got)
	}
	if len(out.with(restore.Restored)) != n-2 {
		t.Errorf("got %d restored, want %d", len(out.with(restore.Restored)), n-2)
	}
}

// Deferred jobs whose parents have all ended are enqueued, as RQ would have done.
func TestDeferredJobsWaitForWhatHasNotEnded(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "lost", "live", "gone", "away")
	hash(s, "ended", "finished")
	hash(s, "bad", "failed")
	children := map[string]struct {
		parent string
		fields []any
	}{
		"of lost": {"lost", nil}, "of live": {"live", nil}, "of gone": {"gone", nil}, "of ended": {"ended", nil}, "of bad": {"bad", nil},
		"of bad, all the same": {"bad", []any{"allow_dependency_failures", "1"}}, "urgent": {"ended", []any{"enqueue_at_front", "1"}},
		"of away": {"away", nil}, "a grandchild": {"z child", nil}, "z child": {"live", nil},
	}
	for id, c := range children {
		hash(s, id, "deferred", append([]any{"dependency_ids", fmt.Sprintf("[%q]", c.parent)}, c.fields...)...)
		s.Do("HDEL", "rq:job:"+id, "enqueued_at")
		s.Do("ZADD", "rq:deferred:q", 5, id)
		s.Do("SADD", "rq:job:"+c.parent+":dependents", id)
		s.Do("SADD", "rq:job::"+id+":dependencies", c.parent)
	}
	d := take(t, s)
	for id := range children {
		s.Do("DEL", "rq:job:"+id, "rq:job::"+id+":dependencies")
	}
	s.Do("DEL", "rq:deferred:q")
	evict(s, "lost", "gone", "away")
	for _, p := range []string{"lost", "live", "gone", "away", "ended", "bad", "z child"} {
		s.Do("DEL", "rq:job:"+p+":dependents")
	}
	enqueue(s, "new")
	sel := restore.Selection{Jobs: append(slices.Sorted(maps.Keys(children)), "lost")}
	plan := d.plan(s, sel)
	for i := range plan.Steps { // as if "gone" had ended without a trace
		plan.Steps[i].WaitsFor = slices.DeleteFunc(plan.Steps[i].WaitsFor, func(p string) bool { return p == "gone" })
	}
	began := clock(t, s)
	if out := d.apply(s, connect(t, s, ""), plan); out.err != nil || len(out.with(restore.Restored)) != len(plan.Steps) {
		t.Fatalf("got %+v, %v", out.outcomes, out.err)
	}
	got := queue(t, s)
	if len(got) < 4 || !slices.Equal(got[:4], []string{"urgent", "lost", "live", "new"}) {
		t.Errorf("the queue holds %q, want urgent at its head and the new job before those just enqueued", got)
	}
	slices.Sort(got)
	wantIDs(t, "the queue", got, "urgent", "lost", "live", "new", "of gone", "of ended", "of bad, all the same")
	for id, c := range children {
		listed := slices.Contains(got, id)
		status, score := s.Do("HGET", "rq:job:"+id, "status"), s.Do("ZSCORE", "rq:deferred:q", id)
		if listed != (status == "queued") || listed != (score == nil) {
			t.Errorf("%s: in the queue %v, status %v, deferred with score %v", id, listed, status, score)
		}
		if told := s.Do("SISMEMBER", "rq:job:"+c.parent+":dependents", id); !listed && told != int64(1) {
			t.Errorf("%s: %s will not tell it when it ends", id, c.parent)
		}
		at, _ := s.Do("HGET", "rq:job:"+id, "enqueued_at").(string)
		if when, err := time.Parse(time.RFC3339Nano, at); listed != (err == nil && !when.Before(began.Truncate(time.Microsecond))) {
			t.Errorf("%s: enqueued at %q", id, at)
		}
	}
	// Put back a second time nothing is enqueued twice.
	before := look(t, s)
	if out := d.apply(s, connect(t, s, ""), plan); out.err != nil || len(out.with(restore.Skipped)) != len(plan.Steps) {
		t.Errorf("the second time: got %+v, %v", out.outcomes, out.err)
	}
	same(t, "the second time", look(t, s), before)
}

// A parent is there before a script looks at it for its child, whatever their ids.
func TestParentsComeBackBeforeTheirChildren(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	chain := []string{"e", "b", "d", "a", "c"}
	for i, id := range chain {
		hash(s, id, "deferred")
		s.Do("ZADD", "rq:deferred:q", 5, id)
		parent := "loop" // two that wait for each other
		if i > 0 {
			parent = chain[i-1]
		}
		s.Do("HSET", "rq:job:"+id, "dependency_ids", fmt.Sprintf("[%q]", parent))
	}
	hash(s, "loop", "deferred", "dependency_ids", `["e","loop"]`)
	d := take(t, s)
	s.Do("FLUSHALL")
	c := connect(t, s, "")
	var order []string
	c.before = func() {
		for _, id := range append([]string{"loop"}, chain...) {
			if s.Do("EXISTS", "rq:job:"+id) == int64(1) && !slices.Contains(order, id) {
				order = append(order, id)
			}
		}
	}
	if out := d.apply(s, c, d.plan(s, everything)); out.err != nil || len(out.with(restore.Restored)) != 6 {
		t.Fatalf("got %+v, %v", out.outcomes, out.err)
	}
	c.before()
	order = slices.DeleteFunc(order, func(id string) bool { return id == "loop" })
	if !slices.Equal(order, chain) {
		t.Errorf("came back as %q, want %q", order, chain)
	}
}
