package verify_test

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/internal/rq"
	"rqvault/verify"
)

// The clock of all tests: the snapshot is an hour old, its jobs a little older.
var (
	now   = time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)
	taken = now.Add(-time.Hour)
)

// before and after are instants, in Unix microseconds, that many seconds from the snapshot.
func before(seconds int) int64 { return taken.Add(-time.Duration(seconds) * time.Second).UnixMicro() }
func after(seconds int) int64  { return taken.Add(time.Duration(seconds) * time.Second).UnixMicro() }
func sec(us int64) float64     { return float64(us) / 1e6 }

type edit func(*job.Row)

// row is a job as it stands in a healthy Redis, then edited.
func row(id string, s job.Status, edits ...edit) *job.Row {
	r := &job.Row{ID: id, Exists: true, Status: s, Queue: "q", CreatedAt: before(100), EnqueuedAt: before(90), Parts: []job.Part{{Name: job.HashPart}}}
	switch s {
	case job.Queued:
		r.Places = []job.Place{{Kind: job.InQueue, Queue: "q", Position: 3}}
	case job.Started:
		r.StartedAt = before(10)
		r.Places = []job.Place{{Kind: job.InWip, Queue: "q", Score: sec(after(60))}}
	case job.Finished:
		r.StartedAt, r.EndedAt = before(20), before(10)
		r.ResultAt, r.ResultType = before(10)/1000, 1
		r.Places = []job.Place{{Kind: job.InFinished, Queue: "q", Score: sec(after(490))}}
		r.Parts = append(r.Parts, job.Part{Name: job.ResultsPart})
	case job.Failed, job.Stopped:
		r.StartedAt, r.EndedAt = before(20), before(10)
		r.Places = []job.Place{{Kind: job.InFailed, Queue: "q", Score: sec(after(31536000))}}
	case job.Deferred:
		r.EnqueuedAt = 0
		r.Places = []job.Place{{Kind: job.InDeferred, Queue: "q", Score: sec(before(100))}}
	case job.Scheduled:
		r.EnqueuedAt = 0
		r.Places = []job.Place{{Kind: job.InScheduled, Queue: "q", Score: sec(after(600))}}
	case job.Canceled:
		r.Places = []job.Place{{Kind: job.InCanceled, Queue: "q", Score: sec(before(5))}}
	case job.Ready:
		r.Places = []job.Place{{Kind: job.InReady, Queue: "q"}}
	case job.RateLimited:
		r.Places = []job.Place{{Kind: job.InRateLimited, Queue: "k"}}
	}
	for _, e := range edits {
		e(r)
	}
	return r
}

func places(ps ...job.Place) edit  { return func(r *job.Row) { r.Places = ps } }
func at(k job.PlaceKind) job.Place { return job.Place{Kind: k, Queue: "q"} }
func add(ps ...job.Place) edit {
	return func(r *job.Row) { r.Places = append(slices.Clone(r.Places), ps...) }
}
func expiry(t time.Time) edit { return func(r *job.Row) { r.ExpireAt = t.UnixMilli() } }
func result(us int64, how int32) edit {
	return func(r *job.Row) { r.ResultAt, r.ResultType = us/1000, how }
}

func without(name job.PartName) edit {
	return func(r *job.Row) {
		r.Parts = slices.DeleteFunc(slices.Clone(r.Parts), func(p job.Part) bool { return p.Name == name })
	}
}

// child is a deferred job that waits for one parent.
func child(parent string, edits ...edit) *job.Row {
	linked := func(r *job.Row) {
		r.Parents, r.ParentSet, r.ListedBy = []string{parent}, []string{parent}, []string{parent}
	}
	return row("j", job.Deferred, append([]edit{linked}, edits...)...)
}

// traces is what live knows of an id without its hash.
func traces(edits ...edit) *job.Row {
	r := &job.Row{ID: "j"}
	for _, e := range edits {
		e(r)
	}
	return r
}

func rows(rs ...*job.Row) verify.Rows {
	return func(yield func(*job.Row, error) bool) {
		for _, r := range rs {
			if r != nil && !yield(r, nil) {
				return
			}
		}
	}
}

func compare(t testing.TB, c verify.Context, snap, live verify.Rows) []verify.Finding {
	t.Helper()
	if c.Schema == nil {
		c.Schema = rq.Schema{}
	}
	if c.Now.IsZero() {
		c.Now = now
	}
	if c.Policy == "" {
		c.Policy = verify.AtLeastOnce
	}
	var all []verify.Finding
	for f, err := range verify.Compare(snap, live, c) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return all
}

