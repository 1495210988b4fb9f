package command_test

import (
	"strings"
	"testing"
)

// An outage longer than the jobs' time to live: Redis has thrown the jobs away, or lost
// them; their ids may stand there still.
func TestTimeToLiveIsExtendedByTheOutage(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
for n in ('short', 'lost', 'child'):
    queue('q').enqueue('tasks.note', job_id=n, ttl=8, depends_on='lost' if n == 'child' else None)
queue('r').enqueue('tasks.note', job_id='other', ttl=8)
`)
	v.backup()
	v.s.Do("DEL", "rq:job:other")
	waitGone(t, v, "rq:job:short", "rq:job:lost", "rq:job:child")
	if d := v.diff(0); d.Counts["expired"] != 4 {
		t.Errorf("without a word about it: %v", d.Counts)
	}
	d := v.diff(3, "--extend-ttl")
	if d.Counts["lost"] != 4 || !strings.Contains(d.verdict(t, "lost").Reason, "it may now wait until") {
		t.Errorf("extended: %v, %+v", d.Counts, d.Findings)
	}
	v.restore(0, "--extend-ttl", "--job", "short")
	if ttl := v.s.Do("PTTL", "rq:job:short").(int64); ttl <= 0 || ttl > 8000 {
		t.Errorf("short lives %d ms more, want what it had left at the snapshot", ttl)
	}
	v.wantList("q", "short", "lost")
	v.s.Do("FLUSHALL")
	if r := v.restore(0, "--extend-ttl"); len(r.with("restored")) != 4 {
		t.Errorf("after a loss: %+v", r)
	}
	v.wantList("q", "short", "lost")
	v.rq(`work('q', 'r')`)
	if ran := v.ran(); len(ran) != 4 || ran[3] != "0 q child" && ran[2] != "0 q child" {
		t.Errorf("ran %q", ran)
	}
}

// waitGone waits until Redis has expired those keys: a second look of the same question,
// with no clock of its own.
func waitGone(t *testing.T, v *vault, keys ...string) {
	t.Helper()
	for _, k := range keys {
		for v.s.Do("EXISTS", k) != int64(0) {
			v.s.Do("BLPOP", "nothing:ever", "0.05")
		}
	}
}
