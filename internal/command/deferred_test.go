package command_test

import (
	"slices"
	"testing"
)

// family queues a parent that runs nowhere yet and a child that waits for it, and a
// chain A, B, C, then takes a snapshot.
func family(t testing.TB) *vault {
	t.Helper()
	v := newVault(t)
	v.rq(`
p = queue('q').enqueue('tasks.note', job_id='parent')
queue('q').enqueue('tasks.note', job_id='child', depends_on=p)
a = queue('chain').enqueue('tasks.note', job_id='A')
b = queue('chain').enqueue('tasks.note', job_id='B', depends_on=a)
queue('chain').enqueue('tasks.note', job_id='C', depends_on=b)
`)
	v.backup()
	return v
}

func TestAChildDoesNotStartWhileItsParentIsNotSelected(t *testing.T) {
	t.Parallel()
	v := family(t)
	v.s.Do("FLUSHALL")
	v.restore(0, "--job", "child")
	if s := v.status("child"); s != "deferred" {
		t.Errorf("the child is %q, want deferred", s)
	}
	v.rq(`work('q')`)
	if ran := v.ran(); len(ran) > 0 {
		t.Errorf("ran %q, want nothing", ran)
	}
	v.restore(0, "--job", "parent")
	v.rq(`work('q')`)
	if ran := v.ran(); !slices.Equal(ran, []string{"0 q parent", "0 q child"}) {
		t.Errorf("ran %q, want the parent and then the child", ran)
	}
}

func TestALostChainRunsInItsOrder(t *testing.T) {
	t.Parallel()
	v := family(t)
	v.s.Do("FLUSHALL")
	v.restore(0)
	v.rq(`work('chain')`)
	if ran := v.ran(); !slices.Equal(ran, []string{"0 chain A", "0 chain B", "0 chain C"}) {
		t.Errorf("ran %q, want A, B, C", ran)
	}
}

func TestAChildOfARunningParentStartsOnlyWhenItsWorkerEnds(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	// The worker goes on while Redis is emptied, restored, and told of the job's end.
	const began = `
p = queue('q').enqueue('tasks.note', job_id='parent')
queue('q').enqueue('tasks.note', job_id='child', depends_on=p)
w = SimpleWorker([queue('q')], connection=c, name='w')
w.register_birth()
c.lpop('rq:queue:q')
`
	v.rq(began + `w.prepare_job_execution(p)`)
	v.backup()
	parent := look(t, v.s)["0/rq:job:parent"]
	v.s.Do("FLUSHALL")
	d := v.restore(0)
	if got := d.with("held"); !slices.Equal(got, []string{"parent"}) {
		t.Errorf("held: %q, want the parent", got)
	}
	if s := v.status("child"); s != "deferred" {
		t.Fatalf("the child is %q, want deferred", s)
	}
	v.rq(`
# What the surviving worker knows of its job is its own copy; it ends the job with it.
import base64
c.restore('tmp', 0, base64.b64decode('` + b64(parent.payload) + `'))
c.rename('tmp', 'rq:job:parent')
p = Job.fetch('parent', connection=c)
c.delete('rq:job:parent')
w = SimpleWorker([queue('q')], connection=c, name='w')
w.perform_job(p, queue('q'))
work('q')
`)
	if ran := v.ran(); !slices.Equal(ran, []string{"0 q parent", "0 q child"}) {
		t.Errorf("ran %q, want the parent's end and then the child", ran)
	}
}

func TestAChildWhoseParentsHaveAllEndedIsEnqueued(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
ps = [queue('q').enqueue('tasks.note', job_id='p%d' % i) for i in range(2)]
queue('kids').enqueue('tasks.note', job_id='child', depends_on=ps)
queue('kids').enqueue('tasks.note', job_id='urgent', depends_on=Dependency(jobs=ps, enqueue_at_front=True))
queue('kids').enqueue('tasks.note', job_id='waits', depends_on=[ps[0], queue('never').enqueue('tasks.note', job_id='never')])
bad = queue('q').enqueue('tasks.fail', job_id='bad')
queue('kids').enqueue('tasks.note', job_id='stays', depends_on=bad)
queue('kids').enqueue('tasks.note', job_id='anyway', depends_on=Dependency(jobs=[bad], allow_failure=True))
`)
	v.backup()
	// The children vanish; then the parents end and find nobody to tell.
	v.s.Do("FLUSHALL")
	v.restore(0, "--queue", "q", "--queue", "never")
	v.rq(`
for k in c.keys('rq:job:*:dependents'): c.delete(k)
work('q')
`)
	v.ran()
	v.restore(0)
	got := v.list("kids")
	slices.Sort(got[min(1, len(got)):])
	if !slices.Equal(got, []string{"urgent", "anyway", "child"}) {
		t.Errorf("queue kids: got %q, want urgent first, then anyway and child", got)
	}
	for id, want := range map[string]string{"child": "queued", "waits": "deferred", "stays": "deferred"} {
		if s := v.status(id); s != want {
			t.Errorf("%s is %q, want %q", id, s, want)
		}
	}
	v.rq(`work('never'); work('kids')`)
	ran := v.ran()
	slices.Sort(ran)
	if want := []string{"0 kids anyway", "0 kids child", "0 kids urgent", "0 kids waits", "0 never never"}; !slices.Equal(ran, want) {
		t.Errorf("ran %q, want %q", ran, want)
	}
}

// RQ starts children by a set that the parent has. Where that went before the parent's
// end, nobody will start them any more.
func TestAChildThatItsParentsEndDidNotFindIsStarted(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`queue('q').enqueue('tasks.note', job_id='child', depends_on=queue('p').enqueue('tasks.note', job_id='parent'))`)
	v.backup()
	v.s.Do("DEL", "rq:job:parent:dependents")
	v.rq(`work('p')`)
	if f := v.diff(3).verdict(t, "child"); f.Verdict != "misplaced" || f.Action != "place" {
		t.Errorf("got %+v, want misplaced, to be placed", f)
	}
	v.restore(0)
	v.wantList("q", "child")
	v.restore(0)
	v.wantList("q", "child")
}
