package verify

import (
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
	Now     time.Time
	// Restored reports whether a restore since the snapshot put the job back. It may be nil.
	Restored func(k JobKey) bool
	// Halfway reports whether such a restore was stopped before its last step for the job.
	// It may be nil.
	Halfway func(k JobKey) bool
	// Survivor is told of each id that the snapshot and live have in the same queue, with
	// its position in the snapshot's. It may be nil.
	Survivor func(db int32, queue string, position int64)
}

// Rows is an index in the order of job.Compare; an error is its last element.
type Rows = iter.Seq2[*job.Row, error]

// Compare merges a snapshot's index with a live one and yields the verdict on every
// job that either knows, in order. It holds one row of each at a time.
func Compare(snap, live Rows, c Context) iter.Seq2[Finding, error] {
	return func(yield func(Finding, error) bool) {
		nextSnap, stopSnap := iter.Pull2(snap)
		defer stopSnap()
		nextLive, stopLive := iter.Pull2(live)
		defer stopLive()
		s, sErr, sOK := nextSnap()
		l, lErr, lOK := nextLive()
		for sOK || lOK {
			if sErr != nil || lErr != nil {
				yield(Finding{}, firstError(sErr, lErr))
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
			var f Finding
			switch {
			case order < 0:
				f = c.judge(s, nil)
			case order > 0:
				f = c.judge(nil, l)
			default:
				c.survivor(s, l)
				f = c.judge(s, l)
				f.Moving = true
			}
			if !yield(f, nil) {
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

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// judge gives the verdict on one job. Either row may be nil.
func (c *Context) judge(s, l *job.Row) Finding {
	if s == nil {
		return finding(l, New, None, "only the live server has it")
	}
	switch {
	case !s.Exists && l != nil && l.Exists:
		return finding(s, Advanced, None, "the snapshot held only its id; live has the job")
	case !s.Exists:
		return finding(s, Intact, None, "the snapshot held its id without a job, so there is nothing to restore")
	case l != nil && l.Exists:
		return c.judgePresent(s, l)
	}
	return c.judgeAbsent(s, l)
}

func finding(r *job.Row, v Verdict, a Action, format string, args ...any) Finding {
	queue := r.Queue
	if queue == "" && len(r.Places) > 0 {
		queue = r.Places[0].Queue // the hash does not say, or is not there
	}
	f := Finding{DB: r.DB, JobID: r.ID, Queue: queue, Status: r.Status, Verdict: v, Action: a, Reason: fmt.Sprintf(format, args...)}
	if a == Restore {
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
	switch {
	case s.CreatedAt != l.CreatedAt:
		return finding(s, Advanced, None, "live has another job under this id, created %s; live wins", clock(l.CreatedAt))
	case lv > sv:
		return finding(s, Advanced, None, "live is newer: %s there, last touched %s", l.Status, clock(lv))
	case lv == sv && l.Status == s.Status:
		return c.judgePlace(s, l)
	case !c.lossy():
		return finding(s, Advanced, None, "live has moved on since: %s there, %s in the snapshot", l.Status, s.Status)
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
		if l.Status == job.Deferred && c.Halfway != nil && c.Halfway(JobKey{s.DB, s.ID}) {
			return finding(s, Misplaced, Place, "deferred, and the restore that put it back stopped before it looked at its parents")
		}
		return c.judgeTwice(s, l)
	}
	stood := slices.ContainsFunc(s.Places, func(p job.Place) bool { return slices.Contains(homes, p.Kind) })
	switch {
	case l.Status == job.Queued && running(l):
		return finding(s, InFlight, Hold, "queued, but a worker has signed for it: it is about to start")
	case l.Status == job.Queued:
		return finding(s, Misplaced, Place, "queued, but in no list: no worker would ever take it")
	case l.Status == job.Started:
		return finding(s, InFlight, Hold, "started, but in no registry of running jobs: its worker may still be at it")
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
	return finding(s, Intact, None, "as in the snapshot")
}

// judgeAbsent is for a job whose hash live does not have. l may be nil, a stub, or only
// places and traces.
func (c *Context) judgeAbsent(s, l *job.Row) Finding {
	if c.Restored != nil && c.Restored(JobKey{s.DB, s.ID}) {
		return finding(s, Completed, None, "an earlier restore put it back, and it has left since")
	}
	if l != nil {
		if f, ok := c.judgeTraces(s, l); ok {
			return f
		}
	}
	if s.ExpireAt != 0 && s.ExpireAt <= c.Now.UnixMilli() {
		return finding(s, Expired, None, "its own expiry passed %s", clock(s.ExpireAt*1000))
	}
	if p := waiting(l); p != nil {
		switch {
		case slices.Contains(c.Schema.Homes(s.Status), p.Kind):
			f := c.decide(s, Lost, "its id still waits in live (%s of %s), but its hash is gone", p.Kind, p.Queue)
			f.InPlace = true
			return f
		case s.Status.Ended():
			return finding(s, Regressed, Hold, "it had ended as %s, yet live still lists its id (%s of %s)", s.Status, p.Kind, p.Queue)
		}
		return finding(s, Uncertain, Hold, "%s in the snapshot, but live lists its id elsewhere (%s of %s)", s.Status, p.Kind, p.Queue)
	}
	return c.judgeByMode(s)
}

// waiting returns a live place from which only the job's own run would have taken it.
func waiting(l *job.Row) *job.Place {
	if l == nil {
		return nil
	}
	for _, kind := range []job.PlaceKind{job.InQueue, job.InScheduled, job.InDeferred} {
		if p := l.Place(kind); p != nil {
			return p
		}
	}
	return nil
}

// judgeTraces looks for what a job leaves behind when its hash goes.
func (c *Context) judgeTraces(s, l *job.Row) (Finding, bool) {
	if l.ResultAt*1000 > s.Version() && l.ResultType != 4 && (l.ResultType != 1 || s.RepeatsLeft == 0) {
		how := map[int32]string{1: "succeeded", 2: "failed", 5: "failed for the last time"}[l.ResultType]
		if how == "" {
			how = "ended"
		}
		return finding(s, Completed, None, "its results stream says it %s %s", how, clock(l.ResultAt*1000)), true
	}
	if !s.Status.Ended() {
		for _, kind := range []job.PlaceKind{job.InFinished, job.InFailed, job.InCanceled} {
			if p := l.Place(kind); p != nil && s.Place(kind) == nil && !stale(s, p) {
				return finding(s, Completed, None, "live lists it as %s", kind), true
			}
		}
	}
	if l.Stub || running(l) {
		return finding(s, InFlight, Hold, "a worker has signed for it in live: let it end, then compare again"), true
	}
	return Finding{}, false
}

// stale reports whether an ended job's place in live speaks of an earlier run under the
// same id: its score is when it was canceled, or when the result expires, which is no
// sooner than the end of the run.
func stale(s *job.Row, p *job.Place) bool {
	end := p.Score
	if p.Kind == job.InFinished {
		end -= float64(max(s.ResultTTL, 0))
	}
	return s.RepeatsLeft > 0 && p.Kind == job.InFinished || p.Score >= 0 && end*1e6 <= float64(s.Version())
}

// running reports whether a worker has signed for the job.
func running(l *job.Row) bool { return l.Part(job.ExecutionsPart) != nil || l.Place(job.InWip) != nil }

// lossy reports whether live can have lost jobs as a whole. Eviction alone does not
// count: an evicted hash leaves its id in a list, an evicted list its jobs' hashes, and
// both are found by that; without either, a server that evicts caches all day looks like
// one whose jobs ended, which they did.
func (c *Context) lossy() bool {
	return c.Lineage.Mode == lineage.Older || c.Lineage.Flushed || c.Lineage.Unsure
}

func (c *Context) judgeByMode(s *job.Row) Finding {
	switch {
	case c.Lineage.Mode == lineage.Complete:
		return finding(s, Completed, None, "live holds everything up to the snapshot, so it ended or was deleted since")
	case !c.lossy():
		return finding(s, Completed, None, "gone without a trace of a loss, as ended jobs go")
	case s.Status == job.Started:
		return finding(s, Uncertain, Hold, "it was running at the snapshot: it may have ended, may still run, or died")
	case s.Status == job.RateLimited:
		return finding(s, Uncertain, Hold, "it waited for a rate limit, which this version does not rebuild")
	case c.Lineage.Unsure:
		return finding(s, Uncertain, Hold, "gone, and nothing tells whether it ended or was lost; if you know that Redis lost its data, add --assume older")
	case s.Status == job.Queued && s.Place(job.InQueue) == nil && s.Place(job.InIntermediate) == nil && s.Place(job.InCompact) == nil:
		return c.decide(s, Uncertain, "a worker had just taken it at the snapshot: it may have run")
	}
	if s.Status.Ended() {
		return c.decide(s, Lost, "its record is gone; it comes back as a record and does not run")
	}
	return c.decide(s, Lost, "gone, and nothing says that it ended")
}

// decide applies the policy to a job that should come back.
func (c *Context) decide(s *job.Row, v Verdict, format string, args ...any) Finding {
	if s.Problem != "" {
		return finding(s, v, Hold, "a worker could not read it (%s) and would stop: it is not put back by itself", s.Problem)
	}
	a := Restore
	if v == Uncertain && c.Policy == AtMostOnce {
		a = Hold
	}
	return finding(s, v, a, format, args...)
}

// clock writes an instant given in Unix microseconds.
func clock(us int64) string { return time.UnixMicro(us).UTC().Format(time.RFC3339) }
