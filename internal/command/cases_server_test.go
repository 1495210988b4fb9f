package command_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/redistest"
)

// These cases are about parents and children, and about the server as a whole.

func TestCase19ParentsThatEndedWereLostOrFailed(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
gone = queue('p').enqueue('tasks.note', job_id='gone')
fin = queue('p').enqueue('tasks.note', job_id='fin', result_ttl=-1)
bad = queue('p').enqueue('tasks.fail', job_id='bad')
lost = queue('q').enqueue('tasks.note', job_id='lost')
def child(id, *parents, **kw): queue('kids').enqueue('tasks.note', job_id=id, depends_on=Dependency(jobs=list(parents), **kw))
child('gone-lost', gone, lost)
child('gone-fin', gone, fin)
child('bad-anyway', gone, bad, allow_failure=True)
child('bad-never', gone, bad)
# Their parents end while they are not told.
kept = {k: c.dump(k) for k in c.keys('rq:job:*:dependents')}
for k in c.keys('rq:job:*:dependents'): c.delete(k)
work('p')
c.restore('rq:job:lost:dependents', 0, kept[b'rq:job:lost:dependents'])
Job.fetch('gone', connection=c).delete()   # expired before the snapshot
`)
	v.ran()
	v.backup()
	v.s.Do("FLUSHALL")
	v.restore(0)
	got := v.list("kids")
	slices.Sort(got)
	if want := []string{"bad-anyway", "gone-fin"}; !slices.Equal(got, want) {
		t.Errorf("queue kids: got %q, want %q", got, want)
	}
	v.rq(`work('q'); work('kids')`)
	ran := v.ran()
	slices.Sort(ran)
	if want := []string{"0 kids bad-anyway", "0 kids gone-fin", "0 kids gone-lost", "0 q lost"}; !slices.Equal(ran, want) {
		t.Errorf("ran %q, want %q", ran, want)
	}
	if s := v.status("bad-never"); s != "deferred" {
		t.Errorf("bad-never is %q, want deferred: its parent failed", s)
	}
}

// A worker ends the parent before the restore's first script call, its second, and so on.
func TestCase20AParentThatEndsWhileItsChildComesBack(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
p = queue('p').enqueue('tasks.note', job_id='parent', result_ttl=-1)
q = queue('q').enqueue('tasks.note', job_id='child', depends_on=p)
queue('q').enqueue('tasks.note', job_id='grandchild', depends_on=q)
`)
	v.backup()
	was := look(t, v.s).without(func(key string) bool {
		return !strings.Contains(key, "parent") && key != "rq:queue:p" && key != "rq:queues"
	})
	g := newGate(t, v.s.Socket(), "evalsha")
	for n, again := 0, true; again; n++ {
		was.load(t, v.s)
		g.meanwhile(n, func() {
			v.rq(`work('p')`)
		})
		v.restore(0, "--redis", g.url())
		if again = g.met(); !again {
			if n < 4 {
				t.Errorf("only %d script calls were made", n)
			}
			v.rq(`work('p')`)
		}
		v.rq(`work('q')`)
		if got, want := v.ran(), []string{"0 p parent", "0 q child", "0 q grandchild"}; !slices.Equal(got, want) {
			t.Errorf("the parent ended after %d script calls: ran %q, want %q", n, got, want)
		}
	}
}

