package command_test

import (
	"testing"
)

// line queues o0 … o9 and takes a snapshot of them.
func line(t testing.TB) *vault {
	t.Helper()
	v := newVault(t)
	v.rq(`for i in range(10): queue('q').enqueue('tasks.note', i, job_id='o%d' % i)`)
	v.backup()
	return v
}

// evict takes jobs out of live without a trace, as a flush of them would: hash and place.
func (v *vault) evict(ids ...string) {
	v.t.Helper()
	for _, id := range ids {
		v.s.Do("LREM", "rq:queue:q", 0, id)
		v.s.Do("DEL", "rq:job:"+id, "rq:results:"+id)
		for _, r := range []string{"finished", "failed"} {
			v.s.Do("ZREM", "rq:"+r+":q", id)
		}
	}
}

func TestLostIdsReturnBetweenThoseThatSurvivedAndBeforeNewOnes(t *testing.T) {
	t.Parallel()
	v := line(t)
	kept := look(t, v.s)
	v.s.Do("FLUSHALL") // and half of it is put back, by whatever means
	kept.load(t, v.s)
	v.evict("o0", "o1", "o4", "o6", "o7", "o9")
	v.rq(`
for n in ('new1', 'new2'): queue('q').enqueue('tasks.note', job_id=n)
queue('q').enqueue('tasks.note', job_id='urgent', at_front=True)
`)
	v.restore(0)
	v.wantList("q", "o0", "o1", "urgent", "o2", "o3", "o4", "o5", "o6", "o7", "o8", "o9", "new1", "new2")
}

func TestAJobEnqueuedAgainAfterTheOutageIsLeftAlone(t *testing.T) {
	t.Parallel()
	v := line(t)
	v.s.Do("FLUSHALL")
	v.rq(`queue('q').enqueue('tasks.note', 'other arguments', job_id='o3')`)
	data := v.s.Do("HGET", "rq:job:o3", "data")
	d := v.diff(3)
	if f := d.verdict(t, "o3"); f.Verdict != "advanced" || f.Action != "none" {
		t.Errorf("o3: got %+v, want advanced", f)
	}
	v.restore(0)
	if v.s.Do("HGET", "rq:job:o3", "data") != data {
		t.Error("the producer's new job was overwritten")
	}
	v.wantList("q", "o0", "o1", "o2", "o4", "o5", "o6", "o7", "o8", "o9", "o3")
}

func TestAJobThatEndedAfterTheSnapshotIsNotRestored(t *testing.T) {
	t.Parallel()
	v := line(t)
	v.rq(`
SimpleWorker([queue('q')], connection=c).work(burst=True, max_jobs=3, logging_level='CRITICAL')
c.delete('rq:job:o0', 'rq:job:o1', 'rq:job:o2')   # as their ttl would
c.zrem('rq:finished:q', 'o0')                     # o0: only its results
c.delete('rq:results:o1')                         # o1: only its registry
c.zrem('rq:finished:q', 'o2'); c.delete('rq:results:o2')  # o2: no trace at all
`)
	survived := look(t, v.s)
	v.s.Do("FLUSHALL")
	survived.load(t, v.s)
	d := v.diff(3)
	for id, want := range map[string]string{"o0": "completed", "o1": "completed", "o2": "lost", "o3": "intact"} {
		if f := d.verdict(t, id); f.Verdict != want {
			t.Errorf("%s: got %s (%s), want %s", id, f.Verdict, f.Reason, want)
		}
	}
	v.restore(0)
	v.wantList("q", "o2", "o3", "o4", "o5", "o6", "o7", "o8", "o9")
}

func TestOnAServerThatLostNothingAbsentJobsHaveEnded(t *testing.T) {
	t.Parallel()
	v := line(t)
	v.rq(`
SimpleWorker([queue('q')], connection=c).work(burst=True, max_jobs=4, logging_level='CRITICAL')
Job.fetch('o0', connection=c).delete()
Job.fetch('o5', connection=c).delete()
Job.fetch('o6', connection=c).cancel()
`)
	d := v.diff(0)
	for id, want := range map[string]string{"o0": "completed", "o1": "advanced", "o5": "completed", "o6": "advanced", "o7": "intact"} {
		if f := d.verdict(t, id); f.Verdict != want {
			t.Errorf("%s: got %s (%s), want %s", id, f.Verdict, f.Reason, want)
		}
	}
	digest := v.s.Digest(t.Context())
	v.restore(0)
	if v.s.Digest(t.Context()) != digest {
		t.Error("the restore has changed something")
	}
}

func TestAJobThatLeavesNoTraceIsNotRestoredTwice(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`for n in 'ab': queue('q').enqueue('tasks.note', job_id=n, result_ttl=0)`)
	v.backup()
	v.s.Do("FLUSHALL")
	v.restore(0)
	v.rq(`work('q')`)
	if got := v.ran(); len(got) != 2 {
		t.Fatalf("ran %q, want a and b", got)
	}
	if d := v.diff(0); d.Counts["completed"] != 2 {
		t.Errorf("diff after they ran: %v, want 2 completed", d.Counts)
	}
	v.restore(0)
	v.wantList("q")
}

// Two restorers share the ledger, whatever snapshot each works from.
func TestAnOlderSnapshotDoesNotBringBackWhatANewerOneDid(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`queue('q').enqueue('tasks.note', job_id='a', result_ttl=0)`)
	v.backup()
	var first []struct{ ID string }
	v.want(0, "snapshots", "--json").into(t, &first)
	v.backup()
	v.s.Do("FLUSHALL")
	v.restore(0)
	v.rq(`work('q')`)
	v.restore(0, first[0].ID)
	v.wantList("q")
}
