package restore_test

import (
	"slices"
	"testing"

	"rqvault/internal/redistest"
	"rqvault/restore"
	"rqvault/verify"
)

// ended is when the jobs of these tests came to their end, after the older data.
const ended = "2026-11-23T06:00:09.000000Z"

// waitsAgain puts the server back to before the ends that the snapshot knows: each job
// waits once more where it did.
func waitsAgain(s *redistest.Server) {
	s.Do("FLUSHALL")
	enqueue(s, "finished", "canceled", "gone", "waits")
	hash(s, "failed", "scheduled")
	s.Do("ZADD", "rq:scheduled:q", 4102444800, "failed")
	hash(s, "stopped", "deferred")
	s.Do("ZADD", "rq:deferred:q", 5, "stopped")
	s.Do("XADD", "rq:results:finished", "1-1", "type", "4")
	s.Do("SADD", "rq:group:g", "finished")
}

// whatEnded is a server as the snapshot finds it.
func whatEnded(s *redistest.Server) {
	enqueue(s, "waits")
	for _, id := range []string{"finished", "failed", "canceled", "stopped", "gone"} {
		status := id
		if id == "gone" {
			status = "finished"
		}
		hash(s, id, status, "ended_at", ended)
	}
	s.Do("PEXPIREAT", "rq:job:gone", 4102444800000)
	s.Do("ZADD", "rq:finished:q", 7, "finished", 4102444800, "gone")
	s.Do("ZADD", "rq:failed:q", -1, "failed", -1, "stopped")
	s.Do("ZADD", "rq:canceled:q", 9, "canceled")
	s.Do("XADD", "rq:results:finished", "1-1", "type", "4")
	s.Do("XADD", "rq:results:finished", "2-1", "type", "1")
	s.Do("SADD", "rq:group:g", "finished")
	s.Do("SADD", "rq:groups", "g")
}

func TestAnEndedJobThatWaitsAgainIsTakenOut(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, limited())
	whatEnded(s)
	want := without(look(t, s))
	d := take(t, s)
	for _, user := range []string{"", "limited"} {
		waitsAgain(s)
		plan, err := restore.ParsePlan(marshal(t, d.plan(s, everything)))
		if err != nil {
			t.Fatal(err)
		}
		out := d.apply(s, connect(t, s, user), plan)
		if out.err != nil {
			t.Fatal(out.err)
		}
		wantIDs(t, "repaired", out.with(restore.Repaired), "canceled", "failed", "finished", "gone", "stopped")
		wantQueue(t, s, "waits")
		same(t, "as user "+user, without(look(t, s)), want)
		if again := d.restore(s); len(again.outcomes) > 0 {
			t.Errorf("as user %q, again: %+v", user, again.outcomes)
		}
	}
}

// A record whose own time has passed leaves nothing, and runs no more.
func TestAnEndedJobWhoseRecordExpired(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	whatEnded(s)
	d := take(t, s)
	for _, r := range d.jobs {
		if r.ID == "gone" {
			r.ExpireAt = d.at.UnixMilli() - 1
			r.Parts[0].ExpireAt = r.ExpireAt
		}
	}
	waitsAgain(s)
	if out := d.restore(s); out.err != nil || !slices.Contains(out.with(restore.Repaired), "gone") {
		t.Fatalf("%v, %+v", out.err, out.outcomes)
	}
	wantQueue(t, s, "waits")
	if s.Do("EXISTS", "rq:job:gone") != int64(0) || s.Do("ZSCORE", "rq:finished:q", "gone") != nil {
		t.Error("the expired record is there")
	}
}

// What a worker or a producer did between plan and restore wins.
func TestAJobThatRunsAgainIsNotForwarded(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	whatEnded(s)
	d := take(t, s)
	waitsAgain(s)
	plan := d.plan(s, everything)
	s.Do("HSET", "rq:job:finished", "status", "started", "started_at", ended)
	s.Do("HSET", "rq:job:canceled", "last_heartbeat", ended)
	before := without(look(t, s))
	out := d.apply(s, connect(t, s, ""), plan)
	wantIDs(t, "skipped", out.with(restore.Skipped), "canceled", "finished")
	wantIDs(t, "repaired", out.with(restore.Repaired), "failed", "gone", "stopped")
	after := look(t, s)
	for _, key := range []string{"0/rq:job:finished", "0/rq:job:canceled", "0/rq:results:finished"} {
		if after[key] != before[key] {
			t.Errorf("%s was touched", key)
		}
	}
	wantQueue(t, s, "finished", "canceled", "waits")
}

// A job that is seen running is not taken out of anywhere.
func TestARunningJobIsHeld(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	whatEnded(s)
	d := take(t, s)
	waitsAgain(s)
	s.Do("ZADD", "rq:wip:q", 4102444800, "finished")
	for _, step := range d.plan(s, everything).Steps {
		if step.JobID == "finished" && (step.Action != verify.Hold || step.Verdict != verify.Regressed) {
			t.Errorf("got %+v, want held", step)
		}
	}
}

// Who was enqueued since, to follow a job that had ended, is started: that end comes once.
func TestChildrenOfAJobThatHadEnded(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	whatEnded(s)
	d := take(t, s)
	waitsAgain(s)
	for _, id := range []string{"child", "both"} {
		hash(s, id, "deferred", "dependency_ids", map[string]string{"child": `["finished"]`, "both": `["finished","waits"]`}[id])
		s.Do("ZADD", "rq:deferred:q", 5, id)
		s.Do("SADD", "rq:job:finished:dependents", id)
	}
	s.Do("SADD", "rq:job:waits:dependents", "both")
	if out := d.restore(s); out.err != nil {
		t.Fatal(out.err)
	}
	wantQueue(t, s, "waits", "child")
	if s.Do("EXISTS", "rq:job:finished:dependents") != int64(0) {
		t.Error("the finished job still has children")
	}
	if s.Do("HGET", "rq:job:both", "status") != "deferred" {
		t.Error("a job that waits for another one too was started")
	}
}
