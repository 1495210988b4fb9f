package command_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/redistest"
)

func TestAfterAnEmptyRestartEverythingComesBack(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for i in range(20): queue('a').enqueue('tasks.note', i, job_id='a%d' % i)
queue('b').enqueue('tasks.answer', job_id='done', result_ttl=-1)
work('b')
queue('b').enqueue('tasks.note', job_id='child', depends_on=Job.fetch('a19', connection=c))
`)
	v.backup()
	before := restorable(look(t, v.s))
	v.s.Restart(true)
	if d := v.diff(3); d.Mode != "older" || d.Counts["lost"] != 22 {
		t.Errorf("diff after an empty restart: mode %s, %v", d.Mode, d.Counts)
	}
	v.restore(0)
	same(t, "after the restore", look(t, v.s).without(ledger), before)
	if d := v.diff(0); d.Mode != "older" || d.Counts["intact"] != 22 || len(d.Findings) > 0 {
		t.Errorf("diff after the restore: mode %s, %v, %v", d.Mode, d.Counts, d.Findings)
	}
}

// older makes Redis come back from a dump that is older than the snapshot: a and b were
// queued in it; at the snapshot a had finished and c and d were queued too.
func older(t testing.TB, more string) *vault {
	t.Helper()
	v := newVault(t)
	v.rq(`
past = (datetime.utcnow() - timedelta(minutes=1)).strftime('%Y-%m-%dT%H:%M:%S.%fZ')
for n in 'ab':
    queue('q').enqueue('tasks.note', job_id=n)
    c.hset('rq:job:' + n, mapping={'created_at': past, 'enqueued_at': past})
`)
	v.s.Save()
	v.rq(`
SimpleWorker([queue('q')], connection=c).work(burst=True, max_jobs=1, logging_level='CRITICAL')
for n in 'cd': queue('q').enqueue('tasks.note', job_id=n)
queue('r').enqueue('tasks.note', job_id='e')
` + more)
	v.ran()
	v.backup()
	v.s.Restart(false)
	return v
}

func TestAfterARestartFromAnOlderDumpOnlyTheMissingComesBack(t *testing.T) {
	t.Parallel()
	v := older(t, "")
	v.rq(`queue('q').enqueue('tasks.note', job_id='new')`) // within the server's first second
	d := v.diff(3)
	if d.Mode != "older" || d.Counts["lost"] != 3 || d.Counts["intact"] != 1 || d.Counts["new"] != 1 {
		t.Errorf("diff: mode %s, %v", d.Mode, d.Counts)
	}
	if f := d.verdict(t, "a"); f.Verdict != "regressed" || f.Action != "forward" {
		t.Errorf("a had finished and is queued again: got %+v, want regressed, to be taken out", f)
	}
	v.rq(`queue('q').enqueue('tasks.note', job_id='after-a', depends_on='a')`)
	if r := v.restore(0); !slices.Equal(r.with("repaired"), []string{"a"}) {
		t.Errorf("repaired %q, want a", r.with("repaired"))
	}
	v.wantList("q", "b", "c", "d", "new", "after-a")
	v.wantList("r", "e")
	if s := v.status("a"); s != "finished" {
		t.Errorf("a is %s, want finished", s)
	}
	if d := v.diff(0); d.verdict(t, "a").Verdict != "intact" && len(d.Findings) == 0 {
		t.Errorf("after the restore: %v", d.Findings)
	}
	if r := v.restore(0); len(r.Outcomes) > 0 {
		t.Errorf("a second restore did %v", r.Outcomes)
	}
	v.rq(`work('q', 'r')`)
	if ran := v.ran(); !slices.Equal(ran, []string{"0 q b", "0 q c", "0 q d", "0 q new", "0 q after-a", "0 r e"}) {
		t.Errorf("ran %q in the end, and a once before", ran)
	}
}

func TestARestoreOfOneQueueDoesNotHideTheLossOfTheOthers(t *testing.T) {
	t.Parallel()
	// A producer's clock is ahead, so that the snapshot holds a job from after it.
	v := older(t, `
j = Job.fetch('e', connection=c)
from datetime import datetime
j.created_at = j.enqueued_at = datetime.utcnow() + timedelta(seconds=1)
j.save()
`)
	restartedAfter(t, v, 2*time.Second)
	v.restore(0, "--queue", "r")
	if d := v.diff(3); d.Mode != "older" || d.verdict(t, "c").Verdict != "lost" {
		t.Errorf("mode %s, c is %s, want older and lost", d.Mode, d.verdict(t, "c").Verdict)
	}
	v.restore(0)
	v.wantList("q", "b", "c", "d")
}

// restartedAfter restarts the server from its dump once that time has gone by since it
// last started.
func restartedAfter(t testing.TB, v *vault, d time.Duration) {
	t.Helper()
	began := v.serverTime()
	_ = redistest.Poll(d+time.Second, func() error {
		if v.serverTime().Sub(began) < d {
			return context.DeadlineExceeded
		}
		return nil
	})
	v.s.Restart(false)
}

func (v *vault) serverTime() time.Time {
	now, err := v.s.Client().Time(context.Background()).Result()
	if err != nil {
		v.t.Fatal(err)
	}
	return now
}

func TestLookingAndRestoringNothingChangeNothing(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	before := fill(t, v, 0, 1)
	v.backup()
	plan := v.store + ".json"
	for _, c := range []struct {
		name     string
		live     image
		commands [][]string
	}{
		{"nothing is missing", before, [][]string{{"diff"}, {"diff", "--via", "bgsave"}, {"restore"}, {"jobs"}, {"show"}}},
		{"half is missing", before.without(func(k string) bool { return len(k)%2 == 0 }), [][]string{
			{"diff"}, {"diff", "--json", "--via", "sync"}, {"diff", "--via", "bgsave", "--out", plan}, {"restore"},
			{"restore", "--via", "sync", "--json"}, {"restore", "--keys", "*"}, {"restore", "--plan", plan}, {"show", plan}}},
	} {
		c.live.load(t, v.s)
		v.s.Do("CONFIG", "RESETSTAT")
		digest, size, dirty := v.s.Digest(t.Context()), v.s.Do("DBSIZE"), v.s.Info("persistence", "rdb_changes_since_last_save")
		_ = dirty
		for _, args := range c.commands {
			if r := v.run(args...); r.code != 0 && r.code != 3 {
				t.Errorf("%s: %v: exit %d\n%s", c.name, args, r.code, r.err)
			}
		}
		if w := writes(v); len(w) > 0 {
			t.Errorf("%s: rqvault sent %v", c.name, w)
		}
		if got := v.s.Digest(t.Context()); got != digest || v.s.Do("DBSIZE") != size {
			t.Errorf("%s: the data set has changed", c.name)
		}
	}
	before.load(t, v.s)
	digest := v.s.Digest(t.Context())
	d := v.restore(0)
	for db := range 4 { // that it looked, it notes: the server was flushed
		if err := client(t, v.s, db).Del(t.Context(), "rqvault:settled").Err(); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.with("restored"))+len(d.with("repaired")) > 0 || v.s.Digest(t.Context()) != digest {
		t.Errorf("a restore onto undamaged data did %v", d.Counts)
	}
}

// writes lists the writing commands and scripts that the server was sent since its
// counters were reset.
func writes(v *vault) []string {
	v.t.Helper()
	var out []string
	for line := range strings.Lines(v.s.Do("INFO", "commandstats").(string)) {
		name, ok := strings.CutPrefix(line, "cmdstat_")
		if !ok {
			continue
		}
		name, _, _ = strings.Cut(name, ":")
		name, _, _ = strings.Cut(name, "|")
		info, err := v.s.Client().Do(context.Background(), "COMMAND", "INFO", name).Slice()
		if err != nil || len(info) != 1 {
			v.t.Fatalf("COMMAND INFO %s: %v", name, err)
		}
		flags := info[0].([]any)[2].([]any)
		if slices.Contains(flags, any("write")) || strings.HasPrefix(name, "eval") || strings.HasPrefix(name, "fcall") {
			out = append(out, name)
		}
	}
	return out
}

func TestASecondRestoreDoesNothing(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	fill(t, v, 0)
	v.backup()
	v.s.Do("FLUSHALL")
	v.restore(0)
	digest := v.s.Digest(t.Context())
	d := v.restore(0)
	if n := d.Counts["restored"] + d.Counts["repaired"] + d.Counts["failed"]; n > 0 || v.s.Digest(t.Context()) != digest {
		t.Errorf("the second restore did %v", d.Counts)
	}
}
