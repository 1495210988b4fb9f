package command_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// several makes jobs in two databases and several queues, of all the sorts for which a
// restore takes more than one step, and a snapshot of them.
func several(t testing.TB) *vault {
	t.Helper()
	v := newVault(t)
	v.rq(`
for db in (0, 2):
    c = redis.from_url(os.environ['REDIS_URL'].replace('db=0', 'db=%d' % db))
    for n in 'ab':
        for i in range(3): queue(n).enqueue('tasks.note', job_id=n + str(i))
    queue('done').enqueue('tasks.answer', job_id='fin', result_ttl=-1)
    queue('done').enqueue('tasks.fail', job_id='bad')
    work('done')
    queue('a').enqueue_in(timedelta(hours=1), 'tasks.note', job_id='later')
    queue('a').enqueue('tasks.note', job_id='canceled').cancel()
    queue('b').enqueue('tasks.note', job_id='child', depends_on=Job.fetch('b2', connection=c))
    # A worker died between the end of the parent and the start of its child.
    queue('b').enqueue('tasks.note', job_id='orphan', depends_on=Job.fetch('b2', connection=c))
    c.srem('rq:job:b2:dependents', 'orphan')
    c.srem('rq:job::orphan:dependencies', 'b2')
    c.sadd('rq:job::orphan:dependencies', 'fin')
    c.hset('rq:job:orphan', mapping={'dependency_id': 'fin', 'dependency_ids': '["fin"]'})
`)
	v.ran()
	v.backup()
	return v
}

// comparable is the image without what must differ between two restores: the ledger's
// times, and when a child whose parent has ended was enqueued.
func comparable(t testing.TB, v *vault) image {
	t.Helper()
	im := look(t, v.s).without(ledger)
	for k, e := range im {
		if strings.HasSuffix(k, "/rq:job:orphan") {
			e.digest = ""
			im[k] = e
		}
	}
	return im
}

// sound fails the test if an id stands twice in a list, or in a list without its job.
func sound(t testing.TB, im image) {
	t.Helper()
	for k, e := range im {
		db, key, _ := strings.Cut(k, "/")
		if e.kind != "list" || !strings.HasPrefix(key, "rq:queue:") {
			continue
		}
		seen := map[string]bool{}
		for _, id := range e.members {
			if seen[id] {
				t.Errorf("%s lists %s twice", k, id)
			}
			seen[id] = true
			if im[db+"/rq:job:"+id].kind != "hash" {
				t.Errorf("%s lists %s, which has no hash", k, id)
			}
		}
	}
}

// walk stops a restore after 0, 1, 2 … script calls until one comes through, and runs it
// again each time. restore runs against the gate and reports whether it came through.
func walk(t *testing.T, restore func(v *vault, g *gate, n int, plan string) bool) {
	v := several(t)
	v.s.Do("FLUSHALL")
	v.restore(0)
	want := comparable(t, v)
	if got := client(t, v.s, 2).LRange(context.Background(), "rq:queue:b", 0, -1).Val(); !slices.Equal(got, []string{"b0", "b1", "b2", "orphan"}) {
		t.Fatalf("uninterrupted: queue b holds %q", got)
	}
	v.s.Do("FLUSHALL")
	plan := v.store + ".json"
	v.diff(3, "--out", plan)
	g := newGate(t, v.s.Socket(), "evalsha")
	n := 0
	for ; ; n++ {
		v.s.Do("FLUSHALL")
		whole := restore(v, g, n, plan)
		halfway := look(t, v.s)
		sound(t, halfway)
		again := []string{}
		if n%2 == 1 {
			again = []string{"--plan", plan}
		}
		d := v.restore(0, again...)
		if whole && len(d.with("restored"))+len(d.with("repaired")) > 0 {
			t.Errorf("after %d calls and the end, the next restore did %v", n, d.Counts)
		}
		end := comparable(t, v)
		sound(t, end)
		same(t, fmt.Sprintf("stopped after %d script calls, then run again %v", n, again), end, want)
		if !maps.EqualFunc(end, want, func(a, b entry) bool { return slices.Equal(a.members, b.members) }) || t.Failed() {
			return
		}
		if whole {
			break
		}
	}
	if n < 20 {
		t.Errorf("only %d script calls were made: the walk does not see what it should", n)
	}
}

func TestARestoreKilledAtAnyScriptCallEndsTheSameWhenRunAgain(t *testing.T) {
	t.Parallel()
	walk(t, func(v *vault, g *gate, n int, plan string) bool {
		args := v.args([]string{"restore", "--plan", plan, "--apply", "--redis", g.url()})
		return g.killAfter(n, args)
	})
}

func TestARestoreCutOffAtAnyScriptCallEndsTheSameWhenRunAgain(t *testing.T) {
	t.Parallel()
	walk(t, func(v *vault, g *gate, n int, plan string) bool {
		g.arm(n, func() {})
		r := v.run("restore", "--plan", plan, "--apply", "--redis", g.url())
		if r.code != 0 && r.code != 6 {
			v.t.Errorf("cut off after %d script calls: exit %d, want 6 or 0\n%s", n, r.code, r.err)
		}
		return r.code == 0
	})
}

// Many jobs take several batches of script calls. The moments between them are walked.
func TestALargeRestoreKilledBetweenItsBatches(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for i in range(600): queue('q').enqueue('tasks.note', i, job_id='o%03d' % i)
`)
	v.backup()
	v.s.Do("FLUSHALL")
	g := newGate(t, v.s.Socket(), "evalsha")
	var ids []string
	for i := range 600 {
		ids = append(ids, fmt.Sprintf("o%03d", i))
	}
	// The queues, 128 jobs one a call, the others by the 64, their places.
	for _, n := range []int{1, 127, 128, 129, 130, 131, 133, 136, 137} {
		v.s.Do("FLUSHALL")
		v.rq(`
for n in ('new1', 'new2'): queue('q').enqueue('tasks.note', job_id=n)
`)
		if g.killAfter(n, v.args([]string{"restore", "--via", "bgsave", "--apply", "--redis", g.url()})) {
			t.Errorf("after %d script calls rqvault was not killed", n)
		}
		sound(t, look(t, v.s))
		v.restore(0)
		v.wantList("q", append(slices.Clone(ids), "new1", "new2")...)
	}
}
