package restore_test

import (
	"context"
	"testing"

	"rqvault/internal/redistest"
	"rqvault/restore"
	"rqvault/verify"
)

// later is a moment between the older data and the snapshot.
const later = "2026-11-23T06:00:07.000000Z"

// olderStates is the data that Redis comes back with.
func olderStates(s *redistest.Server) {
	s.Do("FLUSHALL")
	enqueue(s, "first", "retried", "ran")
	hash(s, "child", "deferred", "dependency_ids", `["gone"]`, "enqueued_at", "")
	s.Do("ZADD", "rq:deferred:q", 5, "child")
	hash(s, "due", "scheduled", "enqueued_at", "")
	s.Do("ZADD", "rq:scheduled:q", 6, "due")
	hash(s, "requeued", "failed", "ended_at", "2026-11-23T06:00:03.000000Z")
	s.Do("ZADD", "rq:failed:q", 4102444800, "requeued")
	hash(s, "waits", "created", "enqueued_at", "", "dependency_ids", `["first"]`)
	enqueue(s, "last")
}

// laterStates is the same some seconds later, when the snapshot is taken.
func laterStates(s *redistest.Server) {
	s.Do("FLUSHALL")
	enqueue(s, "first")
	for _, id := range []string{"child", "due", "requeued"} {
		hash(s, id, "queued", "enqueued_at", later)
		s.Do("RPUSH", "rq:queue:q", id)
	}
	hash(s, "retried", "scheduled", "started_at", later, "retries_left", "1")
	s.Do("ZADD", "rq:scheduled:q", 4102444800, "retried")
	hash(s, "ran", "started", "started_at", later, "worker_name", "w", "timeout", "180")
	s.Do("ZADD", "rq:wip:q", 4102444800, "ran")
	hash(s, "waits", "deferred", "dependency_ids", `["first"]`, "last_heartbeat", later)
	s.Do("ZADD", "rq:deferred:q", 8, "waits")
	s.Do("SADD", "rq:job::waits:dependencies", "first")
	s.Do("SADD", "rq:job:first:dependents", "waits")
	enqueue(s, "last")
}

func TestJobsThatHadNotEndedAreBroughtForward(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	laterStates(s)
	s.Do("DEL", "rq:wip:q") // what runs is never put back
	want := without(look(t, s))
	s.Do("ZADD", "rq:wip:q", 4102444800, "ran")
	d := take(t, s)
	for _, user := range []string{"", "limited"} {
		olderStates(s)
		plan, err := restore.ParsePlan(marshal(t, d.plan(s, everything)))
		if err != nil {
			t.Fatal(err)
		}
		out := d.apply(s, connect(t, s, user), plan)
		if out.err != nil {
			t.Fatal(out.err)
		}
		wantIDs(t, "repaired", out.with(restore.Repaired), "child", "due", "ran", "requeued", "retried", "waits")
		wantQueue(t, s, "first", "child", "due", "requeued", "last")
		same(t, "as user "+user, without(look(t, s)), want)
		for _, step := range d.plan(s, everything).Steps {
			if step.JobID != "ran" || step.Action != verify.Hold {
				t.Errorf("as user %q, again: %+v", user, step)
			}
		}
	}
}

// Stopped before the ids are in their queue, the next run puts them there.
func TestBringingForwardGoesOn(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	laterStates(s)
	d := take(t, s)
	for stop := range 12 {
		olderStates(s)
		c := connect(t, s, "")
		calls := 0
		ctx, cancel := context.WithCancel(t.Context())
		c.before = func() {
			if calls++; calls > stop {
				cancel()
			}
		}
		err := restore.Apply(ctx, d.plan(s, everything), d.options(s, c, &told{}))
		cancel()
		if err == nil && stop < 6 {
			t.Fatalf("stopped after %d calls, and it came to its end", stop)
		}
		d.restore(s)
		wantQueue(t, s, "first", "child", "due", "requeued", "last")
		for id, status := range map[string]string{"child": "queued", "retried": "scheduled", "ran": "started", "waits": "deferred"} {
			if got := s.Do("HGET", "rq:job:"+id, "status"); got != status {
				t.Errorf("stopped after %d calls: %s is %v, want %s", stop, id, got, status)
			}
		}
	}
}
