package verify

import (
	"cmp"
	"slices"

	"rqvault/internal/job"
)

// Breach is one invariant that does not hold, for one job or one key.
type Breach struct {
	Invariant string   `json:"invariant"`
	Severity  Severity `json:"severity"`
	DB        int32    `json:"db"`
	JobID     string   `json:"job_id,omitempty"`
	RawID     []byte   `json:"job_id_raw,omitempty"` // where the id is no UTF-8
	Key       string   `json:"key,omitempty"`        // instead of a job
	Queue     string   `json:"queue,omitempty"`
	Detail    string   `json:"detail"`           // what was found
	Repair    string   `json:"repair,omitempty"` // what restore --repair does about it, empty if nothing
	// Place is where the breach is, if it is in one place.
	Place *job.Place `json:"-"`
	Flag  job.Flag   `json:"-"`
	// Seen is the job as it was when the invariant was checked.
	Seen *job.Row `json:"-"`
	// Others are the jobs the breach is about besides its own, Absent those that are gone,
	// Parents the states of those it waited for.
	Others  []string              `json:"-"`
	Absent  []string              `json:"-"`
	Parents map[string]job.Status `json:"-"`
}

// Counts reports whether the breach is a fault to act on.
func (b *Breach) Counts() bool { return b.Severity.Counts() }

// breachKey tells one breach from another.
type breachKey struct {
	invariant      string
	db             int32
	id, key, queue string
}

func (b *Breach) key() breachKey { return breachKey{b.Invariant, b.DB, b.JobID, b.Key, b.Queue} }

// sortBreaches puts the worst first.
func sortBreaches(all []Breach) {
	rank := map[string]int{}
	for i, inv := range Invariants {
		rank[inv.Name] = i
	}
	slices.SortStableFunc(all, func(a, b Breach) int {
		return cmp.Or(cmp.Compare(rank[a.Invariant], rank[b.Invariant]), cmp.Compare(a.DB, b.DB), cmp.Compare(a.Queue, b.Queue),
			cmp.Compare(a.order(), b.order()), cmp.Compare(a.JobID, b.JobID), cmp.Compare(a.Key, b.Key))
	})
}

// order is where the job stood or, if it stands nowhere, when it was enqueued.
func (b *Breach) order() int64 {
	switch {
	case b.Place != nil && b.Place.Kind.Ordered():
		return b.Place.Position
	case b.Seen != nil:
		return b.Seen.EnqueuedAt
	}
	return 0
}

// passing are the invariants about who works and who does not, which is over when a
// snapshot is looked at, and never comes back from one.
var passing = map[string]bool{"suspended-left": true, "scheduled-overdue": true, "wip-expired": true, "volatile-without-ttl": true}

// fleeting are the invariants that a job on the move breaks for a moment: between its
// list and the registry of running jobs, or between a worker's two last writes.
var fleeting = map[string]bool{
	"queued-job-not-in-queue": true, "intermediate-stale": true, "started-job-not-in-wip": true, "wip-status-mismatch": true,
	"wip-without-hash": true, "hash-missing-data": true, "compact-leftover": true,
}

// Fleeting reports whether a job on the move breaks the invariant for a moment.
func (inv *Invariant) Fleeting() bool { return fleeting[inv.Name] }
