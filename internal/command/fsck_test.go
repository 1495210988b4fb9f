package command_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/rq"
	"rqvault/verify"
)

type breach struct {
	Invariant, Severity, Key, Queue, Detail, Repair, Result, Reason string
	JobID                                                           string `json:"job_id"`
}

func (b breach) String() string { return b.Invariant + " " + b.JobID + b.Key }

type fsckDoc struct {
	Jobs     int
	Applied  bool
	Breaches []breach
	Repairs  []breach
	Counts   map[string]int
}

func (v *vault) fsck(code int, args ...string) fsckDoc {
	v.t.Helper()
	var d fsckDoc
	v.want(code, append([]string{"verify", "--live", "--json", "--redis", v.redis}, args...)...).into(v.t, &d)
	return d
}

func names(all []breach) []string {
	out := []string{}
	for _, b := range all {
		out = append(out, b.String())
	}
	slices.Sort(out)
	return out
}

// broken is what testdata/broken.txt stages.
type broken struct {
	breaks, left []string // "INVARIANT ID"
	after        [][2]string
}

func stageBroken(t testing.TB, v *vault) broken {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "broken.txt"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ago := now.Add(-time.Hour)
	fill := strings.NewReplacer("$AGO", rq.FormatTime(ago), "$NOW", rq.FormatTime(now), "$ago", fmt.Sprint(ago.Unix()),
		"${soon}", fmt.Sprint(now.Add(time.Hour).Unix()), "$soon", fmt.Sprint(now.Add(time.Hour).Unix()))
	var b broken
	for line := range strings.Lines(string(text)) {
		line = fill.Replace(strings.TrimSpace(line))
		verb, rest, _ := strings.Cut(line, " ")
		words := strings.Fields(rest)
		if strings.HasPrefix(line, "#") {
			continue
		}
		switch verb {
		case "":
		case "breaks":
			b.breaks = append(b.breaks, rest)
		case "left":
			b.left = append(b.left, rest+strings.Repeat(" ", max(0, 1-strings.Count(rest, " "))))
		case "after":
			command, reply, _ := strings.Cut(rest, " = ")
			b.after = append(b.after, [2]string{command, reply})
		case "job":
			fields := []any{"HSET", "rq:job:" + words[0], "data", "x", "status", words[1], "origin", "q",
				"created_at", rq.FormatTime(ago.Add(-time.Minute)), "enqueued_at", rq.FormatTime(ago.Add(-time.Minute))}
			for _, w := range words[2:] {
				fields = append(fields, w)
			}
			v.s.Do(fields...)
		default:
			args := []any{verb}
			for _, w := range words {
				args = append(args, w)
			}
			v.s.Do(args...)
		}
	}
	return b
}

// Every invariant is staged once, found by its name, and repaired where that is safe.
func TestEveryInvariant(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	b := stageBroken(t, v)
	staged := map[string]bool{}
	for _, name := range slices.Concat(b.breaks, b.left) {
		invariant, _, _ := strings.Cut(name, " ")
		staged[invariant] = true
	}
	for _, inv := range verify.Invariants {
		if !staged[inv.Name] {
			t.Errorf("testdata/broken.txt does not break %s", inv.Name)
		}
	}
	digest := v.s.Digest(t.Context())
	want := slices.Sorted(slices.Values(slices.Concat(b.breaks, b.left)))
	found := v.fsck(3, "--via", "sync")
	if got := names(found.Breaches); !slices.Equal(got, want) {
		t.Errorf("found, and not staged: %q\nstaged, and not found: %q", minus(got, want), minus(want, got))
	}
	for _, x := range found.Breaches {
		if x.Detail == "" || x.Severity == "" || (x.Repair != "") != slices.Contains(b.breaks, x.String()) {
			t.Errorf("%+v", x)
		}
	}
	v.want(0, "restore", "--repair")
	if v.s.Digest(t.Context()) != digest {
		t.Fatal("looking changed something")
	}

	var done fsckDoc
	v.want(0, "restore", "--repair", "--apply", "--json").into(t, &done)
	for _, x := range done.Repairs {
		if repaired := x.Result == "repaired" || x.Result == "skipped"; repaired == slices.Contains(b.left, x.String()) {
			t.Errorf("%s: %s, %s", x, x.Result, x.Reason)
		}
	}
	for _, a := range b.after {
		var args []any
		for _, w := range strings.Fields(a[0]) {
			args = append(args, w)
		}
		if got := fmt.Sprint(v.s.Do(args...)); !regexp.MustCompile("^(?:" + a[1] + ")$").MatchString(got) {
			t.Errorf("%s: got %s, want %s", a[0], got, a[1])
		}
	}
	left := v.fsck(3)
	if got := minus(names(left.Breaches), b.left); len(got) > 0 {
		t.Errorf("left after the repair: %q", got)
	}
	digest = v.s.Digest(t.Context())
	if v.want(0, "restore", "--repair", "--apply"); v.s.Digest(t.Context()) != digest {
		t.Error("a second repair changed something")
	}
}

