package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/s3test"
)

// fill makes jobs in every status in those databases and returns what is there then.
func fill(t testing.TB, v *vault, dbs ...int) image {
	t.Helper()
	script, err := os.ReadFile(filepath.Join("testdata", "every.py"))
	if err != nil {
		t.Fatal(err)
	}
	list := strings.ReplaceAll(fmt.Sprint(dbs), " ", ", ")
	v.rq("DBS = " + list + "\n" + string(script))
	v.ran()
	return look(t, v.s)
}

// heldJobs of fill: they ran at the snapshot, or no worker could read them.
var heldJobs = []string{"running", "running-2", "poison"}

func TestEveryKeyOfEveryJobComesBackAsItWas(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	before := fill(t, v, 0, 3)
	want := restorable(before, heldJobs...)
	if len(want) < 170 || len(before)-len(want) < 50 {
		t.Fatalf("%d of %d keys would come back: the test's data is not what it should be", len(want), len(before))
	}
	bucket := s3test.Start(t)
	for _, c := range []struct{ name, via, store string }{
		{"bgsave to a directory", "bgsave", ""},
		{"sync to a directory", "sync", ""},
		{"scan to a directory", "scan", ""},
		{"sync to S3", "sync", bucket.URL("vault")},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := &vault{t: t, s: v.s, redis: v.redis, store: filepath.Join(t.TempDir(), "store")}
			if c.store != "" {
				v.store, v.env = c.store, bucket.Env()
			}
			before.load(t, v.s)
			v.want(0, "backup", "--via", c.via)
			if r := v.run("verify"); !strings.Contains(r.out, " is whole: ") || c.via != "scan" && !strings.Contains(r.out, "hash-unknown-status (critical)") {
				t.Errorf("verify: exit %d\n%s%s", r.code, r.out, r.err)
			}
			v.s.Do("FLUSHALL")
			d := v.restore(0)
			same(t, "after the restore", look(t, v.s).without(ledger), want)
			held := append(slices.Clone(heldJobs), heldJobs...) // in both databases
			slices.Sort(held)
			if got := d.with("held"); !slices.Equal(got, held) {
				t.Errorf("held: got %q, want %q", got, held)
			}
			if d.Counts["failed"]+d.Counts["skipped"] > 0 || !d.Applied || d.Mode != "vanished" {
				t.Errorf("restore says applied %v, mode %s, %v", d.Applied, d.Mode, d.Counts)
			}
		})
	}
	t.Run("and other keys, when asked for", func(t *testing.T) {
		v := &vault{t: t, s: v.s, redis: v.redis, store: filepath.Join(t.TempDir(), "store")}
		before.load(t, v.s)
		v.backup()
		v.s.Do("FLUSHALL")
		v.restore(0, "--keys", "*")
		rqs := func(key string) bool { return strings.HasPrefix(key, "rq:") }
		same(t, "after restore --keys", look(t, v.s).without(ledger), before.without(rqs))
	})
}

func TestWorkersRunEachRestoredJobOnceAndInOrder(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	fill(t, v, 0)
	want := map[string][]string{}
	for _, q := range []string{"default", "mail:eu", "x", "x:intermediate", "json", "done", "single"} {
		want[q] = slices.DeleteFunc(v.list(q), func(id string) bool { return id == "dangling" })
	}
	want["single"] = append([]string{"s0"}, want["single"]...)
	v.backup()
	v.s.Do("FLUSHALL")
	v.restore(0)
	v.rq(`
from rq.serializers import JSONSerializer
for name in ('default', 'x', 'x:intermediate', 'single', 'mail:eu', 'done', 'chain', 'default'):
    work(name)
q = Queue('json', connection=c, serializer=JSONSerializer)
SimpleWorker([q], connection=c, serializer=JSONSerializer).work(burst=True, logging_level='CRITICAL')
`)
	got := map[string][]string{}
	for _, line := range v.ran() {
		f := strings.SplitN(line, " ", 3)
		got[f[1]] = append(got[f[1]], f[2])
	}
	// Children are enqueued as their parents end: p1 in the first pass over default, p2
	// in mail:eu after it. RQ 1.13 itself also enqueues a canceled child then.
	children := []string{"waits-1", "waits-any", "waits-2", "waits-ended", "canceled-deferred"}
	var direct []string
	seen := map[string]int{}
	for _, id := range got["default"] {
		seen[id]++
		if !slices.Contains(children, id) {
			direct = append(direct, id)
		}
	}
	for _, id := range children {
		if seen[id] != 1 {
			t.Errorf("child %s ran %d times, want once", id, seen[id])
		}
	}
	got["default"] = direct
	want["chain"] = []string{"A", "B", "C"}
	for q, ids := range want {
		if !slices.Equal(got[q], ids) {
			t.Errorf("queue %s ran %q, want %q", q, got[q], ids)
		}
	}
	if len(got["run"]) > 0 {
		t.Errorf("jobs that ran at the snapshot ran again: %q", got["run"])
	}
	if n := v.s.Do("LLEN", "rq:queue:default"); n != int64(0) {
		t.Errorf("queue default: %d left, want 0", n)
	}
}
