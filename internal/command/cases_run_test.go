package command_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/redistest"
	"rqvault/verify"
)

// The tests called TestCase and a number show what docs/cases.md lists under it, as far as
// no other test does. These are about jobs that must not run, or not twice.

// beside runs a Python script beside the test and returns what ends with it.
func (v *vault) beside(script string) <-chan struct{} {
	v.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.rq(script)
	}()
	return done
}

// until waits for what a test has set going.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	err := redistest.Poll(30*time.Second, func() error {
		if !ok() {
			return errors.New(what)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantRan fails the test unless the jobs' file says exactly that.
func (v *vault) wantRan(want ...string) {
	v.t.Helper()
	if got := v.ran(); !slices.Equal(got, want) {
		v.t.Errorf("ran %q, want %q", got, want)
	}
}

// put writes a job's hash as RQ does, further fields given in pairs.
func (v *vault) put(id, queue, status string, fields ...any) {
	v.t.Helper()
	now := v.serverTime().UTC().Format("2006-01-02T15:04:05.000000Z")
	args := []any{"HSET", "rq:job:" + id, "data", "x", "origin", queue, "status", status, "created_at", now, "description", "f()",
		"started_at", "", "ended_at", "", "last_heartbeat", "", "worker_name", "", "timeout", "180"}
	v.s.Do(append(args, fields...)...)
	v.s.Do("SADD", "rq:queues", "rq:queue:"+queue)
}

func TestCase03ACanceledJobThatWaitsAgainDoesNotRun(t *testing.T) {
	t.Parallel()
	v := older(t, `Job.fetch('b', connection=c).cancel()`)
	if f := v.diff(3).verdict(t, "b"); f.Verdict != "regressed" || f.Action != "forward" {
		t.Errorf("b was canceled and waits again: %+v", f)
	}
	v.restore(0)
	v.wantList("q", "c", "d")
	v.rq(`work('q', 'r')`)
	v.wantRan("0 q c", "0 q d", "0 r e")
	if s := v.status("b"); s != "canceled" {
		t.Errorf("b is %q, want canceled", s)
	}
}

func TestCase04JobsThatEndedAndExpiredStayAway(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`for n in 'ab': queue('q').enqueue('tasks.note', job_id=n, result_ttl=1)`)
	v.backup()
	v.rq(`work('q')`)
	v.wantRan("0 q a", "0 q b")
	waitGone(t, v, "rq:job:a", "rq:job:b", "rq:results:a", "rq:results:b")
	v.rq(`from rq.registry import clean_registries; clean_registries(queue('q'))`)
	digest := v.s.Digest(t.Context())
	if d := v.diff(0); d.Mode != "complete" || d.Counts["completed"] != 2 {
		t.Errorf("mode %s, %v, want 2 completed", d.Mode, d.Counts)
	}
	v.restore(0)
	if v.s.Digest(t.Context()) != digest {
		t.Error("the restore has changed something")
	}
}

func TestCase06AJobWithoutATraceEndsBeforeTheRestoreGoesOn(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`for n in 'ab': queue('q').enqueue('tasks.note', job_id=n, result_ttl=0)`)
	v.backup()
	v.s.Do("FLUSHALL")
	plan := v.store + ".json"
	v.diff(3, "--out", plan)
	g := newGate(t, v.s.Socket(), "evalsha")
	// The queue's name, two jobs and, at one id a second, the first place.
	if g.killAfter(4, v.args([]string{"restore", "--plan", plan, "--apply", "--resume-rate", "1", "--redis", g.url()})) {
		t.Fatal("it was not killed")
	}
	v.wantList("q", "a")
	v.rq(`work('q')`)
	v.wantRan("0 q a")
	if d := v.restore(0, "--plan", plan); len(d.with("failed")) > 0 {
		t.Errorf("got %+v", d)
	}
	v.wantList("q", "b")
	v.rq(`work('q')`)
	v.restore(0)
	v.restore(0, "--plan", plan)
	v.wantList("q")
	v.wantRan("0 q b")
}

// takeAll pops a queue as a worker of RQ 2 does, waiting, and calls look with each id the
// moment it has it.
func (v *vault) takeAll(queue string, n int, look func(ctx context.Context, id string)) <-chan error {
	v.t.Helper()
	c := client(v.t, v.s, 0)
	done := make(chan error, 1)
	go func() {
		for range n {
			id, err := c.BLMove(context.Background(), "rq:queue:"+queue, "rq:queue:"+queue+":intermediate", "LEFT", "RIGHT", 30*time.Second).Result()
			if err != nil {
				done <- err
				return
			}
			look(context.Background(), id)
		}
		done <- nil
	}()
	until(v.t, "nobody waits", func() bool { return v.s.Info("clients", "blocked_clients") == "1" })
	return done
}

func TestCase07AWorkerThatWaitsInBLMOVESeesNoIdWithoutItsHash(t *testing.T) {
	t.Parallel()
	v := line(t)
	v.s.Do("FLUSHALL")
	c := client(t, v.s, 0)
	var got, bare []string
	done := v.takeAll("q", 10, func(ctx context.Context, id string) {
		if got = append(got, id); !c.HExists(ctx, "rq:job:"+id, "data").Val() {
			bare = append(bare, id)
		}
	})
	v.restore(0)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if want := strings.Fields("o0 o1 o2 o3 o4 o5 o6 o7 o8 o9"); !slices.Equal(got, want) || len(bare) > 0 {
		t.Errorf("took %q, want %q; without a hash: %q", got, want, bare)
	}
}

