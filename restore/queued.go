package restore

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"rqvault/internal/job"
	"rqvault/verify"
)

// queued is a job of which there is nothing but its hash and its place in a queue's list,
// as most that are lost. They are written queue by queue in the order of the list, not of
// the index: Redis then has what release.lua looks at, one after the other, side by side in
// its memory.
type queued struct {
	order                    int64
	offset, length, expireAt int64 // of the hash
	task                     int32 // its number
	kind                     int32 // of the hash, as in job.Part
}

// onlyQueued reports whether a job is such a one.
func onlyQueued(row *job.Row, s *Step) bool {
	return s.held() && s.Action == verify.Restore && s.Guard == verify.GuardAbsent &&
		row.Status == s.Status && row.Queue == s.Queue && len(row.Parts) == 1 && row.Parts[0].Name == job.HashPart &&
		!slices.ContainsFunc(row.Places, func(p job.Place) bool { return p.Kind != job.InQueue })
}

// keep keeps such a job until all others are written.
func (a *applier) keep(row *job.Row, t *task) {
	k, hash := queueKey{t.DB, t.List}, &row.Parts[0]
	a.queued[k] = append(a.queued[k], queued{t.Order, hash.Offset, hash.Length, hash.ExpireAt, int32(a.tasks.next - 1), hash.Type})
}

// writeQueued writes those that were kept.
func (a *applier) writeQueued(ctx context.Context) error {
	for _, k := range slices.SortedFunc(maps.Keys(a.queued), queueKey.compare) {
		jobs := a.queued[k]
		delete(a.queued, k)
		slices.SortFunc(jobs, func(x, y queued) int {
			return cmp.Or(cmp.Compare(x.order, y.order), cmp.Compare(x.task, y.task))
		})
		for i := range jobs {
			q := &jobs[i]
			t := &a.tasks.all[q.task]
			if err := a.add(ctx, q.row(t.Step), t); err != nil {
				return err
			}
		}
	}
	return nil
}

// row is what of its row is needed to write it.
func (q *queued) row(s *Step) *job.Row {
	r := &struct {
		job.Row
		hash [1]job.Part
	}{Row: job.Row{DB: s.DB, ID: s.JobID, Exists: true, Status: s.Status, Queue: s.Queue, ExpireAt: q.expireAt},
		hash: [1]job.Part{{Name: job.HashPart, Type: q.kind, ExpireAt: q.expireAt, Offset: q.offset, Length: q.length}}}
	r.Parts = r.hash[:]
	return &r.Row
}
