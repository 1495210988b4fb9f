package verify_test

import (
	"testing"
	"testing/synctest"

	"rqvault/internal/job"
	"rqvault/verify"
)

// A later version that stands nowhere would be lost in silence.
func TestALaterVersionThatIsNowhere(t *testing.T) {
	later := func(s job.Status, edits ...edit) *job.Row {
		return row("j", s, append([]edit{func(r *job.Row) { r.EnqueuedAt = after(5) }}, edits...)...)
	}
	for _, s := range statuses {
		work := s == job.Queued || s == job.Scheduled || s == job.Deferred || s == job.Started
		for name, c := range map[string]struct {
			live *job.Row
			held bool
		}{
			"in its place": {later(s), false}, "nowhere": {later(s, places()), work},
			"in another place":       {later(s, places(job.Place{Kind: job.InGroup, Queue: "g"})), work},
			"signed for by a worker": {later(s, places(), func(r *job.Row) { r.Parts = append(r.Parts, job.Part{Name: job.ExecutionsPart}) }), false},
		} {
			for mode, j := range modes {
				f := compare(t, verify.Context{Lineage: j}, rows(row("j", job.Failed)), rows(c.live))[0]
				verdict, action := verify.Advanced, verify.None
				if c.held {
					verdict, action = verify.Misplaced, verify.Hold
				}
				if f.Verdict != verdict || f.Action != action {
					t.Errorf("%s, %s (%s): got %s, %s, want %s, %s; because %q", s, name, mode, f.Verdict, f.Action, verdict, action, f.Reason)
				}
				checkFinding(t, name, f)
			}
		}
	}
}

// One that a slow worker has in hand is given time, also where it will not be put back.
func TestPatienceWithALaterVersion(t *testing.T) {
	nowhere := row("a", job.Queued, places(), func(r *job.Row) { r.EnqueuedAt = after(5) })
	begun := row("a", job.Started, func(r *job.Row) { r.StartedAt = after(6) })
	synctest.Test(t, func(t *testing.T) {
		r, err := verify.Against(t.Context(), against(&fakeLive{looks: [][]*job.Row{{nowhere}, {nowhere}, {begun}}, workers: []job.Worker{{Name: "w"}}}, row("a", job.Queued)))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Findings) != 1 || r.Findings[0].Action != verify.None {
			t.Errorf("got %+v, want nothing to act on", r.Findings)
		}
	})
}
