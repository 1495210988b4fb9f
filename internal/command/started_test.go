package command_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/job"
	"rqvault/internal/snapshot"
	"rqvault/restore"
	"rqvault/verify"
)

// What comes back of jobs whose runs died has to be good for RQ itself. When a run is dead
// is a matter of minutes, which TestJobsThatWereRunning counts; here the plan says so.
func TestJobsWhoseRunsDiedAreGoodForRQ(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`
from time import time
for n in ('again', 'fails'):
    queue('q').enqueue('tasks.note', job_id=n, retry=Retry(max=2))
    c.lrem('rq:queue:q', 0, n)
    c.hset('rq:job:' + n, mapping={'status': 'started', 'worker_name': 'w', 'started_at': datetime.utcnow().strftime('%Y-%m-%dT%H:%M:%S.%fZ')})
    c.zadd('rq:wip:q', {n: time() + 90})
`)
	v.backup()
	v.s.Do("FLUSHALL")
	d := v.look()
	if f := d.verdict(t, "again"); f.Verdict != "in_flight" || f.Action != "hold" || !strings.Contains(f.Reason, "compare again then") {
		t.Errorf("just lost: got %+v, want held, with the time when it is dead", f)
	}
	p := restore.Plan{Snapshot: snapshot.ID(d.Snapshot), Source: "default", RunID: v.s.Info("server", "run_id"), Policy: verify.AtLeastOnce}
	for id, action := range map[string]verify.Action{"again": verify.Requeue, "fails": verify.Fail} {
		p.Steps = append(p.Steps, restore.Step{JobID: id, Queue: "q", List: "q", Status: job.Started, Verdict: verify.Uncertain, Action: action, Guard: verify.GuardAbsent})
	}
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := v.restore(0, "--plan", name); !slices.Equal(r.with("restored"), []string{"again", "fails"}) {
		t.Fatalf("got %+v", r)
	}
	told := v.rq(`
from rq.registry import FailedJobRegistry
j = Job.fetch('fails', connection=c)
print(j.get_status(), 'rqvault' in (j.latest_result().exc_string or ''), FailedJobRegistry('q', connection=c).get_job_ids())
work('q')
j = Job.fetch('again', connection=c)
print(j.get_status(), j.retries_left)
FailedJobRegistry('q', connection=c).requeue('fails')
work('q')
print(Job.fetch('fails', connection=c).get_status())
`)
	if want := "failed True ['fails']\nfinished 1\nfinished\n"; told != want {
		t.Errorf("RQ says %q, want %q", told, want)
	}
	if ran := v.ran(); !slices.Equal(ran, []string{"0 q again", "0 q fails"}) {
		t.Errorf("ran %q", ran)
	}
}
