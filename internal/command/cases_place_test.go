package command_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rqvault/internal/rq"
)

// These cases are about where ids stand, and what stands where a job should.

// A worker signed for a job whose hash was gone. Nobody deletes what that makes.
func TestCase10AStubIsNoJobAndIsNotWrittenOver(t *testing.T) {
	t.Parallel()
	v := line(t)
	v.s.Do("FLUSHALL")
	lives := func() { v.s.Do("HSET", "rq:job:o3", "last_heartbeat", rq.FormatTime(v.serverTime())) }
	lives()
	v.s.Do("HSET", "rq:job:o4", "status", "started") // nothing tells of when it is
	v.s.Do("HSET", "rq:job:o5", "last_heartbeat", "2026-01-01T00:00:00.000000Z")
	d := v.diff(3)
	for _, id := range []string{"o3", "o4"} {
		if f := d.verdict(t, id); f.Verdict != "in_flight" || f.Action != "hold" {
			t.Errorf("%s: %+v, want held", id, f)
		}
	}
	plan := v.store + ".json"
	v.diff(3, "--out", plan)
	// The worker that left o5 is dead. One that shows itself meanwhile is not written over.
	v.s.Do("HSET", "rq:job:o5", "last_heartbeat", rq.FormatTime(v.serverTime()))
	if r := v.restore(6, "--plan", plan); !slices.Equal(r.with("refused"), []string{"o5"}) || r.Counts["restored"] != 7 {
		t.Errorf("got %v, refused %q", r.Counts, r.with("refused"))
	}
	v.s.Do("HSET", "rq:job:o5", "last_heartbeat", "2026-01-01T00:00:00.000000Z")
	v.want(0, "restore", "--repair", "--apply") // leaves it, too, as long as the snapshot has the job
	if r := v.restore(0); !slices.Equal(r.with("held"), []string{"o3", "o4"}) || !slices.Equal(r.with("restored"), []string{"o5"}) {
		t.Errorf("held %q, restored %q", r.with("held"), r.with("restored"))
	}
	v.wantList("q", "o0", "o1", "o2", "o5", "o6", "o7", "o8", "o9")
	v.s.Do("DEL", "rq:job:o3", "rq:job:o4") // its worker is dead, and somebody knows that
	v.restore(0)
	v.wantList("q", "o0", "o1", "o2", "o3", "o4", "o5", "o6", "o7", "o8", "o9")
}

func TestCase13IdsThatWerePoppedAndNotPrepared(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	for _, id := range []string{"popped", "signed", "waits"} {
		v.put(id, "q", "queued")
	}
	v.s.Do("RPUSH", "rq:queue:q", "waits")
	v.s.Do("RPUSH", "rq:queue:q:intermediate", "popped", "bare", "signed")
	v.s.Do("ZADD", "rq:wip:q", v.serverTime().Unix()+90, "signed:"+strings.Repeat("0123456789abcdef", 2))
	v.s.Do("SET", "rq:queue:q:intermediate:first_seen:popped", "1.5", "EX", 86400)
	v.backup()
	if d := v.diff(0); len(d.Findings) > 0 {
		t.Errorf("on the server itself: %v", d.Findings)
	}
	v.s.Do("FLUSHALL")
	v.restore(0)
	v.wantList("q", "popped", "signed", "waits")
	if left := v.s.Do("EXISTS", "rq:queue:q:intermediate", "rq:wip:q", "rq:queue:q:intermediate:first_seen:popped", "rq:job:bare"); left != int64(0) {
		t.Errorf("%v keys are back that no restore may make", left)
	}
}

