package verify

import (
	"slices"

	"rqvault/internal/job"
)

// meetParents reads what became of the jobs that deferred ones wait for.
func (c *checker) meetParents() error {
	for row, err := range c.o.Rows() {
		if err != nil {
			return err
		}
		k := JobKey{row.DB, row.ID}
		if _, wanted := c.parents[k]; wanted {
			c.parents[k] = row
		}
	}
	return nil
}

// deferred checks a job that waits for others.
func (c *checker) deferred(r *job.Row) {
	p := r.Place(job.InDeferred)
	if p == nil {
		c.add("deferred-job-not-in-registry", r, nil, "the registry of %s does not have it", r.Queue)
	}
	if len(r.Parents) == 0 {
		return
	}
	if gone := missingFrom(r.Parents, r.ParentSet); len(gone) > 0 {
		c.add("deferred-missing-dependencies-set", r, nil, "its set lacks %s", some(gone)).Others = gone
	}
	var unknowing, missing, dead []string
	met, states := true, map[string]job.Status{}
	for _, id := range r.Parents {
		parent := c.parents[JobKey{r.DB, id}]
		if parent != nil && parent.Exists {
			states[id] = parent.Status
		}
		switch {
		case parent == nil || !parent.Exists && !succeeded(parent):
			missing, met = append(missing, id), false
			continue
		case !parent.Exists:
			continue
		case parent.Status == job.Finished, parent.Status == job.Failed && r.AllowParentFailed:
			continue
		case parent.Status == job.Failed, parent.Status == job.Stopped, parent.Status == job.Canceled:
			dead = append(dead, id)
		}
		met = false
		if !slices.Contains(r.ListedBy, id) {
			unknowing = append(unknowing, id)
		}
	}
	if len(unknowing) > 0 {
		c.add("deferred-missing-reverse-link", r, nil, "%s not of it", knows(unknowing)).Others = unknowing
	}
	switch {
	case met:
		c.add("deferred-ready", r, nil, "all that it waits for has ended").Parents = states
	case len(missing) > 0:
		c.add("deferred-parent-missing", r, nil, "it waits for %s, which %s gone; RQ takes that for an end once another one ends", some(missing), isAre(missing)).Absent = missing
	}
	if len(dead) > 0 {
		c.add("deferred-parent-dead", r, nil, "it waits for %s, which did not finish", some(dead))
	}
}

// succeeded reports whether a job that is gone has left word of its success.
func succeeded(r *job.Row) bool { return r.ResultType == 1 || r.Place(job.InFinished) != nil }

func missingFrom(want, have []string) []string {
	var out []string
	for _, w := range want {
		if !slices.Contains(have, w) {
			out = append(out, w)
		}
	}
	return out
}

func knows(ids []string) string {
	if len(ids) == 1 {
		return ids[0] + " knows"
	}
	return some(ids) + " know"
}

func isAre(ids []string) string {
	if len(ids) == 1 {
		return "is"
	}
	return "are"
}
