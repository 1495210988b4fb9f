package verify_test

import (
	"strings"
	"testing"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/verify"
)

// A job that had ended by the snapshot is to run again, in the older data of a restart.
func TestEndedJobsThatAreToRunAgain(t *testing.T) {
	restarted := lineage.Judgement{Mode: lineage.Older, StartedAt: taken.Add(time.Minute)}
	older := func(s job.Status, edits ...edit) *job.Row {
		early := func(r *job.Row) {
			if r.EnqueuedAt, r.HeartbeatAt = before(90), 0; s == job.Started {
				r.StartedAt = before(80)
			}
		}
		return row("j", s, append([]edit{early}, edits...)...)
	}
	wip := places(job.Place{Kind: job.InWip, Queue: "q", Score: sec(after(60))})
	at := func(us int64, name string) []job.Worker { return []job.Worker{{Name: "w", Job: name, HeartbeatAt: us}} }
	for name, c := range map[string]struct {
		live    *job.Row
		lineage lineage.Judgement
		workers []job.Worker
		action  verify.Action
	}{
		"it waits":       {older(job.Queued), restarted, nil, verify.Forward},
		"it is deferred": {older(job.Deferred), restarted, nil, verify.Forward},
		"it waits, and a worker has signed for it": {older(job.Queued, wip), restarted, nil, verify.Hold},
		"it ran then": {older(job.Started), restarted, nil, verify.Forward},
		"it ran then, and the worker came back with the data":  {older(job.Started), restarted, at(before(60), "j"), verify.Forward},
		"it ran then, and a worker of today says it runs it":   {older(job.Started), restarted, at(after(70), "j"), verify.Hold},
		"it ran then, and a worker of today runs another":      {older(job.Started), restarted, at(after(70), "k"), verify.Forward},
		"it began after the restart":                           {older(job.Started, func(r *job.Row) { r.StartedAt = after(70) }), restarted, nil, verify.None},
		"it ran then, and a worker could not read it":          {older(job.Started, func(r *job.Row) { r.Problem = "unreadable" }), restarted, nil, verify.Hold},
		"it ran then, and nothing tells when Redis started":    {older(job.Started), modes["older"], nil, verify.Hold},
		"it ran then, in a Redis that lost keys":               {older(job.Started), modes["flushed"], nil, verify.Hold},
		"it ran then, and was queued again by the snapshot":    {older(job.Started), restarted, nil, verify.Forward},
		"it ended then in another way":                         {older(job.Canceled, func(r *job.Row) { r.Places = nil }), restarted, nil, verify.Forward},
		"it ran then, and was running at the snapshot as well": {nil, restarted, nil, verify.Hold},
	} {
		snap := row("j", job.Finished)
		if strings.Contains(name, "queued again") {
			snap = row("j", job.Queued, func(r *job.Row) { r.EnqueuedAt = before(20) })
		}
		if c.live == nil {
			snap, c.live = row("j", job.Started), older(job.Started)
		}
		f := compare(t, verify.Context{Lineage: c.lineage, Workers: c.workers, Taken: taken}, rows(snap), rows(c.live))[0]
		want := verify.Regressed
		if c.action == verify.None {
			want = verify.Advanced
		}
		if f.Action != c.action || f.Verdict != want {
			t.Errorf("%s: got %s, %s, want %s, %s; because %q", name, f.Verdict, f.Action, want, c.action, f.Reason)
		}
		checkFinding(t, name, f)
	}
}
