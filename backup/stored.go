package backup

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"rqvault/internal/snapshot"
)

// read is a manifest, or why it cannot be used.
type read struct {
	m   *snapshot.Manifest
	err error
}

// readParallel is how many manifests are read at once.
const readParallel = 8

// manifests reads those of all ids. One that is damaged, or too new, is no error.
func manifests(ctx context.Context, cat *snapshot.Catalog, ids []snapshot.ID) (map[snapshot.ID]read, error) {
	reads := make([]read, len(ids))
	turn := make(chan struct{}, readParallel)
	var wg sync.WaitGroup
	for i, id := range ids {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			reads[i].m, reads[i].err = cat.Manifest(ctx, id)
		})
	}
	wg.Wait()
	seen := map[snapshot.ID]read{}
	for i, id := range ids {
		err := reads[i].err
		if err != nil && !errors.Is(err, snapshot.ErrDamaged) && !errors.Is(err, snapshot.ErrTooNew) && !errors.Is(err, snapshot.ErrNoSnapshot) {
			return nil, err
		}
		seen[id] = reads[i]
	}
	return seen, nil
}

func describe(id snapshot.ID, r read, p snapshot.Proof) Snapshot {
	s := Snapshot{ID: id, CreatedAt: id.Time(), Damaged: true}
	if r.m == nil {
		return s
	}
	s.CreatedAt, s.Atomic, s.Damaged = r.m.CreatedAt, r.m.Atomic, p.Damaged()
	s.Verified = !(p.OK.IsZero() && p.DrillOK.IsZero()) && !p.Damaged() && !p.FailedDrill()
	return s
}

// needed returns the snapshots from before Redis lost data, with the reason to hold them:
// what was lost may not be back. A person's word, or time, ends that.
func needed(seen map[snapshot.ID]read, thawed map[snapshot.ID]bool, now time.Time) map[snapshot.ID]string {
	held := map[snapshot.ID]string{}
	for _, r := range seen {
		if r.m == nil || r.m.Lineage.Break == nil {
			continue
		}
		b := r.m.Lineage.Break
		if !thawed[b.Snapshot] && now.Sub(b.At) <= NeededFor {
			held[b.Snapshot] = "from before Redis lost data (" + b.At.UTC().Format(time.RFC3339) + ")"
		}
	}
	return held
}

// spoken joins reasons for one sentence.
func spoken(reasons []string) string {
	if len(reasons) == 0 {
		return "nobody noted why"
	}
	return strings.Join(reasons, ", ")
}