// modes are all that a comparison can be under.
var modes = map[string]lineage.Judgement{
	"complete": {Mode: lineage.Complete}, "older": {Mode: lineage.Older}, "flushed": {Mode: lineage.Vanished, Flushed: true},
	"evicting": {Mode: lineage.Vanished}, "unknown": {Mode: lineage.Vanished, Unsure: true},
}

var statuses = []job.Status{job.Created, job.Queued, job.Started, job.Deferred, job.Finished, job.Failed, job.Stopped, job.Scheduled, job.Canceled, job.Ready, job.RateLimited}

type verdictCase struct {
	name       string
	snap, live *job.Row
	modes      string // which; empty is all
	policy     verify.Policy
	restored   bool // an earlier restore put it back
	verdict    verify.Verdict
	action     verify.Action
	inPlace    bool
}

func presentCases() []verdictCase {
	older := func(r *job.Row) { r.StartedAt, r.EndedAt, r.HeartbeatAt, r.ResultAt = 0, 0, 0, 0 }
	newer := func(r *job.Row) { r.HeartbeatAt = after(5) }
	touched := func(r *job.Row) { r.EnqueuedAt = before(95) }
	return []verdictCase{
		{name: "only live has it", live: row("j", job.Queued), verdict: verify.New, action: verify.None},
		{name: "only live lists it", live: traces(places(at(job.InQueue))), verdict: verify.New, action: verify.None},
		{name: "the snapshot held only its id", snap: traces(places(at(job.InQueue))), verdict: verify.Intact, action: verify.None},
		{name: "the snapshot held only its id, live the job", snap: traces(places(at(job.InQueue))), live: row("j", job.Queued), verdict: verify.Advanced, action: verify.None},
		{name: "a stub in the snapshot", snap: traces(func(r *job.Row) { r.Stub = true }), live: traces(), verdict: verify.Intact, action: verify.None},

		{name: "another job under this id, newer", snap: row("j", job.Queued), live: row("j", job.Queued, func(r *job.Row) { r.CreatedAt = after(5) }), verdict: verify.Advanced, action: verify.None},
		{name: "another job under this id, older", modes: "complete evicting", snap: row("j", job.Queued), live: row("j", job.Finished, func(r *job.Row) { r.CreatedAt = before(9000) }), verdict: verify.Advanced, action: verify.None},
		{name: "an earlier job under this id came back", modes: "older flushed unknown", snap: row("j", job.Queued), live: row("j", job.Finished, func(r *job.Row) { r.CreatedAt = before(9000) }), verdict: verify.Regressed, action: verify.Hold},
		{name: "live ran it", snap: row("j", job.Queued), live: row("j", job.Finished, newer), verdict: verify.Advanced, action: verify.None},
		{name: "live canceled it, which leaves no time in the hash", snap: row("j", job.Queued),
			live: row("j", job.Canceled, places(job.Place{Kind: job.InCanceled, Queue: "q", Score: sec(after(1))})), verdict: verify.Advanced, action: verify.None},
		{name: "live requeued it", snap: row("j", job.Failed), live: row("j", job.Queued, func(r *job.Row) { r.EnqueuedAt = after(1) }), verdict: verify.Advanced, action: verify.None},
		{name: "its results are gone", snap: row("j", job.Finished), live: row("j", job.Finished, without(job.ResultsPart), result(0, 0)), verdict: verify.Misplaced, action: verify.Place},
		{name: "the set of its parents is gone", snap: child("p"), live: child("p", func(r *job.Row) { r.ParentSet = nil }), verdict: verify.Misplaced, action: verify.Place},
		{name: "its parent no longer lists it", snap: child("p"), live: child("p", func(r *job.Row) { r.ListedBy = nil }), verdict: verify.Misplaced, action: verify.Place},
		{name: "nothing is wrong with a child", snap: child("p"), live: child("p"), verdict: verify.Intact, action: verify.None},
		{name: "finished then, queued now", modes: "older flushed unknown", snap: row("j", job.Finished), live: row("j", job.Queued), verdict: verify.Regressed, action: verify.Hold},
		{name: "canceled then, queued now", modes: "older flushed unknown", snap: row("j", job.Canceled), live: row("j", job.Queued), verdict: verify.Regressed, action: verify.Hold},
		{name: "queued then, scheduled now", modes: "older flushed unknown", snap: row("j", job.Queued), live: row("j", job.Scheduled), verdict: verify.Regressed, action: verify.Hold},
		{name: "an older version of one status", modes: "older flushed unknown", snap: row("j", job.Queued), live: row("j", job.Queued, touched), verdict: verify.Regressed, action: verify.Hold},
		{name: "an older version, though live lost nothing", modes: "complete", snap: row("j", job.Finished), live: row("j", job.Queued, older), verdict: verify.Advanced, action: verify.None},
		{name: "same age, another status", modes: "older flushed unknown", snap: row("j", job.Queued), live: row("j", job.Canceled, places()), verdict: verify.Uncertain, action: verify.Hold},
	}
}

