package verify

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
)

// Context is what Compare judges by, besides the two rows.
type Context struct {
	Schema  job.Schema
	Lineage lineage.Judgement
	Policy  Policy
	Queues  map[string]Policy // of single queues, before Policy
	// ExtendTTL lets jobs that wait live on by the time since the snapshot, in which nobody
	// could run them.
	ExtendTTL bool
	Started   OnStarted // "" leaves it to the policy
	Workers   []job.Worker
	Taken     time.Time // the instant of the snapshot
	Now       time.Time
	// Restored reports whether a restore since the snapshot put the job back. It may be nil.
	Restored func(k JobKey) bool
	// Halfway reports whether such a restore was stopped before its last step for the job.
	// It may be nil.
	Halfway func(k JobKey) bool
	// Settled are the jobs about which a restore since the snapshot had nothing to do. It
	// may be nil.
	Settled *Settled
	// Kept lists the databases that were certainly not emptied since the snapshot.
	Kept map[int32]bool
	// Gone lists the databases from which records vanished that nothing but a loss removes.
	Gone map[int32]bool
	// Cut lists the databases from which single keys vanished that RQ never removes by
	// itself, though the server ran on.
	Cut map[int32]bool
	// Manned reports whether workers are alive.
	Manned bool
	signs  *signs
	sure   map[int32]bool          // of those in Cut, where no earlier job of an id can have left the signs
	gone   map[queueName]*unlisted // lists that vanished, by the jobs they held
	again  map[int32]bool          // those in Cut that lost keys after the restore that settled jobs
	// Brief leaves out the evidence of findings.
	Brief bool
	// Survivor is told of each id that the snapshot and live have in the same queue, with
	// its position in the snapshot's. It may be nil.
	Survivor func(db int32, queue string, position int64)
}

// Rows is an index in the order of job.Compare; an error is its last element.
type Rows = iter.Seq2[*job.Row, error]

// pair is what both sides have of one job; either may be nil.
type pair struct{ snap, live *job.Row }

// merge goes through both indexes side by side. It holds one row of each at a time.
func merge(snap, live Rows) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		nextSnap, stopSnap := iter.Pull2(snap)
		defer stopSnap()
		nextLive, stopLive := iter.Pull2(live)
		defer stopLive()
		s, sErr, sOK := nextSnap()
		l, lErr, lOK := nextLive()
		for sOK || lOK {
			if sErr != nil || lErr != nil {
				yield(pair{}, cmp.Or(sErr, lErr))
				return
			}
			order := 0
			switch {
			case !sOK:
				order = 1
			case !lOK:
				order = -1
			default:
				order = job.Compare(s, l)
			}
			var p pair
			if order <= 0 {
				p.snap = s
			}
			if order >= 0 {
				p.live = l
			}
			if !yield(p, nil) {
				return
			}
			if order <= 0 {
				s, sErr, sOK = nextSnap()
			}
			if order >= 0 {
				l, lErr, lOK = nextLive()
			}
		}
	}
}

// Compare merges a snapshot's index with a live one and yields the verdict on every
// job that either knows, in order.
func Compare(snap, live Rows, c Context) iter.Seq2[Finding, error] {
	return func(yield func(Finding, error) bool) {
		for p, err := range merge(snap, live) {
			if err != nil {
				yield(Finding{}, err)
				return
			}
			f := c.find(p)
			if !yield(f, nil) {
				return
			}
		}
	}
}

// find gives the verdict on one job, with what a restore and the judging of others need of it.
func (c *Context) find(p pair) Finding {
	f := c.judge(p.snap, p.live)
	if p.snap != nil && f.Action != None {
		f.Stood, f.Follows = p.snap.Runs(), p.snap.Parents
	}
	if p.snap != nil && p.snap.Exists {
		f.created = p.snap.CreatedAt
	}
	if p.snap != nil && p.live != nil {
		c.survivor(p.snap, p.live)
		f.torn = c.note(p.snap, p.live)
		f.Moving = true
	}
	f.Moving = f.Moving || p.snap != nil && c.Cut[p.snap.DB] // the signs may have been moving
	return f
}