func minus(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// What RQ itself leaves after every kind of work is whole, at rest and in a snapshot.
func TestAHealthyRedisBreaksNoInvariant(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
q = queue('q')
for i in range(5): q.enqueue('tasks.note', i, job_id='done%d' % i)
q.enqueue('tasks.fail', job_id='failed')
q.enqueue('tasks.fail', job_id='retried', retry=Retry(max=2, interval=600))
work('q')
parent = q.enqueue('tasks.note', job_id='parent')
q.enqueue('tasks.note', job_id='child', depends_on=parent)
q.enqueue('tasks.note', job_id='grandchild', depends_on='child')
q.enqueue('tasks.note', job_id='orphan', depends_on='failed')
q.enqueue_at(datetime(2099, 1, 1), 'tasks.note', job_id='later')
q.enqueue('tasks.note', job_id='off').cancel()
q.enqueue('tasks.note', job_id='ttl', ttl=600)
q.enqueue('tasks.note', job_id='front', at_front=True)
`)
	d := v.fsck(0)
	for _, b := range d.Breaches {
		if b.Severity != "low" {
			t.Errorf("%s: %s", b, b.Detail)
		}
	}
	if d.Jobs != 15 {
		t.Errorf("looked at %d jobs, want 15", d.Jobs)
	}
	v.backup()
	r := v.want(0, "verify", "--store", v.store)
	if strings.Contains(r.out, "did not hold") && !strings.Contains(r.out, "deferred-parent-dead") {
		t.Errorf("the snapshot breaks invariants:\n%s", r.out)
	}
}

// A snapshot keeps what was broken, and says so; what is over by then is not in it.
func TestVerifyTellsWhatASnapshotBreaks(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	stageBroken(t, v)
	v.backup()
	var docs []struct {
		OK       bool
		Breaches []breach
	}
	v.want(3, "verify", "--json").into(t, &docs)
	got := map[string]bool{}
	for _, b := range docs[0].Breaches {
		got[b.Invariant] = true
	}
	for _, name := range []string{"queue-duplicate-id", "deferred-ready", "queue-wrong-type", "queue-not-registered"} {
		if !got[name] {
			t.Errorf("verify does not tell of %s: %q", name, slices.Sorted(maps.Keys(got)))
		}
	}
	for _, name := range []string{"suspended-left", "scheduled-overdue", "queued-job-not-in-queue", "started-job-not-in-wip", "intermediate-stale"} {
		if got[name] {
			t.Errorf("verify tells of %s, which is over", name)
		}
	}
	if !docs[0].OK {
		t.Error("a whole snapshot is called damaged")
	}
}

// What the snapshot can give back is not thrown away as a dangling id.
func TestARepairLeavesToRestoreWhatASnapshotHas(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
p = queue('q').enqueue('tasks.note', job_id='a')
queue('q').enqueue('tasks.note', job_id='child', depends_on=p)
`)
	v.backup()
	v.s.Do("DEL", "rq:job:a")
	v.s.Do("RPUSH", "rq:queue:q", "unknown")
	d := v.fsck(3)
	for _, b := range d.Breaches {
		if b.JobID != "unknown" && (b.Repair != "" || !strings.Contains(b.Detail, "a snapshot has a")) {
			t.Errorf("%s: %s; %s", b, b.Detail, b.Repair)
		}
	}
	v.want(0, "restore", "--repair", "--apply")
	v.wantList("q", "a")
	if d := v.restore(0); !slices.Equal(d.with("restored"), []string{"a"}) {
		t.Errorf("restored %+v", d.Outcomes)
	}
	v.rq(`work('q')`)
	if ran := v.ran(); !slices.Equal(ran, []string{"0 q a", "0 q child"}) {
		t.Errorf("ran %q", ran)
	}
}

