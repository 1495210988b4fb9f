package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
)

// FsckOptions say which live Redis to hold against RQ's invariants.
type FsckOptions struct {
	Live   Live
	Schema job.Schema
	Only   []string // names of invariants; nil: all
	// Patience is how long what a job on the move breaks for a moment may stay so while
	// workers are alive; 0 is two minutes. Waiting is told before such a wait; it may be nil.
	Patience time.Duration
	Waiting  func(d time.Duration, breaches int)
	Now      func() time.Time
}

// Checkup is what an fsck found.
type Checkup struct {
	Facts    lineage.Facts
	Breaches []Breach
	Jobs     int64
	Workers  []job.Worker
}

// ErrInvariant says that there is no invariant of that name.
var ErrInvariant = errors.New("no such invariant")

// Fsck holds a live Redis against the invariants of RQ. Jobs move while it looks, so it
// looks twice: only what both looks say counts.
func Fsck(ctx context.Context, o FsckOptions) (*Checkup, error) {
	for _, name := range o.Only {
		if InvariantOf(name) == nil {
			return nil, fmt.Errorf("%w: %s", ErrInvariant, name)
		}
	}
	first, atomic, err := o.look(ctx)
	if err != nil || len(first.Breaches) == 0 {
		return first, err
	}
	passing := 0
	for i := range first.Breaches {
		if fleeting[first.Breaches[i].Invariant] {
			passing++
		}
	}
	wait := settle
	switch {
	case passing > 0 && Manned(first.Workers):
		wait = max(settle, cmp.Or(o.Patience, patience))
		if o.Waiting != nil {
			o.Waiting(wait, passing)
		}
	case passing == 0 && atomic:
		return first, nil
	}
	if err := pause(ctx, wait); err != nil {
		return nil, err
	}
	second, _, err := o.look(ctx)
	if err != nil {
		return nil, err
	}
	said := map[breachKey]*job.Row{}
	for i := range first.Breaches {
		said[first.Breaches[i].key()] = first.Breaches[i].Seen
	}
	second.Breaches = slices.DeleteFunc(second.Breaches, func(b Breach) bool {
		before, twice := said[b.key()]
		return !twice || !unmoved(before, b.Seen)
	})
	return second, nil
}

func unmoved(a, b *job.Row) bool { return a == nil || b == nil || a.Version() == b.Version() }

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (o *FsckOptions) look(ctx context.Context) (up *Checkup, atomic bool, err error) {
	facts, err := o.Live.Facts(ctx)
	if err != nil {
		return nil, false, err
	}
	if facts.Persistence.Loading || facts.Persistence.AsyncLoading {
		return nil, false, lineage.ErrLoading
	}
	signed, err := o.Live.Restored(ctx)
	if err != nil {
		return nil, false, err
	}
	image, err := o.Live.Image(ctx, Look{})
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	now := facts.ServerTime
	if now.IsZero() {
		now = o.Now()
	}
	jobs := int64(0)
	rows := func() Rows { return counted(image.Rows(), &jobs) }
	found, err := Check(CheckOptions{Schema: o.Schema, Rows: rows, Marks: image.Marks(), Registered: image.Registered(),
		Workers: image.Workers(), Now: now})
	if err != nil {
		return nil, false, err
	}
	for i := range found {
		found[i].inHand(signed)
	}
	if o.Only != nil {
		found = slices.DeleteFunc(found, func(b Breach) bool { return !slices.Contains(o.Only, b.Invariant) })
	}
	return &Checkup{Facts: facts, Breaches: found, Jobs: jobs, Workers: image.Workers()}, image.Atomic(), nil
}

// counted counts the jobs that pass.
func counted(rows Rows, n *int64) Rows {
	return func(yield func(*job.Row, error) bool) {
		*n = 0
		for r, err := range rows {
			if err == nil && r.Exists {
				*n++
			}
			if !yield(r, err) {
				return
			}
		}
	}
}