func TestCase08AJobThatRunsThroughAFlushWins(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`queue('run').enqueue('tasks.wait', job_id='run', result_ttl=-1); queue('q').enqueue('tasks.note', job_id='other')`)
	done := v.beside(`work('run')`)
	until(t, "it does not run", func() bool { return v.status("run") == "started" })
	v.backup()
	v.s.Do("FLUSHALL")
	plan := v.store + ".json"
	if f := v.diff(3, "--out", plan).verdict(t, "run"); f.Verdict != "in_flight" || f.Action != "hold" {
		t.Errorf("while it runs: %+v, want held", f)
	}
	replan(t, plan, map[string]verify.Action{"run": verify.Requeue}) // somebody takes it for dead
	v.s.Do("RPUSH", "go", "on")
	<-done
	if d := v.restore(6, "--plan", plan); !slices.Equal(d.with("refused"), []string{"run"}) || !slices.Equal(d.with("restored"), []string{"other"}) {
		t.Errorf("got %+v", d)
	}
	if s := v.status("run"); s != "finished" {
		t.Errorf("it is %q, want finished: its worker's own word", s)
	}
	v.wantList("run")
	v.wantRan("0 run run")
}

// A worker stands still while the entry of its job runs out; the job ends all the same.
func TestCase11AnEntryOfARunIsNotRestoredAndFailsNobody(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
j = queue('q').enqueue('tasks.note', job_id='j', result_ttl=-1, retry=Retry(max=2))
queue('q').enqueue('tasks.note', job_id='other')
c.lpop('rq:queue:q')
w = SimpleWorker([queue('q')], connection=c, name='w')
w.prepare_job_execution(j)
c.zadd('rq:wip:q', {'j': 1000})
`)
	v.backup()
	v.rq(`
w = SimpleWorker([queue('q')], connection=c, name='w')
w.perform_job(Job.fetch('j', connection=c), queue('q'))
`)
	v.wantRan("0 q j")
	v.evict("other")
	v.restore(0, "--assume", "older")
	v.rq(`
from rq.registry import clean_registries
clean_registries(queue('q'))
`)
	if s := v.status("j"); s != "finished" || v.s.Do("EXISTS", "rq:wip:q") != int64(0) {
		t.Errorf("it is %q, want finished, and the registry of runs is %v", s, v.s.Do("ZRANGE", "rq:wip:q", 0, -1))
	}
	v.wantList("q", "other")
}

func TestCase27OldLocksAndWorkersStopNobody(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
queue('q').enqueue('tasks.note', job_id='a')
queue('q').enqueue_at(datetime(2020, 1, 1), 'tasks.note', job_id='due')
c.set('rq:clean_registries:q', 1); c.set('rq:scheduler-lock:q', 'somebody')
SimpleWorker([queue('q')], connection=c, name='w').register_birth()
`)
	v.backup()
	v.s.Do("FLUSHALL")
	v.restore(0)
	told := v.rq(`
from rq.scheduler import RQScheduler
print(c.exists('rq:clean_registries:q', 'rq:scheduler-lock:q', 'rq:worker:w'))
s = RQScheduler([queue('q')], c)
print(s.acquire_locks())
s.enqueue_scheduled_jobs()
w = SimpleWorker([queue('q')], connection=c, name='w')
w.work(burst=True, logging_level='CRITICAL')
w.run_maintenance_tasks()
`)
	if told != "0\n{'q'}\n" {
		t.Errorf("RQ says %q, want none of the old keys, and its lock", told)
	}
	v.wantRan("0 q a", "0 q due")
}

// Workers look at the flag between jobs; those that start under it wait.
func TestCase28ARestoreUnderSuspensionWaitsForTheWord(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for n in 'abc': queue('q').enqueue('tasks.note', job_id=n)
c.set('rq:suspended', 1)
`)
	v.backup()
	v.s.Do("FLUSHALL")
	v.restore(0)
	if v.s.Do("EXISTS", "rq:suspended") != int64(0) {
		t.Error("the snapshot's flag is back: workers would stop")
	}
	v.s.Do("FLUSHALL")
	v.s.Do("SET", "rq:suspended", 1, "EX", 600)
	done := v.beside(`SimpleWorker([queue('q')], connection=c, name='w').work(max_jobs=3, logging_level='CRITICAL')`)
	until(t, "no worker waits", func() bool { return v.s.Do("HGET", "rq:worker:w", "state") == "suspended" })
	v.restore(0)
	v.wantList("q", "a", "b", "c")
	v.wantRan()
	v.s.Do("DEL", "rq:suspended")
	<-done
	v.wantRan("0 q a", "0 q b", "0 q c")
}

// Two things that look alike must not be taken for each other.
func TestCase36ResultsThatAreNewerAndResultsWithoutAJob(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`for n in ('failed', 'alone', 'same'): queue('q').enqueue('tasks.fail', job_id=n); work('q')`)
	v.ran()
	v.backup()
	v.s.Do("XADD", "rq:results:failed", "*", "type", 1) // somebody ran it again, and its hash expired
	v.s.Do("DEL", "rq:job:failed", "rq:job:alone")      // alone: its stream outlives it, as it was
	kept := map[string]string{}
	for _, id := range []string{"failed", "alone"} {
		kept[id] = fmt.Sprint(v.s.Do("XRANGE", "rq:results:"+id, "-", "+"))
	}
	v.restore(0, "--assume", "older")
	if s := v.status("failed"); s != "" {
		t.Errorf("failed is %q: its results say that it succeeded since", s)
	}
	if s := v.status("alone"); s != "failed" {
		t.Errorf("alone is %q, want failed, as its results say", s)
	}
	for id, want := range kept {
		if got := fmt.Sprint(v.s.Do("XRANGE", "rq:results:"+id, "-", "+")); got != want {
			t.Errorf("the results of %s are %v, want %v", id, got, want)
		}
	}
	v.wantList("q")
}
