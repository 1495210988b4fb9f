package command_test

import (
	"slices"
	"strings"
	"testing"
)

// Restores can be repeated, also when jobs that had survived have run meanwhile and left no
// trace of it.
func TestSurvivorsThatRanBetweenTwoRestoresDoNotRunAgain(t *testing.T) {
	t.Parallel()
	for _, byPlan := range []bool{false, true} {
		v := line(t)
		kept := look(t, v.s)
		v.s.Do("FLUSHALL")
		kept.load(t, v.s)
		v.evict("o0", "o1")
		if byPlan {
			plan := v.store + ".json"
			v.diff(3, "--out", plan)
			v.restore(0, "--plan", plan)
		} else {
			v.restore(0)
		}
		v.wantList("q", "o0", "o1", "o2", "o3", "o4", "o5", "o6", "o7", "o8", "o9")
		v.evict("o0", "o2", "o3") // they ran, and their records have expired
		if d := v.diff(0); d.verdict(t, "o2").Verdict != "completed" || !strings.Contains(d.verdict(t, "o2").Reason, "earlier restore") {
			t.Errorf("by plan %t: o2 ran, and is %+v", byPlan, d.verdict(t, "o2"))
		}
		if d := v.restore(0); d.Counts["restored"] != 0 {
			t.Errorf("by plan %t: jobs that ran came back: %q", byPlan, d.with("restored"))
		}
		v.wantList("q", "o1", "o4", "o5", "o6", "o7", "o8", "o9")
	}
}

// Of jobs that are gone without a trace only a person can know that nobody deleted them.
func TestDeletedJobsAreNamedAndComeBackForWhoKnows(t *testing.T) {
	t.Parallel()
	v := line(t)
	v.evict("o0", "o1", "o5")
	d := v.diff(0)
	if d.Deleted != 3 || !strings.Contains(d.verdict(t, "o1").Reason, "deleted") {
		t.Errorf("%d deleted, and o1: %+v", d.Deleted, d.verdict(t, "o1"))
	}
	out := v.run("diff").out
	if !strings.Contains(out, "3 jobs were deleted since the snapshot") || !strings.Contains(out, "--assume vanished") {
		t.Errorf("diff does not say what to do about them:\n%s", out)
	}
	if got := v.restore(0, "--assume", "vanished").with("restored"); !slices.Equal(slices.Sorted(slices.Values(got)), []string{"o0", "o1", "o5"}) {
		t.Errorf("restored %q", got)
	}
	v.wantList("q", "o0", "o1", "o2", "o3", "o4", "o5", "o6", "o7", "o8", "o9")
	if r := v.run("diff", "--assume", "lost"); r.code != 2 || !strings.Contains(r.err, "vanished") {
		t.Errorf("--assume lost: exit %d, %s", r.code, r.err)
	}
}
