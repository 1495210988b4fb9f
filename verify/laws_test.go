package verify_test

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/rq"
	"rqvault/verify"
)

func TestRestoredBefore(t *testing.T) {
	signed := map[verify.JobKey]bool{{ID: "j"}: true}
	restored := func(k verify.JobKey) bool { return signed[k] }
	f := compare(t, verify.Context{Lineage: modes["older"], Restored: restored}, rows(row("j", job.Queued)), rows())[0]
	if f.Verdict != verify.Completed || f.Action != verify.None {
		t.Errorf("put back once and gone again: got %s, %s, want completed, none", f.Verdict, f.Action)
	}
	other := row("j", job.Queued)
	other.DB = 1
	f = compare(t, verify.Context{Lineage: modes["older"], Restored: restored}, rows(other), rows())[0]
	if f.Verdict != verify.Lost {
		t.Errorf("another database's job: got %s, want lost", f.Verdict)
	}
}

// A restore that was stopped in the middle of a job leaves what no version tells.
func TestHalfwayRestore(t *testing.T) {
	again := func(r *job.Row) { r.EnqueuedAt = after(5) }
	for _, c := range []struct {
		name       string
		snap, live *job.Row
		verdict    verify.Verdict
		action     verify.Action
	}{
		{"nobody else looks at its parents", row("j", job.Deferred), row("j", job.Deferred), verify.Misplaced, verify.Place},
		{"it is in its queue", row("j", job.Queued), row("j", job.Queued), verify.Intact, verify.None},
		{"it is in no queue", row("j", job.Queued), row("j", job.Queued, places()), verify.Misplaced, verify.Place},
		{"ended again, its children may wait", row("j", job.Finished), row("j", job.Finished), verify.Misplaced, verify.Start},
		{"failed again, its children may wait", row("j", job.Failed), row("j", job.Failed), verify.Misplaced, verify.Start},
		{"ended again, and its record has expired", row("j", job.Finished), nil, verify.Misplaced, verify.Start},
		{"ended again, and somebody requeued it", row("j", job.Failed), row("j", job.Queued, again), verify.Advanced, verify.None},
		{"failed, since its run died", row("j", job.Started), row("j", job.Failed, again), verify.Misplaced, verify.Start},
		{"to run again, in no queue", row("j", job.Started), row("j", job.Queued, again, places()), verify.Misplaced, verify.Requeue},
		{"to run again, in its queue", row("j", job.Started), row("j", job.Queued, again), verify.Advanced, verify.None},
		{"to run again, and taken", row("j", job.Started), row("j", job.Queued, again, places(at(job.InWip))), verify.Advanced, verify.None},
		{"enqueued anew", row("j", job.Started), row("j", job.Queued, again, places(), func(r *job.Row) { r.CreatedAt = after(5) }), verify.Advanced, verify.None},
	} {
		ctx := verify.Context{Lineage: modes["older"], Halfway: func(k verify.JobKey) bool { return k.ID == "j" }, Manned: true, Policy: verify.AtMostOnce}
		if f := compare(t, ctx, rows(c.snap), rows(c.live))[0]; f.Verdict != c.verdict || f.Action != c.action {
			t.Errorf("%s: got %s, %s (%s), want %s, %s", c.name, f.Verdict, f.Action, f.Reason, c.verdict, c.action)
		}
	}
}