func TestCase21AChildOfTwoWaitsForBoth(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
ps = [queue(n).enqueue('tasks.note', job_id=n) for n in ('p1', 'p2')]
queue('q').enqueue('tasks.note', job_id='child', depends_on=ps)
`)
	v.backup()
	v.s.Do("FLUSHALL")
	v.restore(0)
	v.rq(`work('p1'); work('q')`)
	v.wantRan("0 p1 p1")
	if s := v.status("child"); s != "deferred" {
		t.Errorf("after one of its parents the child is %q, want deferred", s)
	}
	v.rq(`work('p2'); work('q')`)
	v.wantRan("0 p2 p2", "0 q child")
}

// A snapshot taken key by key while workers are busy is no single instant.
func TestCase30JobsThatMoveWhileTheyAreCopied(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for i in range(8): queue('q').enqueue('tasks.answer', job_id='o%d' % i, result_ttl=-1)
queue('ended').enqueue('tasks.answer', job_id='before', result_ttl=-1)
work('ended')
`)
	v.ran()
	was := look(t, v.s)
	g := newGate(t, v.s.Socket(), "dump")
	for _, n := range []int{1, 6, 10, 11, 12} {
		was.load(t, v.s)
		g.meanwhile(n, func() {
			v.rq(`SimpleWorker([queue('q')], connection=c).work(burst=True, max_jobs=4, logging_level='CRITICAL')`)
		})
		v.want(0, "backup", "--via", "scan", "--redis", g.url())
		if !g.met() || len(v.ran()) != 4 {
			t.Fatalf("no job moved before dump %d", n)
		}
		v.want(0, "verify")
		var rows []struct {
			JobID  string `json:"job_id"`
			Status string
		}
		v.want(0, "jobs", "--json").into(t, &rows)
		ended := map[string]bool{}
		for _, r := range rows {
			ended[r.JobID] = r.Status == "finished"
		}
		v.s.Do("FLUSHALL")
		for _, f := range v.look().Findings {
			if f.Verdict == "completed" && strings.Contains(f.Reason, "ended while the snapshot was taken") {
				ended[f.JobID] = true
			}
		}
		v.restore(0)
		sound(t, look(t, v.s))
		v.rq(`work('q', 'ended')`)
		seen := map[string]int{}
		for _, line := range v.ran() {
			id := line[strings.LastIndex(line, " ")+1:]
			if seen[id]++; seen[id] > 1 || ended[id] {
				t.Errorf("moved before dump %d: %s ran %d times, though it was seen finished: %v", n, id, seen[id], ended[id])
			}
		}
		for i := range 8 {
			if id := fmt.Sprintf("o%d", i); seen[id] == 0 && !ended[id] && v.status(id) != "started" {
				t.Errorf("moved before dump %d: %s never ran and was not seen finished", n, id)
			}
		}
	}
}

func TestCase32HashesThatWereEvicted(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`for i in range(200): queue('q').enqueue('tasks.note', os.urandom(5000), job_id='o%03d' % i)`)
	v.backup()
	was, ids := look(t, v.s), v.list("q")
	v.s.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	gone := func() int {
		n := 0
		for _, id := range ids {
			if v.s.Do("EXISTS", "rq:job:"+id) == int64(0) {
				n++
			}
		}
		return n
	}
	// Redis chooses; it may take the list too, which is another case.
	for kept := false; !kept; kept = v.s.Do("EXISTS", "rq:queue:q", "rq:queues") == int64(2) {
		if v.s.Do("DBSIZE") != int64(len(was)) {
			was.load(t, v.s)
		}
		var used int
		if _, err := fmt.Sscan(v.s.Info("memory", "used_memory"), &used); err != nil {
			t.Fatal(err)
		}
		v.s.Do("CONFIG", "SET", "maxmemory", used-100_000)
		until(t, "nothing is evicted", func() bool { return gone() > 5 })
		v.s.Do("CONFIG", "SET", "maxmemory", 0)
	}
	n := gone()
	if d := v.diff(3); d.Mode != "vanished" || d.Counts["lost"] != n || d.Counts["intact"] != len(ids)-n {
		t.Errorf("%d hashes are gone: mode %s, %v", n, d.Mode, d.Counts)
	}
	v.restore(0)
	v.wantList("q", ids...)
	if n := gone(); n > 0 {
		t.Errorf("%d jobs are still missing", n)
	}
	v.rq(`work('q')`)
	if ran := v.ran(); len(ran) != len(ids) || ran[0] != "0 q o000" || ran[199] != "0 q o199" {
		t.Errorf("ran %d jobs: %.200q", len(ran), ran)
	}
}

func TestCase33AServerThatIsStillLoadingIsRefused(t *testing.T) {
	t.Parallel()
	v := newVault(t, redistest.WithReadyWhileLoading(), redistest.WithArgs("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"))
	until(t, "it does not answer", func() bool { return v.s.Client().Ping(context.Background()).Err() == nil })
	v.rq(`for i in range(100): queue('q').enqueue('tasks.note', os.urandom(2000), job_id='o%d' % i)`)
	v.backup()
	v.s.Save()
	v.s.Restart(false)
	for _, args := range [][]string{{"diff"}, {"restore"}, {"restore", "--apply"}, {"backup"}} {
		if r := v.run(args...); r.code != 7 || !strings.Contains(r.err, "loading") || !strings.Contains(r.err, "next: ") {
			t.Errorf("rqvault %s: exit %d, want 7\n%s", strings.Join(args, " "), r.code, r.err)
		}
	}
}

