package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rqvault/internal/snapshot"
)

// NeededFor is how long a snapshot from before a loss of data is held for a restore, where
// no freeze holds everything until a person has decided.
const NeededFor = 30 * 24 * time.Hour

// Errors of retention. Nothing was removed.
var (
	// ErrFrozen: live data collapsed after a snapshot, and nobody has said since that what
	// was lost is back or was meant to go.
	ErrFrozen = errors.New("retention is frozen")
	// ErrUnproven: no snapshot would be left that was ever verified.
	ErrUnproven = errors.New("no verified snapshot would be left")
)

// Stored is a snapshot with what becomes of it.
type Stored struct {
	Choice
	CreatedAt time.Time
	Size      int64 // bytes of its objects; 0 where its manifest cannot be read
	Pin       *snapshot.Pin
	// Removed: it is gone. Locked: the store would not let it go.
	Removed bool
	Locked  *snapshot.Lock
}

// Retention is what a policy makes of the snapshots of one source.
type Retention struct {
	Snapshots []*Stored         // oldest first
	Frozen    []snapshot.Freeze // what retention stands still for, oldest first
	Proven    bool              // a snapshot that was verified stays

	cat *snapshot.Catalog
	now time.Time
}

// Retain applies a policy to what is stored. It changes nothing.
func Retain(ctx context.Context, cat *snapshot.Catalog, keep Keep, now time.Time) (*Retention, error) {
	if err := keep.Validate(); err != nil {
		return nil, err
	}
	r := &Retention{cat: cat, now: now}
	if err := r.look(ctx, keep); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Retention) look(ctx context.Context, keep Keep) error {
	ids, err := r.cat.Committed(ctx)
	if err != nil {
		return err
	}
	seen, err := manifests(ctx, r.cat, ids)
	if err != nil {
		return err
	}
	proofs, err := r.cat.Verified(ctx)
	if err != nil {
		return err
	}
	pins, err := r.cat.Pins(ctx)
	if err != nil {
		return err
	}
	thawed, err := r.cat.Thawed(ctx)
	if err != nil {
		return err
	}
	if r.Frozen, err = frozen(ctx, r.cat, thawed); err != nil {
		return err
	}
	needed := needed(seen, thawed, r.now)
	all := make([]Snapshot, 0, len(ids))
	for _, id := range ids {
		s := describe(id, seen[id], proofs[id])
		s.Held = needed[id]
		if errors.Is(seen[id].err, snapshot.ErrTooNew) {
			s.Held = "written by a newer rqvault"
		}
		if _, s.Pinned = pins[id]; s.Pinned && pins[id].Reason != "" {
			s.Pinned, s.Held = false, joined("pinned: "+pins[id].Reason, s.Held)
		}
		all = append(all, s)
	}
	if err := r.locks(ctx, keep, all); err != nil {
		return err
	}
	r.choose(keep, all, seen, pins)
	return nil
}

func joined(a, b string) string {
	if b == "" {
		return a
	}
	return a + "; " + b
}

// locks asks the store for the locks of those that would go.
func (r *Retention) locks(ctx context.Context, keep Keep, all []Snapshot) error {
	for _, c := range Choose(keep, all, r.now) {
		if c.Keep {
			continue
		}
		lock, err := r.cat.Locked(ctx, c.ID, r.now)
		if err != nil {
			return err
		}
		if lock != nil {
			at := slices.IndexFunc(all, func(s Snapshot) bool { return s.ID == c.ID })
			all[at].Held = lock.String()
		}
	}
	return nil
}

func (r *Retention) choose(keep Keep, all []Snapshot, seen map[snapshot.ID]read, pins map[snapshot.ID]snapshot.Pin) {
	proven := map[snapshot.ID]bool{}
	for _, s := range all {
		proven[s.ID] = s.proven()
	}
	for _, c := range Choose(keep, all, r.now) {
		s := &Stored{Choice: c, CreatedAt: c.ID.Time()}
		if m := seen[c.ID].m; m != nil {
			s.CreatedAt, s.Size = m.CreatedAt, m.StoredSize()
		}
		if p, ok := pins[c.ID]; ok {
			s.Pin = &p
		}
		r.Proven = r.Proven || c.Keep && proven[c.ID]
		r.Snapshots = append(r.Snapshots, s)
	}
}

// Going lists the snapshots that the policy does not keep, oldest first.
func (r *Retention) Going() []*Stored {
	return slices.DeleteFunc(slices.Clone(r.Snapshots), func(s *Stored) bool { return s.Keep })
}

// Check says why nothing may be removed: ErrFrozen, ErrUnproven, or nil.
func (r *Retention) Check() error {
	if len(r.Frozen) > 0 {
		f := r.Frozen[0]
		return fmt.Errorf("%w since %s: live data collapsed after snapshot %s: %s", ErrFrozen, f.Since.UTC().Format(time.RFC3339), f.Snapshot, spoken(f.Reasons))
	}
	if n := len(r.Going()); n > 0 && !r.Proven {
		return fmt.Errorf("%w: none of those that stay was ever read back whole", ErrUnproven)
	}
	return nil
}

// Remove removes the snapshots that the policy does not keep, oldest first. It asks again
// before each one whether it may: whether anybody froze retention or pinned that one since,
// and ask, where it is given (is the lease still ours?). Stopped and repeated, it ends the
// same.
func (r *Retention) Remove(ctx context.Context, ask func(ctx context.Context) error) error {
	if err := r.Check(); err != nil {
		return err
	}
	for _, s := range r.Going() {
		may, err := r.ask(ctx, s, ask)
		if err != nil {
			return err
		}
		if !may {
			continue
		}
		err = r.cat.Remove(ctx, s.ID)
		var locked *snapshot.LockedError
		switch {
		case errors.As(err, &locked):
			s.Locked = &locked.Lock
		case errors.Is(err, snapshot.ErrLocked):
			s.Locked = &snapshot.Lock{}
		case err != nil:
			return err
		default:
			s.Removed = true
		}
	}
	return nil
}

func (r *Retention) ask(ctx context.Context, s *Stored, ask func(ctx context.Context) error) (bool, error) {
	if ask != nil {
		if err := ask(ctx); err != nil {
			return false, err
		}
	}
	thawed, err := r.cat.Thawed(ctx)
	if err != nil {
		return false, err
	}
	if r.Frozen, err = frozen(ctx, r.cat, thawed); err != nil {
		return false, err
	}
	if len(r.Frozen) > 0 {
		return false, r.Check()
	}
	pins, err := r.cat.Pins(ctx)
	if err != nil {
		return false, err
	}
	if p, ok := pins[s.ID]; ok {
		s.Keep, s.Pin, s.Reasons = true, &p, []string{"pinned"}
		return false, nil
	}
	return true, nil
}

// Frozen lists what retention stands still for, oldest first.
func Frozen(ctx context.Context, cat *snapshot.Catalog) ([]snapshot.Freeze, error) {
	thawed, err := cat.Thawed(ctx)
	if err != nil {
		return nil, err
	}
	return frozen(ctx, cat, thawed)
}

func frozen(ctx context.Context, cat *snapshot.Catalog, thawed map[snapshot.ID]bool) ([]snapshot.Freeze, error) {
	all, err := cat.Freezes(ctx)
	if err != nil {
		return nil, err
	}
	var standing []snapshot.Freeze
	for id, f := range all {
		if !thawed[id] {
			standing = append(standing, f)
		}
	}
	slices.SortFunc(standing, func(a, b snapshot.Freeze) int { return a.Since.Compare(b.Since) })
	return standing, nil
}
