package command_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/job"
	"rqvault/restore"
	"rqvault/verify"
)

// everyStep is a server that came back from an older dump, in a state that takes every kind
// of step to put right, and a plan of them all. What ran at the snapshot is dead: a matter
// of minutes, of which the plan is told.
func everyStep(t testing.TB) (v *vault, plan string) {
	t.Helper()
	v = newVault(t)
	v.rq(`
past = (datetime.utcnow() - timedelta(minutes=1)).strftime('%Y-%m-%dT%H:%M:%S.%fZ')
for name, id, task in (('e', 'again-fin', 'answer'), ('e', 'again-bad', 'fail'), ('w', 'again-canceled', 'note'), ('q', 'kept', 'note'), ('q', 'place', 'note'),
                       ('r', 'a-ran-again', 'note'), ('r', 'a-ran-fails', 'note'), ('r', 'ran', 'note')):
    queue(name).enqueue('tasks.' + task, job_id=id, result_ttl=-1)
    c.hset('rq:job:' + id, mapping={'created_at': past, 'enqueued_at': past})
queue('e').enqueue('tasks.fail', job_id='retried', retry=Retry(max=2, interval=3600))
queue('s').enqueue_at(datetime(2020, 1, 1), 'tasks.note', job_id='due')
c.hset('rq:job:retried', mapping={'created_at': past, 'enqueued_at': past})
c.hset('rq:job:due', 'created_at', past)
`)
	v.s.Save()
	v.rq(`
from rq.scheduler import RQScheduler
s = RQScheduler([queue('s')], c)
s.acquire_locks()
s.enqueue_scheduled_jobs()
work('e')
Job.fetch('again-canceled', connection=c).cancel()
for i in range(3): queue('q').enqueue('tasks.note', job_id='l%d' % i)
for i in range(2): queue('m').enqueue('tasks.note', job_id='m%d' % i)
queue('e').enqueue('tasks.answer', job_id='fin', result_ttl=-1)
queue('e').enqueue('tasks.fail', job_id='bad')
work('e')
queue('q').enqueue('tasks.note', job_id='canceled').cancel()
queue('q').enqueue_in(timedelta(hours=1), 'tasks.note', job_id='later')
queue('q').enqueue('tasks.note', job_id='child', depends_on='l0')
queue('q').enqueue('tasks.note', job_id='ready', depends_on='l0')
c.srem('rq:job:l0:dependents', 'ready')   # its parent is one that has ended
c.delete('rq:job::ready:dependencies')
c.sadd('rq:job::ready:dependencies', 'fin')
c.hset('rq:job:ready', mapping={'dependency_id': 'fin', 'dependency_ids': '["fin"]'})
for n in ('a-run-again', 'a-run-fails', 'a-ran-again', 'a-ran-fails', 'ran'):
    if 'run' in n: queue('q').enqueue('tasks.note', job_id=n)
    c.lrem('rq:queue:q', 0, n); c.lrem('rq:queue:r', 0, n)
    w = SimpleWorker([queue('q')], connection=c, name=n)
    w.prepare_job_execution(Job.fetch(n, connection=c))
c = redis.from_url(os.environ['REDIS_URL'].replace('db=0', 'db=2'))
queue('q').enqueue('tasks.note', job_id='elsewhere')
`)
	v.backup()
	v.s.Restart(false)
	v.rq(`
c.lrem('rq:queue:q', 0, 'place')
queue('q').enqueue('tasks.note', job_id='new')
queue('q').enqueue('tasks.note', job_id='after-fin', depends_on='again-fin')
queue('q').enqueue('tasks.note', job_id='after-bad', depends_on=Dependency(jobs=['again-bad'], allow_failure=True))
queue('q').enqueue('tasks.note', job_id='after-run', depends_on=Dependency(jobs=['a-ran-fails'], allow_failure=True))
`)
	plan = v.store + ".json"
	v.diff(3, "--out", plan)
	acts := map[string]int{}
	for _, s := range replan(t, plan, map[string]verify.Action{
		"a-run-again": verify.Requeue, "a-run-fails": verify.Fail, "a-ran-again": verify.Requeue, "a-ran-fails": verify.Fail}) {
		acts[string(s.Action)+" "+string(s.Status)]++
	}
	for _, a := range []string{"restore queued", "restore deferred", "restore scheduled", "restore finished", "restore failed", "restore canceled",
		"place queued", "forward finished", "forward failed", "forward canceled", "forward queued", "forward scheduled", "forward started",
		"requeue started", "fail started"} {
		if acts[a] == 0 {
			t.Fatalf("the plan has no step to %s: %v", a, acts)
		}
	}
	return v, plan
}

