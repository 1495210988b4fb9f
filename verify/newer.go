package verify

import (
	"slices"

	"rqvault/internal/job"
)

// judgeNewer is for a job of which live has a later version than the snapshot: live wins.
// But if its work is still to be done, and its id is nowhere, that version will never run,
// and the snapshot does not say where it belongs now.
func (c *Context) judgeNewer(s, l *job.Row, format string, args ...any) Finding {
	homes := c.Schema.Homes(l.Status)
	waits := l.Status == job.Queued || l.Status == job.Scheduled || l.Status == job.Deferred || l.Status == job.Started
	if !waits || running(l) || slices.ContainsFunc(l.Places, func(p job.Place) bool { return slices.Contains(homes, p.Kind) }) {
		return finding(s, Advanced, None, format, args...)
	}
	f := finding(s, Misplaced, Hold, "live is newer, and %s, but its id is in no list or registry: nobody will ever run it", l.Status)
	f.Popped = c.Manned && l.Status == job.Queued
	return f
}
