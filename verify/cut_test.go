package verify_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/verify"
)

// Single keys vanish from a server that runs on. Which, only the jobs tell.
func TestKeysThatVanishedOneByOne(t *testing.T) {
	keeps := func(r *job.Row) { r.ResultTTL, r.HasResultTTL = 86400, true }
	none := func(r *job.Row) { r.ResultTTL, r.HasResultTTL = 0, true }
	listedAs := func(p job.Place) *job.Row { return &job.Row{ID: "a", Places: []job.Place{p}} }
	var snap, live []*job.Row
	for i := range 6 {
		snap = append(snap, row(fmt.Sprint("k", i), job.Queued, places(job.Place{Kind: job.InQueue, Queue: "q", Position: int64(i)})))
		if i != 5 {
			live = append(live, row(fmt.Sprint("k", i), job.Queued, places()))
		}
	}
	for name, c := range map[string]struct {
		snap, live []*job.Row
		id         string
		policy     verify.Policy
		verdict    verify.Verdict
		action     verify.Action
	}{
		"nothing else is wrong":                {snap: []*job.Row{row("j", job.Queued, keeps)}, verdict: verify.Completed, action: verify.None},
		"a finished one lost its hash":         {snap: []*job.Row{row("a", job.Finished), row("j", job.Queued, keeps)}, live: []*job.Row{listedAs(job.Place{Kind: job.InFinished, Queue: "q", Score: sec(after(9000))})}, verdict: verify.Uncertain, action: verify.Restore},
		"the same, at most once":               {snap: []*job.Row{row("a", job.Finished), row("j", job.Queued, keeps)}, live: []*job.Row{listedAs(job.Place{Kind: job.InFinished, Queue: "q", Score: sec(after(9000))})}, policy: verify.AtMostOnce, verdict: verify.Uncertain, action: verify.Hold},
		"that one's own time had come":         {snap: []*job.Row{row("a", job.Finished), row("j", job.Queued, keeps)}, live: []*job.Row{listedAs(job.Place{Kind: job.InFinished, Queue: "q", Score: sec(after(3590))})}, verdict: verify.Completed, action: verify.None},
		"an id waits without its hash":         {snap: []*job.Row{row("a", job.Queued), row("j", job.Queued, none)}, live: []*job.Row{listedAs(at(job.InQueue))}, verdict: verify.Uncertain, action: verify.Hold},
		"the record would be gone by now":      {snap: []*job.Row{row("a", job.Queued), row("j", job.Queued)}, live: []*job.Row{listedAs(at(job.InQueue))}, verdict: verify.Completed, action: verify.None},
		"a registry is gone":                   {snap: []*job.Row{row("a", job.Failed), row("j", job.Scheduled, keeps)}, live: []*job.Row{row("a", job.Failed, places())}, verdict: verify.Uncertain, action: verify.Restore},
		"it was running, and that is over":     {snap: []*job.Row{row("a", job.Failed), row("j", job.Started, keeps)}, live: []*job.Row{row("a", job.Failed, places())}, verdict: verify.Uncertain, action: verify.Requeue},
		"a list is gone, and what it held":     {snap: snap, live: live, id: "k5", policy: verify.AtMostOnce, verdict: verify.Lost, action: verify.Restore},
		"one in pieces is a deletion's fate":   {snap: []*job.Row{row("b", job.Failed), row("j", job.Queued, keeps)}, live: []*job.Row{row("b", job.Failed, places())}, verdict: verify.Completed, action: verify.None},
		"one id in no list is a worker's fate": {snap: []*job.Row{row("b", job.Queued), row("j", job.Queued, keeps)}, live: []*job.Row{row("b", job.Queued, places())}, verdict: verify.Completed, action: verify.None},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := against(&fakeLive{looks: [][]*job.Row{withTwin(c.live)}, facts: sameFacts(nil), undated: true}, withTwin(c.snap)...)
			if c.policy != "" {
				o.Policy = c.policy
			}
			r, err := verify.Against(t.Context(), o)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if c.id == "" {
				c.id = "j"
			}
			for _, f := range r.Findings {
				if f.JobID == c.id && (f.Verdict != c.verdict || f.Action != c.action) {
					t.Errorf("%s: got %s, %s, want %s, %s; because %q", name, f.Verdict, f.Action, c.verdict, c.action, f.Reason)
				}
				checkFinding(t, name, f)
			}
			if v := verdictOf(r, c.id); v != c.verdict {
				t.Errorf("%s: %s is %s, want %s", name, c.id, v, c.verdict)
			}
			if mode := r.Lineage.Mode; (mode == lineage.Vanished) != (c.verdict != verify.Completed || strings.Contains(name, "by now")) {
				t.Errorf("%s: mode %s, because %q", name, mode, r.Lineage.Reasons)
			}
		})
	}
}

