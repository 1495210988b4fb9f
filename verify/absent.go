package verify

import (
	"slices"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
)

// judgeAbsent is for a job whose hash live does not have. l may be nil, a stub, or only
// places and traces.
func (c *Context) judgeAbsent(s, l *job.Row) Finding {
	f := c.judgeGone(s, l)
	if l != nil && l.Stub && f.Action.Puts() {
		f.Guard, f.Seen = GuardStub, l // what the worker that died has left makes room
	}
	return f
}

// leftover reports whether a hash without a job is what a worker that is dead for sure has
// left of this one. An id that waits beside it is left to a person.
func (c *Context) leftover(s, l *job.Row) bool {
	if l.HeartbeatAt == 0 || waiting(l) != nil || running(l) {
		return false
	}
	dead, ends := DeadAt(s, time.UnixMicro(l.HeartbeatAt))
	return ends && c.Now.After(dead)
}

func (c *Context) judgeGone(s, l *job.Row) Finding {
	if l != nil {
		if f, ok := c.judgeTraces(s, l); ok {
			return f
		}
	}
	restored := c.Restored != nil && c.Restored(JobKey{s.DB, s.ID})
	if restored && waiting(l) == nil {
		return finding(s, Completed, None, "an earlier restore put it back, and it has left since")
	}
	if c.settled(s) && waiting(l) == nil {
		return finding(s, Completed, None, "an earlier restore found nothing to do about it, and it has left since")
	}
	if s.ExpireAt != 0 && s.ExpireAt <= c.Now.UnixMilli() && !(c.extensible(s) && (waiting(l) != nil || c.lossy(s.DB))) {
		return finding(s, Expired, None, "its own expiry passed %s", clock(s.ExpireAt*1000))
	}
	if p := waiting(l); p != nil {
		switch {
		case c.recordless(s) && twice(s):
			return finding(s, Uncertain, Hold, "it stood twice in its queue, and keeps no record of a success: its other id may have run it")
		case slices.Contains(c.Schema.Homes(s.Status), p.Kind):
			f := c.decide(s, Lost, "its id still waits in live (%s of %s), but its hash is gone", p.Kind, p.Queue)
			if f.Home = p; f.Action == Restore {
				f.Guard = GuardWaits
			}
			return f
		case s.Status.Ended():
			return finding(s, Regressed, Hold, "it had ended as %s, yet live still lists its id (%s of %s)", s.Status, p.Kind, p.Queue)
		}
		return finding(s, Uncertain, Hold, "%s in the snapshot, but live lists its id elsewhere (%s of %s)", s.Status, p.Kind, p.Queue)
	}
	if how := overtaken(s); how != "" {
		return finding(s, Completed, None, "%s", how)
	}
	if p := popped(l); p != nil && !c.lossy(s.DB) && !s.Status.Ended() {
		return finding(s, Uncertain, Hold, "live lists its id among those that were popped (%s of %s), and its hash is gone: take it out there, and if it did not run: --assume older", p.Kind, p.Queue)
	}
	return c.judgeByMode(s)
}

// popped returns a live place of an id that was taken from its queue and never prepared.
func popped(l *job.Row) *job.Place {
	if l == nil {
		return nil
	}
	for _, kind := range []job.PlaceKind{job.InIntermediate, job.InCompact} {
		if p := l.Place(kind); p != nil {
			return p
		}
	}
	return nil
}

// overtaken says how a job ended while a snapshot that is no single instant was taken: its
// hash was read before, its results after. "" is for a job that did not.
func overtaken(s *job.Row) string {
	how := outcome(s)
	if how == "" || s.Status.Ended() || s.RepeatsLeft > 0 || s.ResultAt*1000 <= s.VersionWithoutResult() {
		return ""
	}
	return "it ended while the snapshot was taken: its results stream there says it " + how + " " + clock(s.ResultAt*1000)
}

// outcome says how the newest run ended by its result, "" if that was no end.
func outcome(r *job.Row) string {
	switch {
	case r.ResultAt == 0 || r.ResultType == 4:
		return ""
	case r.ResultType == 1:
		return "succeeded"
	case r.ResultType == 2:
		return "failed"
	case r.ResultType == 5:
		return "failed for the last time"
	}
	return "ended"
}

// twice reports whether the id stood more than once in queues.
func twice(s *job.Row) bool {
	n := 0
	for i := range s.Places {
		if k := s.Places[i].Kind; k == job.InQueue || k == job.InIntermediate {
			n++
		}
	}
	return n > 1
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
	if how := outcome(l); how != "" && l.ResultAt*1000 > s.Version() && (l.ResultType != 1 || s.RepeatsLeft == 0) {
		return finding(s, Completed, None, "its results stream says it %s %s", how, clock(l.ResultAt*1000)), true
	}
	if !s.Status.Ended() {
		for _, kind := range []job.PlaceKind{job.InFinished, job.InFailed, job.InCanceled} {
			p := l.Place(kind)
			switch {
			case p == nil || s.Place(kind) != nil:
			case !stale(s, p, 0):
				return finding(s, Completed, None, "live lists it as %s", kind), true
			case !stale(s, p, 1) && (c.lossy(s.DB) || c.Cut[s.DB]):
				return finding(s, Uncertain, Hold, "live lists it as %s in the very second in which the snapshot saw it last: it has ended, or an earlier job of its name had", kind), true
			}
		}
	}
	if l.Stub && !c.leftover(s, l) || running(l) {
		return finding(s, InFlight, Hold, "a worker has signed for it in live: let it end, then compare again"), true
	}
	return Finding{}, false
}