func (c *Context) survivor(s, l *job.Row) {
	if c.Survivor == nil || l.Exists && (l.CreatedAt != s.CreatedAt || l.EnqueuedAt != s.EnqueuedAt) {
		return // one that was enqueued again stands where it was put then
	}
	for _, p := range s.Places {
		if p.Kind == job.InQueue && slices.ContainsFunc(l.Places, func(q job.Place) bool { return q.Kind == p.Kind && q.Queue == p.Queue }) {
			c.Survivor(s.DB, p.Queue, p.Position)
		}
	}
}

// judge gives the verdict on one job. Either row may be nil.
func (c *Context) judge(s, l *job.Row) Finding {
	f := c.verdict(s, l)
	if f.Action == Restore && c.extensible(s) {
		f.ExpireAt = s.ExpireAt + c.Now.Sub(c.Taken).Milliseconds()
		f.Reason += "; it may now wait until " + clock(f.ExpireAt*1000)
	}
	if f.Verdict != Intact && !c.Brief {
		f.Evidence = c.evidence(s, l)
		if s != nil && s.Status == job.Started && f.Action != None {
			f.Evidence = append(f.Evidence, c.shown(s))
		}
	}
	return f
}

// extensible reports whether the job's time to live counts while it waits, and is to be
// extended.
func (c *Context) extensible(s *job.Row) bool {
	return c.ExtendTTL && s.TTL > 0 && s.ExpireAt != 0 && (s.Status == job.Queued || s.Status == job.Scheduled || s.Status == job.Deferred)
}

// policyOf is the policy for the job's queue.
func (c *Context) policyOf(s *job.Row) Policy {
	if p, ok := c.Queues[s.Queue]; ok {
		return p
	}
	return c.Policy
}

func (c *Context) verdict(s, l *job.Row) Finding {
	if s == nil {
		return finding(l, New, None, "only the live server has it")
	}
	switch {
	case !s.Exists && l != nil && l.Exists:
		return finding(s, Advanced, None, "the snapshot held only its id; live has the job")
	case !s.Exists:
		return finding(s, Intact, None, "the snapshot held its id without a job, so there is nothing to restore")
	case c.halfway(s):
		if f, ok := judgeHalfway(s, l); ok {
			return f
		}
	}
	if l != nil && l.Exists {
		return c.judgePresent(s, l)
	}
	return c.judgeAbsent(s, l)
}

// judgeHalfway is for a job that a restore brought to an end, and then was stopped: of those
// that wait for that end its version says nothing.
func judgeHalfway(s, l *job.Row) (Finding, bool) {
	there := l != nil && l.Exists
	again := (s.Status == job.Finished || s.Status == job.Failed) && (!there || l.Status == s.Status)
	if !again && !(s.Status == job.Started && there && l.Status == job.Failed && l.CreatedAt == s.CreatedAt) {
		return Finding{}, false
	}
	return finding(s, Misplaced, Start, "a restore brought it to its end, and stopped before it started those that wait for that"), true
}

func finding(r *job.Row, v Verdict, a Action, format string, args ...any) Finding {
	queue := r.Queue
	if queue == "" && len(r.Places) > 0 {
		queue = r.Places[0].Queue // the hash does not say, or is not there
	}
	f := Finding{DB: r.DB, JobID: r.ID, RawID: Raw(r.ID), Queue: queue, Status: r.Status, Verdict: v, Action: a, Reason: fmt.Sprintf(format, args...)}
	if a.Puts() {
		f.Guard = GuardAbsent
	}
	if a == Place {
		f.Guard = GuardSame
	}
	return f
}

