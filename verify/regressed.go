package verify

import (
	"slices"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
)

// untouched reports whether a job came back with the data a server restarted from, and
// nobody has been at it since.
func (c *Context) untouched(s, l *job.Row) bool {
	started := c.Lineage.StartedAt
	return c.Lineage.Mode == lineage.Older && !started.IsZero() && l.Problem == "" && l.Version() < started.UnixMicro() &&
		(!running(l) || c.stopped(s, l))
}

// stopped reports whether the run that came back with the data had ended by the snapshot.
// RQ would take it for one whose worker died, and retry or fail the job.
func (c *Context) stopped(s, l *job.Row) bool {
	return l.Status == job.Started && s.Status != job.Started && !slices.ContainsFunc(c.Workers, func(w job.Worker) bool {
		return w.DB == l.DB && w.Job == l.ID && !w.Dead && w.HeartbeatAt >= c.Lineage.StartedAt.UnixMicro()
	})
}

// judgeRegressed is for an untouched job that the snapshot has in a later state: live is
// brought forward to that, or the job runs again, waits for ever, or runs beside its own
// run.
func (c *Context) judgeRegressed(s, l *job.Row) Finding {
	seen := func(f Finding) Finding {
		f.Guard, f.Seen = GuardSeen, l
		return f
	}
	const back = "in the older data Redis came back with"
	switch s.Status {
	case job.Finished, job.Failed, job.Stopped, job.Canceled:
		if l.Status.Ended() || l.Status == job.Started {
			return seen(finding(s, Regressed, Forward, "%s in the snapshot, but %s %s", s.Status, l.Status, back))
		}
		return seen(finding(s, Regressed, Forward, "%s in the snapshot, but %s %s: it would run again", s.Status, l.Status, back))
	case job.Started:
		return seen(c.regressedRun(s, l))
	case job.Queued:
		if c.policyOf(s) == AtMostOnce && l.Status != job.Queued {
			return finding(s, Regressed, Hold, "queued in the snapshot, but %s %s; it may have run since, and %s forbids to guess", l.Status, back, AtMostOnce).by(ByPolicy)
		}
		return seen(finding(s, Regressed, Forward, "queued in the snapshot, but %s %s", l.Status, back))
	case job.Deferred, job.Scheduled, job.Created:
		return seen(finding(s, Regressed, Forward, "%s in the snapshot, but %s %s", s.Status, l.Status, back))
	}
	return finding(s, Regressed, Hold, "live has an older version: %s there, %s in the snapshot", l.Status, s.Status)
}

// regressedRun is for a job that was running at the snapshot and waits in live: it would
// start beside its own run. It is taken out until that is known to be dead.
func (c *Context) regressedRun(s, l *job.Row) Finding {
	f := c.judgeStarted(s)
	f.Verdict = Regressed
	if f.Action == Hold {
		f.Action, f.DecidedBy = Forward, ""
		f.Reason = "it was running at the snapshot, but is " + string(l.Status) + " in the older data Redis came back with: taken out, so that it does not start beside its own run; compare again later"
	}
	return f
}

// judgeUnwatched is for a job that live calls started, as the snapshot did, and that no
// registry of running jobs has: if its run is dead, nobody will ever notice.
func (c *Context) judgeUnwatched(s, l *job.Row) Finding {
	f := c.judgeStarted(s)
	if f.Action == Requeue || f.Action == Fail {
		f.Verdict, f.Guard, f.Seen = Misplaced, GuardSeen, l
	}
	return f
}

// listed reports whether an id stands in any list.
func listed(r *job.Row) bool {
	for i := range r.Places {
		if r.Places[i].Kind.Ordered() {
			return true
		}
	}
	return false
}

// halfway reports whether a restore was stopped before its last step for the job.
func (c *Context) halfway(s *job.Row) bool {
	return c.Halfway != nil && c.Halfway(JobKey{s.DB, s.ID})
}