// withTwin adds to the job a, if it is there, one that is like it.
func withTwin(rs []*job.Row) []*job.Row {
	for i, r := range rs {
		if r.ID == "a" {
			twin := *r
			twin.ID = "a2"
			return slices.Insert(slices.Clone(rs), i+1, &twin)
		}
	}
	return rs
}

// An id may have had several jobs, and what an earlier one left tells nothing of the later.
// A job that keeps no record of its success is not brought back on such signs.
func TestIdsThatAreUsedAgain(t *testing.T) {
	failed := job.Place{Kind: job.InFailed, Queue: "q", Score: sec(after(31536000))}
	none := func(r *job.Row) { r.ResultTTL, r.HasResultTTL = 0, true }
	only := func(id string, p job.Place) *job.Row { return &job.Row{ID: id, Places: []job.Place{p}} }
	ids := []string{"a", "b", "c", "d"}
	for name, c := range map[string]struct {
		snap func(id string) *job.Row
		live func(id string) *job.Row
		want verify.Action // on a job that is gone and keeps no record
	}{
		"failed once before the snapshot, then succeeded": {func(id string) *job.Row { return row(id, job.Queued, add(failed)) }, func(id string) *job.Row { return only(id, failed) }, verify.None},
		"one of a registry was taken out": {func(id string) *job.Row { return row(id, job.Failed) }, func(id string) *job.Row {
			if id == "a" {
				return row(id, job.Failed)
			}
			return row(id, job.Failed, places())
		}, verify.None},
		"a whole registry is gone":         {func(id string) *job.Row { return row(id, job.Failed) }, func(id string) *job.Row { return row(id, job.Failed, places()) }, verify.Restore},
		"they had a ttl, and wait no more": {func(id string) *job.Row { return row(id, job.Queued, func(r *job.Row) { r.TTL = 60 }) }, func(id string) *job.Row { return only(id, at(job.InQueue)) }, verify.None},
		"an id that is used once": {func(id string) *job.Row {
			return row("0f8fad5b-d9cb-469f-a165-70867728950"+strconv.Itoa(int(id[0]-'a')), job.Failed)
		}, func(id string) *job.Row {
			if id != "a" {
				return nil
			}
			return only("0f8fad5b-d9cb-469f-a165-708677289500", failed)
		}, verify.Restore},
		"many that could each be an earlier job's": {func(id string) *job.Row { return row(id, job.Failed) }, func(id string) *job.Row { return only(id, failed) }, verify.Hold},
	} {
		synctest.Test(t, func(t *testing.T) {
			var snap, live []*job.Row
			for _, id := range ids {
				snap, live = append(snap, c.snap(id)), append(live, c.live(id))
			}
			snap = append(snap, row("j", job.Queued, none))
			r, err := verify.Against(t.Context(), against(&fakeLive{looks: [][]*job.Row{live}, facts: sameFacts(nil), undated: true}, snap...))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Findings {
				if f.JobID == "j" && f.Action != c.want {
					t.Errorf("%s: %s, %s, want %s; because %q", name, f.Verdict, f.Action, c.want, f.Reason)
				}
			}
		})
	}
}

// What looks like a vanished key only for a moment counts for nothing.
func TestVanishedKeysAreLookedAtTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		snap := []*job.Row{row("a", job.Failed), row("j", job.Queued, func(r *job.Row) { r.ResultTTL, r.HasResultTTL = 86400, true })}
		f := &fakeLive{looks: [][]*job.Row{withTwin([]*job.Row{row("a", job.Failed, places())}), withTwin([]*job.Row{row("a", job.Failed)})}, facts: sameFacts(nil), undated: true}
		r, err := verify.Against(t.Context(), against(f, withTwin(snap)...))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Findings {
			if f.Action != verify.None {
				t.Errorf("%s: %s, %s: %s", f.JobID, f.Verdict, f.Action, f.Reason)
			}
		}
	})
}

