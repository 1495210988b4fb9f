package verify_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/verify"
)

// sameFacts are of the process that the snapshot was taken from, after those calls.
func sameFacts(calls map[string]int64) lineage.Facts {
	return lineage.Facts{RunID: "aaaaaaaaaaaa", ServerTime: now, UptimeSeconds: 7200, Version: "7.0.15", Calls: calls,
		Replication: lineage.Replication{Role: "master"}}
}

// A flush takes a whole database, and nobody counts which.
func TestWhichDatabaseWasFlushed(t *testing.T) {
	stays, gone := row("stays", job.Scheduled), row("gone", job.Queued)
	record := row("record", job.Failed)
	for name, c := range map[string]struct {
		facts   lineage.Facts
		snap    []*job.Row
		live    []*job.Row
		ours    bool
		verdict verify.Verdict
	}{
		"one that still has jobs was not":           {sameFacts(map[string]int64{"flushdb": 1}), []*job.Row{gone, stays}, []*job.Row{stays}, false, verify.Completed},
		"one that has none may have been":           {sameFacts(map[string]int64{"flushdb": 1}), []*job.Row{gone, stays}, nil, false, verify.Lost},
		"what a restore put back is no witness":     {sameFacts(map[string]int64{"flushdb": 1}), []*job.Row{gone, stays}, []*job.Row{stays}, true, verify.Lost},
		"all were, and somebody loaded a part":      {sameFacts(map[string]int64{"flushall": 1}), []*job.Row{gone, stays}, []*job.Row{stays}, false, verify.Lost},
		"counts were reset, records are gone":       {reset(), []*job.Row{gone, record}, nil, false, verify.Uncertain},
		"counts were reset, nothing else is odd":    {reset(), []*job.Row{gone}, nil, false, verify.Completed},
		"counts were reset, records are there":      {reset(), []*job.Row{gone, record}, []*job.Row{record}, false, verify.Completed},
		"an AOF came back, and records are gone":    {aof(), []*job.Row{gone, record}, nil, false, verify.Lost},
		"an AOF came back, and nothing tells of it": {aof(), []*job.Row{gone}, nil, false, verify.Uncertain},
	} {
		f := &fakeLive{looks: [][]*job.Row{c.live}, facts: c.facts, undated: true, restored: map[verify.JobKey]bool{}}
		if c.ours {
			f.restored[verify.JobKey{ID: "stays"}] = true
		}
		r, err := verify.Against(t.Context(), against(f, c.snap...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := verdictOf(r, "gone"); got != c.verdict {
			t.Errorf("%s: got %s, want %s; because %q", name, got, c.verdict, r.Lineage.Reasons)
		}
	}
}

func reset() lineage.Facts { return sameFacts(map[string]int64{"config|resetstat": 1}) }

// aof is another process, which may have loaded an append-only file.
func aof() lineage.Facts {
	f := restartedFacts()
	f.Persistence = lineage.Persistence{AOFEnabled: true}
	return f
}

func verdictOf(r *verify.Result, id string) verify.Verdict {
	for _, f := range r.Findings {
		if f.JobID == id {
			return f.Verdict
		}
	}
	return verify.Intact
}

// What Redis came back with it had; what is missing of that has left since.
func TestWhatWasLoadedHasLeftSince(t *testing.T) {
	old := row("old", job.Queued, func(r *job.Row) { r.CreatedAt, r.EnqueuedAt = before(7200), before(7200) })
	recent := row("recent", job.Queued)
	f := &fakeLive{looks: [][]*job.Row{{}}} // whose data reaches to a minute before the snapshot
	r, err := verify.Against(t.Context(), against(f, old, recent))
	if err != nil {
		t.Fatal(err)
	}
	if o, n := verdictOf(r, "old"), verdictOf(r, "recent"); o != verify.Completed || n != verify.Lost {
		t.Errorf("got %s and %s, want completed and lost; because %q", o, n, r.Lineage.Reasons)
	}
}

// A parent that ended forgets its children; one that has not must know them, and if all
// have ended, their last end found no child to start.
func TestLostLinks(t *testing.T) {
	const gone = job.Status("")
	for name, c := range map[string]struct {
		p, other job.Status // of the parent that no longer lists the child, and of one that does
		complete bool
		want     verify.Verdict
	}{
		"the parent waits":                             {p: job.Queued, other: job.Queued, want: verify.Misplaced},
		"the parent failed":                            {p: job.Failed, other: job.Finished, want: verify.Misplaced},
		"the parent ended, another is to end":          {p: job.Finished, other: job.Started, want: verify.Intact},
		"the parent ended and went, another is to end": {p: gone, other: job.Started, want: verify.Intact},
		"all parents ended, and nobody started it":     {p: job.Finished, other: job.Finished, want: verify.Misplaced},
		"so they did, in a server that lost nothing":   {p: job.Finished, other: job.Finished, complete: true, want: verify.Misplaced},
		"a parent went from a server that lost keys":   {p: gone, other: job.Finished, want: verify.Misplaced},
		"the parent failed after it was deleted":       {p: job.Failed, other: job.Finished, complete: true, want: verify.Intact},
		"a parent was deleted":                         {p: gone, other: job.Finished, complete: true, want: verify.Intact},
	} {
		both := func(r *job.Row) {
			r.Parents, r.ParentSet, r.ListedBy = []string{"p", "o"}, []string{"p", "o"}, []string{"p", "o"}
		}
		live := []*job.Row{child("p", both, func(r *job.Row) { r.ListedBy = []string{"o"} })}
		for id, s := range map[string]job.Status{"o": c.other, "p": c.p} {
			if s != gone {
				live = append(live, row(id, s))
			}
		}
		slices.SortFunc(live, job.Compare)
		f := &fakeLive{looks: [][]*job.Row{live}, atomic: true}
		if c.complete {
			f.facts = sameFacts(nil)
		}
		synctest.Test(t, func(t *testing.T) {
			r, err := verify.Against(t.Context(), against(f, child("p", both)))
			if err != nil {
				t.Fatal(err)
			}
			if got := verdictOf(r, "j"); got != c.want || r.Counts[c.want] != 1 {
				t.Errorf("%s: got %s, %v, want %s", name, got, r.Counts, c.want)
			}
		})
	}
}

// A worker that is slow to begin holds a job that is in no list.
func TestPatience(t *testing.T) {
	nowhere, started := row("a", job.Queued, places()), row("a", job.Started, func(r *job.Row) { r.HeartbeatAt = after(5) })
	alive := []job.Worker{{Name: "w"}}
	for name, c := range map[string]struct {
		workers []job.Worker
		looks   [][]*job.Row
		policy  verify.Policy
		action  verify.Action
		took    time.Duration
	}{
		"nobody works":            {nil, [][]*job.Row{{nowhere}}, verify.AtLeastOnce, verify.Place, 2 * time.Second},
		"all have signed off":     {[]job.Worker{{Name: "w", Dead: true}}, [][]*job.Row{{nowhere}}, verify.AtLeastOnce, verify.Place, 2 * time.Second},
		"it stays nowhere":        {alive, [][]*job.Row{{nowhere}}, verify.AtLeastOnce, verify.Place, 2 * time.Minute},
		"it moves at once":        {alive, [][]*job.Row{{nowhere}, {started}}, verify.AtLeastOnce, verify.None, 2 * time.Second},
		"it moves late":           {alive, [][]*job.Row{{nowhere}, {nowhere}, {started}}, verify.AtLeastOnce, verify.None, 2 * time.Minute},
		"it must not run twice":   {alive, [][]*job.Row{{nowhere}}, verify.AtMostOnce, verify.Hold, 2 * time.Second},
		"nobody could run it now": {nil, [][]*job.Row{{nowhere}}, verify.AtMostOnce, verify.Place, 2 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := against(&fakeLive{looks: c.looks, workers: c.workers}, row("a", job.Queued))
			o.Policy = c.policy
			told := 0
			o.Waiting = func(d time.Duration, jobs int) { told += jobs }
			began := time.Now()
			r, err := verify.Against(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			action := verify.None
			if len(r.Findings) > 0 {
				action = r.Findings[0].Action
			}
			if took := time.Since(began); action != c.action || took != c.took {
				t.Errorf("%s: got %s after %s, want %s after %s", name, action, took, c.action, c.took)
			}
			if long := c.took > time.Minute; (told > 0) != long {
				t.Errorf("%s: told of %d jobs that are waited for", name, told)
			}
		})
	}
}