// A repair destroys no evidence: what a snapshot knows of a job comes before it, also when
// the newest is from after the loss.
func TestARepairAsksTheSnapshotsFirst(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
q = queue('q')
p = q.enqueue('tasks.note', job_id='parent')
q.enqueue('tasks.note', job_id='child', depends_on=p)
q.enqueue_at(datetime(2099, 1, 1), 'tasks.note', job_id='later')
q.enqueue_at(datetime(2099, 1, 1), 'tasks.note', job_id='due')
q.enqueue('tasks.note', job_id='done')
`)
	v.s.Do("SET", "keeps", "the registry's score")
	score := v.s.Do("ZSCORE", "rq:scheduled:q", "due")
	v.backup()
	v.s.Do("DEL", "rq:job:child", "rq:job:later")
	v.s.Do("ZREM", "rq:scheduled:q", "due")
	v.s.Do("LREM", "rq:queue:q", 0, "done")
	v.s.Do("HSET", "rq:job:done", "enqueued_at", "2026-01-01T00:00:00.000000Z") // an older version, in no list
	v.want(0, "restore", "--repair", "--apply")
	for i := range 2 {
		d := v.look()
		for _, id := range []string{"child", "later"} {
			if f := d.verdict(t, id); f.Verdict != "lost" && i == 0 {
				t.Errorf("%s: %+v, want lost", id, f)
			}
		}
		if i == 0 {
			v.backup() // of what is left
			v.want(0, "restore", "--repair", "--apply")
			v.s.Do("DEL", "nothing")
		}
	}
	if got := v.s.Do("LPOS", "rq:queue:q", "done"); got != nil {
		t.Errorf("an older version was put into its queue")
	}
	if v.s.Do("ZSCORE", "rq:scheduled:q", "later") == nil || v.s.Do("ZSCORE", "rq:deferred:q", "child") == nil {
		t.Error("a repair took the evidence away")
	}
	if got := v.s.Do("ZSCORE", "rq:scheduled:q", "due"); got != nil && got != score {
		t.Errorf("due was scheduled for %v, the snapshot says %v", got, score)
	}
}

// A paced restore has jobs in hand that are queued and in no list. A repair leaves them.
func TestARepairLeavesWhatARestoreHasInHand(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for i in range(6): queue('q').enqueue('tasks.note', job_id='j%d' % i)
`)
	v.backup()
	v.s.Do("FLUSHALL")
	plan := v.store + ".json"
	v.diff(3, "--out", plan)
	g := newGate(t, v.s.Socket(), "evalsha")
	g.killAfter(8, v.args([]string{"restore", "--plan", plan, "--apply", "--resume-rate", "1", "--redis", g.url()}))
	before := len(v.list("q"))
	if before == 0 || before == 6 {
		t.Fatalf("%d of 6 ids are back: the restore was not stopped in between", before)
	}
	v.want(0, "restore", "--repair", "--apply")
	if n := len(v.list("q")); n != before {
		t.Errorf("the repair placed %d ids that the restore has in hand", n-before)
	}
	v.restore(0, "--plan", plan)
	v.wantList("q", "j0", "j1", "j2", "j3", "j4", "j5")
}

// Names are bytes, and applications have keys of their own beside RQ's.
func TestNamesThatAreNotRQsOrNotText(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`queue('q').enqueue('tasks.note', job_id='a')`)
	v.s.Do("SADD", "rq:queues", "rq:queue:\xff", "rq:queue:\xfe\xff")
	v.put("b", "\xff", "queued")
	v.s.Do("RPUSH", "rq:queue:\xff", "b")
	v.s.Do("HSET", "rq:job:a:progress", "percent", "5")
	v.s.Do("SET", "rq:job:a:lock", "x")
	v.s.Do("ZADD", "rq:scheduler:scheduled_jobs", 4102444800, "a")
	for _, b := range v.fsck(0).Breaches {
		if b.Severity != "low" {
			t.Errorf("%s: %s", b, b.Detail)
		}
	}
	digest := v.s.Digest(t.Context())
	v.want(0, "restore", "--repair", "--apply")
	if v.s.Digest(t.Context()) != digest {
		t.Error("a repair changed something")
	}
	v.backup()
	v.want(0, "verify")
	v.s.Do("FLUSHALL")
	v.restore(0)
	v.want(0, "restore", "--keys", "rq:*", "--apply")
	if v.s.Do("ZSCORE", "rq:scheduler:scheduled_jobs", "a") == nil {
		t.Error("the schedule of another package did not come back")
	}
}
