package verify_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/internal/rq"
	"rqvault/verify"
)

// fakeLive shows another image at each look, the last one for ever.
type fakeLive struct {
	looks    [][]*job.Row
	atomic   bool
	facts    lineage.Facts
	factsErr error
	restored map[verify.JobKey]bool
	settled  *verify.Settled
	errs     map[string]error // by what fails
	workers  []job.Worker
	undated  bool // nothing tells how far the data reaches
	images   int
	closed   int
	before   []time.Time
	when     []time.Time
}

func (f *fakeLive) Facts(context.Context) (lineage.Facts, error) { return f.facts, f.factsErr }

func (f *fakeLive) Restored(context.Context) (map[verify.JobKey]bool, error) {
	return f.restored, f.errs["restored"]
}

func (f *fakeLive) Settled(context.Context) (*verify.Settled, error) {
	return f.settled, f.errs["settled"]
}

func (f *fakeLive) Image(_ context.Context, l verify.Look) (verify.Image, error) {
	if err := f.errs["image"]; err != nil {
		return nil, err
	}
	rs := f.looks[min(f.images, len(f.looks)-1)]
	f.images++
	f.before, f.when = append(f.before, l.Before), append(f.when, time.Now())
	return &fakeImage{f, rs}, nil
}

type fakeImage struct {
	f  *fakeLive
	rs []*job.Row
}

func (i *fakeImage) Rows() verify.Rows {
	if i.f.errs["rows"] != nil {
		return cut(i.rs...)
	}
	return rows(i.rs...)
}
func (i *fakeImage) Watermark() time.Time {
	if i.f.undated {
		return time.Time{}
	}
	return taken.Add(-time.Minute)
}
func (i *fakeImage) Workers() []job.Worker           { return i.f.workers }
func (i *fakeImage) Marks() *verify.Marks            { return verify.NewMarks(rq.Schema{}) }
func (i *fakeImage) Registered() map[string][]string { return nil }
func (i *fakeImage) Atomic() bool                    { return i.f.atomic }
func (i *fakeImage) Close() error                    { i.f.closed++; return i.f.errs["close"] }

// restartedFacts are of a server that came back from an older dump.
func restartedFacts() lineage.Facts {
	return lineage.Facts{RunID: "bbbbbbbbbbbb", ServerTime: now, UptimeSeconds: 600, Version: "7.0.15",
		Persistence: lineage.Persistence{LastLoadKeysLoaded: 5}, Replication: lineage.Replication{Role: "master"}}
}

func against(f *fakeLive, snap ...*job.Row) verify.Options {
	if f.facts.RunID == "" && !f.facts.Persistence.Loading && !f.facts.Persistence.AsyncLoading {
		f.facts = restartedFacts()
	}
	return verify.Options{Live: f, Rows: func() verify.Rows { return rows(snap...) }, Schema: rq.Schema{}, Policy: verify.AtLeastOnce,
		Now: func() time.Time { return now }, Past: lineage.NewPast(lineage.Facts{RunID: "aaaaaaaaaaaa"}, lineage.Facts{RunID: "aaaaaaaaaaaa"}, taken, nil)}
}

func TestOneLookIsEnough(t *testing.T) {
	a := row("a", job.Queued)
	for name, c := range map[string]struct {
		live   *fakeLive
		counts map[verify.Verdict]int
	}{
		"nothing to do":            {&fakeLive{looks: [][]*job.Row{{a}}}, map[verify.Verdict]int{verify.Intact: 1}},
		"live does not know it":    {&fakeLive{looks: [][]*job.Row{{}}}, map[verify.Verdict]int{verify.Lost: 1}},
		"all is from one instant":  {&fakeLive{looks: [][]*job.Row{{row("a", job.Queued, add(at(job.InQueue)))}}, atomic: true}, map[verify.Verdict]int{verify.Misplaced: 1}},
		"only news":                {&fakeLive{looks: [][]*job.Row{{a, row("b", job.Queued)}}}, map[verify.Verdict]int{verify.Intact: 1, verify.New: 1}},
		"a restore had it already": {&fakeLive{looks: [][]*job.Row{{}}, restored: map[verify.JobKey]bool{{ID: "a"}: true}}, map[verify.Verdict]int{verify.Completed: 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, err := verify.Against(t.Context(), against(c.live, a))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if c.live.images != 1 || c.live.closed != 1 {
				t.Errorf("%s: looked %d times and closed %d, want once", name, c.live.images, c.live.closed)
			}
			for v, n := range c.counts {
				if r.Counts[v] != n {
					t.Errorf("%s: got %v, want %v", name, r.Counts, c.counts)
				}
			}
			if slices.ContainsFunc(r.Findings, func(f verify.Finding) bool { return f.Verdict == verify.Intact }) {
				t.Errorf("%s: an intact job is among the findings", name)
			}
		})
	}
}