func TestSurvivors(t *testing.T) {
	var got []string
	c := verify.Context{Lineage: modes["older"], Survivor: func(db int32, queue string, position int64) {
		got = append(got, fmt.Sprintf("%d/%s/%d", db, queue, position))
	}}
	id := func(s string, p int64, db int32) *job.Row {
		r := row(s, job.Queued, places(job.Place{Kind: job.InQueue, Queue: "q", Position: p}))
		r.DB = db
		return r
	}
	elsewhere := row("c", job.Queued, places(job.Place{Kind: job.InQueue, Queue: "other"}))
	again := row("e", job.Queued, func(r *job.Row) { r.EnqueuedAt = after(5) })
	snap := rows(id("a", 0, 0), id("b", 1, 0), id("c", 2, 0), id("d", 3, 0), id("e", 4, 0), id("a", 7, 1))
	live := rows(id("a", 9, 0), elsewhere, &job.Row{ID: "d", Places: []job.Place{{Kind: job.InQueue, Queue: "q"}}}, again, id("a", 0, 1))
	compare(t, c, snap, live)
	if want := []string{"0/q/0", "0/q/3", "1/q/7"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMergeOfTwoIndexes(t *testing.T) {
	at := func(db int32, id string) *job.Row {
		r := row(id, job.Queued)
		r.DB = db
		return r
	}
	snap := rows(at(0, "a"), at(0, "c"), at(0, "\xff"), at(1, "a"), at(3, "z"))
	live := rows(at(0, "b"), at(0, "c"), at(1, "a"), at(1, "b"), at(2, ""), at(9, "x"))
	var got []string
	for _, f := range compare(t, verify.Context{Lineage: modes["older"]}, snap, live) {
		got = append(got, fmt.Sprintf("%d/%s %s", f.DB, f.JobID, f.Verdict))
	}
	want := []string{"0/a lost", "0/b new", "0/c intact", "0/\xff lost", "1/a intact", "1/b new", "2/ new", "3/z lost", "9/x new"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := compare(t, verify.Context{}, rows(), rows()); len(got) != 0 {
		t.Errorf("of nothing: got %v", got)
	}
}

var errIndex = errors.New("index cut short")

func cut(rs ...*job.Row) verify.Rows {
	return func(yield func(*job.Row, error) bool) {
		for r := range rows(rs...) {
			if !yield(r, nil) {
				return
			}
		}
		yield(nil, errIndex)
	}
}

// An index that breaks off must not look like one whose jobs are all gone.
func TestErrorsOfAnIndexEndTheComparison(t *testing.T) {
	a, b := row("a", job.Queued), row("b", job.Queued)
	for name, c := range map[string]struct{ snap, live verify.Rows }{
		"snapshot at once": {cut(), rows(a, b)}, "live at once": {rows(a, b), cut()}, "both": {cut(), cut()},
		"snapshot later": {cut(a), rows(a, b)}, "live later": {rows(a, b), cut(a)},
		"at the other's end": {rows(), cut(a)}, "at both ends": {cut(b), rows(a)},
	} {
		var last error
		n := 0
		for _, err := range verify.Compare(c.snap, c.live, verify.Context{Schema: rq.Schema{}, Lineage: modes["older"], Now: now}) {
			if last != nil {
				t.Errorf("%s: the comparison went on after its error", name)
			}
			last = err
			n++
		}
		if !errors.Is(last, errIndex) || n > 3 {
			t.Errorf("%s: got %v after %d findings, want the index's error", name, last, n)
		}
	}
}

func TestStoppedComparisonFreesBothIndexes(t *testing.T) {
	freed := 0
	tracked := func(rs ...*job.Row) verify.Rows {
		return func(yield func(*job.Row, error) bool) {
			defer func() { freed++ }()
			rows(rs...)(yield)
		}
	}
	next, stop := iter.Pull2(verify.Compare(tracked(row("a", job.Queued), row("b", job.Queued)), tracked(row("c", job.Queued)), verify.Context{Schema: rq.Schema{}, Now: now}))
	if _, err, ok := next(); err != nil || !ok {
		t.Fatal(err)
	}
	stop()
	if freed != 2 {
		t.Errorf("got %d indexes freed, want 2", freed)
	}
}

// randomRow is a job in a state that RQ itself brings about.
func randomRow(r *rand.Rand, id string) *job.Row {
	s := statuses[r.IntN(len(statuses))]
	out := row(id, s)
	out.DB = int32(r.IntN(2))
	if r.IntN(3) == 0 {
		out.ExpireAt = now.Add(time.Duration(r.IntN(7200)-3600) * time.Second).UnixMilli()
	}
	if s == job.Queued && r.IntN(3) == 0 {
		out.Places[0].Kind = job.InIntermediate
	}
	if r.IntN(4) == 0 {
		out.HeartbeatAt = before(r.IntN(50))
	}
	if r.IntN(6) == 0 {
		out.Problem = "unreadable field ttl"
	}
	if r.IntN(5) == 0 {
		out.Places = append(out.Places, job.Place{Kind: job.InGroup, Queue: "g"})
	}
	if r.IntN(5) == 0 {
		*out = job.Row{DB: out.DB, ID: id, Places: out.Places}
	}
	return out
}

func randomIndex(r *rand.Rand, n int) []*job.Row {
	var out []*job.Row
	for i := range n {
		out = append(out, randomRow(r, fmt.Sprintf("id%04d", i)))
	}
	slices.SortFunc(out, job.Compare)
	return out
}

func TestLawNothingDiffersFromItself(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	x := randomIndex(r, 2000)
	for mode, j := range modes {
		for _, p := range []verify.Policy{verify.AtLeastOnce, verify.AtMostOnce} {
			for _, f := range compare(t, verify.Context{Lineage: j, Policy: p}, rows(x...), rows(x...)) {
				if f.Verdict != verify.Intact || f.Action != verify.None {
					t.Errorf("%s, %s: %s (%s) differs from itself: %s, %s", mode, p, f.JobID, f.Status, f.Verdict, f.Reason)
				}
			}
		}
	}
}

// mutate makes of a snapshot's row what live may hold of it.
func mutate(r *rand.Rand, s *job.Row) *job.Row {
	l := *s
	l.Places, l.Parts = slices.Clone(s.Places), slices.Clone(s.Parts)
	switch r.IntN(7) {
	case 0:
		return nil
	case 1:
		l = job.Row{DB: s.DB, ID: s.ID, Places: l.Places}
	case 2:
		l.Places = nil
	case 3:
		l.Status, l.HeartbeatAt = statuses[r.IntN(len(statuses))], after(r.IntN(100)-50)
	case 4:
		l = *row(s.ID, statuses[r.IntN(len(statuses))])
		l.DB = s.DB
	case 5:
		l.Exists, l.Stub, l.Parts = false, true, nil
		l.ResultAt, l.ResultType = after(r.IntN(100)-50)/1000, int32(r.IntN(6))
	}
	return &l
}

func TestLawsOfEveryFinding(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for range 30 {
		snap := randomIndex(r, 200)
		var live []*job.Row
		known := map[string]*job.Row{}
		for _, s := range snap {
			known[s.ID] = s
			if l := mutate(r, s); l != nil {
				live = append(live, l)
			}
		}
		for mode, j := range modes {
			for _, p := range []verify.Policy{verify.AtLeastOnce, verify.AtMostOnce} {
				for _, f := range compare(t, verify.Context{Lineage: j, Policy: p}, rows(snap...), rows(live...)) {
					checkFinding(t, mode, f)
					checkLaws(t, mode, p, f, known[f.JobID])
				}
			}
		}
	}
}

func checkLaws(t testing.TB, mode string, p verify.Policy, f verify.Finding, s *job.Row) {
	t.Helper()
	acts := (f.Action.Puts() || f.Action == verify.Place) && f.Guard != verify.GuardSeen
	switch {
	case p == verify.AtMostOnce && f.Verdict == verify.Uncertain && acts:
		t.Errorf("%s: at most once, yet an uncertain job would be put back: %+v", mode, f)
	case acts && f.Verdict != verify.Lost && f.Verdict != verify.Misplaced && f.Verdict != verify.Uncertain:
		t.Errorf("%s: action %s on a job that is %s", mode, f.Action, f.Verdict)
	case (f.Action == verify.Requeue || f.Action == verify.Fail) && (s.Status != job.Started || s.Problem != ""):
		t.Errorf("%s: %s on a job that is %s", mode, f.Action, s.Status)
	case f.Action == verify.Restore && !s.Exists:
		t.Errorf("%s: a job the snapshot does not have would be restored: %+v", mode, f)
	case f.Action == verify.Restore && (s.Problem != "" || s.Status == job.Started):
		t.Errorf("%s: %s, problem %q, would be restored by itself", mode, s.Status, s.Problem)
	case f.Action == verify.Restore && s.ExpireAt != 0 && s.ExpireAt <= now.UnixMilli():
		t.Errorf("%s: a job whose time is up would be restored", mode)
	case acts && s.Status.Ended() && (f.Status != s.Status || f.Home != nil):
		t.Errorf("%s: a job that had ended would be queued: %+v", mode, f)
	case mode == "complete" && f.Action == verify.Restore && f.Home == nil:
		t.Errorf("live is complete, yet a job would be restored: %+v", f)
	}
}
