package verify

import (
	"time"

	"rqvault/internal/job"
)

// OnStarted says what becomes of a job that was running when its data was lost, once it
// is certain that nobody runs it any more.
type OnStarted string

// What can become of it. Fail is what RQ does with a job whose worker died; Requeue runs
// it again; Leave holds it for a person.
const (
	StartedFail    OnStarted = "fail"
	StartedRequeue OnStarted = "requeue"
	StartedHold    OnStarted = "hold"
)

// How RQ keeps a running job alive: a worker that lost its server shows itself again
// within a heartbeat, or by the end of the job's own timeout and a minute.
const (
	heartbeatLife  = 90 * time.Second
	timeoutGrace   = time.Minute
	defaultTimeout = 180 * time.Second
)

// judgeStarted is for a job that was running at the snapshot and of which a server that
// lost data knows nothing.
func (c *Context) judgeStarted(s *job.Row) Finding {
	if how := overtaken(s); how != "" {
		return finding(s, Uncertain, Hold, "%s; nothing is left to run", how)
	}
	for _, w := range c.Workers {
		switch {
		case w.DB != s.DB || w.Dead:
		case w.Job == s.ID:
			return finding(s, InFlight, Hold, "worker %s runs it: let it end, then compare again", w.Name)
		case w.Name == s.Worker && !w.Whole:
			return finding(s, InFlight, Hold, "its worker %s outlived the loss and is busy: let it end, then compare again", w.Name)
		}
	}
	if s.Timeout < 0 {
		return finding(s, Uncertain, Hold, "it was running, and may run for ever: nothing in Redis tells when it is dead")
	}
	dead := c.deadAt(s)
	if c.Now.Before(dead) {
		return finding(s, InFlight, Hold, "it was running at the snapshot; if no worker has shown itself by %s, its run is dead: compare again then", dead.UTC().Format(time.RFC3339))
	}
	act := c.Started
	if act == "" {
		act = StartedRequeue
		if c.policyOf(s) == AtMostOnce {
			act = StartedHold
		}
	}
	switch {
	case s.Problem != "" || act == StartedHold:
		return c.decideHold(s, "it was running, and no worker has shown itself since: it may have done its work, or a part")
	case act == StartedFail:
		return finding(s, Uncertain, Fail, "it was running, and no worker has shown itself since: it failed, as RQ would say")
	}
	return finding(s, Uncertain, Requeue, "it was running, and no worker has shown itself since: it runs again")
}

func (c *Context) decideHold(s *job.Row, why string) Finding {
	if s.Problem != "" {
		why = "a worker could not read it (" + s.Problem + "): it is not put back by itself"
	}
	f := finding(s, Uncertain, Hold, "%s", why)
	if s.Problem == "" {
		f.DecidedBy = ByStarted
	}
	return f
}

// deadAt is when a run of the job that was seen in the snapshot is over for sure.
func (c *Context) deadAt(s *job.Row) time.Time {
	since := c.Taken
	if c.Lineage.StartedAt.After(since) {
		since = c.Lineage.StartedAt
	}
	dead, _ := DeadAt(s, since)
	return dead
}

// DeadAt is when a run of the job that was alive at that instant is over for sure, and
// false for a job that may run for ever.
func DeadAt(r *job.Row, alive time.Time) (time.Time, bool) {
	timeout := time.Duration(r.Timeout) * time.Second
	if r.Timeout == 0 {
		timeout = defaultTimeout
	}
	return alive.Add(max(heartbeatLife, timeout+timeoutGrace)), r.Timeout >= 0
}
