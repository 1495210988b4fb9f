package restore_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/job"
	"rqvault/restore"
	"rqvault/verify"
)

// queued is a job that stands in the queue q of the snapshot.
func queued(id string, position int64) *job.Row {
	return &job.Row{ID: id, Exists: true, Status: job.Queued, Queue: "q", Places: []job.Place{{Kind: job.InQueue, Queue: "q", Position: position}}}
}

// lost is the finding on a job of the queue q that is to be restored.
func lost(id string, s job.Status) *verify.Finding {
	return &verify.Finding{JobID: id, Queue: "q", Status: s, Verdict: verify.Lost, Action: verify.Restore, Guard: verify.GuardAbsent, Reason: "gone"}
}

func finding(id string, v verify.Verdict, a verify.Action, s job.Status) *verify.Finding {
	return &verify.Finding{JobID: id, Queue: "q", Status: s, Verdict: v, Action: a, Reason: string(v)}
}

// known is a finding on a job that the snapshot has.
func known(f *verify.Finding, snap []*job.Row) *verify.Finding {
	for _, r := range snap {
		if r.DB == f.DB && r.ID == f.JobID {
			f.Stood, f.Follows = r.Runs(), r.Parents
		}
	}
	return f
}

// steps makes a plan's steps of findings and the snapshot's rows.
func steps(t testing.TB, p *restore.Planner, fs []*verify.Finding, snap ...*job.Row) []restore.Step {
	t.Helper()
	var piece []verify.Finding
	for _, f := range fs {
		piece = append(piece, *known(f, snap))
	}
	p.Add(piece[:len(piece)/2], piece[len(piece)/2:])
	out, err := p.Steps(func() verify.Rows { return rows(snap...) })
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func ids(steps []restore.Step) []string {
	out := []string{}
	for _, s := range steps {
		out = append(out, s.JobID+s.Key)
	}
	return out
}

func TestOnlyWhatIsSelectedIsPlanned(t *testing.T) {
	at := func(id, queue string, s job.Status) *verify.Finding {
		f := lost(id, s)
		f.Queue = queue
		return f
	}
	all := []*verify.Finding{at("a1", "a", job.Queued), at("a2", "a", job.Scheduled), at("b1", "b", job.Queued), at("b2", "b", job.Failed), at("x", "", "")}
	for _, c := range []struct {
		name string
		sel  restore.Selection
		want []string
	}{
		{"everything", restore.Selection{}, []string{"x", "a1", "a2", "b1", "b2"}},
		{"empty lists", restore.Selection{Queues: []string{}, Jobs: []string{}, Statuses: []job.Status{}}, []string{"x", "a1", "a2", "b1", "b2"}},
		{"one queue", restore.Selection{Queues: []string{"b"}}, []string{"b1", "b2"}},
		{"two queues", restore.Selection{Queues: []string{"b", "a"}}, []string{"a1", "a2", "b1", "b2"}},
		{"no such queue", restore.Selection{Queues: []string{"A", "a "}}, nil},
		{"one job", restore.Selection{Jobs: []string{"b2"}}, []string{"b2"}},
		{"jobs, not prefixes", restore.Selection{Jobs: []string{"a1", "b"}}, []string{"a1"}},
		{"a status", restore.Selection{Statuses: []job.Status{job.Queued}}, []string{"a1", "b1"}},
		{"two statuses", restore.Selection{Statuses: []job.Status{job.Failed, job.Scheduled}}, []string{"a2", "b2"}},
		{"queue and status", restore.Selection{Queues: []string{"a"}, Statuses: []job.Status{job.Queued}}, []string{"a1"}},
		{"job of another queue", restore.Selection{Queues: []string{"a"}, Jobs: []string{"b1"}}, nil},
		{"all three", restore.Selection{Queues: []string{"b"}, Jobs: []string{"b1", "b2"}, Statuses: []job.Status{job.Failed}}, []string{"b2"}},
	} {
		p := restore.NewPlanner(c.sel)
		if got := ids(steps(t, p, all)); !slices.Equal(got, c.want) && len(got)+len(c.want) > 0 {
			t.Errorf("%s: planned %q, want %q", c.name, got, c.want)
		}
		if n := p.Counts()[verify.Lost]; n != len(all) {
			t.Errorf("%s: counted %d, want all %d, selected or not", c.name, n, len(all))
		}
	}
}

func TestWhatIsHeldAndWhatIsLeftAlone(t *testing.T) {
	place := finding("b", verify.Misplaced, verify.Place, job.Finished)
	place.Guard = verify.GuardSame
	inPlace := lost("c", job.Queued)
	inPlace.Home, inPlace.Guard = &job.Place{Kind: job.InQueue, Queue: "q"}, verify.GuardWaits
	p := restore.NewPlanner(everything)
	got := steps(t, p, []*verify.Finding{
		lost("a", job.Queued), place, inPlace,
		finding("d", verify.Regressed, verify.Hold, job.Finished), finding("e", verify.InFlight, verify.Hold, job.Started),
		finding("f", verify.Uncertain, verify.Hold, job.Queued), finding("g", verify.Lost, verify.Hold, job.Queued),
		finding("n1", verify.Intact, verify.None, job.Queued), finding("n2", verify.Advanced, verify.None, job.Queued),
		finding("n3", verify.Completed, verify.None, job.Queued), finding("n4", verify.Expired, verify.None, job.Queued),
		finding("n5", verify.New, verify.None, job.Queued),
	})
	var lines []string
	for _, s := range got {
		lines = append(lines, fmt.Sprint(s.JobID, " ", s.Verdict, " ", s.Action, " ", s.Guard, " ", s.Status, " ", s.Home != nil, " ", s.Reason))
	}
	want := []string{ // as people read it: by verdict, then by id
		"e in_flight hold  started false in_flight",
		"a lost restore absent queued false gone", "c lost restore waiting queued true gone", "g lost hold  queued false lost",
		"b misplaced place same finished false misplaced", "d regressed hold  finished false regressed", "f uncertain hold  queued false uncertain",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	counts := map[verify.Verdict]int{verify.Lost: 3, verify.Misplaced: 1, verify.Regressed: 1, verify.InFlight: 1, verify.Uncertain: 1,
		verify.Intact: 1, verify.Advanced: 1, verify.Completed: 1, verify.Expired: 1, verify.New: 1}
	if !maps.Equal(p.Counts(), counts) {
		t.Errorf("counts: got %v, want %v", p.Counts(), counts)
	}
}

// What was popped runs before what waits; what was in no list runs before all.
func TestStepsAreRankedByTheirPlaceInTheSnapshot(t *testing.T) {
	in := func(id string, kind job.PlaceKind, position int64) *job.Row {
		r := queued(id, position)
		r.Places[0].Kind = kind
		return r
	}
	both := queued("both", 7)
	both.Places = append(both.Places, job.Place{Kind: job.InIntermediate, Queue: "q"})
	nowhere := queued("zz", 0)
	nowhere.Places = []job.Place{{Kind: job.InGroup, Queue: "g"}}
	snap := []*job.Row{in("p1", job.InIntermediate, 1), in("p0", job.InIntermediate, 0), in("z", job.InQueue, 0), in("a", job.InQueue, 2),
		in("m", job.InQueue, 1), in("c", job.InCompact, 5), both, nowhere}
	var fs []*verify.Finding
	for _, r := range snap {
		fs = append(fs, lost(r.ID, job.Queued))
	}
	got := steps(t, restore.NewPlanner(everything), fs, snap...)
	if want := []string{"zz", "p0", "p1", "c", "z", "m", "a", "both"}; !slices.Equal(ids(got), want) {
		t.Errorf("got %q, want %q", ids(got), want)
	}
	for _, s := range got {
		if s.After != "" {
			t.Errorf("%s follows %q though nothing survived", s.JobID, s.After)
		}
	}
}

func TestStepsOfOtherDatabasesAndQueuesAreApart(t *testing.T) {
	var fs []*verify.Finding
	var snap []*job.Row
	p := restore.NewPlanner(everything)
	for db := range int32(2) {
		for _, q := range []string{"p", "q"} {
			for i, id := range []string{"kept" + q, "x" + q} {
				r := queued(id, int64(i))
				r.DB, r.Queue, r.Places[0].Queue = db, q, q
				snap = append(snap, r)
			}
			f := lost("x"+q, job.Queued)
			f.DB, f.Queue = db, q
			fs = append(fs, f)
		}
	}
	p.Survivors().Note(1, "q", 0) // one of four
	var got []string
	for _, s := range steps(t, p, fs, snap...) {
		got = append(got, fmt.Sprint(s.DB, s.Queue, " ", s.JobID, " after ", s.After))
	}
	if want := []string{"0p xp after ", "0q xq after ", "1p xp after ", "1q xq after keptq"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Each lost id follows the nearest one before it that survived, wherever 64-bit words of
// the survivors' set begin and end.
func TestEachStepFollowsTheLastSurvivorBeforeIt(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 60 {
		n := []int{1, 2, 63, 64, 65, 127, 128, 129, 200, 700}[round%10]
		p := restore.NewPlanner(everything)
		var snap []*job.Row
		var fs []*verify.Finding
		want := map[string]string{}
		last := ""
		share := r.Float64()
		for i := range n {
			row := queued(fmt.Sprintf("j%03d", i), int64(i))
			snap = append(snap, row)
			if r.Float64() < share*share*share {
				p.Survivors().Note(0, "q", int64(i))
				last = row.ID
				continue
			}
			want[row.ID] = last
			fs = append(fs, lost(row.ID, job.Queued))
		}
		got := map[string]string{}
		for _, s := range steps(t, p, fs, snap...) {
			got[s.JobID] = s.After
		}
		if !maps.Equal(got, want) {
			t.Fatalf("of %d jobs: got %v\nwant %v", n, got, want)
		}
	}
}

func TestAStepFollowsASurvivorFarBefore(t *testing.T) {
	const n = 200
	for at := range n {
		p := restore.NewPlanner(everything)
		p.Survivors().Note(0, "q", int64(at))
		p.Survivors().Note(0, "q", n-1)
		var snap []*job.Row
		var fs []*verify.Finding
		for i := range n {
			snap = append(snap, queued(fmt.Sprintf("j%03d", i), int64(i)))
			if i != at && i != n-1 {
				fs = append(fs, lost(snap[i].ID, job.Queued))
			}
		}
		popped := queued("popped", int64(at)) // the same position of another list
		popped.Places[0].Kind = job.InIntermediate
		for _, s := range steps(t, p, fs, append(snap, popped)...) {
			want := ""
			if s.JobID > snap[at].ID {
				want = snap[at].ID
			}
			if s.After != want {
				t.Fatalf("%d survived: %s follows %q, want %q", at, s.JobID, s.After, want)
			}
		}
	}
}

func TestParentsThatHaveNotEndedAreWaitedFor(t *testing.T) {
	child := &job.Row{ID: "child", Exists: true, Status: job.Deferred, Queue: "q", Parents: []string{"queued", "held", "unselected", "finished", "failed", "intact", "unknown", "elsewhere"}}
	elsewhere := lost("elsewhere", job.Queued)
	elsewhere.DB = 1
	unselected := lost("unselected", job.Queued)
	unselected.Queue = "other"
	got := steps(t, restore.NewPlanner(restore.Selection{Queues: []string{"q"}}), []*verify.Finding{lost("child", job.Deferred), lost("queued", job.Queued),
		finding("held", verify.Uncertain, verify.Hold, job.Started), unselected, lost("finished", job.Finished),
		finding("failed", verify.Regressed, verify.Hold, job.Failed), finding("intact", verify.Intact, verify.None, job.Queued), elsewhere}, child)
	at := slices.IndexFunc(got, func(s restore.Step) bool { return s.JobID == "child" })
	if want := []string{"queued", "held", "unselected"}; at < 0 || !slices.Equal(got[at].WaitsFor, want) {
		t.Errorf("got %+v, want child to wait for %q", got, want)
	}
	for i, s := range got {
		if i != at && s.WaitsFor != nil {
			t.Errorf("%s waits for %q", s.JobID, s.WaitsFor)
		}
	}
}

func TestAnIndexThatCannotBeReadMakesNoPlan(t *testing.T) {
	broken := errors.New("disk gone")
	snap := []*job.Row{queued("a", 0), queued("b", 1)}
	p := restore.NewPlanner(everything)
	p.Survivors().Note(0, "q", 0)
	p.Add([]verify.Finding{*known(lost("b", job.Queued), snap)})
	if _, err := p.Steps(func() verify.Rows { return all2(snap[:1], broken) }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the index's error", err)
	}
	if got, err := restore.NewPlanner(everything).Steps(nil); err != nil || len(got) != 0 {
		t.Errorf("nothing to plan: got %v, %v, want the index not even opened", got, err)
	}
}
