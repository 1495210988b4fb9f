package verify

import (
	"strings"

	"rqvault/internal/job"
)

// Known looks for the jobs of breaches in a snapshot's index. Where that has a job that is
// gone, or a later state of one that is there, a restore is better than any repair, which
// would destroy the evidence: it is withheld. The present is in Unix milliseconds. It
// returns how many jobs that are gone the snapshot does not have either.
func Known(breaches []Breach, rows Rows, now int64) (left int, err error) {
	wanted := map[JobKey][]*Breach{}
	missing := map[JobKey]bool{}
	want := func(b *Breach, id string, gone bool) {
		k := JobKey{b.DB, id}
		wanted[k] = append(wanted[k], b)
		if gone {
			missing[k] = true
		}
	}
	for i := range breaches {
		b := &breaches[i]
		if b.Seen != nil && b.Repair != "" {
			want(b, b.JobID, !b.Seen.Exists)
		}
		for _, id := range b.Absent {
			want(b, id, true)
		}
	}
	if len(wanted) == 0 {
		return 0, nil
	}
	for row, err := range rows {
		if err != nil {
			return 0, err
		}
		k := JobKey{row.DB, row.ID}
		if wanted[k] == nil || !row.Exists || row.ExpireAt != 0 && row.ExpireAt <= now {
			continue
		}
		delete(missing, k)
		for _, b := range wanted[k] {
			b.compare(row)
		}
	}
	return len(missing), nil
}

// compare withholds the repair if the snapshot knows better.
func (b *Breach) compare(row *job.Row) {
	switch {
	case b.JobID != row.ID || !b.Seen.Exists:
		b.withhold("a snapshot has " + row.ID + ": rqvault diff tells whether it was lost")
		b.Severity = Critical
	case b.Seen.CreatedAt != row.CreatedAt:
	case row.Version() > b.Seen.Version():
		b.withhold("a snapshot has it in a later state, " + string(row.Status) + ": rqvault diff")
	case b.Invariant == "scheduled-job-not-in-registry" && row.Place(job.InScheduled) != nil:
		b.withhold("a snapshot knows when it is due: rqvault diff")
	}
}

// withhold takes the repair away, and says why.
func (b *Breach) withhold(why string) {
	if !strings.Contains(b.Detail, why) {
		b.Detail += "; " + why
	}
	b.Repair = ""
}

// inHand withholds the repair of a job that a restore has begun with and not ended, by what
// restores signed for: true where nothing is left to do.
func (b *Breach) inHand(signed map[JobKey]bool) {
	if settled, ok := signed[JobKey{b.DB, b.JobID}]; ok && !settled && b.JobID != "" {
		b.withhold("a restore has it in hand, or was stopped: let that end, or run it again")
	}
}