func placeCases() []verdictCase {
	var all []verdictCase
	for _, s := range statuses {
		all = append(all, verdictCase{name: "nothing happened to a job that is " + string(s), snap: row("j", s), live: row("j", s), verdict: verify.Intact, action: verify.None})
	}
	for _, s := range []job.Status{job.Finished, job.Failed, job.Stopped, job.Deferred, job.Scheduled, job.Canceled, job.Ready} {
		all = append(all,
			verdictCase{name: "registry entry lost of a job that is " + string(s), snap: row("j", s), live: row("j", s, func(r *job.Row) {
				if s == job.Canceled {
					r.HeartbeatAt = before(5) // its version was the score that is gone
				}
				r.Places = nil
			}), verdict: verify.Misplaced, action: verify.Place},
			verdictCase{name: "a queue lists a job that is " + string(s), snap: row("j", s), live: row("j", s, add(at(job.InQueue))), verdict: verify.Misplaced, action: verify.Hold})
	}
	wip := job.Place{Kind: job.InWip, Queue: "q", Member: "j:0123456789abcdef0123456789abcdef"}
	q2 := job.Place{Kind: job.InQueue, Queue: "other"}
	return append(all,
		verdictCase{name: "in no list", snap: row("j", job.Queued), live: row("j", job.Queued, places()), verdict: verify.Misplaced, action: verify.Place},
		verdictCase{name: "in a leftover that nobody reads", snap: row("j", job.Queued), live: row("j", job.Queued, places(at(job.InCompact))), verdict: verify.Misplaced, action: verify.Place},
		verdictCase{name: "popped, not yet prepared", snap: row("j", job.Queued), live: row("j", job.Queued, places(at(job.InIntermediate))), verdict: verify.Intact, action: verify.None},
		verdictCase{name: "popped, signed for, not yet started", snap: row("j", job.Queued), live: row("j", job.Queued, places(at(job.InIntermediate), wip)), verdict: verify.Intact, action: verify.None},
		// A worker of several queues pops the id, signs, forks; only the child writes "started".
		verdictCase{name: "taken by a worker of several queues", snap: row("j", job.Queued), live: row("j", job.Queued, places(wip)), verdict: verify.InFlight, action: verify.Hold},
		verdictCase{name: "taken, by its executions", snap: row("j", job.Queued), live: row("j", job.Queued, places(), func(r *job.Row) {
			r.Parts = append(slices.Clone(r.Parts), job.Part{Name: job.ExecutionsPart})
		}), verdict: verify.InFlight, action: verify.Hold},
		verdictCase{name: "twice in one list", snap: row("j", job.Queued), live: row("j", job.Queued, add(at(job.InQueue))), verdict: verify.Misplaced, action: verify.Hold},
		verdictCase{name: "in two lists", snap: row("j", job.Queued), live: row("j", job.Queued, add(q2)), verdict: verify.Misplaced, action: verify.Hold},
		verdictCase{name: "in a list and popped", snap: row("j", job.Queued), live: row("j", job.Queued, add(at(job.InIntermediate))), verdict: verify.Misplaced, action: verify.Hold},
		verdictCase{name: "running and queued", snap: row("j", job.Started), live: row("j", job.Started, add(at(job.InQueue))), verdict: verify.Misplaced, action: verify.Hold},
		verdictCase{name: "running, in no registry", snap: row("j", job.Started), live: row("j", job.Started, places()), verdict: verify.InFlight, action: verify.Hold},
		verdictCase{name: "ended, and in no registry in the snapshot either", snap: row("j", job.Finished, places()), live: row("j", job.Finished, places()), verdict: verify.Intact, action: verify.None},
		// Memberships in two places that RQ makes itself.
		verdictCase{name: "a repeated job", snap: row("j", job.Scheduled, add(at(job.InFinished))), live: row("j", job.Scheduled, add(at(job.InFinished))), verdict: verify.Intact, action: verify.None},
		verdictCase{name: "canceled while running", snap: row("j", job.Finished, add(at(job.InCanceled))), live: row("j", job.Finished, add(at(job.InCanceled))), verdict: verify.Intact, action: verify.None},
		verdictCase{name: "requeued after a cancel", snap: row("j", job.Queued, add(at(job.InCanceled))), live: row("j", job.Queued, add(at(job.InCanceled))), verdict: verify.Intact, action: verify.None},
	)
}

