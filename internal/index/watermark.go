package index

import "rqvault/internal/job"

// Watermark is the newest instant below Options.Before that any job's hash or result
// carries, in Unix microseconds; 0 if none does.
func (b *Builder) Watermark() int64 { return b.watermark }

func (b *Builder) note(db int, id []byte, instants ...int64) {
	newest := b.watermark
	for _, t := range instants {
		if t < b.o.Before {
			newest = max(newest, t)
		}
	}
	if newest > b.watermark && (b.o.Ours == nil || !b.o.Ours(db, string(id))) {
		b.watermark = newest
	}
}

// carried reports whether the job may have come into the server's data with the worker
// that ran it: one that outlives the server writes the whole job when it ends, old times
// included.
func (b *Builder) carried(r *job.Row) bool {
	return r.StartedAt != 0 && r.StartedAt < b.o.Before && max(r.EndedAt, r.HeartbeatAt) >= b.o.Before
}
