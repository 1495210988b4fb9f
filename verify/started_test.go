package verify_test

import (
	"testing"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/verify"
)

// A job that was running when its data was lost: its worker may have lived on.
func TestJobsThatWereRunning(t *testing.T) {
	const worker = "w1"
	running := func(edits ...edit) *job.Row {
		return row("j", job.Started, append([]edit{func(r *job.Row) { r.Worker, r.Timeout = worker, 600 }}, edits...)...)
	}
	restart := func(ago time.Duration) lineage.Judgement {
		return lineage.Judgement{Mode: lineage.Older, StartedAt: now.Add(-ago)}
	}
	long := restart(12 * time.Minute)
	for name, c := range map[string]struct {
		snap    *job.Row
		live    *job.Row
		lineage lineage.Judgement
		workers []job.Worker
		policy  verify.Policy
		started verify.OnStarted
		verdict verify.Verdict
		action  verify.Action
	}{
		"its time is not over":                   {snap: running(), lineage: restart(10 * time.Minute), verdict: verify.InFlight, action: verify.Hold},
		"its time is over":                       {snap: running(), lineage: long, verdict: verify.Uncertain, action: verify.Requeue},
		"its time is over, at most once":         {snap: running(), lineage: long, policy: verify.AtMostOnce, verdict: verify.Uncertain, action: verify.Hold},
		"its time is over, to fail":              {snap: running(), lineage: long, policy: verify.AtMostOnce, started: verify.StartedFail, verdict: verify.Uncertain, action: verify.Fail},
		"its time is over, to hold":              {snap: running(), lineage: long, started: verify.StartedHold, verdict: verify.Uncertain, action: verify.Hold},
		"its time is over, to run again":         {snap: running(), lineage: long, policy: verify.AtMostOnce, started: verify.StartedRequeue, verdict: verify.Uncertain, action: verify.Requeue},
		"it has no end":                          {snap: running(func(r *job.Row) { r.Timeout = -1 }), lineage: restart(100 * time.Hour), verdict: verify.Uncertain, action: verify.Hold},
		"it does not say how long, too early":    {snap: running(func(r *job.Row) { r.Timeout = 0 }), lineage: restart(3 * time.Minute), verdict: verify.InFlight, action: verify.Hold},
		"it does not say how long":               {snap: running(func(r *job.Row) { r.Timeout = 0 }), lineage: restart(5 * time.Minute), verdict: verify.Uncertain, action: verify.Requeue},
		"a short one may miss a heartbeat":       {snap: running(func(r *job.Row) { r.Timeout = 5 }), lineage: restart(80 * time.Second), verdict: verify.InFlight, action: verify.Hold},
		"a worker says it runs it":               {snap: running(), lineage: long, workers: []job.Worker{{Name: "other", Job: "j", Whole: true}}, verdict: verify.InFlight, action: verify.Hold},
		"its worker outlived the loss":           {snap: running(), lineage: long, workers: []job.Worker{{Name: worker}}, verdict: verify.InFlight, action: verify.Hold},
		"its worker is there, with another job":  {snap: running(), lineage: long, workers: []job.Worker{{Name: worker, Job: "k", Whole: true}}, verdict: verify.Uncertain, action: verify.Requeue},
		"its worker has signed off":              {snap: running(), lineage: long, workers: []job.Worker{{Name: worker, Job: "j", Dead: true}}, verdict: verify.Uncertain, action: verify.Requeue},
		"a worker of another database":           {snap: running(), lineage: long, workers: []job.Worker{{DB: 1, Name: worker, Job: "j"}}, verdict: verify.Uncertain, action: verify.Requeue},
		"it shows itself":                        {snap: running(), live: traces(func(r *job.Row) { r.Stub = true }), lineage: long, verdict: verify.InFlight, action: verify.Hold},
		"it ended while the snapshot looked":     {snap: running(result(before(1), 1)), live: row("j", job.Started, places()), lineage: long, verdict: verify.Uncertain, action: verify.Hold},
		"it ended":                               {snap: running(), live: traces(result(after(5), 1)), lineage: long, verdict: verify.Completed, action: verify.None},
		"nobody could read it":                   {snap: running(func(r *job.Row) { r.Problem = "unreadable field created_at" }), lineage: long, verdict: verify.Uncertain, action: verify.Hold},
		"a server that lost nothing":             {snap: running(), lineage: lineage.Judgement{Mode: lineage.Complete}, verdict: verify.Completed, action: verify.None},
		"a flush, too soon after the snapshot":   {snap: running(func(r *job.Row) { r.Timeout = 7200 }), lineage: modes["flushed"], verdict: verify.InFlight, action: verify.Hold},
		"a flush, long after it":                 {snap: running(), lineage: modes["flushed"], verdict: verify.Uncertain, action: verify.Requeue},
		"nothing tells what the server has lost": {snap: running(), lineage: modes["unknown"], verdict: verify.Uncertain, action: verify.Hold},
	} {
		all := compare(t, verify.Context{Lineage: c.lineage, Policy: c.policy, Started: c.started, Workers: c.workers, Taken: taken}, rows(c.snap), rows(c.live))
		if f := all[0]; f.Verdict != c.verdict || f.Action != c.action {
			t.Errorf("%s: got %s, %s, want %s, %s; because %q", name, f.Verdict, f.Action, c.verdict, c.action, f.Reason)
		}
		checkFinding(t, name, all[0])
	}
}