// A worker of several queues takes an id out of its list first and signs for it later.
func TestCase14AWorkerThatDiedBetweenTakingAndSigning(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`for n in 'abc': queue('q').enqueue('tasks.note', job_id=n)`)
	v.backup()
	v.rq(`
class Dies(SimpleWorker):
    def execute_job(self, job, queue): os._exit(0)
Dies([queue('q'), queue('r')], connection=c, name='w').work(burst=True, logging_level='CRITICAL')
`)
	v.wantList("q", "b", "c")
	if f := v.diff(3).verdict(t, "a"); f.Verdict != "misplaced" || f.Action != "place" {
		t.Errorf("a is in no list: %+v", f)
	}
	v.restore(0)
	v.rq(`work('q')`)
	v.wantRan("0 q a", "0 q b", "0 q c")
}

func TestCase15AnIdThatStoodTwiceComesBackOnce(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for n in ('a', 'twice', 'b', 'both'): queue('q').enqueue('tasks.note', job_id=n)
c.rpush('rq:queue:q', 'twice')
queue('r').enqueue('tasks.note', job_id='first')
c.rpush('rq:queue:r', 'both')
`)
	v.backup()
	for _, id := range []string{"twice", "both"} {
		if f := v.look().verdict(t, id); f.Verdict != "misplaced" || f.Action != "hold" || !strings.Contains(f.Reason, "2 times") {
			t.Errorf("%s: %+v, want held, since it stands twice", id, f)
		}
	}
	want := []string{"0 q a", "0 q twice", "0 q b", "0 q both", "0 r first"}
	v.s.Do("FLUSHALL")
	v.restore(0)
	was := look(t, v.s)
	v.rq(`work('q', 'r')`)
	v.wantRan(want...)
	was.load(t, v.s) // and where nothing was lost
	v.s.Do("RPUSH", "rq:queue:q", "twice")
	v.s.Do("RPUSH", "rq:queue:r", "both")
	v.want(0, "restore", "--repair", "--apply")
	v.rq(`work('q', 'r')`)
	v.wantRan(want...)
}

// RQ leaves the expiry of the failure on the key until the job runs again.
func TestCase17ARequeuedJobKeepsTheExpiryOfItsFailure(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
queue('q').enqueue('tasks.fail', job_id='again', failure_ttl=3600)
work('q')
from rq.registry import FailedJobRegistry
FailedJobRegistry('q', connection=c).requeue('again')
`)
	v.ran()
	v.backup()
	before := look(t, v.s)
	if e := before["0/rq:job:again"]; e.expireAt <= 0 || v.status("again") != "queued" {
		t.Fatalf("it expires at %d and is %s: this is not the case", e.expireAt, v.status("again"))
	}
	v.s.Do("FLUSHALL")
	v.restore(0)
	same(t, "after the restore", look(t, v.s).without(ledger), restorable(before))
	v.rq(`work('q')`)
	v.wantRan("0 q again")
}

