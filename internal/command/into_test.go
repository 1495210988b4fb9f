package command_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/redistest"
)

// intoDoc is restore --into --json.
type intoDoc struct {
	Snapshot, Into string
	Applied, Mask  bool
	Removed        int
	Counts         map[string]int
	Suspended      []int
	Functions      int
	Failures       []struct{ Key, Reason string }
}

// into restores the whole snapshot into a server and returns the document.
func (v *vault) into(code int, s *redistest.Server, args ...string) intoDoc {
	v.t.Helper()
	var d intoDoc
	v.want(code, append([]string{"restore", "--json", "--into", s.URL()}, args...)...).into(v.t, &d)
	return d
}

// runs reports whether a key belongs to workers, locks or runs: what --into leaves out.
func runs(key string) bool {
	for _, p := range []string{"rq:wip:", "rq:execution", "rq:worker", "rq:clean_registries:", "rq:scheduler", "rq:cron_", "rq:suspended", "rq:registry:"} {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return strings.Contains(key, ":intermediate:first_seen:")
}

// keyByKey starts a server that does not load a dump as a whole, so that a snapshot goes
// into it key by key.
func keyByKey(t testing.TB, args ...string) *redistest.Server {
	t.Helper()
	return redistest.Start(t, redistest.WithArgs(append(args, "--rename-command", "REPLICAOF", "")...))
}

// loads reports whether a server became somebody's replica for a while, as it does where it
// takes a snapshot as a whole.
func loads(t testing.TB, s *redistest.Server) bool {
	t.Helper()
	return s.Info("commandstats", "cmdstat_replicaof") != ""
}

func TestAWholeSnapshotGoesIntoAnEmptyServer(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	before := fill(t, v, 0, 1)
	v.backup()
	for name, staging := range map[string]*redistest.Server{"as a whole": redistest.Start(t), "key by key": keyByKey(t)} {
		t.Run(name, func(t *testing.T) {
			goesInto(t, v, before, staging)
			if whole := name == "as a whole"; loads(t, staging) != whole {
				t.Errorf("it went in as a whole: %v", !whole)
			}
		})
	}
}

func goesInto(t *testing.T, v *vault, before image, staging *redistest.Server) {
	want := before.without(runs)
	if len(want) < 100 || len(before)-len(want) < 10 {
		t.Fatalf("%d of %d keys are restored: the test's data is not what it should be", len(want), len(before))
	}
	dry := v.into(0, staging)
	if dry.Applied || dry.Counts["keys"] != len(want) || len(look(t, staging)) > 0 {
		t.Errorf("dry run: %+v, want %d keys, and the target holds %d", dry, len(want), len(look(t, staging)))
	}
	d := v.into(0, staging, "--apply")
	if !d.Applied || fmt.Sprint(d.Counts) != fmt.Sprint(dry.Counts) || !slices.Equal(d.Suspended, []int{0, 1}) {
		t.Errorf("done: %+v; the dry run said %v", d, dry.Counts)
	}
	if n := d.Counts["workers"] + d.Counts["running"]; n != len(before)-len(want) || d.Counts["running"] < 4 {
		t.Errorf("left out: %v, want %d keys", d.Counts, len(before)-len(want))
	}
	got := look(t, staging)
	for _, db := range []string{"0", "1"} {
		if e := got[db+"/rq:suspended"]; e.kind != "string" {
			t.Errorf("database %s: workers do not wait", db)
		}
	}
	same(t, "in the target", got.without(runs), want)
}

// A worker that is started in the target waits, and works once somebody lets it.
func TestWorkersStartedInTheTargetWait(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq("for i in range(3): queue('q').enqueue('tasks.note', job_id='o%d' % i)")
	v.backup()
	staging := newVault(t)
	v.into(0, staging.s, "--apply")
	staging.rq("work('q')")
	if got := staging.ran(); len(got) > 0 {
		t.Errorf("under suspension ran %q", got)
	}
	staging.s.Do("DEL", "rq:suspended")
	staging.rq("work('q')")
	if got, want := staging.ran(), []string{"0 q o0", "0 q o1", "0 q o2"}; !slices.Equal(got, want) {
		t.Errorf("ran %q, want %q", got, want)
	}
}

func TestReplaceAllEmptiesTheTargetFirst(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq("queue('q').enqueue('tasks.note', job_id='a')")
	v.backup()
	want := look(t, v.s)
	staging := redistest.Start(t)
	for db := range 3 {
		client(t, staging, db).Set(context.Background(), "old", "x", 0)
	}
	if d := v.into(0, staging, "--replace-all"); d.Removed != 3 || len(look(t, staging)) != 3 {
		t.Errorf("dry run: %+v, and the target holds %d keys", d, len(look(t, staging)))
	}
	if d := v.into(0, staging, "--replace-all", "--apply"); d.Removed != 3 {
		t.Errorf("done: %+v", d)
	}
	same(t, "in the target", look(t, staging).without(runs), want.without(runs))
}

func TestARestoreIntoThatIsKilledIsRunAgainWithReplaceAll(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for i in range(1500): queue('q').enqueue('tasks.note', i, job_id='o%04d' % i)
`)
	v.backup()
	want := look(t, v.s)
	staging := keyByKey(t)
	for _, n := range []int{0, 1, 2, 700, 1400} {
		staging.Do("FLUSHALL")
		g := newGate(t, staging.Socket(), "restore")
		if g.killAfter(n, v.args([]string{"restore", "--into", g.url(), "--apply"})) {
			t.Fatalf("after %d keys rqvault was not killed", n)
		}
		if held := staging.Do("DBSIZE"); held != int64(n+1) {
			t.Errorf("killed after %d keys: the target holds %v, want one more: the workers' flag", n, held)
		}
		r := v.want(7, "restore", "--into", staging.URL(), "--apply")
		if !strings.Contains(r.err, "--replace-all") {
			t.Errorf("it says %s", r.err)
		}
		v.into(0, staging, "--apply", "--replace-all")
		same(t, "after the rerun", look(t, staging).without(runs), want.without(runs))
	}
	// Cut off in the middle, rqvault says what to do.
	staging.Do("FLUSHALL")
	g := newGate(t, staging.Socket(), "restore")
	g.arm(10, func() {})
	r := v.want(6, "restore", "--into", g.url(), "--apply")
	if !strings.Contains(r.err, "holds a part of the snapshot") || !strings.Contains(r.err, "--replace-all") {
		t.Errorf("it says %s", r.err)
	}
}

func TestARestoreIntoThatIsInterruptedSaysWhatToDo(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.s.Do("DEBUG", "POPULATE", "400000", "k", "100")
	v.backup()
	staging := keyByKey(t)
	cmd := process(t, v.args([]string{"restore", "--into", staging.URL(), "--apply"}))
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err := redistest.Poll(30*time.Second, func() error {
		if staging.Do("DBSIZE") == int64(0) {
			return fmt.Errorf("nothing is written yet")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(errs.String(), "holds a part of the snapshot") || !strings.Contains(errs.String(), "--replace-all") {
		t.Errorf("exit %d, %s", code, errs.String())
	}
	if d := v.into(0, staging, "--apply", "--replace-all"); d.Removed == 0 || d.Removed == 400000 || d.Counts["keys"] != 400000 {
		t.Errorf("the rerun: %+v", d)
	}
}

// A restore that ends while the target loads leaves it empty: after Ctrl-C it is as it was,
// and after a kill it says what is left to do.
func TestATargetThatLoadsTakesAllOrNothing(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.s.Do("DEBUG", "POPULATE", "400000", "k", "100")
	v.backup()
	staging := redistest.Start(t, redistest.WithArgs("--masteruser", "somebody"))
	stop := func(sig os.Signal, args ...string) (code int, errs string) {
		t.Helper()
		cmd := process(t, v.args(append([]string{"restore", "--into", staging.URL(), "--apply"}, args...)))
		var said strings.Builder
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := redistest.Poll(30*time.Second, func() error {
			if staging.Info("persistence", "loading") != "1" {
				return fmt.Errorf("it is not loading yet")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // its exit code is looked at
		return cmd.ProcessState.ExitCode(), said.String()
	}
	unchanged := func() {
		t.Helper()
		for _, c := range []struct{ name, want string }{{"masterauth", ""}, {"masteruser", "somebody"}, {"repl-diskless-load", "disabled"}} {
			if got := staging.Do("CONFIG", "GET", c.name); fmt.Sprint(got) != fmt.Sprint([]any{c.name, c.want}) && fmt.Sprint(got) != fmt.Sprint(map[any]any{c.name: c.want}) {
				t.Errorf("%s is %v, want %q", c.name, got, c.want)
			}
		}
		if role := staging.Info("replication", "role"); role != "master" {
			t.Errorf("the target is a %s", role)
		}
	}
	if code, said := stop(os.Interrupt); code != 130 || !strings.Contains(said, "nothing was committed or changed") || staging.Do("DBSIZE") != int64(0) {
		t.Errorf("interrupted: exit %d, %s; %v keys", code, said, staging.Do("DBSIZE"))
	}
	unchanged()
	staging.Do("SET", "old", "x")
	if code, said := stop(os.Interrupt, "--replace-all"); code != 130 || !strings.Contains(said, "was emptied, and holds nothing yet") || staging.Do("DBSIZE") != int64(0) {
		t.Errorf("interrupted after it was emptied: exit %d, %s; %v keys", code, said, staging.Do("DBSIZE"))
	}
	unchanged()
	stop(os.Kill)
	if err := redistest.Poll(30*time.Second, func() error { // half a dump is thrown away
		if staging.Info("persistence", "loading") != "0" {
			return fmt.Errorf("it is still loading")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r := v.want(7, "restore", "--into", staging.URL(), "--apply")
	if !strings.Contains(r.err, "a restore that was stopped in the middle") || !strings.Contains(r.err, "replicaof no one") {
		t.Errorf("it says %s", r.err)
	}
	staging.Do("REPLICAOF", "NO", "ONE")
	if n := staging.Do("DBSIZE"); n != int64(0) {
		t.Errorf("killed: %v keys", n)
	}
	staging.Do("CONFIG", "SET", "repl-diskless-load", "disabled")
	if d := v.into(0, staging, "--apply"); d.Counts["keys"] != 400000 || staging.Do("DBSIZE") != int64(400000) {
		t.Errorf("the rerun: %+v", d)
	}
	unchanged()
}

func TestWhereRestoreIsRefusedAWholeSnapshotGoesInByCommands(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	before := fill(t, v, 0, 1)
	v.backup()
	for name, staging := range map[string]*redistest.Server{
		"denied":  redistest.Start(t, redistest.WithUser("limited on >secret ~* &* +@all -restore -replicaof")),
		"renamed": keyByKey(t, "--rename-command", "RESTORE", ""),
	} {
		t.Run(name, func(t *testing.T) {
			v := &vault{t: t, s: v.s, redis: v.redis, store: v.store}
			url := staging.URL()
			if name == "denied" {
				url = strings.Replace(url, "unix://", "unix://limited:secret@", 1)
			}
			v.want(0, "restore", "--into", url, "--apply")
			got, want := look(t, staging).without(runs), before.without(runs)
			same(t, "in the target", got, want)
		})
	}
}

// Values above 8 MiB come in parts, and one element can be larger than that.
func TestLargeValuesGoIntoTheTarget(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
import os as o
p = c.pipeline(transaction=False)
for n in range(0, 300000, 1000):
    p.rpush('list', *['%036d' % i for i in range(n, n + 1000)])
    p.sadd('set', *['%032d' % i for i in range(n, n + 1000)])
    p.zadd('zset', {'%032d' % i: i / 3 for i in range(n, n + 1000)})
    p.hset('hash', mapping={'%032d' % i: i for i in range(n, n + 1000)})
p.execute()
c.pexpire('list', 10 ** 8)
c.set('string', o.urandom(20 << 20))
c.rpush('mixed', 'a', o.urandom(17 << 20), 'b', 'c', o.urandom(9 << 20))
c.hset('mixedhash', mapping={'a': 'x', 'b': o.urandom(17 << 20), 'c': 'y'})
c.rpush('one', o.urandom(17 << 20))
queue('q').enqueue('tasks.note', '` + marker + `' + o.urandom(10 << 20).hex(), job_id='huge')
`)
	v.s.Do("CONFIG", "SET", "rdbcompression", "no")
	v.backup()
	want := look(t, v.s)
	staging := keyByKey(t)
	for _, s := range []*redistest.Server{redistest.Start(t), staging} {
		d := v.into(0, s, "--apply")
		if d.Counts["failed"] > 0 || len(d.Failures) > 0 {
			t.Errorf("failed: %+v", d.Failures)
		}
		same(t, "in the target", look(t, s).without(runs), want.without(runs))
	}
	v.want(0, "drill")
	d := v.into(0, staging, "--apply", "--replace-all", "--mask")
	if n := staging.Do("HLEN", "rq:job:huge"); d.Counts["failed"] > 0 || n.(int64) < 5 || staging.Do("STRLEN", "string") != int64(20<<20) {
		t.Errorf("masked: %+v, and the huge job has %v fields", d, n)
	}
	if data := staging.Do("HGET", "rq:job:huge", "data"); data != "masked by rqvault" {
		t.Errorf("the huge job's data is not masked")
	}
}

