package verify_test

import (
	"testing"
	"time"

	"rqvault/internal/job"
	"rqvault/verify"
)

// What a worker leaves of a job whose hash had gone holds the job back as long as that
// worker may live.
func TestWhatADeadWorkerLeft(t *testing.T) {
	stub := func(beat time.Duration, edits ...edit) *job.Row {
		return traces(append([]edit{func(r *job.Row) { r.Stub, r.HeartbeatAt = true, now.Add(-beat).UnixMicro() }}, edits...)...)
	}
	long := func(r *job.Row) { r.Timeout = 600 }
	for name, c := range map[string]struct {
		snap, live *job.Row
		action     verify.Action
	}{
		"its worker may live":        {row("j", job.Queued, long), stub(10 * time.Minute), verify.Hold},
		"its worker is dead":         {row("j", job.Queued, long), stub(12 * time.Minute), verify.Restore},
		"a run that is dead, too":    {row("j", job.Started, long), stub(12 * time.Minute), verify.Requeue},
		"it names no heartbeat":      {row("j", job.Queued, long), traces(func(r *job.Row) { r.Stub = true }), verify.Hold},
		"it may run for ever":        {row("j", job.Queued, func(r *job.Row) { r.Timeout = -1 }), stub(time.Hour), verify.Hold},
		"its id waits":               {row("j", job.Queued, long), stub(time.Hour, places(at(job.InQueue))), verify.Hold},
		"a worker has signed for it": {row("j", job.Queued, long), stub(time.Hour, places(at(job.InWip))), verify.Hold},
	} {
		f := compare(t, verify.Context{Lineage: modes["older"], Taken: taken}, rows(c.snap), rows(c.live))[0]
		if f.Action != c.action || f.Action != verify.Hold && f.Guard != verify.GuardStub {
			t.Errorf("%s: got %s, guard %q, want %s; because %q", name, f.Action, f.Guard, c.action, f.Reason)
		}
	}
}
