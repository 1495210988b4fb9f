package restore

import (
	"rqvault/internal/job"
	"rqvault/verify"
)

// leave adds where the id of a job to be forwarded stands and must not.
func (w *writer) leave(b *block, id string, s *Step) {
	if s.Guard != verify.GuardSeen {
		return
	}
	b.add(len(s.Seen.Places))
	for _, p := range s.Seen.Places {
		kind, key := "zset", w.schema.PlaceKey(p.Kind, p.Queue)
		switch {
		case p.Kind.Ordered():
			kind = "list"
		case p.Kind == job.InGroup:
			kind = "stay"
		}
		b.keys = append(b.keys, key)
		b.add(kind, key, p.member(id))
	}
}

// unlink takes a job that came back deferred, and no longer is, from those that its
// parents start: RQ would enqueue it at their next end, whatever its status.
func (w *writer) unlink(b *block, row *job.Row, s *Step) {
	if s.Guard != verify.GuardSeen || s.Seen.Status != job.Deferred || row.Status == job.Deferred {
		return
	}
	for _, parent := range row.Parents {
		key := w.schema.PartKey(parent, job.DependentsPart)
		b.step([]string{key}, "SREM", key, row.ID)
	}
}
