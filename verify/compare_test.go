package verify_test

import (
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
	endless := func(r *job.Row) { r.Timeout = -1 }
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
		verdictCase{name: "running, in no registry", snap: row("j", job.Started, endless), live: row("j", job.Started, places(), endless), verdict: verify.Uncertain, action: verify.Hold},
		verdictCase{name: "its run is dead, and nobody watches it", snap: row("j", job.Started), live: row("j", job.Started, places()), verdict: verify.Misplaced, action: verify.Requeue},
		verdictCase{name: "the same, at most once", policy: verify.AtMostOnce, snap: row("j", job.Started), live: row("j", job.Started, places()), verdict: verify.Uncertain, action: verify.Hold},
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
		{name: "running at the snapshot", modes: "unknown", snap: row("j", job.Started), verdict: verify.Uncertain, action: verify.Hold},
		{name: "running at the snapshot, long ago", modes: lossy, snap: row("j", job.Started), verdict: verify.Uncertain, action: verify.Requeue},
		{name: "waiting for a rate limit", modes: "older flushed unknown", snap: row("j", job.RateLimited), verdict: verify.Uncertain, action: verify.Hold},
		{name: "gone from a server that evicts", modes: "evicting", snap: row("j", job.Queued), verdict: verify.Completed, action: verify.None},
		{name: "running, gone from a server that evicts", modes: "evicting", snap: row("j", job.Started), verdict: verify.Completed, action: verify.None},
		{name: "gone from a server nothing is known of", modes: "unknown", snap: row("j", job.Queued), verdict: verify.Uncertain, action: verify.Hold},
		{name: "gone from a server nothing is known of, at most once", modes: "unknown", policy: verify.AtMostOnce, snap: row("j", job.Finished), verdict: verify.Uncertain, action: verify.Hold},

		// A dump by scan reads a job's hash before its results.
		{name: "it succeeded while the snapshot was taken", snap: row("j", job.Started, result(before(5), 1)), verdict: verify.Completed, action: verify.None},
		{name: "it failed while the snapshot was taken", snap: row("j", job.Queued, result(before(5), 2)), verdict: verify.Completed, action: verify.None},
		{name: "it was retried while the snapshot was taken", modes: lossy, snap: row("j", job.Queued, result(before(5), 4)), verdict: verify.Lost, action: verify.Restore},
		{name: "it runs again, and succeeded before", modes: lossy, snap: row("j", job.Queued, result(before(95), 1)), verdict: verify.Lost, action: verify.Restore},
		{name: "it is to be repeated, and succeeded", modes: lossy, snap: row("j", job.Scheduled, result(before(5), 1), func(r *job.Row) { r.RepeatsLeft = 2 }), verdict: verify.Lost, action: verify.Restore},

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
		// Scores are whole seconds, cut off: the job began within one and ended within the same.
		{name: "live lists it as finished in the second in which it began", modes: "older flushed unknown", snap: row("j", job.Started, func(r *job.Row) { r.HasResultTTL, r.ResultTTL, r.StartedAt = true, 600, before(10)+700_000 }),
			live: traces(finished(sec(after(590)))), verdict: verify.Uncertain, action: verify.Hold},
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
	guard := map[verify.Action]verify.Guard{verify.None: "", verify.Hold: "", verify.Restore: verify.GuardAbsent, verify.Requeue: verify.GuardAbsent, verify.Fail: verify.GuardAbsent, verify.Forward: verify.GuardSeen, verify.Place: verify.GuardSame}[f.Action]
	if f.Home != nil && f.Action == verify.Restore {
		guard = verify.GuardWaits
	}
	seen := (f.Guard == verify.GuardSeen || f.Guard == verify.GuardStub) && f.Seen != nil && (f.Action == verify.Restore || f.Action == verify.Requeue || f.Action == verify.Fail)
	if f.Guard != guard && !seen {
		t.Errorf("%s: got guard %q for action %s, want %q", name, f.Guard, f.Action, guard)
	}
	if f.Verdict != verify.Intact && len(f.Evidence) == 0 {
		t.Errorf("%s: %s, without evidence", name, f.Verdict)
	}
	for _, e := range f.Evidence {
		if e == "" || strings.Contains(e, "%!") {
			t.Errorf("%s: evidence %q", name, e)
		}
	}
	if f.JobID == "" || f.Reason == "" || !slices.Contains(verify.Verdicts, f.Verdict) || strings.Contains(f.Reason, "%!") {
		t.Errorf("%s: got %+v", name, f)
	}
}