func TestSecondLook(t *testing.T) {
	nowhere := row("a", job.Queued, places())
	started := row("a", job.Started, func(r *job.Row) { r.HeartbeatAt = after(5) })
	for _, c := range []struct {
		name    string
		looks   []*job.Row
		atomic  bool
		verdict verify.Verdict
		action  verify.Action
	}{
		{"it was on its way to a worker", []*job.Row{nowhere, started}, false, verify.Advanced, verify.None},
		{"it was on its way, and is back", []*job.Row{nowhere, row("a", job.Queued)}, false, verify.Intact, verify.None},
		{"it is really nowhere", []*job.Row{nowhere, nowhere}, false, verify.Misplaced, verify.Place},
		{"it moved, and moved again", []*job.Row{row("a", job.Queued, add(at(job.InQueue))), nowhere}, false, verify.Uncertain, verify.Hold},
		// Between its list and the registry of running jobs it is nowhere at any instant.
		{"it was on its way at that one instant", []*job.Row{nowhere, started}, true, verify.Advanced, verify.None},
		{"it is really nowhere, twice at one instant", []*job.Row{nowhere, nowhere}, true, verify.Misplaced, verify.Place},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeLive{atomic: c.atomic}
			for _, l := range c.looks {
				f.looks = append(f.looks, []*job.Row{l})
			}
			r, err := verify.Against(t.Context(), against(f, row("a", job.Queued)))
			if err != nil {
				t.Fatal(err)
			}
			if f.images != 2 || f.closed != 2 || f.when[1].Sub(f.when[0]) < 2*time.Second {
				t.Errorf("%s: looked %d times, at %v", c.name, f.images, f.when)
			}
			got := verify.Finding{Verdict: verify.Intact, Action: verify.None}
			if len(r.Findings) == 1 {
				got = r.Findings[0]
			}
			if len(r.Findings) > 1 || got.Verdict != c.verdict || got.Action != c.action {
				t.Errorf("%s: got %+v, want %s, %s", c.name, r.Findings, c.verdict, c.action)
			}
			if r.Counts[c.verdict] != 1 || got.Action == verify.Hold && got.Guard != "" {
				t.Errorf("%s: got counts %v, guard %q", c.name, r.Counts, got.Guard)
			}
			for v, n := range r.Counts {
				if n != 0 && v != c.verdict {
					t.Errorf("%s: got counts %v", c.name, r.Counts)
				}
			}
		})
	}
}

func TestSecondLookCanBeStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("the user left")
		time.AfterFunc(time.Second, func() { cancel(enough) })
		f := &fakeLive{looks: [][]*job.Row{{row("a", job.Queued, places())}}}
		if _, err := verify.Against(ctx, against(f, row("a", job.Queued))); !errors.Is(err, enough) || f.images != 1 {
			t.Errorf("got %v after %d looks, want the cause after one", err, f.images)
		}
	})
}

