package restore_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"rqvault/internal/live"
	"rqvault/internal/redistest"
	"rqvault/restore"
	"rqvault/verify"
)

// breaches holds the server against RQ's invariants, once.
func breaches(t testing.TB, s *redistest.Server) []verify.Breach {
	t.Helper()
	d := take(t, s)
	found, err := verify.Check(verify.CheckOptions{Schema: schema, Rows: func() verify.Rows { return rows(d.jobs...) },
		Marks: verify.NewMarks(schema), Registered: d.registered, Now: d.at})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func repairs(t testing.TB, s *redistest.Server, c *conn, found []verify.Breach) (map[string]restore.Result, error) {
	t.Helper()
	out := map[string]restore.Result{}
	err := restore.Repairs(t.Context(), found, restore.RepairOptions{Redis: c, Schema: schema, Started: verify.StartedRequeue, Policy: func(string) verify.Policy { return verify.AtLeastOnce },
		Now: func() time.Time { return clock(t, s) }, Outcome: func(r restore.Repair) { out[r.Invariant+" "+r.JobID] = r.Result }})
	return out, err
}

// Between look and repair a worker may take the job, or somebody change it.
func TestARepairLooksAgain(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	for name, c := range map[string]struct {
		stage, meanwhile func()
		breach           string
		want             restore.Result
	}{
		"nothing":              {func() { hash(s, "j", "queued") }, func() {}, "queued-job-not-in-queue j", restore.Repaired},
		"a worker started it":  {func() { hash(s, "j", "queued") }, func() { s.Do("HSET", "rq:job:j", "status", "started") }, "queued-job-not-in-queue j", restore.Skipped},
		"somebody put it back": {func() { hash(s, "j", "queued") }, func() { s.Do("RPUSH", "rq:queue:q", "j") }, "queued-job-not-in-queue j", restore.Skipped},
		"a worker popped it":   {func() { hash(s, "j", "queued") }, func() { s.Do("ZADD", "rq:wip:q", 4102444800, "j") }, "queued-job-not-in-queue j", restore.Skipped},
		"its job came back":    {func() { s.Do("RPUSH", "rq:queue:q", "j") }, func() { hash(s, "j", "queued") }, "queue-id-without-hash j", restore.Skipped},
		"its parent runs again": {func() {
			hash(s, "p", "finished")
			hash(s, "j", "deferred", "dependency_ids", `["p"]`)
			s.Do("ZADD", "rq:deferred:q", 5, "j")
			s.Do("SADD", "rq:job::j:dependencies", "p")
		}, func() { hash(s, "p", "queued") }, "deferred-ready j", restore.Skipped},
		"its queue is no list": {func() { hash(s, "j", "queued") }, func() { s.Do("SET", "rq:queue:q", "x") }, "queued-job-not-in-queue j", restore.Failed},
	} {
		s.Do("FLUSHALL")
		c.stage()
		found := breaches(t, s)
		c.meanwhile()
		digest := s.Digest(t.Context())
		out, err := repairs(t, s, connect(t, s, "limited"), found)
		if err != nil || out[c.breach] != c.want {
			t.Errorf("%s: got %v, %v, want %s of %s", name, out, err, c.want, c.breach)
		}
		if c.want == restore.Skipped && s.Digest(t.Context()) != digest {
			t.Errorf("%s: it was touched", name)
		}
	}
}

// A repair that is stopped loses nothing: the rest is found and repaired again.
func TestARepairThatIsStopped(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for n := range 4 {
		s.Do("FLUSHALL")
		for _, id := range []string{"a", "b", "c"} {
			hash(s, id, "queued")
		}
		c, calls := connect(t, s, ""), 0
		c.before = func() {
			if calls++; calls > n {
				s.Kill()
			}
		}
		s.Save()
		_, err := repairs(t, s, c, breaches(t, s))
		if stopped := n < 3; stopped != errors.Is(err, live.ErrUnreachable) {
			t.Fatalf("killed before call %d: %v", n, err)
		} else if stopped {
			s.Restart(false)
		}
		if _, err := repairs(t, s, connect(t, s, ""), breaches(t, s)); err != nil {
			t.Fatal(err)
		}
		if got := s.Do("LLEN", "rq:queue:q"); got != int64(3) {
			t.Errorf("killed before call %d: %v ids in the queue, want 3", n, got)
		}
	}
}

// RQ starts whoever a parent's set of children names, whatever became of them: a child
// that is enqueued by a repair or a restore leaves that set.
func TestAChildThatIsEnqueuedLeavesItsParents(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	stage := func() {
		s.Do("FLUSHALL")
		hash(s, "p", "failed")
		s.Do("ZADD", "rq:failed:q", -1, "p")
		hash(s, "j", "deferred", "dependency_ids", `["p"]`, "allow_dependency_failures", "1")
		s.Do("ZADD", "rq:deferred:q", 5, "j")
		s.Do("SADD", "rq:job::j:dependencies", "p")
		s.Do("SADD", "rq:job:p:dependents", "j", "other")
	}
	stage()
	if out, err := repairs(t, s, connect(t, s, ""), breaches(t, s)); err != nil || out["deferred-ready j"] != restore.Repaired {
		t.Fatalf("%v, %v", out, err)
	}
	check := func(by string) {
		t.Helper()
		wantQueue(t, s, "j")
		if s.Do("SISMEMBER", "rq:job:p:dependents", "j") != int64(0) || s.Do("SISMEMBER", "rq:job:p:dependents", "other") != int64(1) {
			t.Errorf("by a %s: p starts %v at its next end", by, s.Do("SMEMBERS", "rq:job:p:dependents"))
		}
	}
	check("repair")
	stage()
	d := take(t, s)
	s.Do("FLUSHALL")
	d.restore(s)
	check("restore")
}

// The list that vanished comes back in the order in which its jobs were enqueued.
func TestARepairKeepsTheOrder(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for i, id := range []string{"c", "a", "d", "b"} {
		hash(s, id, "queued", "enqueued_at", "2026-11-23T06:00:0"+strconv.Itoa(i)+".000000Z")
	}
	enqueue(s, "newer")
	if _, err := repairs(t, s, connect(t, s, ""), breaches(t, s)); err != nil {
		t.Fatal(err)
	}
	wantQueue(t, s, "c", "a", "d", "b", "newer")
}