func absentCases() []verdictCase {
	lossy := "older flushed"
	stub := func(r *job.Row) { r.Stub = true }
	finished := func(score float64) edit { return places(job.Place{Kind: job.InFinished, Queue: "q", Score: score}) }
	all := []verdictCase{
		{name: "queued, live lost data", modes: lossy, snap: row("j", job.Queued), verdict: verify.Lost, action: verify.Restore},
		{name: "popped, live lost data", modes: lossy, snap: row("j", job.Queued, places(at(job.InIntermediate))), verdict: verify.Lost, action: verify.Restore},
		{name: "in a leftover, live lost data", modes: lossy, snap: row("j", job.Queued, places(at(job.InCompact))), verdict: verify.Lost, action: verify.Restore},
		{name: "just taken at the snapshot", modes: lossy, snap: row("j", job.Queued, places()), verdict: verify.Uncertain, action: verify.Restore},
		{name: "just taken at the snapshot, at most once", modes: lossy, policy: verify.AtMostOnce, snap: row("j", job.Queued, places()), verdict: verify.Uncertain, action: verify.Hold},
		{name: "running at the snapshot", modes: "older flushed unknown", snap: row("j", job.Started), verdict: verify.Uncertain, action: verify.Hold},
		{name: "waiting for a rate limit", modes: "older flushed unknown", snap: row("j", job.RateLimited), verdict: verify.Uncertain, action: verify.Hold},
		{name: "gone from a server that evicts", modes: "evicting", snap: row("j", job.Queued), verdict: verify.Completed, action: verify.None},
		{name: "running, gone from a server that evicts", modes: "evicting", snap: row("j", job.Started), verdict: verify.Completed, action: verify.None},
		{name: "gone from a server nothing is known of", modes: "unknown", snap: row("j", job.Queued), verdict: verify.Uncertain, action: verify.Hold},
		{name: "gone from a server nothing is known of, at most once", modes: "unknown", policy: verify.AtMostOnce, snap: row("j", job.Finished), verdict: verify.Uncertain, action: verify.Hold},

		{name: "its time is up", modes: "older flushed evicting unknown complete", snap: row("j", job.Queued, expiry(now.Add(-time.Millisecond))), verdict: verify.Expired, action: verify.None},
		{name: "its time is up now", snap: row("j", job.Queued, expiry(now)), verdict: verify.Expired, action: verify.None},
		{name: "its time is not quite up", modes: lossy, snap: row("j", job.Queued, expiry(now.Add(time.Millisecond))), verdict: verify.Lost, action: verify.Restore},

		{name: "its results say it succeeded", snap: row("j", job.Queued), live: traces(result(after(5), 1)), verdict: verify.Completed, action: verify.None},
		{name: "its results say it failed", snap: row("j", job.Started), live: traces(result(after(5), 2)), verdict: verify.Completed, action: verify.None},
		{name: "retried once more than in the snapshot proves no end", modes: lossy, snap: row("j", job.Queued), live: traces(result(after(5), 4)), verdict: verify.Lost, action: verify.Restore},
		{name: "results of an earlier run prove nothing", modes: lossy, snap: row("j", job.Queued), live: traces(result(before(300), 1)), verdict: verify.Lost, action: verify.Restore},
		{name: "its own results, known to the snapshot", modes: lossy, snap: row("j", job.Finished), live: traces(result(before(10), 1)), verdict: verify.Lost, action: verify.Restore},
		{name: "one of many repeats succeeded", modes: lossy, snap: row("j", job.Scheduled, func(r *job.Row) { r.RepeatsLeft = 3 }), live: traces(result(after(5), 1)), verdict: verify.Lost, action: verify.Restore},

		{name: "live lists it as finished", snap: row("j", job.Queued), live: traces(finished(sec(after(600)))), verdict: verify.Completed, action: verify.None},
		{name: "live lists it as finished for ever", snap: row("j", job.Queued), live: traces(finished(posInf)), verdict: verify.Completed, action: verify.None},
		{name: "live lists it as failed for ever", snap: row("j", job.Queued), live: traces(places(job.Place{Kind: job.InFailed, Queue: "q", Score: -1})), verdict: verify.Completed, action: verify.None},
		{name: "live lists it as canceled", snap: row("j", job.Queued), live: traces(places(job.Place{Kind: job.InCanceled, Queue: "q", Score: sec(after(1))})), verdict: verify.Completed, action: verify.None},
		// The same id was used before: a daily report, say. An older dump still lists that run.
		{name: "live lists an earlier run as finished", modes: lossy, snap: row("j", job.Queued), live: traces(finished(sec(before(200)))), verdict: verify.Lost, action: verify.Restore},
		{name: "live lists an earlier run as finished, by its result_ttl", modes: lossy, snap: row("j", job.Queued, func(r *job.Row) { r.HasResultTTL, r.ResultTTL = true, 3600 }),
			live: traces(finished(sec(after(3000)))), verdict: verify.Lost, action: verify.Restore},
		{name: "live lists an earlier cancel", modes: lossy, snap: row("j", job.Queued), live: traces(places(job.Place{Kind: job.InCanceled, Queue: "q", Score: sec(before(200))})), verdict: verify.Lost, action: verify.Restore},
		{name: "finished in the snapshot too", modes: lossy, snap: row("j", job.Scheduled, add(at(job.InFinished))), live: traces(finished(sec(after(600)))), verdict: verify.Lost, action: verify.Restore},

		{name: "a heartbeat came after the loss", snap: row("j", job.Started), live: traces(stub), verdict: verify.InFlight, action: verify.Hold},
		{name: "an execution came after the loss", snap: row("j", job.Queued), live: traces(func(r *job.Row) { r.Parts = []job.Part{{Name: job.ExecutionsPart}} }), verdict: verify.InFlight, action: verify.Hold},
		{name: "a running entry is left", snap: row("j", job.Queued), live: traces(places(at(job.InWip))), verdict: verify.InFlight, action: verify.Hold},
		{name: "a result counts more than a heartbeat", snap: row("j", job.Started), live: traces(stub, result(after(5), 1)), verdict: verify.Completed, action: verify.None},

		{name: "its id still waits", snap: row("j", job.Queued), live: traces(places(at(job.InQueue))), verdict: verify.Lost, action: verify.Restore, inPlace: true},
		{name: "its id is still scheduled", snap: row("j", job.Scheduled), live: traces(places(at(job.InScheduled))), verdict: verify.Lost, action: verify.Restore, inPlace: true},
		{name: "its id is still deferred", snap: row("j", job.Deferred), live: traces(places(at(job.InDeferred))), verdict: verify.Lost, action: verify.Restore, inPlace: true},
		{name: "its id waits elsewhere", snap: row("j", job.Scheduled), live: traces(places(at(job.InQueue))), verdict: verify.Uncertain, action: verify.Hold},
		{name: "it was running, and its id waits", snap: row("j", job.Started), live: traces(places(at(job.InQueue))), verdict: verify.Uncertain, action: verify.Hold},
		{name: "its id waits, but its time is up", snap: row("j", job.Queued, expiry(now)), live: traces(places(at(job.InQueue))), verdict: verify.Expired, action: verify.None},
	}
	all = append(all, verdictCase{name: "its id still waits, though a restore had it before", snap: row("j", job.Queued), live: traces(places(at(job.InQueue))),
		restored: true, verdict: verify.Lost, action: verify.Restore, inPlace: true},
		verdictCase{name: "a restore had it before", snap: row("j", job.Queued), restored: true, verdict: verify.Completed, action: verify.None},
		verdictCase{name: "it may have run", modes: lossy, policy: verify.AtMostOnce, snap: row("j", job.Queued), verdict: verify.Uncertain, action: verify.Hold},
		verdictCase{name: "a record runs never", modes: lossy, policy: verify.AtMostOnce, snap: row("j", job.Failed), verdict: verify.Lost, action: verify.Restore})
	for _, s := range statuses {
		all = append(all, verdictCase{name: "gone from a complete server: " + string(s), modes: "complete", snap: row("j", s), verdict: verify.Completed, action: verify.None})
		if s.Ended() {
			all = append(all,
				verdictCase{name: "ended, lost: " + string(s), modes: lossy, snap: row("j", s), verdict: verify.Lost, action: verify.Restore},
				verdictCase{name: "ended, yet its id waits: " + string(s), snap: row("j", s), live: traces(places(at(job.InQueue))), verdict: verify.Regressed, action: verify.Hold},
				verdictCase{name: "ended, yet its id is scheduled: " + string(s), snap: row("j", s), live: traces(places(at(job.InScheduled))), verdict: verify.Regressed, action: verify.Hold})
		}
		// A poison hash makes a worker exit: it never comes back by itself.
		if s != job.Started && s != job.RateLimited {
			poison := row("j", s, func(r *job.Row) { r.Problem = "unreadable field created_at" })
			all = append(all, verdictCase{name: "a worker could not read it: " + string(s), modes: lossy, snap: poison, verdict: verify.Lost, action: verify.Hold})
		}
	}
	for _, s := range []job.Status{job.Created, job.Deferred, job.Scheduled, job.Ready} {
		all = append(all, verdictCase{name: "waiting, lost: " + string(s), modes: lossy, snap: row("j", s), verdict: verify.Lost, action: verify.Restore})
	}
	return all
}

