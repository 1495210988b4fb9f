package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// GarbageAge is how old the newest byte of an unfinished snapshot must be before it
// counts as left behind: a backup may still be writing a younger one.
const GarbageAge = 24 * time.Hour

// Leftover is what a broken run left: an object of a snapshot that was never
// committed or whose removal was stopped, or the rest of a broken write.
type Leftover struct {
	Object
	Partial bool // the rest of a write, removed by Discard and not by Remove
	Locked  bool // Sweep met a lock of the store, and left it
}

// Garbage finds what no snapshot needs: objects under an id without a manifest whose
// newest object is older than GarbageAge, documents beside no snapshot, and broken writes,
// older than that. Age is judged by the store's own times against now.
func (c *Catalog) Garbage(ctx context.Context, now time.Time) ([]Leftover, error) {
	var found, group []Leftover
	dir, committed, newest := "", false, time.Time{}
	whole := map[ID]bool{}
	flush := func() {
		whole[ID(dir)] = committed
		if !committed && len(group) > 0 && now.Sub(newest) > GarbageAge {
			found = append(found, group...)
		}
		group, committed, newest = nil, false, time.Time{}
	}
	prefix := c.source + "/snapshots/"
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("look for leftovers: %w", err)
		}
		d, name, _ := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/")
		if d != dir {
			flush()
			dir = d
		}
		committed = committed || name == manifestName
		if o.Modified.After(newest) {
			newest = o.Modified
		}
		group = append(group, Leftover{Object: o})
	}
	flush()
	orphans, err := c.orphans(ctx, whole, now)
	if err != nil {
		return nil, err
	}
	found = append(found, orphans...)
	for o, err := range c.store.Abandoned(ctx) {
		if err != nil {
			return nil, fmt.Errorf("look for broken writes: %w", err)
		}
		if now.Sub(o.Modified) > GarbageAge {
			found = append(found, Leftover{Object: o, Partial: true})
		}
	}
	return found, nil
}

// orphans finds documents beside snapshots that do not exist.
func (c *Catalog) orphans(ctx context.Context, whole map[ID]bool, now time.Time) ([]Leftover, error) {
	var found []Leftover
	for _, place := range besides {
		for o, err := range c.store.List(ctx, c.source+"/"+place+"/", "") {
			if err != nil {
				return nil, fmt.Errorf("look for leftovers: %w", err)
			}
			if id, _, ok := splitBeside(c.source, place, o.Key); ok && !whole[id] && now.Sub(o.Modified) > GarbageAge {
				found = append(found, Leftover{Object: o})
			}
		}
	}
	return found, nil
}

// Sweep removes leftovers that Garbage named, and marks those that the store keeps locked.
func (c *Catalog) Sweep(ctx context.Context, leftovers []Leftover) error {
	for i, l := range leftovers {
		remove := func() error { return c.store.Remove(ctx, l.Key) }
		if l.Partial {
			remove = func() error { return c.store.Discard(ctx, l.Object) }
		}
		err := remove()
		if errors.Is(err, ErrLocked) {
			leftovers[i].Locked = true
		} else if err != nil {
			return fmt.Errorf("remove %s: %w", l.Key, err)
		}
	}
	return nil
}