// judgePresent is for a job that live has: its version decides.
func (c *Context) judgePresent(s, l *job.Row) Finding {
	sv, lv := s.Version(), l.Version()
	if l.Part(job.ResultsPart) == nil {
		sv = s.VersionWithoutResult() // what is missing makes the job no older
	}
	switch {
	case s.Status == job.Started && l.Status == job.Queued && l.CreatedAt == s.CreatedAt && c.halfway(s) && !listed(l) && !running(l):
		return finding(s, Misplaced, Requeue, "put back to run again, and the restore that did it stopped before its id was in a queue")
	case l.CreatedAt < s.CreatedAt && c.lossy(s.DB):
		return finding(s, Regressed, Hold, "live has an earlier job under this id, created %s and %s; the snapshot's came later", clock(l.CreatedAt), l.Status)
	case s.CreatedAt != l.CreatedAt:
		return finding(s, Advanced, None, "live has another job under this id, created %s; live wins", clock(l.CreatedAt))
	case lv > sv:
		return c.judgeNewer(s, l, "live is newer: %s there, last touched %s", l.Status, clock(lv))
	case lv == sv && l.Status == s.Status:
		return c.judgePlace(s, l)
	case !c.lossy(s.DB):
		return c.judgeNewer(s, l, "live has moved on since: %s there, %s in the snapshot", l.Status, s.Status)
	case lv < sv && c.untouched(s, l) && s.Problem == "":
		return c.judgeRegressed(s, l)
	case lv < sv:
		return finding(s, Regressed, Hold, "live has an older version: %s there, %s in the snapshot; it must not run again by itself", l.Status, s.Status)
	}
	return finding(s, Uncertain, Hold, "same age, but %s in live and %s in the snapshot", l.Status, s.Status)
}

// judgePlace is for a job whose hash is the same on both sides: is its id where a job
// of that status must be?
func (c *Context) judgePlace(s, l *job.Row) Finding {
	homes := c.Schema.Homes(l.Status)
	if len(homes) == 0 || slices.ContainsFunc(l.Places, func(p job.Place) bool { return slices.Contains(homes, p.Kind) }) {
		if l.Status == job.Deferred && c.halfway(s) {
			return finding(s, Misplaced, Place, "deferred, and the restore that put it back stopped before it looked at its parents")
		}
		return c.judgeTwice(s, l)
	}
	stood := slices.ContainsFunc(s.Places, func(p job.Place) bool { return slices.Contains(homes, p.Kind) })
	switch {
	case l.Status == job.Queued && running(l):
		return finding(s, InFlight, Hold, "queued, but a worker has signed for it: it is about to start")
	case l.Status == job.Queued && c.halfway(s):
		return finding(s, Misplaced, Place, "queued, and the restore that put it back stopped before it put it into its queue")
	case l.Status == job.Queued && c.policyOf(s) == AtMostOnce && c.Manned:
		return finding(s, Misplaced, Hold, "queued, but in no list; a worker that is slow to begin may have it").by(ByPolicy)
	case l.Status == job.Queued:
		f := finding(s, Misplaced, Place, "queued, but in no list: no worker would ever take it")
		f.Popped = c.Manned
		return f
	case l.Status == job.Started:
		return c.judgeUnwatched(s, l)
	case stood:
		return finding(s, Misplaced, Place, "%s, but no longer in its registry", l.Status)
	}
	return finding(s, Intact, None, "as in the snapshot")
}

func (c *Context) judgeTwice(s, l *job.Row) Finding {
	queued, popped := 0, 0
	for _, p := range l.Places {
		switch p.Kind {
		case job.InQueue:
			queued++
		case job.InIntermediate:
			popped++
		}
	}
	switch {
	case queued+popped > 1:
		return finding(s, Misplaced, Hold, "stands %d times in queues: it would run as often", queued+popped)
	case queued == 1 && l.Status.Known() && l.Status != job.Queued:
		return finding(s, Misplaced, Hold, "%s, yet it stands in a queue: a worker would run it all the same", l.Status)
	}
	return c.judgeParts(s, l)
}
