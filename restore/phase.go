package restore

import (
	"rqvault/internal/job"
	"rqvault/verify"
)

// held reports whether the job's id has to go into a queue once all hashes are there.
func (s *Step) held() bool {
	return s.Status == job.Queued && s.Home == nil && s.Action != verify.Fail || s.Action == verify.Requeue
}

// ends reports whether the step brings a job to an end that others may wait for.
func (s *Step) ends() bool {
	return s.Action == verify.Fail || s.Action == verify.Forward && (s.Status == job.Finished || s.Status == job.Failed)
}

// twofold reports whether a second script has to see to the job once all hashes are
// there: release.lua, for a deferred job ready.lua, for one that ended again those for its
// children. Until then the ledger says held.
func (s *Step) twofold() bool { return s.held() || s.Status == job.Deferred || s.ends() }
