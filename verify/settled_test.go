package verify_test

import (
	"testing"
	"testing/synctest"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/verify"
)

// settledBy returns what a comparison with those jobs in live leaves for the next one.
func settledBy(t *testing.T, f *fakeLive, assume lineage.Mode, snap ...*job.Row) *verify.Settled {
	t.Helper()
	o := against(f, snap...)
	o.Assume = assume
	r, err := verify.Against(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var s verify.Settled
	for db, b := range r.Settled.Without(nil) {
		if err := s.Load(db, b); err != nil {
			t.Fatal(err)
		}
	}
	return &s
}

// lasting makes a job keep the record of its success for a day.
func lasting(r *job.Row) { r.HasResultTTL, r.ResultTTL = true, 86400 }

// A job that survived, and ran after a restore looked, is not taken for lost by the next.
func TestSurvivorsThatLeaveAreNotLost(t *testing.T) {
	a, b := row("a", job.Queued, lasting), row("b", job.Queued, lasting)
	only := func(r *job.Row) { r.Exists = false }
	for name, c := range map[string]struct {
		assume lineage.Mode
		facts  lineage.Facts
		snap   *job.Row // as the second comparison's snapshot has it
		live   []*job.Row
		want   verify.Verdict
	}{
		"older":                     {snap: a, want: verify.Completed},
		"single keys":               {assume: lineage.Vanished, facts: sameFacts(nil), snap: a, want: verify.Completed},
		"its id waits":              {snap: a, live: []*job.Row{row("a", job.Queued, only)}, want: verify.Lost},
		"another one under that id": {snap: row("a", job.Queued, func(r *job.Row) { r.CreatedAt = after(1) }), want: verify.Lost},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := settledBy(t, &fakeLive{looks: [][]*job.Row{{a}}, facts: c.facts}, c.assume, a, b)
			f := &fakeLive{looks: [][]*job.Row{c.live}, facts: c.facts, settled: s}
			o := against(f, c.snap, b)
			o.Assume = c.assume
			r, err := verify.Against(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if v := verdictOf(r, "a"); v != c.want {
				t.Errorf("%s: a is %s, want %s", name, v, c.want)
			}
			if v := verdictOf(r, "b"); v == verify.Completed {
				t.Errorf("%s: b was never there, and is %s", name, v)
			}
		})
	}
}

// Nothing is noted of a server that lost nothing: there a job that leaves tells enough.
func TestNothingIsSettledWhereNothingWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := verify.Against(t.Context(), against(&fakeLive{looks: [][]*job.Row{{row("a", job.Queued)}}, facts: sameFacts(nil)}, row("a", job.Queued)))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Settled.Without(nil); len(got) > 0 {
			t.Errorf("settled: %v", got)
		}
	})
}

// A key that vanished of a settled job vanished after it was settled, and so may others have.
func TestKeysThatVanishOnceMore(t *testing.T) {
	only := func(r *job.Row) { r.Exists = false }
	const one, two = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	synctest.Test(t, func(t *testing.T) {
		snap := []*job.Row{row(one, job.Queued, lasting), row(two, job.Queued, lasting)}
		s := settledBy(t, &fakeLive{looks: [][]*job.Row{snap}, facts: sameFacts(nil)}, lineage.Vanished, snap...)
		f := &fakeLive{looks: [][]*job.Row{{row(one, job.Queued, only)}}, facts: sameFacts(nil), settled: s}
		r, err := verify.Against(t.Context(), against(f, snap...))
		if err != nil {
			t.Fatal(err)
		}
		if v := verdictOf(r, two); v == verify.Completed {
			t.Errorf("a job that is gone beside one in pieces is %s: %v", v, r.Lineage.Reasons)
		}
	})
}

// A job that had ended, and whose hash had vanished before the restore looked, is no sign
// that keys vanished after it.
func TestOldSignsAreNotNew(t *testing.T) {
	only := func(r *job.Row) { r.Exists = false }
	const one, two = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	synctest.Test(t, func(t *testing.T) {
		snap := []*job.Row{row(one, job.Queued, lasting), row(two, job.Queued, lasting)}
		torn := row(one, job.Queued, only, func(r *job.Row) { r.Places = []job.Place{{Kind: job.InFinished, Queue: "q", Score: sec(after(86400))}} })
		s := settledBy(t, &fakeLive{looks: [][]*job.Row{{torn, snap[1]}}, facts: sameFacts(nil)}, "", snap...)
		r, err := verify.Against(t.Context(), against(&fakeLive{looks: [][]*job.Row{{torn}}, facts: sameFacts(nil), settled: s}, snap...))
		if err != nil {
			t.Fatal(err)
		}
		if v := verdictOf(r, two); v != verify.Completed {
			t.Errorf("a survivor that left is %s: %v", v, r.Lineage.Reasons)
		}
	})
}

func TestSettledIsWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		snap := []*job.Row{row("a", job.Queued), row("b", job.Queued)}
		s := settledBy(t, &fakeLive{looks: [][]*job.Row{snap}}, "", snap...)
		if n := len(s.Without(nil)[0]); n != 16 {
			t.Errorf("two jobs make %d bytes, want 16", n)
		}
		if again := s.Without(s); len(again) > 0 {
			t.Errorf("what is known is written again: %v", again)
		}
	})
	if err := new(verify.Settled).Load(0, make([]byte, 12)); err == nil {
		t.Error("half a fingerprint was taken")
	}
}

// A child whose one parent has ended, and whose other is held for a person, waits rightly.
func TestAChildOfAHeldParentWaits(t *testing.T) {
	family := func(listedBy ...string) *job.Row {
		return row("child", job.Deferred, func(r *job.Row) {
			r.Parents, r.ParentSet, r.ListedBy = []string{"ended", "held"}, []string{"ended", "held"}, listedBy
		})
	}
	brief := func(r *job.Row) { r.HasResultTTL, r.ResultTTL = true, 1 }
	for name, c := range map[string]struct {
		listed []string
		want   verify.Verdict
	}{
		"the held one knows of it": {[]string{"held"}, verify.Intact},
		"it does not":              {nil, verify.Misplaced},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := against(&fakeLive{looks: [][]*job.Row{{family(c.listed...)}}, facts: sameFacts(nil), atomic: true},
				family("ended", "held"), row("ended", job.Queued, brief), row("held", job.Queued, lasting))
			o.Assume, o.Policy = lineage.Vanished, verify.AtMostOnce
			r, err := verify.Against(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if v := verdictOf(r, "child"); v != c.want {
				t.Errorf("%s: the child is %s, want %s (%+v)", name, v, c.want, r.Findings)
			}
		})
	}
}