var posInf = func() float64 { var zero float64; return 1 / zero }()

func TestVerdicts(t *testing.T) {
	for _, c := range slices.Concat(presentCases(), placeCases(), absentCases()) {
		for mode, j := range modes {
			if c.modes != "" && !slices.Contains(strings.Fields(c.modes), mode) {
				continue
			}
			all := compare(t, verify.Context{Lineage: j, Policy: c.policy, Restored: func(verify.JobKey) bool { return c.restored }}, rows(c.snap), rows(c.live))
			if len(all) != 1 {
				t.Errorf("%s (%s): got %d findings, want one", c.name, mode, len(all))
				continue
			}
			f := all[0]
			if f.Verdict != c.verdict || f.Action != c.action || (f.Home != nil) != c.inPlace {
				t.Errorf("%s (%s): got %s, %s, in place %v, want %s, %s, %v; because %q", c.name, mode, f.Verdict, f.Action, f.Home != nil, c.verdict, c.action, c.inPlace, f.Reason)
			}
			checkFinding(t, c.name, f)
		}
	}
}

// checkFinding holds for every finding there is.
func checkFinding(t testing.TB, name string, f verify.Finding) {
	t.Helper()
	guard := map[verify.Action]verify.Guard{verify.None: "", verify.Hold: "", verify.Restore: verify.GuardAbsent, verify.Place: verify.GuardSame}[f.Action]
	if f.Home != nil && f.Action == verify.Restore {
		guard = verify.GuardWaits
	}
	if f.Guard != guard {
		t.Errorf("%s: got guard %q for action %s, want %q", name, f.Guard, f.Action, guard)
	}
	if f.JobID == "" || f.Reason == "" || !slices.Contains(verify.Verdicts, f.Verdict) || strings.Contains(f.Reason, "%!") {
		t.Errorf("%s: got %+v", name, f)
	}
}

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

func TestHalfwayRestoreOfADeferredJob(t *testing.T) {
	c := verify.Context{Lineage: modes["older"], Halfway: func(k verify.JobKey) bool { return k.ID == "j" }}
	if f := compare(t, c, rows(row("j", job.Deferred)), rows(row("j", job.Deferred)))[0]; f.Verdict != verify.Misplaced || f.Action != verify.Place {
		t.Errorf("got %s, %s, want misplaced, place: nobody else looks at its parents", f.Verdict, f.Action)
	}
	if f := compare(t, c, rows(row("j", job.Queued)), rows(row("j", job.Queued)))[0]; f.Verdict != verify.Intact {
		t.Errorf("a queued job: got %s, want intact", f.Verdict)
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
	acts := f.Action == verify.Restore || f.Action == verify.Place
	switch {
	case p == verify.AtMostOnce && f.Verdict == verify.Uncertain && acts:
		t.Errorf("%s: at most once, yet an uncertain job would be put back: %+v", mode, f)
	case acts && f.Verdict != verify.Lost && f.Verdict != verify.Misplaced && f.Verdict != verify.Uncertain:
		t.Errorf("%s: action %s on a job that is %s", mode, f.Action, f.Verdict)
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