// replan changes what a plan's file says of jobs that ran at the snapshot, as if the time
// had come at which their runs are dead for sure. It returns the plan's steps.
func replan(t testing.TB, name string, actions map[string]verify.Action) []restore.Step {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := restore.ParsePlan(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		if action, ok := actions[s.JobID]; ok {
			s.Verdict, s.Action = verify.Uncertain, action
			if s.Guard == "" {
				s.Guard = verify.GuardAbsent
			}
		}
	}
	if b, err = p.Marshal(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return p.Steps
}

// timeless is the image without the ledger and without the times at which a restore itself
// enqueued a job, or let it fail.
func timeless(t testing.TB, v *vault) image {
	t.Helper()
	im := look(t, v.s).without(ledger)
	for _, id := range []string{"ready", "after-fin", "after-bad", "after-run", "a-run-again", "a-run-fails", "a-ran-again", "a-ran-fails"} {
		h := v.s.Client().HGetAll(t.Context(), "rq:job:"+id).Val()
		for _, f := range []string{"enqueued_at", "ended_at"} {
			if h[f] != "" {
				h[f] = "some time"
			}
		}
		key := "0/rq:job:" + id
		e := im[key]
		if e.digest, e.expireAt = fmt.Sprint(h), min(e.expireAt, 0); e.kind != "" {
			im[key] = e
		}
	}
	for _, key := range []string{"0/rq:failed:q", "0/rq:failed:r"} {
		e := im[key]
		for i, m := range e.members {
			if id, _, _ := strings.Cut(m, " = "); strings.HasPrefix(id, "a-") {
				e.members[i], e.digest = id, "" // the members tell all of it
				im[key] = e
			}
		}
	}
	for _, id := range []string{"a-run-fails", "a-ran-fails"} {
		for _, entry := range v.s.Client().XRange(t.Context(), "rq:results:"+id, "-", "+").Val() {
			e := im["0/rq:results:"+id]
			e.digest, e.expireAt = fmt.Sprint(entry.Values), min(e.expireAt, 0)
			im["0/rq:results:"+id] = e
		}
	}
	return im
}

// A restore that takes every kind of step, its ids at a rate, is killed before its first
// script call, before its second … each time after the server has answered all earlier
// ones, so that between two neighbours there is nothing else that it could have seen. Then
// the same plan, or a new one, is run to its end.
func TestEveryKindOfStepKilledAtEveryScriptCallEndsTheSame(t *testing.T) {
	t.Parallel()
	v, plan := everyStep(t)
	was := look(t, v.s)
	v.restore(0, "--plan", plan)
	want := timeless(t, v)
	for queue, ids := range map[string][]string{"q": {"a-run-again", "kept", "place", "l0", "l1", "l2", "new", "ready", "after-bad", "after-fin", "after-run"},
		"m": {"m0", "m1"}, "r": {"a-ran-again"}, "s": {"due"}, "e": {}, "w": {}} {
		got := v.list(queue)
		if queue == "q" {
			slices.Sort(got[max(0, len(got)-3):])
		}
		if !slices.Equal(got, ids) {
			t.Errorf("uninterrupted: queue %s holds %q, want %q", queue, got, ids)
		}
	}
	for id, status := range map[string]job.Status{"again-fin": job.Finished, "again-bad": job.Failed, "again-canceled": job.Canceled,
		"a-run-again": job.Queued, "a-run-fails": job.Failed, "a-ran-again": job.Queued, "a-ran-fails": job.Failed, "ran": job.Started,
		"child": job.Deferred, "retried": job.Scheduled, "due": job.Queued, "after-fin": job.Queued, "after-run": job.Queued} {
		if s := v.status(id); s != string(status) {
			t.Errorf("uninterrupted: %s is %q, want %s", id, s, status)
		}
	}
	g := newGate(t, v.s.Socket(), "evalsha")
	n := 0
	for whole := false; !whole && !t.Failed(); n++ {
		was.load(t, v.s)
		whole = g.killAfter(n, v.args([]string{"restore", "--plan", plan, "--apply", "--resume-rate", "6", "--redis", g.url()}))
		sound(t, look(t, v.s))
		what := fmt.Sprintf("killed after %d script calls", n)
		// A new plan cannot know those runs to be dead that the first has not come to.
		signed := v.s.Client().HMGet(t.Context(), "rqvault:ledger", "job:a-ran-again", "job:a-ran-fails", "job:a-run-again", "job:a-run-fails").Val()
		if n%2 == 1 && !slices.Contains(signed, nil) {
			what += ", then by a new plan"
			v.restore(0)
			if d := v.look(); slices.ContainsFunc(d.Findings, func(f finding) bool { return f.Action != "none" && f.Status != "started" }) {
				t.Errorf("%s: still to do: %v", what, d.Findings)
			}
		} else {
			v.restore(0, "--plan", plan)
		}
		sound(t, look(t, v.s))
		same(t, what, timeless(t, v), want)
	}
	if n < 30 {
		t.Errorf("only %d script calls were made: the walk does not see what it should", n-1)
	}
}
