package restore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	hash(s, "stopped", "deferred", "dependency_ids", `["waits"]`)
	s.Do("SADD", "rq:job:waits:dependents", "stopped")
	s.Do("ZADD", "rq:deferred:q", 5, "stopped")
	hash(s, "ran", "started")
	hash(s, "ran2", "started")
	s.Do("ZADD", "rq:wip:q", 5, "ran", 5, "ran2:0123456789abcdef0123456789abcdef")
	s.Do("XADD", "rq:results:finished", "1-1", "type", "4")
	s.Do("SADD", "rq:group:g", "finished")
}

// whatEnded is a server as the snapshot finds it.
func whatEnded(s *redistest.Server) {
	enqueue(s, "waits")
	for _, id := range []string{"finished", "failed", "canceled", "stopped", "gone", "ran", "ran2"} {
		status := id
		if strings.HasPrefix(id, "ran") || id == "gone" {
			status = "finished"
		}
		hash(s, id, status, "ended_at", ended)
	}
	s.Do("HSET", "rq:job:stopped", "dependency_ids", `["waits"]`)
	s.Do("PEXPIREAT", "rq:job:gone", 4102444800000)
	s.Do("ZADD", "rq:finished:q", 7, "finished", 4102444800, "gone", 7, "ran", 7, "ran2")
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
		wantIDs(t, "repaired", out.with(restore.Repaired), "canceled", "failed", "finished", "gone", "ran", "ran2", "stopped")
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
	s.Do("HSET", "rq:job:ran", "last_heartbeat", ended)
	before := without(look(t, s))
	out := d.apply(s, connect(t, s, ""), plan)
	wantIDs(t, "skipped", out.with(restore.Skipped), "canceled", "finished", "ran")
	wantIDs(t, "repaired", out.with(restore.Repaired), "failed", "gone", "ran2", "stopped")
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

// followers are enqueued since the server came back, to follow jobs that had ended by the
// snapshot, and now wait again.
func followers(s *redistest.Server) {
	for id, parents := range map[string][]string{"child": {"finished"}, "both": {"finished", "waits"}, "anyway": {"failed"}, "of failed": {"failed"}, "of gone": {"gone"}} {
		hash(s, id, "deferred", "dependency_ids", `["`+strings.Join(parents, `","`)+`"]`)
		s.Do("ZADD", "rq:deferred:q", 5, id)
		for _, p := range parents {
			s.Do("SADD", "rq:job:"+p+":dependents", id)
		}
	}
	s.Do("HSET", "rq:job:anyway", "allow_dependency_failures", "1")
}

// followed fails the test unless those started whose parents have all ended for them.
func followed(t *testing.T, s *redistest.Server, what string) {
	t.Helper()
	got := queue(t, s)
	slices.Sort(got[min(1, len(got)):])
	if want := []string{"waits", "anyway", "child", "of gone"}; !slices.Equal(got, want) {
		t.Errorf("%s: the queue holds %q, want %q", what, got, want)
	}
	for parent, want := range map[string][]any{"finished": {"both"}, "failed": {"of failed"}, "gone": {}, "waits": {"both"}} {
		if got := s.Do("SMEMBERS", "rq:job:"+parent+":dependents"); !slices.Equal(got.([]any), want) {
			t.Errorf("%s: of the children of %s are left %q, want %q", what, parent, got, want)
		}
	}
	for _, id := range []string{"both", "of failed"} {
		if status := s.Do("HGET", "rq:job:"+id, "status"); status != "deferred" {
			t.Errorf("%s: %s is %v, want deferred", what, id, status)
		}
	}
}

// Who was enqueued since, to follow a job that had ended, is started: that end comes once.
// The restore is stopped before each of its script calls, and once not at all.
func TestChildrenOfAJobThatHadEnded(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	whatEnded(s)
	d := take(t, s)
	for n, stopped := 1, true; stopped; n++ {
		what := fmt.Sprintf("stopped before call %d", n)
		waitsAgain(s)
		followers(s)
		plan := d.plan(s, everything)
		ctx, cancel := context.WithCancel(t.Context())
		c, calls := connect(t, s, ""), 0
		c.before = func() {
			if calls++; calls == n {
				cancel()
			}
		}
		err := restore.Apply(ctx, plan, d.options(s, c, &told{}))
		if stopped = calls >= n; stopped != errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v", what, err)
		}
		cancel()
		if n%3 == 0 && s.Do("ZSCORE", "rq:finished:q", "gone") != nil { // a record's own time may pass before the next run
			s.Do("DEL", "rq:job:gone")
			s.Do("ZREM", "rq:finished:q", "gone")
		}
		if n%2 == 0 {
			plan = d.plan(s, everything)
		}
		if out := d.apply(s, connect(t, s, ""), plan); out.err != nil || len(out.with(restore.Failed)) > 0 {
			t.Fatalf("%s, then again: %v, %+v", what, out.err, out.outcomes)
		}
		followed(t, s, what)
		if left := d.plan(s, everything).Steps; len(left) > 0 {
			t.Errorf("%s: in the end there is left %+v", what, left)
		}
		if !stopped && n < 15 {
			t.Errorf("only %d script calls were made", n-1)
		}
	}
}
