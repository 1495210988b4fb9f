package verify_test

import (
	"slices"
	"testing"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/verify"
)

// What a held job is said to be decided by has to move it on, and what no decider is named
// for must not move, whatever a person says.
func TestWhatIsSaidToDecideAHeldJobDoes(t *testing.T) {
	said := map[verify.Decider]int{}
	long := func(r *job.Row) { r.Timeout = 600 }
	cases := slices.Concat(presentCases(), placeCases(), absentCases(), []verdictCase{
		{name: "running", snap: row("j", job.Started, long)},
		{name: "running, unreadable", snap: row("j", job.Started, long, func(r *job.Row) { r.Problem = "unreadable field created_at" })},
	})
	for _, c := range cases {
		for mode, j := range modes {
			for _, policy := range []verify.Policy{verify.AtLeastOnce, verify.AtMostOnce} {
				for _, started := range []verify.OnStarted{"", verify.StartedHold} {
					context := verify.Context{Lineage: j, Policy: policy, Started: started, Manned: true, Taken: taken, Now: now.Add(24 * time.Hour)}
					look := func(c2 verify.Context) verify.Finding { return compare(t, c2, rows(c.snap), rows(c.live))[0] }
					f := look(context)
					assume, allow, begin := context, context, context
					assume.Lineage = j.Assume(lineage.Older)
					allow.Policy = verify.AtLeastOnce
					begin.Started = verify.StartedRequeue
					moved := map[verify.Decider]bool{}
					for d, c2 := range map[verify.Decider]verify.Context{verify.ByAssume: assume, verify.ByPolicy: allow, verify.ByStarted: begin} {
						g := look(c2)
						moved[d] = g.Action != verify.Hold || g.DecidedBy != "" && g.DecidedBy != f.DecidedBy
					}
					switch d := f.DecidedBy; {
					case f.Action != verify.Hold && d != "":
						t.Errorf("%s (%s, %s): %s, yet decided by %s", c.name, mode, policy, f.Action, d)
					case d != "" && !moved[d]:
						t.Errorf("%s (%s, %s, %q): said to be decided by %s, and is not; because %q", c.name, mode, policy, started, d, f.Reason)
					case f.Action == verify.Hold && d == "" && f.Verdict == verify.Uncertain && (moved[verify.ByPolicy] || moved[verify.ByStarted]):
						t.Errorf("%s (%s, %s, %q): decided by %v, which nobody is told; because %q", c.name, mode, policy, started, moved, f.Reason)
					}
					said[f.DecidedBy]++
				}
			}
		}
	}
	for _, d := range []verify.Decider{verify.ByAssume, verify.ByPolicy, verify.ByStarted} {
		if said[d] == 0 {
			t.Errorf("no case is decided by %s", d)
		}
	}
}
