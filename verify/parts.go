package verify

import (
	"slices"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
)

// judgeParts is for a job whose hash and place are right: has live all else that belongs
// to it? The sets that link parents and children decide whether a deferred job ever
// runs, and when.
func (c *Context) judgeParts(s, l *job.Row) Finding {
	if l.Status == job.Deferred {
		if missing(l.Parents, l.ParentSet, s.ParentSet) != nil {
			return finding(s, Misplaced, Place, "the set of jobs it waits for is incomplete: it would start too early")
		}
		if orphan := missing(l.Parents, l.ListedBy, s.ListedBy); orphan != nil {
			f := finding(s, Misplaced, Place, "a job it waits for no longer knows of it: nothing would ever start it")
			f.orphan = &orphaned{of: orphan, parents: l.Parents}
			return f
		}
	}
	if p := s.Part(job.ResultsPart); p != nil && l.Part(job.ResultsPart) == nil && l.Status.Ended() &&
		(p.ExpireAt == 0 || p.ExpireAt > c.Now.UnixMilli()) {
		return finding(s, Misplaced, Place, "its results are gone")
	}
	return finding(s, Intact, None, "as in the snapshot")
}

// missing returns those of the parents that a link named at the snapshot and does not
// now.
func missing(parents, now, then []string) []string {
	var out []string
	for _, p := range parents {
		if slices.Contains(then, p) && !slices.Contains(now, p) {
			out = append(out, p)
		}
	}
	return out
}

// orphans settles the findings about lost links: a parent that has ended forgets its
// children, and that is right, as long as another is still to end. If none is, the end of
// the last found no child to start.
func (r *Result) orphans(o *Options, live Rows) error {
	parents, open := map[JobKey]job.Status{}, map[JobKey]bool{}
	for f := range r.found.all() {
		if f.orphan != nil {
			for _, p := range f.orphan.parents {
				parents[JobKey{f.DB, p}] = ""
			}
		}
	}
	if len(parents) == 0 {
		return nil
	}
	for f := range r.found.all() {
		if _, asked := parents[f.Key()]; asked && f.Action != None && f.Status != "" && !f.Status.Ended() {
			open[f.Key()] = true // it is held, or comes back: it has not ended
		}
	}
	for row, err := range live {
		if err != nil {
			return err
		}
		k := JobKey{row.DB, row.ID}
		if _, ok := parents[k]; ok && row.Exists {
			parents[k] = row.Status
		}
	}
	r.found.remove(func(f Finding) bool {
		if f.orphan == nil {
			return false
		}
		// Deleted while a worker had it, a job comes back at its end, without its children.
		forgot := func(p string) bool {
			s := parents[JobKey{f.DB, p}]
			return s.Ended() && s != job.Finished && r.Lineage.Mode == lineage.Complete
		}
		pending := func(p string) bool {
			s := parents[JobKey{f.DB, p}]
			return s != "" && s != job.Finished && !forgot(p) || s == "" && open[JobKey{f.DB, p}]
		}
		// One that is gone may have been deleted by a person, who then wants no children.
		unknown := func(p string) bool {
			return pending(p) || forgot(p) || parents[JobKey{f.DB, p}] == "" && r.Lineage.Mode == lineage.Complete
		}
		settled := !slices.ContainsFunc(f.orphan.of, pending) && slices.ContainsFunc(f.orphan.parents, unknown)
		if settled && o.counts(&f) {
			r.Counts[f.Verdict]--
			r.Counts[Intact]++
			r.Intact[f.In()]++
		}
		return settled
	})
	return nil
}