// RQ's maintenance takes entries whose score has passed; these have none.
func TestCase18WhatIsKeptForEverOutlivesMaintenance(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
queue('q').enqueue('tasks.answer', job_id='fin', result_ttl=-1)
queue('q').enqueue('tasks.fail', job_id='bad', failure_ttl=-1)
work('q')
`)
	v.ran()
	v.backup()
	before := look(t, v.s)
	v.s.Do("FLUSHALL")
	v.restore(0)
	v.rq(`from rq.registry import clean_registries; clean_registries(queue('q'))`)
	want := restorable(before)
	same(t, "after maintenance", look(t, v.s).without(ledger), want)
	if got := want["0/rq:finished:q"].members; !slices.Equal(got, []string{"fin = +Inf"}) {
		t.Errorf("the registry of finished jobs holds %q", got)
	}
	if got := want["0/rq:failed:q"].members; !slices.Equal(got, []string{"bad = -1"}) {
		t.Errorf("the registry of failed jobs holds %q", got)
	}
}

// What RQ 1, 2.0 and 2.8 write there differs, and a score made up would be past for one of
// them: its maintenance then fails the job.
func TestCase22ScoresOfDeferredJobsAreKept(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.put("parent", "q", "queued")
	v.s.Do("RPUSH", "rq:queue:q", "parent")
	scores := map[string]string{"by-creation": "1763877601.5", "by-deadline": "4102444800", "for-ever": "inf"}
	for id, score := range scores {
		v.put(id, "q", "deferred", "dependency_id", "parent", "dependency_ids", `["parent"]`)
		v.s.Do("ZADD", "rq:deferred:q", score, id)
		v.s.Do("SADD", "rq:job:parent:dependents", id)
		v.s.Do("SADD", "rq:job::"+id+":dependencies", "parent")
	}
	v.backup()
	v.s.Do("FLUSHALL")
	v.restore(0)
	for id, want := range scores {
		if got := v.s.Do("ZSCORE", "rq:deferred:q", id); got != want {
			t.Errorf("%s has the score %v, want %s", id, got, want)
		}
	}
}

func TestCase23ScheduledJobsThatFellDue(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	const n = 10_000
	v.rq(`
queue('q').enqueue_at(datetime(2020, 1, 1), 'tasks.note', job_id='d')
h = c.hgetall('rq:job:d')
Job.fetch('d', connection=c).delete()
p = c.pipeline(transaction=False)
for i in range(10000):
    p.hset('rq:job:d%05d' % i, mapping=h)
    p.zadd('rq:scheduled:q', {'d%05d' % i: 1600000000 + (i * 7919) % 10000})   # due in another order than by name
p.hset('rq:job:short', mapping=h); p.zadd('rq:scheduled:q', {'short': 4102444800}); p.pexpire('rq:job:short', 1500)   # its ttl ends before it is due
p.execute()
`)
	v.backup()
	waitGone(t, v, "rq:job:short")
	v.s.Restart(true)
	if f := v.diff(3).verdict(t, "short"); f.Verdict != "expired" || f.Action != "none" {
		t.Errorf("one whose ttl ended before it was due: %+v", f)
	}
	if d := v.restore(0); d.Counts["restored"] != n {
		t.Fatalf("got %v, want %d restored", d.Counts, n)
	}
	if v.s.Do("ZSCORE", "rq:scheduled:q", "short") != nil {
		t.Error("short is scheduled, without a job")
	}
	v.rq(`
from rq.scheduler import RQScheduler
s = RQScheduler([queue('q')], c)
s.acquire_locks()
while c.zcard('rq:scheduled:q'): s.enqueue_scheduled_jobs()
`)
	got := v.list("q")
	due := func(id string) int {
		i, _ := strconv.Atoi(strings.TrimPrefix(id, "d"))
		return i * 7919 % n
	}
	if len(got) != n || !slices.IsSortedFunc(got, func(a, b string) int { return due(a) - due(b) }) {
		t.Errorf("the scheduler enqueued %d jobs, or not in the order in which they fell due: %.200q", len(got), got)
	}
}

func TestCase24AScheduledIdWithoutItsHash(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.put("real", "q", "scheduled")
	v.s.Do("ZADD", "rq:scheduled:q", 4102444800, "real", 5, "bare")
	v.backup()
	if d := v.diff(0); len(d.Findings) > 0 {
		t.Errorf("on the server itself: %v", d.Findings)
	}
	v.s.Do("FLUSHALL")
	v.s.Do("ZADD", "rq:scheduled:q", 7, "also-bare")
	v.restore(0)
	if got, want := look(t, v.s)["0/rq:scheduled:q"].members, []string{"also-bare = 7", "real = 4.1024448e+09"}; !slices.Equal(got, want) {
		t.Errorf("scheduled are %q, want %q", got, want)
	}
	v.want(0, "restore", "--repair", "--apply")
	if got, want := look(t, v.s)["0/rq:scheduled:q"].members, []string{"real = 4.1024448e+09"}; !slices.Equal(got, want) {
		t.Errorf("after a repair scheduled are %q, want %q", got, want)
	}
}

func TestCase25RepeatsAndRetries(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.put("daily", "q", "scheduled", "repeats_left", 2, "repeat_intervals", "[60]")
	v.s.Do("ZADD", "rq:scheduled:q", 4102444800, "daily")
	v.s.Do("ZADD", "rq:finished:q", 4102444900, "daily")
	v.s.Do("XADD", "rq:results:daily", "5-1", "type", 1)
	v.rq(`queue('r').enqueue('tasks.fail', job_id='often', retry=Retry(max=3))`)
	v.backup()
	v.rq(`SimpleWorker([queue('r')], connection=c).work(burst=True, max_jobs=1, logging_level='CRITICAL')`)
	v.ran()
	want := look(t, v.s)
	v.s.Do("DEL", "rq:job:daily", "rq:scheduled:q", "rq:finished:q", "rq:results:daily")
	v.restore(0, "--assume", "older")
	same(t, "after the restore", look(t, v.s).without(ledger), want)
	if left := v.s.Do("HGET", "rq:job:often", "retries_left"); left != "2" {
		t.Errorf("%v retries are left, want 2: one was used up since the snapshot", left)
	}
	v.wantList("r", "often")
}

func TestCase26AJobsGroupIsThereBeforeTheJobCanRun(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	ids := []string{"m0", "m1", "m2"}
	for _, id := range ids {
		v.put(id, "q", "queued", "group_id", "g", "result_ttl", 0)
		v.s.Do("RPUSH", "rq:queue:q", id)
		v.s.Do("SADD", "rq:group:g", id)
	}
	v.s.Do("SADD", "rq:groups", "g")
	v.backup()
	v.s.Do("FLUSHALL")
	c := client(t, v.s, 0)
	var without []string
	done := v.takeAll("q", len(ids), func(ctx context.Context, id string) {
		if !c.SIsMember(ctx, "rq:group:g", id).Val() || !c.SIsMember(ctx, "rq:groups", "g").Val() {
			without = append(without, id)
		}
	})
	v.restore(0)
	if err := <-done; err != nil || len(without) > 0 {
		t.Errorf("taken while the group did not have them: %q, %v", without, err)
	}
}

// What several versions of RQ write, side by side in one dump, among the keys of others.
func TestCase37EachVersionsLayoutComesBackAsItWas(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	now := v.serverTime().Unix()
	long := 4102444800
	for version, fields := range map[string][]any{
		"1.0":    {"result", "\x80\x04N.", "exc_info", ""}, // the result in the hash, no stream
		"1.16.2": {"success_callback_name", "", "failure_callback_name", "", "stopped_callback_name", "", "result_ttl", 500},
		"2.10":   {"group_id", "", "number_of_retries", 1, "repeats_left", 1, "webhooks", "[]", "enqueue_at_front_on_retry", 1},
	} {
		id := "fin-" + version
		v.put(id, "q", "finished", fields...)
		v.s.Do("PEXPIREAT", "rq:job:"+id, long*1000)
		v.s.Do("ZADD", "rq:finished:q", long, id)
		v.put("wait-"+version, "q", "queued", fields...)
		v.s.Do("RPUSH", "rq:queue:q", "wait-"+version)
		if version != "1.0" {
			v.s.Do("XADD", "rq:results:"+id, fmt.Sprintf("%d-1", now*1000), "type", 1, "return_value", "gAROLg==", "worker_name", "w", "execution_id", "e")
			v.s.Do("PEXPIREAT", "rq:results:"+id, long*1000)
		}
	}
	before := restorable(look(t, v.s))
	v.backup()
	v.s.Do("FLUSHALL")
	v.s.Do("SET", "rq_exporter:last", "now")
	v.s.Do("ZADD", "orchestrator:tasks", 1, "t")
	v.s.Do("HSET", "agent:task:fin-2.10", "status", "running")
	others := look(t, v.s)
	v.restore(0)
	after := look(t, v.s).without(ledger)
	for k, e := range others {
		if after[k].digest != e.digest {
			t.Errorf("%s has changed", k)
		}
		delete(after, k)
	}
	same(t, "after the restore", after, before)
}