// stale reports whether an ended job's place in live speaks of an earlier run under the
// same id: its score is when it was canceled, or when the result expires, which is no
// sooner than the end of the run. RQ cuts off parts of a second; give adds as many.
func stale(s *job.Row, p *job.Place, give float64) bool {
	end := p.Score + give
	if p.Kind == job.InFinished {
		end -= float64(max(s.ResultTTL, 0))
	}
	return s.RepeatsLeft > 0 && p.Kind == job.InFinished || p.Score >= 0 && end*1e6 <= float64(s.Version())
}

// running reports whether a worker has signed for the job.
func running(l *job.Row) bool { return l.Part(job.ExecutionsPart) != nil || l.Place(job.InWip) != nil }

// lossy reports whether that database of live can have lost jobs as a whole. Eviction
// alone does not count: an evicted hash leaves its id in a list, an evicted list its
// jobs' hashes, and both are found by that; without either, a server that evicts caches
// all day looks like one whose jobs ended, which they did.
func (c *Context) lossy(db int32) bool {
	return c.Lineage.Mode == lineage.Older || c.flushed(db) || c.unsure(db)
}

func (c *Context) flushed(db int32) bool {
	return c.Lineage.Flushed && (c.Lineage.Entirely || !c.Kept[db])
}

// unsure reports whether nothing tells if that database lost anything.
func (c *Context) unsure(db int32) bool {
	return c.Lineage.Unsure || c.Lineage.Blind && c.Gone[db] && !c.Kept[db]
}

// clockDoubt is how far the clocks of RQ's clients are trusted to agree.
const clockDoubt = 5 * time.Minute

// loaded reports whether the job, as the snapshot has it, was certainly in the data that
// a restarted server came back with: nothing happened to it after the instant up to
// which that data reaches.
func (c *Context) loaded(s *job.Row) bool {
	until := c.Lineage.LoadedUntil
	return c.Lineage.Mode == lineage.Older && !until.IsZero() && s.Version() < until.Add(-clockDoubt).UnixMicro()
}

// judgeUnlost is for a job that is gone from a database that seems to have lost nothing.
func (c *Context) judgeUnlost(s *job.Row) Finding {
	ended := "it ended or was deleted"
	deleted := c.recorded(s) && !c.recordless(s)
	if deleted {
		ended = "it was deleted (of its end RQ would still have a record)"
	}
	f := finding(s, Completed, None, "gone without a trace of a loss: %s", ended)
	switch {
	case c.Lineage.Mode == lineage.Complete:
		f = finding(s, Completed, None, "live holds everything up to the snapshot, so %s since", ended)
	case c.Lineage.Flushed:
		f = finding(s, Completed, None, "the flush was of another database: this one still has jobs from the snapshot, so %s", ended)
	}
	f.deleted = deleted
	return f
}

func (c *Context) judgeByMode(s *job.Row) Finding {
	switch {
	case !c.lossy(s.DB) && c.Cut[s.DB] && s.Status != job.RateLimited:
		return c.judgeCut(s)
	case !c.lossy(s.DB):
		return c.judgeUnlost(s)
	case c.loaded(s):
		return finding(s, Completed, None, "it is older than the data Redis came back with, so that had it: it has ended or was deleted since")
	case s.Status == job.RateLimited:
		return finding(s, Uncertain, Hold, "it waited for a rate limit, which this version does not rebuild")
	case c.unsure(s.DB) && s.Problem != "":
		return unreadable(s, Uncertain)
	case c.unsure(s.DB):
		return finding(s, Uncertain, Hold, "gone, and nothing tells whether it ended or was lost; if you know that Redis lost its data, add --assume older").by(ByAssume)
	case s.Status == job.Started:
		return c.judgeStarted(s)
	case s.Status == job.Queued && s.Place(job.InQueue) == nil && s.Place(job.InIntermediate) == nil && s.Place(job.InCompact) == nil:
		return c.decide(s, Uncertain, "a worker had just taken it at the snapshot: it may have run")
	case s.Status.Ended():
		return c.decide(s, Lost, "its record is gone; it comes back as a record and does not run")
	case c.policyOf(s) == AtMostOnce:
		return c.decide(s, Uncertain, "gone; it may have run between the snapshot and the loss, and %s forbids to guess", AtMostOnce)
	}
	return c.decide(s, Lost, "gone, and nothing says that it ended")
}

func unreadable(s *job.Row, v Verdict) Finding {
	return finding(s, v, Hold, "a worker could not read it (%s) and would stop: it is not put back by itself", s.Problem)
}

// decide applies the policy to a job that should come back.
func (c *Context) decide(s *job.Row, v Verdict, format string, args ...any) Finding {
	if s.Problem != "" {
		return unreadable(s, v)
	}
	if v == Uncertain && c.policyOf(s) == AtMostOnce {
		return finding(s, v, Hold, format, args...).by(ByPolicy)
	}
	return finding(s, v, Restore, format, args...)
}

// clock writes an instant given in Unix microseconds.
func clock(us int64) string { return time.UnixMicro(us).UTC().Format(time.RFC3339) }