func TestCase33AReplicaOfAnotherHistoryIsRefusedAndOneOfTheSameIsNot(t *testing.T) {
	t.Parallel()
	v := newVault(t, redistest.WithTCP())
	other, replica := redistest.Start(t, redistest.WithTCP()), redistest.Start(t)
	follow := func(master *redistest.Server) {
		host, port, err := net.SplitHostPort(master.Addr())
		if err != nil {
			t.Fatal(err)
		}
		replica.Do("REPLICAOF", host, port)
		until(t, "the replica does not follow", func() bool { return replica.Info("replication", "master_link_status") == "up" })
	}
	follow(v.s)
	v.rq(`queue('q').enqueue('tasks.note', job_id='a')`)
	v.backup()
	until(t, "the replica has not all", func() bool { return replica.Do("EXISTS", "rq:job:a") == int64(1) })
	replica.Do("REPLICAOF", "NO", "ONE")
	if d := v.diff(0, "--redis", replica.URL()); d.Mode != "complete" {
		t.Errorf("a replica of the snapshot's master, promoted: mode %s", d.Mode)
	}
	follow(other)
	for _, args := range [][]string{{"diff"}, {"restore", "--apply"}} {
		if r := v.run(append(args, "--redis", replica.URL())...); r.code != 7 || !strings.Contains(r.err, "next: ") {
			t.Errorf("a replica of another master: rqvault %s: exit %d, want 7\n%s", args[0], r.code, r.err)
		}
	}
}

func TestCase34MaintenanceAtTheSameTimeChangesNothing(t *testing.T) {
	t.Parallel()
	v := several(t)
	v.s.Do("FLUSHALL")
	v.restore(0)
	want := comparable(t, v)
	v.s.Do("FLUSHALL")
	done := v.beside(`
from rq.registry import clean_registries
c.set('maintenance', 1)
while c.exists('maintenance'):
    for n in ('a', 'b', 'done'): clean_registries(queue(n))
`)
	until(t, "it does not begin", func() bool { return v.s.Do("EXISTS", "maintenance") == int64(1) })
	for range 3 {
		v.restore(0)
		end := comparable(t, v).without(func(key string) bool { return key == "maintenance" })
		sound(t, end)
		same(t, "maintenance running", end, want)
		c := client(t, v.s, 0)
		keys := c.Keys(context.Background(), "*").Val()
		c.Del(context.Background(), slices.DeleteFunc(keys, func(k string) bool { return k == "maintenance" })...)
		client(t, v.s, 2).FlushDB(context.Background())
	}
	v.s.Do("DEL", "maintenance")
	<-done
}

// Producers' clocks are up to five minutes wrong, either way; the server's own is not.
func TestCase34ClocksFiveMinutesApart(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	const late = `
def at(seconds, name):
    queue('q').enqueue('tasks.note', job_id=name)
    then = (datetime.utcnow() + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S.%fZ')
    c.hset('rq:job:' + name, mapping={'created_at': then, 'enqueued_at': then})
`
	v.rq(late + `at(-2, 'old'); at(295, 'old-ahead'); at(-295, 'old-behind')`)
	v.s.Save()
	v.rq(late + `at(0, 'new'); at(295, 'new-ahead'); at(-295, 'new-behind')`)
	v.backup()
	restartedAfter(t, v, 2*time.Second)
	d := v.diff(3)
	for id, want := range map[string]string{"old": "intact", "old-ahead": "intact", "old-behind": "intact", "new": "lost", "new-ahead": "lost", "new-behind": "lost"} {
		if f := d.verdict(t, id); f.Verdict != want {
			t.Errorf("%s is %s (%s), want %s", id, f.Verdict, f.Reason, want)
		}
	}
	v.restore(0)
	v.wantList("q", "old", "old-ahead", "old-behind", "new", "new-ahead", "new-behind")
}
