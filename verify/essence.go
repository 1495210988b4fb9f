package verify

import (
	"fmt"
	"slices"

	"rqvault/internal/job"
)

// jobs compares every job with all its places.
func (w *whole) jobs() error {
	for p, err := range merge(w.o.Rows(), w.builder.Jobs()) {
		if err != nil {
			return err
		}
		if p.snap != nil && slices.ContainsFunc(p.snap.Parts, func(p job.Part) bool { return w.expired(p.ExpireAt) }) {
			continue // its keys were looked at, each with its own expiry
		}
		want, got := essence(p.snap), essence(p.live)
		row := p.snap
		if row == nil {
			row = p.live
		}
		if want == nil && got == nil {
			continue
		}
		if want != nil && p.snap.Exists {
			w.result.Jobs++
		}
		if want != nil && got != nil && cut(p.snap) {
			want = &job.Row{Places: want.Places, Parts: want.Parts}
			got = &job.Row{Places: got.Places, Parts: got.Parts}
		}
		if what := jobDifference(want, got); what != "" {
			w.differs(Difference{DB: row.DB, JobID: row.ID, RawID: Raw(row.ID), What: what})
		}
	}
	return nil
}

// cutAbove is the size in bytes of the values that a dump is walked over in parts. What
// lies in one part is not looked into, while a live value comes whole.
const cutAbove = 8 << 20

// essence returns what of a row must be the same in a server that the snapshot was put
// into; nil if that is nothing. Keys, their expiries and what lies where in the dump are
// compared key by key, and runs are left out on purpose.
func essence(r *job.Row) *job.Row {
	if r == nil {
		return nil
	}
	e := *r
	e.ExpireAt, e.ListedBy, e.Parts = 0, nil, nil
	for _, p := range r.Parts {
		if p.Name != job.ExecutionsPart {
			e.Parts = append(e.Parts, job.Part{Name: p.Name})
		}
	}
	e.Places = slices.DeleteFunc(slices.Clone(r.Places), func(p job.Place) bool { return p.Kind == job.InWip })
	if len(e.Parts)+len(e.Places) == 0 {
		return nil
	}
	return &e
}

// cut reports whether a part of the job was too large to be looked into.
func cut(r *job.Row) bool {
	return slices.ContainsFunc(r.Parts, func(p job.Part) bool { return p.Length > cutAbove })
}

// jobDifference says in which way two rows differ; "" if they do not.
func jobDifference(want, got *job.Row) string {
	switch {
	case want == nil:
		return "is not in the snapshot"
	case got == nil:
		return "is missing"
	case want.Status != got.Status:
		return fmt.Sprintf("is %s, and %s in the snapshot", got.Status, want.Status)
	case !slices.Equal(want.Places, got.Places):
		return "stands in other places"
	case !slices.Equal(want.Parts, got.Parts):
		return "has other keys"
	case !sameRow(want, got):
		return "differs in its fields"
	}
	return ""
}