func TestKeysWhoseTimeIsUpAreLeftOut(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.s.Do("SET", "short", "x", "PX", "700")
	v.s.Do("SET", "long", "x", "PX", "7000000")
	v.want(0, "backup", "--via", "sync")
	if err := redistest.Poll(20*time.Second, func() error {
		if v.s.Do("EXISTS", "short") != int64(0) {
			return fmt.Errorf("it is still there")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, staging := range []*redistest.Server{redistest.Start(t), keyByKey(t)} {
		for _, args := range [][]string{{}, {"--apply"}} {
			if d := v.into(0, staging, args...); d.Counts["expired"] != 1 || d.Counts["keys"] != 1 {
				t.Errorf("%v: %v, want 1 expired, 1 key", args, d.Counts)
			}
		}
		same(t, "in the target", look(t, staging), look(t, v.s))
	}
}

// What the target has no room for is said, with what to do.
func TestATargetWithoutRoom(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.s.Do("DEBUG", "POPULATE", "3000", "k", "2000")
	v.backup()
	staging := redistest.Start(t, redistest.WithArgs("--maxmemory", "4mb", "--maxmemory-policy", "noeviction"))
	r := v.want(6, "restore", "--into", staging.URL(), "--apply")
	for _, want := range []string{"holds a part of the snapshot", "OOM", "maxmemory", "--replace-all"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("it says %s, want %q", r.err, want)
		}
	}
	staging.Do("CONFIG", "SET", "maxmemory", "0")
	v.into(0, staging, "--apply", "--replace-all")
	same(t, "in the target", look(t, staging), look(t, v.s))
}