func TestErrorsOfALook(t *testing.T) {
	broken := errors.New("connection lost")
	for _, what := range []string{"restored", "settled", "image", "rows", "close"} {
		f := &fakeLive{looks: [][]*job.Row{{row("a", job.Queued)}}, errs: map[string]error{what: broken}}
		want := broken
		if what == "rows" {
			want = errIndex
		}
		if r, err := verify.Against(t.Context(), against(f, row("a", job.Queued))); !errors.Is(err, want) {
			t.Errorf("%s fails: got %v, %v", what, r, err)
		}
		if f.closed != f.images {
			t.Errorf("%s fails: %d images, %d closed", what, f.images, f.closed)
		}
	}
	f := &fakeLive{looks: [][]*job.Row{{}}, factsErr: broken}
	if _, err := verify.Against(t.Context(), against(f)); !errors.Is(err, broken) {
		t.Errorf("facts fail: got %v", err)
	}
	o := against(&fakeLive{looks: [][]*job.Row{{}}})
	o.Rows = func() verify.Rows { return cut(row("a", job.Queued)) }
	if _, err := verify.Against(t.Context(), o); !errors.Is(err, errIndex) {
		t.Errorf("the snapshot's index breaks off: got %v", err)
	}
}

func TestLoadingServerIsNotCompared(t *testing.T) {
	for _, p := range []lineage.Persistence{{Loading: true}, {AsyncLoading: true}} {
		f := &fakeLive{looks: [][]*job.Row{{}}, facts: lineage.Facts{Persistence: p}}
		if _, err := verify.Against(t.Context(), against(f, row("a", job.Queued))); !errors.Is(err, lineage.ErrLoading) || f.images != 0 {
			t.Errorf("got %v after %d looks, want ErrLoading and none", err, f.images)
		}
	}
}

// What producers enqueue in a server's first second must not pass for data that it came
// back with, whatever the rounding of its uptime.
func TestWatermarkIsFromBeforeTheStart(t *testing.T) {
	for _, fraction := range []time.Duration{0, time.Millisecond, 500 * time.Millisecond, 999 * time.Millisecond} {
		facts := restartedFacts()
		facts.ServerTime = now.Add(fraction)
		f := &fakeLive{looks: [][]*job.Row{{}}, facts: facts}
		if _, err := verify.Against(t.Context(), against(f)); err != nil {
			t.Fatal(err)
		}
		// Uptime is the difference of whole seconds: the process may have begun at this one.
		if earliest := now.Add(-600 * time.Second); f.before[0].After(earliest) {
			t.Errorf("server time %s: watermark sought before %s, want %s at the latest", facts.ServerTime, f.before[0], earliest)
		}
	}
	f := &fakeLive{looks: [][]*job.Row{{}}, facts: lineage.Facts{RunID: "x"}}
	if _, err := verify.Against(t.Context(), against(f)); err != nil || !f.before[0].IsZero() {
		t.Errorf("no server time: watermark sought before %s, %v, want none", f.before[0], err)
	}
}

// What a person knows overrules the evidence, and the result says that it did.
func TestAssumedMode(t *testing.T) {
	for mode, want := range map[lineage.Mode]verify.Verdict{"": verify.Lost, lineage.Older: verify.Lost, lineage.Complete: verify.Completed} {
		o := against(&fakeLive{looks: [][]*job.Row{{}}}, row("a", job.Queued))
		o.Assume = mode
		r, err := verify.Against(t.Context(), o)
		if err != nil || len(r.Findings) != 1 || r.Findings[0].Verdict != want {
			t.Errorf("assuming %q: got %+v, %v, want %s", mode, r, err, want)
			continue
		}
		if mode != "" && r.Lineage.Mode != mode || len(r.Lineage.Reasons) == 0 {
			t.Errorf("assuming %q: got %+v", mode, r.Lineage)
		}
	}
	hidden := &fakeLive{looks: [][]*job.Row{{}}, facts: lineage.Facts{ServerTime: now}}
	o := against(hidden, row("a", job.Queued))
	hidden.facts.RunID = ""
	r, err := verify.Against(t.Context(), o)
	if err != nil || !r.Lineage.Unsure || r.Findings[0].Action != verify.Hold {
		t.Errorf("a server that hides its run id: got %+v, %v, want all held", r, err)
	}
	o.Assume = lineage.Older
	if r, err = verify.Against(t.Context(), o); err != nil || r.Lineage.Unsure || r.Findings[0].Action != verify.Restore {
		t.Errorf("the same, told that it lost its data: got %+v, %v, want a restore", r, err)
	}
}
