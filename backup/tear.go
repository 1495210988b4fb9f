package backup

import (
	"context"
	"fmt"
	"time"

	"rqvault/internal/lineage"
	"rqvault/internal/snapshot"
)

// previous returns the newest snapshot there is; nil if there is none, or none that can
// be read: a damaged one must not keep the next from being taken.
func previous(ctx context.Context, cat *snapshot.Catalog) *snapshot.Manifest {
	ids, err := cat.IDs(ctx)
	if err != nil || len(ids) == 0 {
		return nil
	}
	m, err := cat.Manifest(ctx, ids[len(ids)-1])
	if err != nil {
		return nil
	}
	return m
}

// torn returns where the data's history was last torn, as seen from a snapshot whose
// server says facts and whose newest data from before its start is from watermark. fresh
// reports that it happened since the previous snapshot.
func torn(prev *snapshot.Manifest, facts lineage.Facts, watermark time.Time, at time.Time) (b *snapshot.Break, fresh bool) {
	if prev == nil {
		return nil, false
	}
	j, err := judge(prev, facts, watermark)
	if err != nil || j.Mode != lineage.Older && !j.Flushed {
		return prev.Lineage.Break, false
	}
	return &snapshot.Break{Snapshot: prev.ID, At: at.UTC(), Mode: j.Mode, Reasons: j.Reasons}, true
}

// tear notes in the manifest that Redis has lost data since the previous snapshot, and
// warns: from now on "latest" is a snapshot of what was left.
func (s *saver) tear(m *snapshot.Manifest) {
	b, fresh := torn(s.prev, s.dump.Before, s.watermark(), m.CreatedAt)
	m.Lineage.Break = b
	if !fresh {
		return
	}
	why := b.Why()
	if why != "" {
		why = ": " + why
	}
	m.Warnings = append(m.Warnings, fmt.Sprintf("Redis has lost data since the last snapshot%s. That one holds %d jobs, this one %d. To see whether anything of it is still missing: rqvault diff %s",
		why, s.prev.Counts.Jobs, m.Counts.Jobs, s.prev.ID))
}

// instant is t in Unix microseconds, 0 for no time.
func instant(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