// A child that waited for one job alone, and has been started, tells that this one ended.
func TestAChildTellsThatItsParentEnded(t *testing.T) {
	for name, c := range map[string]struct {
		child   *job.Row // in live
		parents []string
		signed  bool
		verdict verify.Verdict
	}{
		"started":                {child: row("c", job.Started), verdict: verify.Completed},
		"queued":                 {child: row("c", job.Queued, func(r *job.Row) { r.EnqueuedAt = after(1) }), verdict: verify.Completed},
		"still waits":            {child: row("c", job.Deferred), verdict: verify.Lost},
		"canceled":               {child: row("c", job.Canceled), verdict: verify.Lost},
		"waited for others, too": {child: row("c", job.Queued), parents: []string{"j", "k"}, verdict: verify.Lost},
		"put back by a restore":  {child: row("c", job.Queued), signed: true, verdict: verify.Lost},
		"another job by now":     {child: row("c", job.Queued, func(r *job.Row) { r.CreatedAt = after(1) }), verdict: verify.Lost},
		"gone":                   {verdict: verify.Lost},
	} {
		synctest.Test(t, func(t *testing.T) {
			waits := row("c", job.Deferred, func(r *job.Row) { r.Parents = []string{"j"} })
			if c.parents != nil {
				waits.Parents = c.parents
			}
			f := &fakeLive{looks: [][]*job.Row{{}}, facts: sameFacts(map[string]int64{"flushall": 1}), undated: true}
			if c.child != nil {
				f.looks[0] = append(f.looks[0], c.child)
			}
			if c.signed {
				f.restored = map[verify.JobKey]bool{{ID: "c"}: true}
			}
			o := against(f, waits, row("j", job.Queued))
			r, err := verify.Against(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if v := verdictOf(r, "j"); v != c.verdict {
				t.Errorf("%s: got %s, want %s (%v)", name, v, c.verdict, r.Lineage.Reasons)
			}
		})
	}
}

// Redis came back from an older dump in which a job has an older state.
func TestRegressedJobs(t *testing.T) {
	older := lineage.Judgement{Mode: lineage.Older, StartedAt: now.Add(-time.Minute)}
	dead := lineage.Judgement{Mode: lineage.Older, StartedAt: now.Add(-time.Hour)}
	early := func(r *job.Row) { r.EnqueuedAt, r.StartedAt = before(95), 0 }
	signed := add(at(job.InWip))
	for name, c := range map[string]struct {
		snap, live *job.Row
		lineage    lineage.Judgement
		policy     verify.Policy
		started    verify.OnStarted
		action     verify.Action
	}{
		"finished, queued again":             {snap: row("j", job.Finished), live: row("j", job.Queued), action: verify.Forward},
		"finished, running in the old data":  {snap: row("j", job.Finished), live: row("j", job.Started, places(), func(r *job.Row) { r.StartedAt = before(15) }), action: verify.Forward},
		"finished, a worker has signed":      {snap: row("j", job.Finished), live: row("j", job.Queued, signed), action: verify.Hold},
		"finished, touched since":            {snap: row("j", job.Finished, func(r *job.Row) { r.EndedAt = now.UnixMicro() }), live: row("j", job.Queued, func(r *job.Row) { r.EnqueuedAt = now.Add(-time.Second).UnixMicro() }), action: verify.Hold},
		"queued, deferred in the old data":   {snap: row("j", job.Queued), live: row("j", job.Deferred), action: verify.Forward},
		"the same, at most once":             {snap: row("j", job.Queued), live: row("j", job.Deferred), policy: verify.AtMostOnce, action: verify.Hold},
		"queued, scheduled in the old data":  {snap: row("j", job.Queued), live: row("j", job.Scheduled), action: verify.Forward},
		"requeued, failed in the old data":   {snap: row("j", job.Queued), live: row("j", job.Failed, func(r *job.Row) { r.EnqueuedAt, r.StartedAt, r.EndedAt = before(98), before(97), before(96) }), action: verify.Forward},
		"queued later than in the old data":  {snap: row("j", job.Queued), live: row("j", job.Queued, early), policy: verify.AtMostOnce, action: verify.Forward},
		"a retry, queued in the old data":    {snap: row("j", job.Scheduled, func(r *job.Row) { r.EnqueuedAt = before(80) }), live: row("j", job.Queued), action: verify.Forward},
		"running, maybe still":               {snap: row("j", job.Started), live: row("j", job.Queued, early), action: verify.Forward},
		"running, and dead":                  {snap: row("j", job.Started), live: row("j", job.Queued, early), lineage: dead, action: verify.Requeue},
		"running, and dead, to fail":         {snap: row("j", job.Started), live: row("j", job.Queued, early), lineage: dead, started: verify.StartedFail, action: verify.Fail},
		"running, and dead, at most once":    {snap: row("j", job.Started), live: row("j", job.Queued, early), lineage: dead, policy: verify.AtMostOnce, action: verify.Forward},
		"running without an end":             {snap: row("j", job.Started, func(r *job.Row) { r.Timeout = -1 }), live: row("j", job.Queued, early), lineage: dead, action: verify.Forward},
		"unreadable in the snapshot":         {snap: row("j", job.Queued, func(r *job.Row) { r.Problem = "x" }), live: row("j", job.Deferred), action: verify.Hold},
		"waits for a rate limit, queued now": {snap: row("j", job.RateLimited, func(r *job.Row) { r.EnqueuedAt = before(80) }), live: row("j", job.Queued), action: verify.Hold},
	} {
		if c.lineage.Mode == "" {
			c.lineage = older
		}
		f := compare(t, verify.Context{Lineage: c.lineage, Policy: c.policy, Started: c.started, Taken: taken}, rows(c.snap), rows(c.live))[0]
		if f.Verdict != verify.Regressed || f.Action != c.action {
			t.Errorf("%s: got %s, %s, want regressed, %s; because %q", name, f.Verdict, f.Action, c.action, f.Reason)
		}
		checkFinding(t, name, f)
	}
}
